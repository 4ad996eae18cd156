// Measures in the page; `window.bench` holds one function per figure so that the table fills line by line.
import { Model, SFTTrainer } from '/dist/lib/index.js';

let model;
const delta = (a, b) => ({ dispatches: b.dispatches - a.dispatches, submits: b.submits - a.submits });
const median = (v) => v.toSorted((a, b) => a - b)[v.length >> 1];

/** A text of exactly `n` tokens. */
async function textOf(n) {
  const words = 'The quick brown fox jumps over the lazy dog while seven ships sail slowly past the old harbour and '.repeat(Math.ceil(n / 8)).split(' ');
  let [low, high] = [1, words.length];
  while (low < high) {
    const mid = (low + high) >> 1;
    if ((await model.countTokens(words.slice(0, mid).join(' '))) < n) low = mid + 1;
    else high = mid;
  }
  let text = words.slice(0, low).join(' ');
  while ((await model.countTokens(text)) > n) text = text.slice(0, -1);
  return text;
}

window.bench = {
  async load() {
    const start = performance.now();
    model = await Model.load('/model.gguf', { cache: false });
    return { seconds: (performance.now() - start) / 1000, info: model.info };
  },
  /** The first use compiles pipelines and measures kernel variants; it is reported on its own. */
  async warm() {
    const prompt = await textOf(128);
    const start = performance.now();
    await model.generate(prompt, { maxNewTokens: 2 }).result;
    return (performance.now() - start) / 1000;
  },
  async prefill() {
    const prompt = await textOf(128);
    const runs = [];
    let tokens = 0;
    for (let i = 0; i < 3; i++) {
      // Another first word: nothing of the key-value cache can be reused.
      const r = await model.generate(`${i}${prompt.slice(1)}`, { maxNewTokens: 1 }).result;
      tokens = r.promptTokens;
      runs.push(tokens / r.seconds.prefill);
    }
    return { tokens, tokensPerSecond: median(runs) };
  },
  async decode(n) {
    const messages = [{ role: 'user', content: 'Write a long story about a lighthouse keeper and the sea.' }];
    const o = { n, maxNewTokens: 64, temperature: n > 1 ? 0.8 : 0, seed: 1 };
    await model.generateCandidates(messages, { ...o, maxNewTokens: 3 }).result;
    const before = await model.counters();
    let last;
    let started;
    const stream = model.generateCandidates(messages, o);
    for await (const _ of stream) {
      started ??= await model.counters();
      last = performance.now();
    }
    const all = await stream.result;
    const after = await model.counters();
    const tokens = all.reduce((k, c) => k + c.tokenIds.length, 0);
    // The first token of each belongs to the prefill.
    const steps = Math.max(...all.map((c) => c.tokenIds.length)) - 1;
    const d = delta(started, after);
    return { tokens, tokensPerSecond: (tokens - n) / all[0].seconds.decode, steps, dispatchesPerToken: d.dispatches / steps, submitsPerToken: d.submits / steps, all: delta(before, after), last };
  },
  async lora() {
    const ids = [];
    for (let i = 0; i < 128; i++) ids.push(100 + ((i * 7919) % 20000));
    const times = [];
    const counts = [];
    let t = performance.now();
    let c = await model.counters();
    const trainer = new SFTTrainer(model, { learningRate: 1e-4, maxSteps: 4, adapterName: 'bench', maxLength: 128, peftConfig: { r: 8, loraAlpha: 16 } });
    let pending = Promise.resolve();
    await trainer.train([{ inputIds: ids }], {
      onStep: () => {
        const now = performance.now();
        times.push(now - t);
        t = now;
        pending = pending.then(async () => {
          const next = await model.counters();
          counts.push(delta(c, next));
          c = next;
        });
      },
    });
    await pending;
    const memory = await model.memory();
    await trainer.dispose();
    await model.removeAdapter('bench');
    // The first step records the plan and compiles the pipelines.
    return { ms: median(times.slice(1)), firstMs: times[0], counts, memory };
  },
  memory: () => model.memory(),
  dispose: () => model.dispose(),
  /** Full training of a small GPT, straight on the wasm module. */
  async gpt() {
    const wasm = await import('/pkg/fledgling.js');
    await wasm.default();
    const gpt = await wasm.GptBench.create();
    const times = [];
    let last;
    for (let i = 0; i < 6; i++) {
      const start = performance.now();
      last = await gpt.step();
      times.push(performance.now() - start);
    }
    const r = { ms: median(times.slice(1)), firstMs: times[0], ...last };
    gpt.free();
    return r;
  },
};
