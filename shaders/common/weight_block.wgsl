// Scales and high bits of 32 values of a type of blocks (weights.wgsl has the rest), read from the binding W_WORDS: array<u32>. Include it after the
// bindings.
#if WT == Q4 || WT == Q8
#define W_BLOCK vec2<f32>
// (d, m) of 32 values, `at` being the number of the block.
fn w_scale_at(at: u32) -> vec2<f32> { return unpack2x16float(W_WORDS[p.s_off + at]); }
#else
#ifdef W_SIXTEENS
#define W_SCALES vec4<f32>
#else
#define W_SCALES vec2<f32>
#endif
#define W_BLOCK W32
// s: (d, m) of 32 values, or of their two halves one after the other; h: their high bits.
struct W32 {
  s: W_SCALES,
#if W_HIGH == 2
  h: vec2<u32>,
#else
  h: u32,
#endif
}
// Two bytes of scales, signed, from bit 0 on.
fn w_signed2(v: u32) -> vec2<f32> { return vec2<f32>(vec2<i32>(bitcast<i32>(v << 24u), bitcast<i32>(v << 16u)) >> vec2<u32>(24u)); }

#ifdef W_LONG
// What belongs to all of a block of 256: its first word, and the factors of its scales and minima.
struct WLong { r: u32, d: vec2<f32> }
fn w_long_at(block: u32) -> WLong {
  let r = p.s_off + block * u32(W_RECORD);
  return WLong(r, unpack2x16float(W_WORDS[r]));
}
#endif
#if W_LONG && BLOCKS
// Where the scales of a part stand in their word, for kernels that take whole blocks: the same for all rows. Nothing is shifted; what a scale is too
// large by, x is made smaller by. Bytes with a sign are made unsigned by adding 128, but the topmost.
#if WT == Q2K
#define W_PAIR vec4
#else
#define W_PAIR vec2
#endif
struct WPlace {
  word: u32, flip: u32,
  mask: W_PAIR<u32>, offset: W_PAIR<f32>,
  x: vec2<f32>,   // of the products of sixteen values, and the next
  sums: vec2<f32>, // of their sums of x
}
fn w_place(part: u32) -> WPlace {
#if WT == IQ4X
  let odd = (part & 1u) == 1u;
  let upper = (part & 2u) == 2u;
  let first = select(0xffu, 0xff00u, odd);
  let factor = select(1.0, 0x1p-8, odd) * select(1.0, 0x1p-16, upper);
  let top = odd && upper;
  return WPlace(1u + (part >> 2u), select(0x808080u, 0u, top), vec2<u32>(select(first, first * 0x10000u, upper), 0u),
    vec2<f32>(select(-128.0 / factor, 0.0, top), 0.0), vec2<f32>(factor), vec2<f32>(0.0));
#else
  let odd = (part & 1u) == 1u;
  let word = 1u + (part >> 1u);
#if WT == Q4K || WT == Q5K
  return WPlace(word, 0u, select(vec2<u32>(0xffu, 0xff00u), vec2<u32>(0xff0000u, 0xff000000u), odd), vec2<f32>(0.0),
    select(vec2<f32>(1.0), vec2<f32>(0x1p-16), odd), select(vec2<f32>(-0x1p-8), vec2<f32>(-0x1p-24), odd));
#elif WT == Q2K
  return WPlace(word, 0x80000000u,
    select(vec4<u32>(0xfu, 0xf0u, 0xf00u, 0xf000u), vec4<u32>(0xf0000u, 0xf00000u, 0xf000000u, 0xf0000000u), odd),
    vec4<f32>(0.0, 0.0, 0.0, select(0.0, 0x1p31, odd)),
    select(vec2<f32>(1.0, 0x1p-8), vec2<f32>(0x1p-16, 0x1p-24), odd), select(vec2<f32>(-0x1p-4, -0x1p-12), vec2<f32>(-0x1p-20, -0x1p-28), odd));
#else
  let factor = select(vec2<f32>(1.0, 0x1p-8), vec2<f32>(0x1p-16, 0x1p-24), odd);
  return WPlace(word, select(0x8080u, 0x800000u, odd), select(vec2<u32>(0xffu, 0xff00u), vec2<u32>(0xff0000u, 0xff000000u), odd),
    select(vec2<f32>(-0x1p7, -0x1p15), vec2<f32>(-0x1p23, 0.0), odd), factor, factor);
#endif
#endif
}
struct WPart {
  s: W_PAIR<f32>,
#if W_HIGH == 2
  h: vec2<u32>,
#else
  h: u32,
#endif
}
fn w_part(long: WLong, part: u32, at: WPlace) -> WPart {
  let v = W_WORDS[long.r + at.word] ^ at.flip;
#if WT == Q2K
  var s = vec4<f32>(vec4<i32>(vec4<u32>(v) & at.mask));
  s.w += at.offset.w;
#elif WT == Q4K || WT == Q5K
  let s = vec2<f32>(vec2<i32>(vec2<u32>(v) & at.mask));
#elif WT == IQ4X
  let s = vec2<f32>(f32(i32(v & at.mask.x)) + at.offset.x, 0.0);
#else
  let s = vec2<f32>(vec2<i32>(vec2<u32>(v) & at.mask)) + at.offset;
#endif
#if W_HIGH == 2
  return WPart(s, vec2<u32>(W_WORDS[long.r + 5u + 2u * part], W_WORDS[long.r + 6u + 2u * part]));
#elif W_HIGH == 1
  return WPart(s, W_WORDS[long.r + 5u + part]);
#else
  return WPart(s, 0u);
#endif
}
#endif

// `at` is the number of 32 values.
fn w_scale_at(at: u32) -> W32 {
#ifdef W_LONG
  let r = p.s_off + (at >> 3u) * u32(W_RECORD);
  let part = at & 7u;
#else
  let r = p.s_off + at * u32(W_RECORD);
#endif
#if WT == Q5
  return W32(unpack2x16float(W_WORDS[r]), W_WORDS[r + 1u]);
#elif WT == IQ4
  return W32(vec2<f32>(unpack2x16float(W_WORDS[r]).x, 0.0), 0u);
#elif WT == MX4
  return W32(vec2<f32>(bitcast<f32>(W_WORDS[r]), 0.0), 0u);
#elif WT == IQ4X
  let d = unpack2x16float(W_WORDS[r]).x;
  let v = W_WORDS[r + 1u + (part >> 2u)] >> ((part & 3u) << 3u);
  return W32(vec2<f32>(d * w_signed2(v).x, 0.0), 0u);
#else
  let d = unpack2x16float(W_WORDS[r]);
  let v = W_WORDS[r + 1u + (part >> 1u)] >> ((part & 1u) << 4u);
#if WT == Q4K || WT == Q5K
  let s = vec2<f32>(d.x * f32(i32(v & 0xffu)), -(d.y * f32(i32((v >> 8u) & 0xffu))));
#elif WT == Q2K
  let sm = vec4<f32>(vec4<i32>(vec4<u32>(v, v >> 4u, v >> 8u, v >> 12u) & vec4<u32>(15u)));
  let s = vec4<f32>(d.x * sm.x, -(d.y * sm.y), d.x * sm.z, -(d.y * sm.w));
#else
  let ds = d.x * w_signed2(v);
#if WT == Q3K
  let s = vec4<f32>(ds.x, -4.0 * ds.x, ds.y, -4.0 * ds.y);
#else
  let s = vec4<f32>(ds.x, -32.0 * ds.x, ds.y, -32.0 * ds.y);
#endif
#endif
#if W_HIGH == 2
  return W32(s, vec2<u32>(W_WORDS[r + 5u + 2u * part], W_WORDS[r + 6u + 2u * part]));
#elif W_HIGH == 1
  return W32(s, W_WORDS[r + 5u + part]);
#else
  return W32(s, 0u);
#endif
#endif
}
// (d, m) of group g of eight values.
fn w_pair(b: W32, g: u32) -> vec2<f32> {
#ifdef W_SIXTEENS
  return select(b.s.xy, b.s.zw, (g & 2u) != 0u);
#else
  return b.s;
#endif
}
// The integers of group g as bytes, four in each word; q is the word of the first plane that has them.
fn w_lanes(q: u32, b: W32, g: u32) -> vec2<u32> {
#if W_LOW == 2
  let at = (g & 1u) << 2u;
  var v = vec2<u32>(q >> at, q >> (at + 2u)) & vec2<u32>(0x03030303u);
#else
  var v = vec2<u32>(q, q >> 4u) & vec2<u32>(0x0f0f0f0fu);
#endif
#if W_HIGH == 2
  let h = select(b.h.x, b.h.y, (g & 2u) != 0u);
  let bit = (g & 1u) << 2u;
  v |= (vec2<u32>(h >> bit, h >> (bit + 2u)) & vec2<u32>(0x03030303u)) << vec2<u32>(u32(W_LOW));
#elif W_HIGH == 1
  let bit = (g & 3u) << 1u;
  v |= (vec2<u32>(b.h >> bit, b.h >> (bit + 1u)) & vec2<u32>(0x01010101u)) << vec2<u32>(u32(W_LOW));
#endif
  return v;
}
#endif
