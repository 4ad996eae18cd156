// o = softmax(scale · q·kᵀ) · v over the keys each query sees, by one pass over them with a running maximum (online softmax,
// Milakov & Gimelshein 2018): scores are never stored. A query that sees nothing gets zeros.
// Also lse = ln Σ exp(scale · q·k) for the backward pass (0 for a query that sees nothing); not with CACHED.
// Without barriers: a thread owns QB rows (queries × the heads of one key head), with q and the sums in registers, and walks the keys
// that any of them sees. SCALAR: any head width, one row per thread, sums kept in o.
// Grid: ⌈t·G / (WG·QB)⌉ workgroups per (batch row, key head), folded into (x, y). Overwrites.
// Variants: {|CACHED} WG=8 {SCALAR,D4=1,QB=1|D4=1,QB=1|D4=8,QB=8|D4=16,QB=4|D4=64,QB=1}
#include "common/attention_io.wgsl"
#if SCALAR
#define T f32
#else
#define T vec4<f32>
#endif
@group(0) @binding(auto) var<storage, read> q: array<T>;          // (batch, t, heads, dim)
#if CACHED
@group(0) @binding(auto) var<storage, read> kv: array<T>;         // (2, s, kv_heads, dim)
fn k_at(i: u32) -> T { return kv[i]; }
fn v_at(i: u32) -> T { return kv[p.plane + i]; }
#else
@group(0) @binding(auto) var<storage, read> k: array<T>;          // (batch, s, kv_heads, dim)
@group(0) @binding(auto) var<storage, read> v: array<T>;          // (batch, s, kv_heads, dim)
fn k_at(i: u32) -> T { return k[i]; }
fn v_at(i: u32) -> T { return v[i]; }
#endif
@group(0) @binding(auto) var<storage, read_write> o: array<T>;    // (batch, t, heads, dim)
#if !CACHED
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
#if SCALAR
  let r = (id % p.groups) * u32(WG) + lid;
  if (r >= n) { return; }
  let row = b * p.t + r / share;
  let at = (row * p.heads + kvh * share + r % share) * p.dim;
  for (var d = 0u; d < p.dim; d++) { o[at + d] = 0.0; }
  var m = NEG;
  var l = 0.0;
  for (var pass_ = 0u; pass_ < PASSES; pass_++) {
    let sp = span(row, pass_);
    for (var j = sp.x; j < sp.y; j++) {
      let kat = ((b * p.s + j) * p.kv_heads + kvh) * p.dim;
      var s = 0.0;
      for (var d = 0u; d < p.dim; d++) { s += q[at + d] * k_at(kat + d); }
      s *= p.scale * LOG2E;
      let top = max(m, s);
      let keep = exp2(m - top);
      let w = exp2(s - top);
      m = top;
      l = l * keep + w;
      for (var d = 0u; d < p.dim; d++) { o[at + d] = o[at + d] * keep + w * v_at(kat + d); }
    }
  }
  let inv = select(0.0, 1.0 / l, l > 0.0);
  for (var d = 0u; d < p.dim; d++) { o[at + d] *= inv; }
#if !CACHED
  lse[row * p.heads + kvh * share + r % share] = select(0.0, (m + log2(l)) * LN2, l > 0.0);
#endif
#else
  let base = ((id % p.groups) * u32(WG) + lid) * u32(QB);
  if (base >= n) { return; }
#repeat I QB
  // Rows beyond the edge repeat the last one and are not stored.
  let r$I = min(base + $Iu, n - 1u);
  let row$I = b * p.t + r$I / share;
  let head$I = row$I * p.heads + kvh * share + r$I % share;
  var m$I = NEG;
  var l$I = 0.0;
#repeat D D4
  let q$I_$D = q[head$I * u32(D4) + $Du] * (p.scale * LOG2E);
  var a$I_$D = vec4<f32>(0.0);
#endrepeat
#endrepeat
  for (var pass_ = 0u; pass_ < PASSES; pass_++) {
    var first = 0xffffffffu;
    var last = 0u;
#repeat I QB
    let sp$I = span(row$I, pass_);
    if (sp$I.x < sp$I.y) {
      first = min(first, sp$I.x);
      last = max(last, sp$I.y);
    }
#endrepeat
    for (var j = first; j < last; j++) {
      let kat = ((b * p.s + j) * p.kv_heads + kvh) * u32(D4);
#repeat I QB
      var s$I = 0.0;
#endrepeat
#repeat D D4
      {
        let x = k_at(kat + $Du);
#repeat I QB
        s$I += dot(q$I_$D, x);
#endrepeat
      }
#endrepeat
      var grows = false;
#repeat I QB
      let seen$I = j >= sp$I.x && j < sp$I.y;
      s$I = select(NEG, s$I, seen$I);
      grows = grows || s$I > m$I;
#endrepeat
      // A new maximum is rare after the first keys: only then are the sums scaled.
      if (grows) {
#repeat I QB
        {
          let top = max(m$I, s$I);
          let keep = exp2(m$I - top);
          m$I = top;
          l$I *= keep;
#repeat D D4
          a$I_$D *= keep;
#endrepeat
        }
#endrepeat
      }
#repeat I QB
      let w$I = select(0.0, exp2(s$I - m$I), seen$I);
      l$I += w$I;
#endrepeat
#repeat D D4
      {
        let x = v_at(kat + $Du);
#repeat I QB
        a$I_$D += w$I * x;
#endrepeat
      }
#endrepeat
    }
  }
#repeat I QB
  if (base + $Iu < n) {
    let inv = select(0.0, 1.0 / l$I, l$I > 0.0);
#repeat D D4
    o[head$I * u32(D4) + $Du] = a$I_$D * inv;
#endrepeat
#if !CACHED
    lse[head$I] = select(0.0, (m$I + log2(l$I)) * LN2, l$I > 0.0);
#endif
  }
#endrepeat
#endif
}
