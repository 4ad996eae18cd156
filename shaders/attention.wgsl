// o = softmax(scale · q·kᵀ) · v over the keys each query sees, by one pass over them with a running maximum (online softmax,
// Milakov & Gimelshein 2018): scores are never stored. A query that sees nothing gets zeros.
// Also lse = ln Σ exp(scale · q·k) for the backward pass (0 for a query that sees nothing); with CACHED only to be carried.
// Without barriers: a thread owns QB rows (queries × the heads of one key head) and takes the keys that any of them sees KB at a time.
// A tile of QB·KB scores is in registers; the sums are kept in o: registers that live through a loop are slow on the software
// adapters this is for, and the kernel is the same for every head width.
// CARRY: one of several dispatches over the keys, each going on from what the one before has left, o over its keys and lse (in units of ln 2,
// NEG for nothing seen): that is what a single key of score lse and value o would have left.
// Grid: ⌈t·G / (WG·QB)⌉ workgroups per (batch row, key head), folded into (x, y). Overwrites.
// Variants: {|CACHED|CACHED,KV=F16} {|CARRY} {|SCALAR} {|CAP} {WG=8|WG=32} {QB=1,KB=8|QB=8,KB=8}
#include "common/attention_io.wgsl"
#include "common/attention_kv.wgsl"
@group(0) @binding(auto) var<storage, read_write> o: array<T>;     // (batch, t, heads, dim)
#if !CACHED || CARRY
@group(0) @binding(auto) var<storage, read_write> lse: array<f32>; // (batch, t, heads)
#endif

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let id = linear_group(wid, nwg);
  let bh = id / p.groups;
  if (bh >= p.batch * p.kv_heads) { return; }
  let b = bh / p.kv_heads;
  let kvh = bh % p.kv_heads;
  let share = p.heads / p.kv_heads;
  let n = p.t * share;
  let base = ((id % p.groups) * u32(WG) + lid) * u32(QB);
  if (base >= n) { return; }
#repeat I QB
  // Rows beyond the edge repeat the last one and see nothing.
  let r$I = min(base + $Iu, n - 1u);
  let row$I = b * p.t + r$I / share;
  let head$I = row$I * p.heads + kvh * share + r$I % share;
  let at$I = head$I * p.dim;
  var m$I = NEG;
  var l$I = 0.0;
#if CARRY
  if (p.key0 > 0u) {
    m$I = lse[head$I];
    l$I = select(0.0, 1.0, m$I > NEG);
  } else {
    for (var d = 0u; d < p.dim; d++) { o[at$I + d] = T(0.0); }
  }
#else
  for (var d = 0u; d < p.dim; d++) { o[at$I + d] = T(0.0); }
#endif
#endrepeat
  for (var pass_ = 0u; pass_ < PASSES; pass_++) {
    var first = 0xffffffffu;
    var last = 0u;
#repeat I QB
    let sp$I = select(vec2<u32>(0u, 0u), span(row$I, pass_), base + $Iu < n);
    first = min(first, select(first, sp$I.x, sp$I.y > 0u));
    last = max(last, select(0u, sp$I.x + sp$I.y, sp$I.y > 0u));
#endrepeat
    for (var j = first; j < last; j += u32(KB)) {
#repeat J KB
      let kat$J = ((b * p.s + min(j + $Ju, last - 1u)) * p.kv_heads + kvh) * p.dim; // never a slot that nobody sees: it may hold no number
#repeat I QB
      var s$I_$J = 0.0;
#endrepeat
#endrepeat
      for (var d = 0u; d < p.dim; d++) {
#repeat J KB
        let k$J = k_at(kat$J + d);
#endrepeat
#repeat I QB
        let q$I = q[at$I + d];
#repeat J KB
        s$I_$J += inner(q$I, k$J);
#endrepeat
#endrepeat
      }
#repeat I QB
      var top$I = m$I;
#repeat J KB
      s$I_$J = select(NEG, binary(s$I_$J), j + $Ju - sp$I.x < sp$I.y);
      top$I = max(top$I, s$I_$J);
#endrepeat
      let keep$I = exp2(m$I - top$I);
      m$I = top$I;
      l$I *= keep$I;
#repeat J KB
      // Masked scores give 0, also where nothing was seen so far and the maximum is NEG itself.
      s$I_$J = exp2(s$I_$J - max(top$I, 0.1 * NEG));
      l$I += s$I_$J;
#endrepeat
#endrepeat
      for (var d = 0u; d < p.dim; d++) {
#repeat J KB
        let v$J = v_at(kat$J + d);
#endrepeat
#repeat I QB
        var a$I = o[at$I + d] * keep$I;
#repeat J KB
        a$I += s$I_$J * v$J;
#endrepeat
        o[at$I + d] = a$I;
#endrepeat
      }
    }
  }
#repeat I QB
  if (base + $Iu < n) {
    let inv = select(0.0, 1.0 / l$I, l$I > 0.0);
    for (var d = 0u; d < p.dim; d++) { o[at$I + d] *= inv; }
#if CARRY
    let more = p.key1 < p.s;
    lse[head$I] = select(select(0.0, NEG, more), (m$I + log2(l$I)) * select(LN2, 1.0, more), l$I > 0.0);
#elif !CACHED
    lse[head$I] = select(0.0, (m$I + log2(l$I)) * LN2, l$I > 0.0);
#endif
  }
#endrepeat
}
