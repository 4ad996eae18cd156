// fledgling, on the device that the address names (?device=gpu|cpu), with so many threads (?threads=1) for prompts and answers; training and matmul run on one.
import { Model } from '/dist/lib/index.js';

const asked = new URLSearchParams(location.search);
const device = asked.get('device') ?? 'gpu';
const threads = Number(asked.get('threads') ?? 1);
let model;
let gpt;
let bench;

async function wasm() {
  const module = await import('/pkg/fledgling.js');
  await module.default();
  return module;
}

/** An English text of exactly `tokens` tokens that begins with another word each round, so that nobody's cache helps. */
async function text(tokens, round) {
  const words = 'the sea was calm and the keeper of the light wrote down what the wind had told him about ships that never came home'.split(
    ' ',
  );
  let out = `Round ${round}:`;
  for (let i = 0; (await model.countTokens(`${out} ${words[(i + round * 5) % words.length]}`)) <= tokens; i++)
    out += ` ${words[(i + round * 5) % words.length]}`;
  return out;
}

window.peer = {
  async load() {
    model = await Model.load('/model.gguf', { device, threads });
    await model.generate('Once', { maxNewTokens: 2, ignoreEos: true }).result;
    return { adapter: model.info.adapter }; // whose name says how many threads there are
  },
  text,
  /** Tokens per second of a prompt. */
  async prefill({ prompt }) {
    const r = await model.generate(prompt, { maxNewTokens: 1, ignoreEos: true }).result;
    return { value: r.promptTokens / r.seconds.prefill, tokens: r.promptTokens };
  },
  async decode({ prompt, tokens }) {
    const r = await model.generate(prompt, { maxNewTokens: tokens, ignoreEos: true, temperature: 0 }).result;
    return { value: (r.tokenIds.length - 1) / r.seconds.decode, tokens: r.tokenIds.length };
  },
  async gpt({ steps }) {
    if (!gpt) {
      gpt = await (await wasm()).GptBench.create(device);
      await gpt.step();
    }
    const times = [];
    let last;
    for (let i = 0; i < steps; i++) {
      const begin = performance.now();
      last = await gpt.step();
      times.push(performance.now() - begin);
    }
    return { value: Math.min(...times), loss: last.loss };
  },
  async matmul({ n }) {
    bench ??= await (await wasm()).DeviceBench.open(device);
    return { value: (await bench.matmul(n)) / 1e9 };
  },
  async end() {
    await model?.dispose();
  },
};
