// dq = scale · Σ_j ds_j·k_j with ds_j = w_j·(do·v_j − delta), w_j = exp(scale·q·k_j − lse): the weights are computed again, never stored.
// Without barriers: a thread owns QB rows (see common/attention_io.wgsl) with q, do and dq in registers and walks the keys that any of
// them sees. SCALAR: any head width, one row per thread, sums kept in dq.
// Grid: ⌈t·G / (WG·QB)⌉ workgroups per (batch row, key head), folded into (x, y). Overwrites dq, or adds to it with ACC.
// Variants: {|ACC} WG=8 {SCALAR,D4=1,QB=1|D4=1,QB=1|D4=8,QB=4|D4=16,QB=2|D4=64,QB=1}
#include "common/attention_io.wgsl"
#if SCALAR
#define T f32
#else
#define T vec4<f32>
#endif
@group(0) @binding(auto) var<storage, read> q: array<T>;             // (batch, t, heads, dim)
@group(0) @binding(auto) var<storage, read> k: array<T>;             // (batch, s, kv_heads, dim)
@group(0) @binding(auto) var<storage, read> v: array<T>;             // (batch, s, kv_heads, dim)
@group(0) @binding(auto) var<storage, read> dout: array<T>;          // (batch, t, heads, dim)
@group(0) @binding(auto) var<storage, read> stats: array<vec2<f32>>; // (batch, t, heads): lse, delta
@group(0) @binding(auto) var<storage, read_write> dq: array<T>;      // (batch, t, heads, dim)

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let id = linear_group(wid, nwg);
  let bh = id / p.groups;
  if (bh >= p.batch * p.kv_heads) { return; }
  let b = bh / p.kv_heads;
  let kvh = bh % p.kv_heads;
  let share = p.heads / p.kv_heads;
  let n = p.t * share;
#if SCALAR
  let r = (id % p.groups) * u32(WG) + lid;
  if (r >= n) { return; }
  let row = b * p.t + r / share;
  let head = row * p.heads + kvh * share + r % share;
  let at = head * p.dim;
#if !ACC
  for (var d = 0u; d < p.dim; d++) { dq[at + d] = 0.0; }
#endif
  let sp = span(row, 0u);
  let st = stats[head];
  for (var j = sp.x; j < sp.y; j++) {
    let kat = ((b * p.s + j) * p.kv_heads + kvh) * p.dim;
    var s = 0.0;
    var dp = 0.0;
    for (var d = 0u; d < p.dim; d++) {
      s += q[at + d] * k[kat + d];
      dp += dout[at + d] * v[kat + d];
    }
    let ds = exp(s * p.scale - st.x) * (dp - st.y) * p.scale;
    for (var d = 0u; d < p.dim; d++) { dq[at + d] += ds * k[kat + d]; }
  }
#else
  let base = ((id % p.groups) * u32(WG) + lid) * u32(QB);
  if (base >= n) { return; }
  var first = 0xffffffffu;
  var last = 0u;
#repeat I QB
  // Rows beyond the edge repeat the last one and are not stored.
  let r$I = min(base + $Iu, n - 1u);
  let row$I = b * p.t + r$I / share;
  let head$I = row$I * p.heads + kvh * share + r$I % share;
  let sp$I = span(row$I, 0u);
  if (sp$I.x < sp$I.y) {
    first = min(first, sp$I.x);
    last = max(last, sp$I.y);
  }
  let lse$I = stats[head$I].x * LOG2E;
  let delta$I = stats[head$I].y;
#repeat D D4
  let q$I_$D = q[head$I * u32(D4) + $Du] * (p.scale * LOG2E);
  let g$I_$D = dout[head$I * u32(D4) + $Du];
  var a$I_$D = vec4<f32>(0.0);
#endrepeat
#endrepeat
  for (var j = first; j < last; j++) {
    let kat = ((b * p.s + j) * p.kv_heads + kvh) * u32(D4);
#repeat I QB
    var s$I = 0.0;
    var dp$I = 0.0;
#endrepeat
#repeat D D4
    let k$D = k[kat + $Du];
    let v$D = v[kat + $Du];
#repeat I QB
    s$I += dot(q$I_$D, k$D);
    dp$I += dot(g$I_$D, v$D);
#endrepeat
#endrepeat
#repeat I QB
    let ds$I = select(0.0, exp2(s$I - lse$I) * (dp$I - delta$I), j >= sp$I.x && j < sp$I.y);
#endrepeat
#repeat D D4
#repeat I QB
    a$I_$D += ds$I * k$D;
#endrepeat
#endrepeat
  }
#repeat I QB
  if (base + $Iu < n) {
#repeat D D4
#if ACC
    dq[head$I * u32(D4) + $Du] += a$I_$D * p.scale;
#else
    dq[head$I * u32(D4) + $Du] = a$I_$D * p.scale;
#endif
#endrepeat
  }
#endrepeat
#endif
}
