// The largest value of a row and where it is; of equal values the lowest index. Include it after reduce.wgsl.
struct Best { v: f32, i: u32 }
fn better(a: Best, b: Best) -> Best {
  if (b.v > a.v || (b.v == a.v && b.i < a.i)) { return b; }
  return a;
}
#if SERIAL
fn row_best(b: Best, lid: u32) -> Best { return b; }
#else
var<workgroup> red_i: array<u32, WG>;
fn row_best(b: Best, lid: u32) -> Best {
  red[lid] = b.v;
  red_i[lid] = b.i;
  workgroupBarrier();
  for (var s = u32(WG) / 2u; s > 0u; s /= 2u) {
    if (lid < s) {
      let r = better(Best(red[lid], red_i[lid]), Best(red[lid + s], red_i[lid + s]));
      red[lid] = r.v;
      red_i[lid] = r.i;
    }
    workgroupBarrier();
  }
  let r = Best(red[0], red_i[0]);
  workgroupBarrier();
  return r;
}
#endif
