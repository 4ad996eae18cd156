// dw[n, k] += Σ_m dy[m, n]·x[m, k] with TN × 8 outputs per thread in registers and no barrier (SCALAR: TN × 1).
// Grid: (⌈k/8⌉ / 32, ⌈n/TN⌉). Overwrites, or adds with ACC (parameter gradients do).
// GROUP (real GPUs): a workgroup of 128 makes 8 × 16 outputs, 32 threads share the sum over m of each. Grid: (⌈k/16⌉, ⌈n/8⌉).
// Variants: {|SCALAR} {|ACC} {TN=1|TN=8}
// QUAD: 4·TQ × 8 outputs by threads of which four share dy (common/dw_quad.wgsl). Grid: (⌈k/8⌉ / 4, ⌈n/(4·TQ)⌉).
// Variants: {|ACC} GROUP,TN=8
// Variants: {|ACC} QUAD,SUBGROUPS {TQ=2|TQ=4|TQ=8}
struct Params { m: u32, n: u32, k: u32, first: u32 } // sums over m from `first` on
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<storage, read> dy: array<f32>;              // (m, n)
#if SCALAR
@group(0) @binding(auto) var<storage, read> x: array<f32>;               // (m, k)
@group(0) @binding(auto) var<storage, read_write> dw: array<f32>;        // (n, k)
#else
@group(0) @binding(auto) var<storage, read> x: array<vec4<f32>>;         // (m, k/4)
@group(0) @binding(auto) var<storage, read_write> dw: array<vec4<f32>>;  // (n, k/4)
#endif

#if GROUP
var<workgroup> red: array<vec4<f32>, 1024>; // [8 rows of dw][32 lanes][4 fours of columns]

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let k4 = p.k >> 2u;
  let n0 = wid.y * 8u;
  let lane = lid / 4u;
  let c = min(wid.x * 4u + lid % 4u, k4 - 1u);
#repeat J 8
  var a$J = vec4<f32>(0.0);
  let nc$J = min(n0 + $Ju, p.n - 1u);
#endrepeat
  for (var m = p.first + lane; m < p.m; m += 32u) {
    let v = x[m * k4 + c];
#repeat J 8
    a$J += dy[m * p.n + nc$J] * v;
#endrepeat
  }
#repeat J 8
  red[$Ju * 128u + lid] = a$J;
#endrepeat
  workgroupBarrier();
  // A quarter of the threads add up one four of columns of one row each.
  let j = lid / 4u;
  if (j < 8u && n0 + j < p.n && wid.x * 4u + lid % 4u < k4) {
    var sum = vec4<f32>(0.0);
    for (var i = 0u; i < 32u; i++) { sum += red[j * 128u + i * 4u + lid % 4u]; }
    let at = (n0 + j) * k4 + c;
#if ACC
    dw[at] += sum;
#else
    dw[at] = sum;
#endif
  }
}
#else
#define DW dw
#define DW_DY dy
#define DW_N p.n
#define DW_FIRST p.first
#if ACC
#define DW_ADD 1
#endif
#if QUAD
#define DW_TQ TQ
#include "common/dw_quad.wgsl"

@compute @workgroup_size(4)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(subgroup_invocation_id) sid: u32) {
  dw_quad(gid.y * 4u * u32(TQ), gid.x, sid & 3u);
}
#else
#define DW_TN TN
#include "common/dw_rows.wgsl"

@compute @workgroup_size(32)
fn main(@builtin(global_invocation_id) gid: vec3<u32>) {
  dw_rows(gid.y * u32(TN), gid.x);
}
#endif
#endif
