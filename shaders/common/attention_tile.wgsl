// What the tiled attention kernels of real GPUs share; after attention_io.wgsl. UNITS is p.dim as a constant (fours of channels of a head), EACH
// a quarter of it: the owned rows or keys per thread in the second half.
// A workgroup of 128 threads owns 32 rows (or 32 keys) and walks over keys (rows) a tile at a time. In the first half of a round it makes the
// tile of scores in workgroup memory, 32 threads side by side on what it owns; in the second half UNITS threads lie side by side along the
// channels and add the tile's product up in registers. What it owns is kept in workgroup memory with one unit between rows, against
// bank conflicts; what it walks over is read by all threads at once.
const STRIDE: u32 = u32(UNITS) + 1u;
var<workgroup> ranges: array<vec2<u32>, 32>; // what rows see
var<workgroup> shared_limits: vec2<u32>;
// From the first to behind the last key that any of 32 rows sees, `sp` being what the row of this thread (lid % 32) sees. Barriers may stand in a
// loop over them: they are read in a way that every thread is known to see the same.
fn limits(sp: vec2<u32>, lid: u32) -> vec2<u32> {
  workgroupBarrier(); // those of the pass before have been read
  if (lid < 32u) { ranges[lid] = sp; }
  workgroupBarrier();
  if (lid == 0u) {
    var first = 0xffffffffu;
    var last = 0u;
    for (var i = 0u; i < 32u; i++) {
      let s = ranges[i];
      first = min(first, select(first, s.x, s.y > 0u));
      last = max(last, select(0u, s.x + s.y, s.y > 0u));
    }
    shared_limits = vec2<u32>(min(first, last), last);
  }
  return workgroupUniformLoad(&shared_limits);
}
