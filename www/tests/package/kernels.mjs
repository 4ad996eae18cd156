// Kernel variants that a software adapter compiles at once. Those that run fastest there are long, unrolled texts, of which each takes it seconds, and
// every device compiles its own. All classes are named, so that nothing is measured.

/** As `kernel` of `Model.load`. */
const listed = (kernels) =>
  Object.entries(kernels)
    .map(([c, variant]) => `${c}=${variant}`)
    .join();

/** Of those that are measured on a software adapter, the short ones: fast enough for a real model. */
export const SHORT = {
  'linear.m1': 'reg8x8',
  'linear.m8': 'reg8x8',
  'linear.big': 'reg8x8',
  linear_norm: 'fused',
  linear_dx: 'reg8',
  rows: 'serial',
  attention: 'rows8x8',
  attention_small: 'rows1x8',
  attention_dq: 'rows8x8',
  attention_dkv: 'rows8x8',
};
export const SHORT_LISTED = listed(SHORT);

/** The shortest, for a tiny model. */
export const PLAIN = listed({
  linear: 'reg1x1',
  // A tile as high as there are answers: what several of them need is a kernel of their own.
  'linear.m8': 'reg8x1',
  linear_norm: 'fused',
  linear_dx: 'reg4',
  linear_dw: 'reg8',
  rows: 'serial',
  attention: 'rows1x1',
  attention_small: 'rows1x1',
  attention_dq: 'rows1x1',
  attention_dkv: 'rows1x1',
});
