// Measures in the page; `window.bench` holds one function per figure so that the table fills line by line.
import { Model, SFTTrainer } from '/dist/lib/index.js';

let model;
const delta = (a, b) => ({ dispatches: b.dispatches - a.dispatches, submits: b.submits - a.submits });
const median = (v) => v.toSorted((a, b) => a - b)[v.length >> 1];

/** Token ids without meaning, which no other seed shares a beginning with. */
const ids = (n, seed) => Array.from({ length: n }, (_, i) => 100 + (((i + 1) * 7919 + seed * 104729) % 20000));

/** How late frames were while something ran: what lies between two, less the 16.7 ms that do at 60 Hz. The engine is in a Worker, this is the page. */
async function frames(during) {
  const late = [];
  let before = performance.now();
  let on = true;
  const frame = () => {
    const now = performance.now();
    late.push(now - before - 1000 / 60);
    before = now;
    if (on) requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
  await during();
  on = false;
  return { frames: late.length, worstMs: Math.max(0, ...late), above50: late.filter((l) => l > 50).length };
}

window.bench = {
  /** `again`: the file comes from the browser's storage, the kernel choices from an earlier load. */
  async load(o) {
    const start = performance.now();
    model = await Model.load('/model.gguf', o);
    const first = (performance.now() - start) / 1000;
    await model.dispose();
    const second = performance.now();
    model = await Model.load('/model.gguf', o);
    return { seconds: first, again: (performance.now() - second) / 1000, info: model.info };
  },
  /** The very first answer: milliseconds of its first decoded token (the one behind the prefill's), of its fifth, and of the median of its later ones. */
  async firstTokens() {
    const at = [];
    const messages = [{ role: 'user', content: 'Write a long story about a lighthouse keeper and the sea.' }];
    for await (const _ of model.chat(messages, { temperature: 0, maxNewTokens: 24, ignoreEos: true })) at.push(performance.now());
    const each = at.slice(1).map((t, i) => t - at[i]);
    return { first: each[0], fifth: each[4], later: median(each.slice(4)) };
  },
  /** The first use of a prompt of 128; it is reported on its own. */
  async warm() {
    const start = performance.now();
    await model.generate(ids(128, 1), { maxNewTokens: 2, ignoreEos: true }).result;
    return (performance.now() - start) / 1000;
  },
  async prefill() {
    const runs = [];
    for (let i = 0; i < 3; i++) {
      // Another first token: nothing of the key-value cache can be reused.
      const r = await model.generate(ids(128, i + 2), { maxNewTokens: 1, ignoreEos: true }).result;
      runs.push(r.promptTokens / r.seconds.prefill);
    }
    return { tokens: 128, tokensPerSecond: median(runs) };
  },
  async decode(n) {
    const messages = [{ role: 'user', content: 'Write a long story about a lighthouse keeper and the sea.' }];
    const o = { n, temperature: n > 1 ? 0.8 : 0, seed: 1, ignoreEos: true };
    const run = async (maxNewTokens) => {
      const before = await model.counters();
      const all = await model.generateCandidates(messages, { ...o, maxNewTokens }).result;
      return { all, ...delta(before, await model.counters()) };
    };
    await run(3);
    // What one more token costs: the difference between a short and a long run of the same prompt.
    const short = await run(8);
    const long = await run(64);
    const tokens = long.all.reduce((k, c) => k + c.tokenIds.length, 0);
    // The first token of each belongs to the prefill.
    return {
      tokens, tokensPerSecond: (tokens - n) / long.all[0].seconds.decode,
      dispatchesPerToken: (long.dispatches - short.dispatches) / 56, submitsPerToken: (long.submits - short.submits) / 56,
    };
  },
  async lora() {
    const times = [];
    const counts = [];
    let t = performance.now();
    let c = await model.counters();
    const trainer = new SFTTrainer(model, { learningRate: 1e-4, maxSteps: 4, adapterName: 'bench', maxLength: 128, peftConfig: { r: 8, loraAlpha: 16 } });
    let pending = Promise.resolve();
    const seen = await frames(() => trainer.train([{ inputIds: ids(128, 0) }], {
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
    }));
    await pending;
    const memory = await model.memory();
    await trainer.dispose();
    await model.removeAdapter('bench');
    // The first step records the plan and compiles the pipelines.
    const steps = counts.slice(1);
    return { ms: median(times.slice(1)), firstMs: times[0], dispatches: median(steps.map((c) => c.dispatches)), submits: median(steps.map((c) => c.submits)), memory, frames: seen };
  },
  memory: () => model.memory(),
  dispose: () => model.dispose(),
  /** Full training of a small GPT, straight on the wasm module. */
  async gpt(device) {
    const wasm = await import('/pkg/fledgling.js');
    await wasm.default();
    const gpt = await wasm.GptBench.create(device);
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
