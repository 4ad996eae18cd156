// transformers.js: ?device=webgpu|wasm&dtype=q4|fp32&threads=1, weights from /onnx/ (a folder as Hugging Face has it).
import { AutoModelForCausalLM, AutoTokenizer, env } from '@huggingface/transformers';

const q = new URLSearchParams(location.search);
env.allowRemoteModels = false;
env.allowLocalModels = true;
env.localModelPath = '/';
env.backends.onnx.wasm.wasmPaths = '/bench/peers/node_modules/onnxruntime-web/dist/';
env.backends.onnx.wasm.numThreads = Number(q.get('threads') ?? 1);
let tokenizer;
let model;

/** `at`: when the prompt was taken, and when each token was there. */
async function generate(prompt, tokens) {
  const inputs = tokenizer(prompt, { add_special_tokens: false });
  const at = [];
  const streamer = { put: () => at.push(performance.now()), end() {} };
  const begin = performance.now();
  const out = await model.generate({ ...inputs, max_new_tokens: tokens, min_new_tokens: tokens, do_sample: false, streamer });
  const seconds = (performance.now() - begin) / 1000;
  const read = inputs.input_ids.dims[1];
  return { seconds, read, made: out.dims[1] - read, at };
}

window.peer = {
  async load() {
    tokenizer = await AutoTokenizer.from_pretrained('onnx');
    model = await AutoModelForCausalLM.from_pretrained('onnx', { device: q.get('device'), dtype: q.get('dtype') });
    await generate('Once', 2);
    return { adapter: { threads: env.backends.onnx.wasm.numThreads } };
  },
  async prefill({ prompt }) {
    const { seconds, read } = await generate(prompt, 1);
    return { value: read / seconds, tokens: read };
  },
  async decode({ prompt, tokens }) {
    const { made, at } = await generate(prompt, tokens);
    return { value: ((made - 1) / (at[made] - at[1])) * 1000, tokens: made };
  },
  end: () => model?.dispose(),
};
