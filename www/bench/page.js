// Measures in the page; `window.bench` holds one function per figure so that the table fills line by line.
import { Model, SFTTrainer } from '/dist/lib/index.js';

let model;
const delta = (a, b) => ({
  dispatches: b.dispatches - a.dispatches,
  submits: b.submits - a.submits,
  allocations: b.allocations - a.allocations,
});
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

/** The wasm module itself, for what the package has no words for. It opens a device of its own. */
async function engine() {
  const wasm = await import('/pkg/fledgling.js');
  await wasm.default();
  return wasm;
}

window.bench = {
  /** The most that the device reaches, and what the layers' matmul makes of it, per second; `timed`: kernels can be timed one by one. */
  async peaks(device) {
    const bench = await (await engine()).DeviceBench.open(device);
    const on = bench.info();
    const n = on.isSoftware || on.device === 'cpu' ? 512 : 4096;
    const found = {
      copy: await bench.copy(),
      fma: await bench.fma(),
      matmul: await bench.matmul(n),
      n,
      timed: on.device === 'cpu' || on.features.includes('timestamp-query'),
    };
    bench.free();
    return found;
  },
  /** What each kernel takes, of the model and of the small GPT; and the bytes that a token behind `keys` others reads. */
  async profiles({ device, keys, fma, copy, timed }) {
    const wasm = await engine();
    const loader = await wasm.ModelLoader.open({ device });
    const file = await fetch('/model.gguf');
    loader.begin('model.gguf', Number(file.headers.get('content-length') ?? 0));
    for await (const chunk of file.body) loader.push(chunk);
    loader.end();
    const own = await loader.finish();
    const tokenBytes = own.token_bytes(keys);
    if (!timed) return { tokenBytes };
    const profile = await own.profile(Uint32Array.from(ids(128, 9)), fma, copy);
    const args = { learning_rate: 1e-4, max_steps: 4, adapter_name: 'bench', max_length: 128, peft_config: { r: 8, lora_alpha: 16 } };
    const trainer = await own.trainer('sft', args, [{ input_ids: ids(128, 0) }]);
    profile.lora = await trainer.profile(fma, copy);
    trainer.free();
    own.free();
    const gpt = await wasm.GptBench.create(device);
    profile.gpt = await gpt.profile(fma, copy);
    gpt.free();
    return { tokenBytes, profile };
  },
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
    const long = await run(64);
    // What one more token costs: the difference between a short and a longer run of the same prompt, once the cache is as large as it gets here.
    const [short, longer] = n === 1 ? [await run(8), await run(24)] : [long, long];
    const each = (key) => (longer[key] - short[key]) / 16;
    const tokens = long.all.reduce((k, c) => k + c.tokenIds.length, 0);
    // The first token of each belongs to the prefill.
    return {
      tokens,
      promptTokens: long.all[0].promptTokens,
      tokensPerSecond: (tokens - n) / long.all[0].seconds.decode,
      dispatchesPerToken: each('dispatches'),
      submitsPerToken: each('submits'),
      allocationsPerToken: each('allocations'),
    };
  },
  async lora() {
    const times = [];
    const counts = [];
    let t = performance.now();
    let c = await model.counters();
    const trainer = new SFTTrainer(model, {
      learningRate: 1e-4,
      maxSteps: 4,
      adapterName: 'bench',
      maxLength: 128,
      peftConfig: { r: 8, loraAlpha: 16 },
    });
    let pending = Promise.resolve();
    const seen = await frames(() =>
      trainer.train([{ inputIds: ids(128, 0) }], {
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
      }),
    );
    await pending;
    const memory = await model.memory();
    await trainer.dispose();
    await model.removeAdapter('bench');
    // The first step records the plan and compiles the pipelines.
    const steps = counts.slice(1);
    const count = (key) => median(steps.map((c) => c[key]));
    return {
      ms: median(times.slice(1)),
      firstMs: times[0],
      dispatches: count('dispatches'),
      submits: count('submits'),
      allocations: count('allocations'),
      memory,
      frames: seen,
    };
  },
  memory: () => model.memory(),
  dispose: () => model.dispose(),
  /** Full training of a small GPT, straight on the wasm module. */
  async gpt(device) {
    const gpt = await (await engine()).GptBench.create(device);
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
