// The work of the training step, the same for everyone: 4 layers, 4 heads, width 128, context 128, batch 8, 96 symbols (0.80 M parameters).
export const GPT = { layers: 4, heads: 4, width: 128, context: 128, batch: 8, symbols: 96 };

/** The rows that fledgling's own benchmark learns: each counts up with a step of its own. */
export const row = (r) => Array.from({ length: GPT.context }, (_, t) => (5 * r + t * ((r % 7) + 1)) % GPT.symbols);
