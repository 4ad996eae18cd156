// Eight consecutive weights of a row, unpacked in registers. WT is the `define` of a row of tensor/packing: F32, F16, BF16, or a type of blocks.
// Blocks are two planes (Blocks::pack says how bits lie in them): of p.k values a row, the low bits of all integers, and from word p.s_off on a
// record of each block, its scales and then the high bits. A type of blocks says here
//   W_LOW, W_RECORD     words that 32 values have in the first plane; words of a record
//   W_LONG              a block is 256 values, not 32
//   W_SIXTEENS          every sixteen values have a scale (and minimum) of their own
//   W_TABLE             integers pick from a table
// and in weight_block.wgsl how scales are read. Everything else follows:
//   w_scale(row, b) → scales and high bits of 32 values;   w_load8(row, g, scales) → elements 8g…8g+3 and 8g+4…8g+7, d·q + m.
// The binding `w` is array<vec4<f32>> for F32, array<vec4<u32>> for F16 and BF16, array<u32> for blocks.
// Integers go to float through i32: the unsigned conversion is slow on processors. They are masked where they stand and scaled by a power of
// two, which is exact: SwiftShader shifts lane by lane.
#if WT == F32
#define W_TYPE vec4<f32>
#elif WT == F16 || WT == BF16
#define W_TYPE vec4<u32>
#else
#define W_TYPE u32
#define W_BLOCKS 1
#endif

#if WT == Q8
#define W_LOW 8
#define W_RECORD 1
#elif WT == Q2K
#define W_LOW 2
#define W_RECORD 5
#define W_LONG 1
#define W_SIXTEENS 1
#elif WT == Q3K
#define W_LOW 2
#define W_RECORD 13
#define W_LONG 1
#define W_SIXTEENS 1
#define W_HIGH 1
#elif WT == Q4K
#define W_LOW 4
#define W_RECORD 5
#define W_LONG 1
#elif WT == Q5K
#define W_LOW 4
#define W_RECORD 13
#define W_LONG 1
#define W_HIGH 1
#elif WT == Q6K
#define W_LOW 4
#define W_RECORD 21
#define W_LONG 1
#define W_SIXTEENS 1
#define W_HIGH 2
#elif WT == Q5
#define W_LOW 4
#define W_RECORD 2
#define W_HIGH 1
#elif WT == IQ4 || WT == MX4
#define W_LOW 4
#define W_RECORD 1
#define W_TABLE 1
#elif WT == IQ4X
#define W_LOW 4
#define W_RECORD 3
#define W_LONG 1
#define W_TABLE 1
#else
#define W_LOW 4
#define W_RECORD 1
#endif

#ifdef W_BLOCKS
#if WT == Q4
fn q4x4(q: u32) -> vec4<f32> {
  return vec4<f32>(vec4<i32>(vec4<u32>(q) & vec4<u32>(0xfu, 0xf00u, 0xf0000u, 0xf000000u))) * vec4<f32>(1.0, 0x1p-8, 0x1p-16, 0x1p-24);
}
#elif WT == Q8
// Three bytes are made unsigned by adding 128; the fourth keeps its sign.
fn q8x4(q: u32) -> vec4<f32> {
  let bytes = vec4<u32>(q ^ 0x808080u) & vec4<u32>(0xffu, 0xff00u, 0xff0000u, 0xff000000u);
  return vec4<f32>(vec4<i32>(bytes)) * vec4<f32>(1.0, 0x1p-8, 0x1p-16, 0x1p-24) - vec4<f32>(128.0, 128.0, 128.0, 0.0);
}
#else
// Four bytes below 128, where they stand.
fn w_bytes(q: u32) -> vec4<f32> {
  return vec4<f32>(vec4<i32>(vec4<u32>(q) & vec4<u32>(0xffu, 0xff00u, 0xff0000u, 0xff000000u)));
}
const W_PLACES = vec4<f32>(1.0, 0x1p-8, 0x1p-16, 0x1p-24);
// What four integers stand for.
fn w_ints(q: u32) -> vec4<f32> {
#if WT == IQ4 || WT == IQ4X
  // The sixteen values of the table are a polynomial, rounded: it is off by 0.433 at most.
  let x = w_bytes(q) * W_PLACES;
  return floor((((0.001586043 * x + 0.03108644) * x - 1.371927) * x + 24.17383) * x - 126.06701);
#elif WT == MX4
  // 0, 1, 2, 3, 4, 6, 8, 12 and a sign: a polynomial, too, off by 0.215 at most.
  let x = w_bytes(q) * W_PLACES;
  let below = floor(x * 0.125);
  let a = x - 8.0 * below;
  return floor(((0.05238095 * a - 0.3714286) * a + 1.747619) * a + 0.2857143) * (1.0 - 2.0 * below);
#else
  return w_bytes(q) * W_PLACES;
#endif
}
#endif
#endif
#if WT == BF16
fn bf16x4(a: u32, b: u32) -> vec4<f32> {
  return vec4<f32>(bitcast<f32>(a << 16u), bitcast<f32>(a & 0xffff0000u), bitcast<f32>(b << 16u), bitcast<f32>(b & 0xffff0000u));
}
#endif
