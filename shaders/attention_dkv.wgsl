// dk_j = scale · Σ_i ds_ij·q_i, dv_j = Σ_i w_ij·do_i over the queries i that see key j and all query heads that read this key head;
// w_ij = exp(scale·q_i·k_j − lse_i), ds_ij = w_ij·(do_i·v_j − delta_i). A sum per key, so it needs no atomics and is the same every time.
// Without barriers: a thread owns KB keys with k, v and both sums in registers and walks all queries of its batch row.
// SCALAR: any head width, one key per thread, sums kept in dk and dv.
// Grid: ⌈s / (WG·KB)⌉ workgroups per (batch row, key head), folded into (x, y). Overwrites, or adds with ACC_K and ACC_V.
// Variants: {|ACC_K} {|ACC_V} WG=8 {SCALAR,D4=1,KB=1|D4=1,KB=1|D4=8,KB=4|D4=16,KB=2|D4=64,KB=1}
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
@group(0) @binding(auto) var<storage, read_write> dk: array<T>;      // (batch, s, kv_heads, dim)
@group(0) @binding(auto) var<storage, read_write> dv: array<T>;      // (batch, s, kv_heads, dim)

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let id = linear_group(wid, nwg);
  let bh = id / p.groups;
  if (bh >= p.batch * p.kv_heads) { return; }
  let b = bh / p.kv_heads;
  let kvh = bh % p.kv_heads;
  let share = p.heads / p.kv_heads;
#if SCALAR
  let j = (id % p.groups) * u32(WG) + lid;
  if (j >= p.s) { return; }
  let kat = ((b * p.s + j) * p.kv_heads + kvh) * p.dim;
#if !ACC_K
  for (var d = 0u; d < p.dim; d++) { dk[kat + d] = 0.0; }
#endif
#if !ACC_V
  for (var d = 0u; d < p.dim; d++) { dv[kat + d] = 0.0; }
#endif
  for (var row = b * p.t; row < (b + 1u) * p.t; row++) {
    let sp = span(row, 0u);
    if (j < sp.x || j >= sp.y) { continue; }
    for (var h = kvh * share; h < (kvh + 1u) * share; h++) {
      let head = row * p.heads + h;
      let at = head * p.dim;
      var s = 0.0;
      var dp = 0.0;
      for (var d = 0u; d < p.dim; d++) {
        s += q[at + d] * k[kat + d];
        dp += dout[at + d] * v[kat + d];
      }
      let st = stats[head];
      let w = exp(s * p.scale - st.x);
      let ds = w * (dp - st.y) * p.scale;
      for (var d = 0u; d < p.dim; d++) {
        dk[kat + d] += ds * q[at + d];
        dv[kat + d] += w * dout[at + d];
      }
    }
  }
#else
  let base = ((id % p.groups) * u32(WG) + lid) * u32(KB);
  if (base >= p.s) { return; }
#repeat I KB
  // Keys beyond the edge repeat the last one and are not stored.
  let at$I = ((b * p.s + min(base + $Iu, p.s - 1u)) * p.kv_heads + kvh) * u32(D4);
#repeat D D4
  let k$I_$D = k[at$I + $Du] * (p.scale * LOG2E);
  let v$I_$D = v[at$I + $Du];
  var dk$I_$D = vec4<f32>(0.0);
  var dv$I_$D = vec4<f32>(0.0);
#endrepeat
#endrepeat
  for (var row = b * p.t; row < (b + 1u) * p.t; row++) {
    let sp = span(row, 0u);
    if (base + u32(KB) <= sp.x || base >= sp.y) { continue; }
    for (var h = kvh * share; h < (kvh + 1u) * share; h++) {
      let head = row * p.heads + h;
#repeat I KB
      var s$I = 0.0;
      var dp$I = 0.0;
#endrepeat
#repeat D D4
      let q$D = q[head * u32(D4) + $Du];
      let g$D = dout[head * u32(D4) + $Du];
#repeat I KB
      s$I += dot(k$I_$D, q$D);
      dp$I += dot(v$I_$D, g$D);
#endrepeat
#endrepeat
      let st = stats[head];
#repeat I KB
      let w$I = select(0.0, exp2(s$I - st.x * LOG2E), base + $Iu >= sp.x && base + $Iu < sp.y);
      let ds$I = w$I * (dp$I - st.y);
#endrepeat
#repeat D D4
#repeat I KB
      dk$I_$D += ds$I * q$D;
      dv$I_$D += w$I * g$D;
#endrepeat
#endrepeat
    }
  }
#repeat I KB
  if (base + $Iu < p.s) {
#repeat D D4
#if ACC_K
    dk[at$I + $Du] += dk$I_$D * p.scale;
#else
    dk[at$I + $Du] = dk$I_$D * p.scale;
#endif
#if ACC_V
    dv[at$I + $Du] += dv$I_$D;
#else
    dv[at$I + $Du] = dv$I_$D;
#endif
#endrepeat
  }
#endrepeat
#endif
}
