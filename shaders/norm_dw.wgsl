// Gradient of a norm's weight: dw[c] += Σ_rows dy·x̂ with x̂ = (x − mean)·r (MEAN) or x·r; with BIAS also db[c] += Σ_rows dy.
// Grid: one thread per column. Overwrites, or adds with ACC (parameter gradients do).
// Variants: {|MEAN|MEAN,BIAS} {|ACC}
struct Params { rows: u32, cols: u32, first: u32, heads: u32 } // rows first…rows − 1; heads of cols / heads columns, each with statistics
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<storage, read> x: array<f32>;         // (rows, cols)
@group(0) @binding(auto) var<storage, read> stats: array<f32>;     // (rows, heads) r, or (rows, heads, 2) mean and r with MEAN
@group(0) @binding(auto) var<storage, read> dy: array<f32>;        // (rows, cols)
@group(0) @binding(auto) var<storage, read_write> dw: array<f32>;  // (cols)
#if BIAS
@group(0) @binding(auto) var<storage, read_write> db: array<f32>;  // (cols)
#endif

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>) {
  let c = gid.x;
  if (c >= p.cols) { return; }
  let head = c / (p.cols / p.heads);
  var acc = 0.0;
  var accb = 0.0;
  for (var i = p.first; i < p.rows; i++) {
    let g = dy[i * p.cols + c];
#if MEAN
    acc += g * (x[i * p.cols + c] - stats[2u * (i * p.heads + head)]) * stats[2u * (i * p.heads + head) + 1u];
    accb += g;
#else
    acc += g * x[i * p.cols + c] * stats[i * p.heads + head];
#endif
  }
#if ACC
  dw[c] += acc;
#else
  dw[c] = acc;
#endif
#if BIAS && ACC
  db[c] += accb;
#elif BIAS
  db[c] = accb;
#endif
}
