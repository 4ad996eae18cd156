// dx = dy·w with TM rows × 8 columns per thread in registers and no barrier. Overwrites dx, or adds with ACC.
// Parts of a weight split by rows are added one after the other (ACC from the second on); y0 is the first column of dy they meet.
// LORA: dx also gets dh·lora_a, and the first `da_rows` rows of workgroups make da = dhᵀ·x, eight of its rows each (overwritten, or added with
// ACC_A): both need dh and nothing of each other.
// Grid: (⌈k/8⌉ / 32, da_rows + ⌈m/TM⌉).
// Variants: {SCALAR,WT=F32|WT=F32|WT=F16|WT=BF16|WT=Q4|WT=Q8} {|ACC} {TM=1|TM=8}
// Variants: {SCALAR,WT=F32|WT=F32|WT=Q4|WT=Q8} {|ACC} LORA {|ACC_A} {TM=1|TM=8}
// Variants: {WT=Q5|WT=Q2K|WT=Q3K|WT=Q4K|WT=Q5K|WT=Q6K|WT=IQ4|WT=IQ4X|WT=MX4} TM=8 {|LORA|ACC}
struct Params { m: u32, n: u32, k: u32, ldy: u32, y0: u32, s_off: u32, r: u32, da_rows: u32 }
@group(0) @binding(auto) var<uniform> p: Params;
#include "common/weights.wgsl"
@group(0) @binding(auto) var<storage, read> dy: array<f32>;              // (m, ldy)
#if SCALAR
#define X_TYPE f32
@group(0) @binding(auto) var<storage, read> w: array<f32>;               // (n, k)
#else
#define X_TYPE vec4<f32>
@group(0) @binding(auto) var<storage, read> w: array<W_TYPE>;            // (n, k) packed
#endif
#if LORA
@group(0) @binding(auto) var<storage, read> dh: array<f32>;              // (m, r)
@group(0) @binding(auto) var<storage, read> lora_a: array<X_TYPE>;       // (r, k) in units of X_TYPE, like the next three
@group(0) @binding(auto) var<storage, read> x: array<X_TYPE>;            // (m, k)
#endif
@group(0) @binding(auto) var<storage, read_write> dx: array<X_TYPE>;     // (m, k)
#if LORA
@group(0) @binding(auto) var<storage, read_write> da: array<X_TYPE>;     // (r, k)
#define DW da
#define DW_DY dh
#define DW_N p.r
#define DW_TN 8
#define DW_FIRST 0u
#if ACC_A
#define DW_ADD 1
#endif
#include "common/dw_rows.wgsl"
#endif
#if !SCALAR
#include "common/weight_row.wgsl"
#endif

@compute @workgroup_size(32)
fn main(@builtin(global_invocation_id) gid: vec3<u32>) {
#if LORA
  if (gid.y < p.da_rows) {
    dw_rows(gid.y * 8u, gid.x);
    return;
  }
  let m0 = (gid.y - p.da_rows) * u32(TM);
#repeat I TM
  let hr$I = min(m0 + $Iu, p.m - 1u) * p.r;
#endrepeat
#else
  let m0 = gid.y * u32(TM);
#endif
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
#if LORA
  for (var r = 0u; r < p.r; r++) {
    let v = lora_a[r * p.k + c];
#repeat I TM
    acc$I += dh[hr$I + r] * v;
#endrepeat
  }
#endif
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
#if LORA
  for (var r = 0u; r < p.r; r++) {
    let lo = lora_a[r * k4 + 2u * g];
    let hi = lora_a[r * k4 + 2u * g + 1u];
#repeat I TM
    { let d = dh[hr$I + r]; a$I += d * lo; b$I += d * hi; }
#endrepeat
  }
#endif
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
