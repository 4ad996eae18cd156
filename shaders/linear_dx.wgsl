// dx = dy·w with TM rows × 8 columns per thread in registers and no barrier. Overwrites dx, or adds with ACC.
// Parts of a weight split by rows are added one after the other (ACC from the second on); y0 is the first column of dy they meet.
// Grid: (⌈k/8⌉ / 32, ⌈m/TM⌉).
// Variants: {SCALAR,WT=F32|WT=F32|WT=F16|WT=BF16|WT=Q4|WT=Q8} {|ACC} {TM=1|TM=8}
struct Params { m: u32, n: u32, k: u32, ldy: u32, y0: u32, s_off: u32 }
@group(0) @binding(auto) var<uniform> p: Params;
#include "common/weights.wgsl"
@group(0) @binding(auto) var<storage, read> dy: array<f32>;              // (m, ldy)
#if SCALAR
@group(0) @binding(auto) var<storage, read> w: array<f32>;               // (n, k)
@group(0) @binding(auto) var<storage, read_write> dx: array<f32>;        // (m, k)
#else
@group(0) @binding(auto) var<storage, read> w: array<W_TYPE>;            // (n, k) packed
@group(0) @binding(auto) var<storage, read_write> dx: array<vec4<f32>>;  // (m, k/4)
#include "common/weight_row.wgsl"
#endif

@compute @workgroup_size(32)
fn main(@builtin(global_invocation_id) gid: vec3<u32>) {
  let m0 = gid.y * u32(TM);
#repeat I TM
  let mr$I = min(m0 + $Iu, p.m - 1u) * p.ldy + p.y0;
#endrepeat
#if SCALAR
  let c = gid.x;
  if (c >= p.k) { return; }
#repeat I TM
  var acc$I = 0.0;
#endrepeat
  for (var n = 0u; n < p.n; n++) {
    let v = w[n * p.k + c];
#repeat I TM
    acc$I += dy[mr$I + n] * v;
#endrepeat
  }
#repeat I TM
  if (m0 + $Iu < p.m) {
#if ACC
    dx[(m0 + $Iu) * p.k + c] += acc$I;
#else
    dx[(m0 + $Iu) * p.k + c] = acc$I;
#endif
  }
#endrepeat
#else
  let g = gid.x;
  if (g >= (p.k >> 3u)) { return; }
#repeat I TM
  var a$I = vec4<f32>(0.0);
  var b$I = vec4<f32>(0.0);
#endrepeat
  // Four rows of w per round (llvmpipe ends all loops of a thread after 65,535 rounds in total); rows beyond the edge count zero times.
  for (var n0 = 0u; n0 < p.n; n0 += 4u) {
#repeat U 4
    {
      let n = min(n0 + $Uu, p.n - 1u);
      let v = w_load8(n, g, w_scale(n, g >> 2u));
      let on = select(0.0, 1.0, n0 + $Uu < p.n);
#repeat I TM
      { let d = dy[mr$I + n] * on; a$I += d * v.lo; b$I += d * v.hi; }
#endrepeat
    }
#endrepeat
  }
  let k4 = p.k >> 2u;
#repeat I TM
  if (m0 + $Iu < p.m) {
    let at = (m0 + $Iu) * k4 + 2u * g;
#if ACC
    dx[at] += a$I;
    dx[at + 1u] += b$I;
#else
    dx[at] = a$I;
    dx[at + 1u] = b$I;
#endif
  }
#endrepeat
#endif
}
