// Made from the table of stored types: UPDATE=1 cargo test --test generated

/** What float weights can be made into: a type, or a mix of llama.cpp's. */
export const STORED_TYPES = [
  'f32',
  'f16',
  'bf16',
  'q4_0',
  'q4_1',
  'q5_0',
  'q5_1',
  'q8_0',
  'q2_k',
  'q3_k',
  'q4_k',
  'q5_k',
  'q6_k',
  'iq4_nl',
  'iq4_xs',
  'mxfp4',
  'q3_k_s',
  'q3_k_m',
  'q3_k_l',
  'q4_k_s',
  'q4_k_m',
  'q5_k_s',
  'q5_k_m',
] as const;

export type StoredType = (typeof STORED_TYPES)[number];
