// wllama (llama.cpp in wasm): ?device=webgpu puts all layers on WebGPU, ?device=wasm none; ?threads=1: so many.
import { Wllama } from '@wllama/wllama';

const asked = new URLSearchParams(location.search);
const device = asked.get('device') ?? 'wasm';
const n_threads = Number(asked.get('threads') ?? 1);
let llama;

async function complete(prompt, tokens) {
  const r = await llama.createCompletion({
    prompt,
    max_tokens: tokens,
    temperature: 0,
    ignore_eos: true,
    cache_prompt: false,
    stream: false,
  });
  return r.timings;
}

const WASM = { default: '/bench/peers/node_modules/@wllama/wllama/esm/wasm/wllama.wasm' };
const layersWanted = device === 'webgpu' ? 999 : 0;

/** Layers that it puts on the GPU: only its log says so, and logging would slow it down, so that a first instance is asked. */
async function layersOnGpu(gguf) {
  const log = [];
  const logger = Object.fromEntries(
    ['debug', 'log', 'warn', 'error'].map((level) => [level, (...words) => void log.push(words.join(' '))]),
  );
  const first = new Wllama(WASM, { logger });
  await first.loadModel([gguf], { n_ctx: 1024, n_gpu_layers: layersWanted, log_level: 1 });
  await first.exit();
  return log.filter((l) => /layer +\d+ assigned to device (?!CPU)/.test(l)).length;
}

window.peer = {
  async load() {
    const gguf = await (await fetch('/model.gguf')).blob();
    const layers = layersWanted ? await layersOnGpu(gguf) : 0;
    // Without an adapter to its taste it goes on in wasm, silently: that would be the other line of the table under this one's name.
    if (layersWanted && layers === 0)
      throw new Error('llama.cpp put every layer on the processor: this adapter lacks something that it needs (shader-f16, perhaps)');
    llama = new Wllama(WASM, { suppressNativeLog: true });
    await llama.loadModel([gguf], { n_ctx: 1024, n_gpu_layers: layersWanted, n_threads });
    await complete('Once', 2);
    return { adapter: { threads: llama.getNumThreads(), layers_on_gpu: layers } };
  },
  async prefill({ prompt }) {
    const t = await complete(prompt, 1);
    return { value: t.prompt_per_second, tokens: t.prompt_n };
  },
  async decode({ prompt, tokens }) {
    const t = await complete(prompt, tokens);
    // Its clock starts behind the first token, which belongs to the prompt.
    return { value: t.predicted_per_second, tokens: t.predicted_n };
  },
  end: () => llama?.exit(),
};
