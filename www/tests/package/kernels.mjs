/**
 * Kernel variants that a software adapter compiles at once: `kernel` of `Model.load`. Those that run fastest there are long, unrolled texts, of which
 * each takes it seconds, and every device compiles its own; a tiny model needs none of their speed. All classes are named, so that nothing is measured.
 */
export const PLAIN = [
  'linear=reg1x1',
  // A tile as high as there are answers: what several of them need is a kernel of their own.
  'linear.m8=reg8x1',
  'linear_norm=fused',
  'linear_dx=reg4',
  'linear_dw=reg8',
  'rows=serial',
  'attention=rows1x1',
  'attention_small=rows1x1',
  'attention_dq=rows1x1',
  'attention_dkv=rows1x1',
].join();
