// wllama (llama.cpp in wasm): ?device=webgpu puts all layers on WebGPU, ?device=wasm none; threads as it finds them.
import { Wllama } from '@wllama/wllama';

const device = new URLSearchParams(location.search).get('device') ?? 'wasm';
let llama;

async function complete(prompt, tokens) {
  const r = await llama.createCompletion({ prompt, max_tokens: tokens, temperature: 0, ignore_eos: true, cache_prompt: false, stream: false });
  return r.timings;
}

/** What llama.cpp says while it loads: the only place where it says on what it runs. */
const log = [];
const logger = Object.fromEntries(['debug', 'log', 'warn', 'error'].map((level) => [level, (...words) => void log.push(words.join(' '))]));

window.peer = {
  async load() {
    llama = new Wllama({ default: '/bench/peers/node_modules/@wllama/wllama/esm/wasm/wllama.wasm' }, { logger });
    const gguf = await (await fetch('/model.gguf')).blob();
    await llama.loadModel([gguf], { n_ctx: 1024, n_gpu_layers: device === 'webgpu' ? 999 : 0, log_level: 1 });
    await complete('Once', 2);
    const told = log.filter((l) => /offload|webgpu/i.test(l)).map((l) => l.trim().slice(0, 160));
    const layers = Number(/offloaded (\d+)\//.exec(log.join('\n'))?.[1] ?? 0);
    // Without a usable adapter it goes on in wasm, silently: that would be the other line of the table under this one's name.
    if (device === 'webgpu' && layers === 0) throw new Error(`llama.cpp put no layer on this adapter: ${log.filter((l) => /gpu|layer|adapter/i.test(l)).slice(-4).join(' / ').slice(0, 500)}`);
    return { adapter: { threads: llama.getNumThreads(), layers_on_gpu: layers, told } };
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
