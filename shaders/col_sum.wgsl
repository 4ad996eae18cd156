// y[c] = Σ_rows x[row, c]: the gradient of a bias. Overwrites y, or adds with ACC. Grid: one thread per column, 64 per workgroup.
// Variants: {|ACC}
struct Params { rows: u32, cols: u32, first: u32 } // rows first…rows − 1
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<storage, read> x: array<f32>;        // (rows, cols)
@group(0) @binding(auto) var<storage, read_write> y: array<f32>;  // (cols)

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>) {
  let c = gid.x;
  if (c >= p.cols) { return; }
  var acc = 0.0;
  for (var i = p.first; i < p.rows; i++) { acc += x[i * p.cols + c]; }
#if ACC
  y[c] += acc;
#else
  y[c] = acc;
#endif
}
