// SmolLM2-135M against PyTorch's numbers (tests/fixtures/smollm2), in the browser, through the installed package: the same
// comparisons as tests/real makes natively.
import { readFileSync } from 'node:fs';
import { equal, ok, test } from './check.mjs';
import { SHORT_LISTED } from './kernels.mjs';

const fixture = (name) => readFileSync(new URL(`../../../tests/fixtures/smollm2/${name}`, import.meta.url));
const LAYERS = 30;
/** Module, inputs, outputs, in the order in which PEFT meets them. */
const MODULES = [
  ['self_attn.q_proj', 576, 576],
  ['self_attn.k_proj', 576, 192],
  ['self_attn.v_proj', 576, 192],
  ['self_attn.o_proj', 576, 576],
  ['mlp.gate_proj', 576, 1536],
  ['mlp.up_proj', 576, 1536],
  ['mlp.down_proj', 1536, 576],
];

/** `torch.manual_seed(seed)` on a CPU: MT19937, 24 bits a number. */
function torchRandom(seed) {
  const state = new Uint32Array(624);
  state[0] = seed;
  for (let i = 1; i < 624; i++) state[i] = Math.imul(1812433253, state[i - 1] ^ (state[i - 1] >>> 30)) + i;
  let at = 624;
  return () => {
    if (at === 624) {
      for (let k = 0; k < 624; k++) {
        const y = (state[k] & 0x80000000) | (state[(k + 1) % 624] & 0x7fffffff);
        state[k] = state[(k + 397) % 624] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
      }
      at = 0;
    }
    let y = state[at++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return ((y ^ (y >>> 18)) >>> 0) & 0xffffff;
  };
}

/** The adapter of step 0 as a PEFT folder: what `get_peft_model` draws after `torch.manual_seed(42)`, B zero. */
function initialAdapter(r, alpha) {
  const random = torchRandom(42);
  const kaiming = (n, fanIn) => {
    const bound = Math.fround(Math.sqrt(3) * (Math.sqrt(2 / 6) / Math.sqrt(fanIn)));
    return Float32Array.from({ length: n }, () => (random() / 2 ** 24) * (2 * bound) - bound);
  };
  const header = {};
  const parts = [];
  let offset = 0;
  const add = (name, shape, values) => {
    header[name] = { dtype: 'F32', shape, data_offsets: [offset, offset + values.byteLength] };
    offset += values.byteLength;
    parts.push(Buffer.from(values.buffer));
  };
  for (let layer = 0; layer < LAYERS; layer++) {
    for (const [module, inputs, outputs] of MODULES) {
      // torch.nn.Linear initializes both of its weights first; PEFT then draws A again and zeroes B.
      kaiming(r * inputs, inputs);
      kaiming(r * outputs, r);
      const path = `base_model.model.model.layers.${layer}.${module}`;
      add(`${path}.lora_A.weight`, [r, inputs], kaiming(r * inputs, inputs));
      add(`${path}.lora_B.weight`, [outputs, r], new Float32Array(outputs * r));
    }
  }
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  const targets = MODULES.map(([m]) => m.split('.').pop());
  return {
    config: JSON.stringify({ peft_type: 'LORA', task_type: 'CAUSAL_LM', r, lora_alpha: alpha, target_modules: targets }),
    weights: Buffer.concat([length, text, ...parts]),
  };
}

/** One F32 tensor of a safetensors file. */
function tensor(file, name) {
  const n = Number(file.readBigUInt64LE(0));
  const {
    dtype,
    data_offsets: [from, to],
  } = JSON.parse(file.subarray(8, 8 + n).toString())[name];
  equal(dtype, 'F32', `${name}: dtype`);
  return new Float32Array(new Uint8Array(file.subarray(8 + n + from, 8 + n + to)).buffer);
}

const worst = (a, b) => a.reduce((m, v, i) => Math.max(m, Math.abs(v - b[i])), 0);

/** @param {{page: import('playwright-core').Page, address: string, files: Map<string, Buffer>, device: 'gpu' | 'cpu'}} o */
export async function realTests({ page, address, files, device }) {
  const oracle = JSON.parse(fixture('greedy.json'));
  const lora = JSON.parse(fixture('lora.json'));
  const value = async (body, argument) => {
    const r = await page.evaluate(`window.t.run('real', ${body.toString()}, ${JSON.stringify(argument)})`);
    ok(r.ok, `${r.code}: ${r.message}`);
    return r.value;
  };
  const options = { device, cache: 'refresh', ...(device === 'gpu' ? { kernel: SHORT_LISTED } : {}) };
  const loaded = await page.evaluate(([a, o]) => window.t.load('real', a, o), [address, options]);
  ok(loaded.ok, `${loaded.code}: ${loaded.message}`);
  equal(loaded.info.adapter.device, device, 'device');
  console.log(`      SmolLM2 on ${loaded.info.adapter.name}`);

  await test(`SmolLM2 on the ${device}: the chat answer is the oracle’s, token for token`, async () => {
    const r = await value(async (m) => m.chat([{ role: 'user', content: 'What is the capital of France?' }], { maxNewTokens: 64 }).result);
    equal(r.tokenIds, oracle.chat_greedy_ids, 'tokens');
    equal(r.text, 'The capital of France is Paris.', 'text');
    equal(r.promptTokens, oracle.chat_ids.length, 'prompt tokens');
  });

  await test(`SmolLM2 on the ${device}: log-likelihoods and logits of the 128-token prompt`, async () => {
    const r = await value(async (m, _, ids) => {
      const s = await m.score(ids, { positions: [0, 127] });
      return { ...s, logits: s.logits.map((l) => Array.from(l)) };
    }, oracle.prompt128_ids);
    equal(r.logprobs.length, oracle.nll_per_token.length, 'count');
    const nll = worst(
      r.logprobs.map((l) => -l),
      oracle.nll_per_token,
    );
    const file = fixture('logits_prompt128.safetensors');
    const logits = ['logits_pos0', 'logits_last'].map((name, i) => worst(r.logits[i], tensor(file, name)));
    console.log(`      largest differences: nll ${nll.toFixed(5)}, logits ${logits.map((v) => v.toFixed(5)).join(' and ')}`);
    ok(nll <= 0.01, `nll_per_token differs by ${nll}`);
    ok(Math.max(...logits) <= 0.02, `logits differ by ${logits}`);
  });

  await test(`SmolLM2 on the ${device}: the continuation follows the oracle up to its first near-tie`, async () => {
    const near = oracle.prompt128_top3.findIndex(([a, b]) => a[1] - b[1] < 0.05);
    const until = near < 0 ? oracle.prompt128_greedy_ids.length : near;
    const r = await value(async (m, _, a) => m.generate(a.ids, { maxNewTokens: a.until }).result, {
      ids: oracle.prompt128_ids,
      until: Math.max(until, 1),
    });
    equal(r.tokenIds.slice(0, until), oracle.prompt128_greedy_ids.slice(0, until), 'tokens');
    console.log(`      ${until} tokens, decode ${((r.tokenIds.length - 1) / r.seconds.decode).toFixed(1)} tok/s`);
  });

  await test(`SmolLM2 on the ${device}: two LoRA steps have PyTorch and PEFT’s losses`, async () => {
    const start = initialAdapter(8, 16);
    files.set('/m/start.safetensors', start.weights);
    const losses = await value(
      async (m, fledgling, a) => {
        const weights = new Uint8Array(await (await fetch('/m/start.safetensors')).arrayBuffer());
        await m.loadAdapter({ 'adapter_config.json': a.config, 'adapter_model.safetensors': weights }, 'start');
        const trainer = new fledgling.SFTTrainer(m, {
          learningRate: a.lr,
          maxSteps: 2,
          lrSchedulerType: 'constant',
          weightDecay: 0,
          maxGradNorm: 0,
          shuffle: false,
          adapterName: 'start',
        });
        const steps = [];
        await trainer.train([{ inputIds: a.ids }], { onStep: (s) => steps.push(s) });
        await trainer.dispose();
        return steps.map((s) => ({ loss: s.loss, norm: s.grad_norm, seconds: 128 / s.tokens_per_second }));
      },
      { config: start.config, lr: lora.lr, ids: lora.ids },
    );
    equal(losses.length, 2, 'steps');
    for (const [i, { loss, norm, seconds }] of losses.entries()) {
      const error = Math.abs(loss - lora.losses[i]) / lora.losses[i];
      console.log(
        `      step ${i + 1}: loss ${loss.toFixed(6)} (PyTorch ${lora.losses[i].toFixed(6)}), ` +
          `gradient norm ${norm.toFixed(5)} (${lora.grad_norms[i].toFixed(5)}), ${seconds.toFixed(1)} s`,
      );
      ok(error <= 1e-3, `step ${i + 1}: loss ${loss} instead of ${lora.losses[i]}`);
      ok(
        Math.abs(norm - lora.grad_norms[i]) <= 1e-3 * lora.grad_norms[i],
        `step ${i + 1}: gradient norm ${norm} instead of ${lora.grad_norms[i]}`,
      );
    }
  });

  if (device === 'gpu')
    await test('SmolLM2 on the gpu: the wasm heap never held the model', async () => {
      const { wasmBytes } = await value(async (m) => m.memory());
      ok(wasmBytes < 68 * 2 ** 20, `the wasm heap grew to ${wasmBytes} bytes`);
    });
  await page.evaluate(() => window.t.dispose('real'));
}
