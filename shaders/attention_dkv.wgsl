// dk_j = scale · Σ_i ds_ij·q_i, dv_j = Σ_i w_ij·do_i over the queries i that see key j and all query heads that read this key head;
// w_ij = exp(scale·q_i·k_j − lse_i), ds_ij = w_ij·(do_i·v_j − delta_i). A sum per key, so it needs no atomics and is the same every time.
// Without barriers: a thread owns KB keys and takes the rows of its batch row (see common/attention_io.wgsl) QB at a time; blocks that
// see none of its keys are skipped. Sums are kept in dk and dv. Only rows row0…row1 − 1 of each batch row are added up: many rows are
// several dispatches, all but the first with ACC_K and ACC_V. row0 and all but the last row1 are multiples of QB.
// Grid: ⌈s / (WG·KB)⌉ workgroups per (batch row, key head), folded into (x, y). Overwrites, or adds with ACC_K and ACC_V.
// Variants: {|ACC_K} {|ACC_V} {|SCALAR} {|CAP} {WG=8|WG=32} {QB=8,KB=1|QB=8,KB=8}
#include "common/attention_io.wgsl"
@group(0) @binding(auto) var<storage, read> q: array<T>;             // (batch, t, heads, dim)
@group(0) @binding(auto) var<storage, read> k: array<T>;             // (batch, s, kv_heads, dim)
@group(0) @binding(auto) var<storage, read> v: array<T>;             // (batch, s, kv_heads, dim)
@group(0) @binding(auto) var<storage, read> dout: array<T>;          // (batch, t, heads, dim)
@group(0) @binding(auto) var<storage, read> stats: array<f32>;       // see common/attention_stats.wgsl
#include "common/attention_stats.wgsl"
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
  let n = p.t * share;
  let base = ((id % p.groups) * u32(WG) + lid) * u32(KB);
  if (base >= p.s) { return; }
#repeat J KB
  // Keys beyond the edge repeat the last one and are seen by no row.
  let kat$J = ((b * p.s + min(base + $Ju, p.s - 1u)) * p.kv_heads + kvh) * p.dim;
#if !ACC_K
  for (var d = 0u; d < p.dim; d++) { dk[kat$J + d] = T(0.0); }
#endif
#if !ACC_V
  for (var d = 0u; d < p.dim; d++) { dv[kat$J + d] = T(0.0); }
#endif
#endrepeat
  for (var r = p.row0; r < p.row1; r += u32(QB)) {
    var seen = false;
#repeat I QB
    let r$I = min(r + $Iu, n - 1u);
    let row$I = b * p.t + r$I / share;
    let sp$I = select(vec2<u32>(0u, 0u), span(row$I, 0u), r + $Iu < n);
    // Keys base … base + KB − 1 and sp overlap.
    seen = seen | ((base + u32(KB) - 1u - sp$I.x < sp$I.y + u32(KB) - 1u) & (sp$I.y > 0u));
#endrepeat
    if (!seen) { continue; }
#repeat I QB
    let head$I = row$I * p.heads + kvh * share + r$I % share;
    let at$I = head$I * p.dim;
#repeat J KB
    var s$I_$J = 0.0;
    var dp$I_$J = 0.0;
#endrepeat
#endrepeat
    for (var d = 0u; d < p.dim; d++) {
#repeat J KB
      let k$J = k[kat$J + d];
      let v$J = v[kat$J + d];
#endrepeat
#repeat I QB
      let q$I = q[at$I + d];
      let g$I = dout[at$I + d];
#repeat J KB
      s$I_$J += inner(q$I, k$J);
      dp$I_$J += inner(g$I, v$J);
#endrepeat
#endrepeat
    }
#repeat I QB
    let st$I = vec2<f32>(stats[head$I], stats[delta_at(head$I)]);
#repeat J KB
    {
      let live = base + $Ju - sp$I.x < sp$I.y;
      let w = select(0.0, exp2((natural(s$I_$J) - st$I.x) * LOG2E), live);
      dp$I_$J = w * (dp$I_$J - st$I.y) * slope(s$I_$J);
      s$I_$J = w;
    }
#endrepeat
#endrepeat
    for (var d = 0u; d < p.dim; d++) {
#repeat I QB
      let q$I = q[at$I + d];
      let g$I = dout[at$I + d];
#endrepeat
#repeat J KB
      {
        var a = dk[kat$J + d];
        var c = dv[kat$J + d];
#repeat I QB
        a += dp$I_$J * q$I;
        c += s$I_$J * g$I;
#endrepeat
        dk[kat$J + d] = a;
        dv[kat$J + d] = c;
      }
#endrepeat
    }
  }
}
