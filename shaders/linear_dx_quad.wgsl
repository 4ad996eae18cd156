// dx = dy·w with 4·TQ rows × 8 columns per thread in registers: as linear_dx.wgsl, with the threads of linear_quad.wgsl, four of which have the same
// rows of dy. Overwrites dx, or adds with ACC. LORA: dx also gets dh·lora_a, and the first `da_rows` rows of workgroups make da = dhᵀ·x.
// Grid: (⌈k/8⌉ / 4, da_rows + ⌈m/(4·TQ)⌉).
// Variants: SUBGROUPS {WT=F32|WT=F16|WT=BF16|WT=Q4|WT=Q8} {|ACC} {TQ=2|TQ=8}
// Variants: SUBGROUPS {WT=F32|WT=Q4|WT=Q8} {|ACC} LORA {|ACC_A} {TQ=4|TQ=8}
// Variants: SUBGROUPS {WT=Q5|WT=Q2K|WT=Q3K|WT=Q4K|WT=Q5K|WT=Q6K|WT=IQ4|WT=IQ4X|WT=MX4} TQ=8 {|LORA}
struct Params { m: u32, n: u32, k: u32, ldy: u32, y0: u32, s_off: u32, r: u32, da_rows: u32 }
@group(0) @binding(auto) var<uniform> p: Params;
#include "common/weights.wgsl"
@group(0) @binding(auto) var<storage, read> dy: array<f32>;              // (m, ldy)
@group(0) @binding(auto) var<storage, read> w: array<W_TYPE>;            // (n, k) packed
#if LORA
@group(0) @binding(auto) var<storage, read> dh: array<f32>;              // (m, r)
@group(0) @binding(auto) var<storage, read> lora_a: array<vec4<f32>>;    // (r, k/4)
@group(0) @binding(auto) var<storage, read> x: array<vec4<f32>>;         // (m, k/4)
#endif
@group(0) @binding(auto) var<storage, read_write> dx: array<vec4<f32>>;  // (m, k/4)
#if LORA
@group(0) @binding(auto) var<storage, read_write> da: array<vec4<f32>>;  // (r, k/4)
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
#include "common/weight_row.wgsl"

@compute @workgroup_size(4)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(workgroup_id) wid: vec3<u32>, @builtin(subgroup_invocation_id) sid: u32) {
  var row = wid.y;
#if LORA
  if (wid.y < p.da_rows) {
    dw_rows(wid.y * 8u, gid.x);
    return;
  }
  row -= p.da_rows;
#endif
  let m0 = row * 4u * u32(TQ);
#repeat Q TQ
  let r$Q = min(m0 + 4u * $Qu + (sid & 3u), p.m - 1u);
  let mr$Q = r$Q * p.ldy + p.y0;
#repeat L 4
  var a$Q_$L = vec4<f32>(0.0);
  var b$Q_$L = vec4<f32>(0.0);
#endrepeat
#endrepeat
  // Columns beyond the edge read the last ones and are not stored: all four stay together.
  let g = min(gid.x, (p.k >> 3u) - 1u);
  // Four rows of w per round, so that a sum is fetched from memory and put back once for four products; rows beyond the edge count zero times.
  for (var n0 = 0u; n0 < p.n; n0 += 4u) {
#repeat U 4
    let n$U = min(n0 + $Uu, p.n - 1u);
    let v$U = w_load8(n$U, g, w_scale(n$U, g >> 2u));
    let on$U = select(0.0, 1.0, n0 + $Uu < p.n);
#endrepeat
#repeat Q TQ
    {
#repeat U 4
      let d$U = dy[mr$Q + n$U] * on$U;
#endrepeat
#repeat L 4
      {
#repeat U 4
        let e$U = quadBroadcast(d$U, $Lu);
#endrepeat
        a$Q_$L += e0 * v0.lo + e1 * v1.lo + e2 * v2.lo + e3 * v3.lo;
        b$Q_$L += e0 * v0.hi + e1 * v1.hi + e2 * v2.hi + e3 * v3.hi;
      }
#endrepeat
    }
#endrepeat
  }
  let k4 = p.k >> 2u;
#if LORA
  for (var r = 0u; r < p.r; r++) {
    let lo = lora_a[r * k4 + 2u * g];
    let hi = lora_a[r * k4 + 2u * g + 1u];
#repeat Q TQ
    let d$Q = dh[r$Q * p.r + r];
#repeat L 4
    { let d = quadBroadcast(d$Q, $Lu); a$Q_$L += d * lo; b$Q_$L += d * hi; }
#endrepeat
#endrepeat
  }
#endif
#repeat Q TQ
#repeat L 4
  if (g == gid.x && m0 + 4u * $Qu + $Lu < p.m) {
    let at = (m0 + 4u * $Qu + $Lu) * k4 + 2u * g;
#if ACC
    dx[at] += a$Q_$L;
    dx[at + 1u] += b$Q_$L;
#else
    dx[at] = a$Q_$L;
    dx[at + 1u] = b$Q_$L;
#endif
  }
#endrepeat
#endrepeat
}
