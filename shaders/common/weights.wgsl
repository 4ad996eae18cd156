// Eight consecutive weights of a row, unpacked in registers. WT is F32, F16, BF16, Q4 or Q8; the layouts are those of
// graph::pack_rows. The weight binding is `w`: array<vec4<f32>> for F32, array<vec4<u32>> for F16 and BF16, array<u32> for Q4 and Q8.
//   w_scale(row, block) → (d, m) of a block of 32 (Q4, Q8);   w_lo / w_hi(row, g, scale) → elements 8g…8g+3 and 8g+4…8g+7.
// p.k is the row length, p.s_off the first word of the scale plane. Integers go to float through i32: the unsigned conversion is slow on processors.
// They are masked where they stand and scaled by a power of two, which is exact: SwiftShader shifts lane by lane.
#if WT == F32
#define W_TYPE vec4<f32>
#elif WT == F16 || WT == BF16
#define W_TYPE vec4<u32>
#else
#define W_TYPE u32
#endif

#if WT == Q4 || WT == Q8
#define W_BLOCKS 1
fn q4x4(q: u32) -> vec4<f32> {
  return vec4<f32>(vec4<i32>(vec4<u32>(q) & vec4<u32>(0xfu, 0xf00u, 0xf0000u, 0xf000000u))) * vec4<f32>(1.0, 0x1p-8, 0x1p-16, 0x1p-24);
}
// Three bytes are made unsigned by adding 128; the fourth keeps its sign.
fn q8x4(q: u32) -> vec4<f32> {
  let bytes = vec4<u32>(q ^ 0x808080u) & vec4<u32>(0xffu, 0xff00u, 0xff0000u, 0xff000000u);
  return vec4<f32>(vec4<i32>(bytes)) * vec4<f32>(1.0, 0x1p-8, 0x1p-16, 0x1p-24) - vec4<f32>(128.0, 128.0, 128.0, 0.0);
}
#endif
#if WT == BF16
fn bf16x4(a: u32, b: u32) -> vec4<f32> {
  return vec4<f32>(bitcast<f32>(a << 16u), bitcast<f32>(a & 0xffff0000u), bitcast<f32>(b << 16u), bitcast<f32>(b & 0xffff0000u));
}
#endif
