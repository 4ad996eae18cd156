// What the tiled attention kernels of real GPUs share; after attention_io.wgsl. UNITS is p.dim as a constant (fours of channels of a head).
// A workgroup of 128 threads owns 32 rows (or 32 keys) and walks over keys (rows) a tile at a time. In the first half of a round it makes the
// tile of scores in workgroup memory, 32 threads side by side on what it owns; in the second half UNITS threads lie side by side along the
// channels and add the tile's product up in registers. What it owns is kept in workgroup memory with one unit between rows, against
// bank conflicts; what it walks over is read by all threads at once.
const STRIDE: u32 = u32(UNITS) + 1u;
const GROUPS: u32 = 128u / u32(UNITS); // threads on one channel
const EACH: u32 = 32u / GROUPS;   // owned rows per thread in the second half: UNITS / 4
var<workgroup> shared_limits: vec2<u32>;
// (first, last) as thread 0 has it, with first ≤ last.
fn limits(first: u32, last: u32, lid: u32) -> vec2<u32> {
  workgroupBarrier();
  if (lid == 0u) { shared_limits = vec2<u32>(min(first, last), last); }
  return workgroupUniformLoad(&shared_limits);
}
