// Speed, dispatch counts, memory and sizes in headless Chromium: a table, then one JSON object as the last line.
//   FLEDGLING_MODEL=file npm run bench
// FLEDGLING_WEBGPU=native uses the GPU at hand instead of SwiftShader; FLEDGLING_DEVICE=auto|gpu|cpu chooses the device (auto),
// FLEDGLING_THREADS how many threads the processor has (1).
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { launch } from '../tests/package/browser.mjs';
import { serve } from '../tests/package/server.mjs';

const www = fileURLToPath(new URL('..', import.meta.url));
const model = process.env.FLEDGLING_MODEL ?? join(www, '../.cache/models/SmolLM2-135M-Instruct.Q4_1.gguf');
if (!existsSync(model)) throw new Error(`${model} is missing: run \`make model\` first`);
if (!existsSync(join(www, 'dist/lib/index.js')) || !existsSync(join(www, 'pkg/fledgling_bg.wasm')))
  throw new Error('the package is not built: run `make package` first');

const device = process.env.FLEDGLING_DEVICE;
const threads = Number(process.env.FLEDGLING_THREADS ?? 1);
/** Figures of a busy machine say little: it is said how busy it was. */
const machine = () => ({ cpu: cpus()[0]?.model.trim() ?? 'unknown', cores: cpus().length, load_average: Number(loadavg()[0].toFixed(2)) });
const before = machine();
const line = (name, value, unit = '', limit = '') =>
  console.log(`${name.padEnd(46)}${String(value).padStart(14)} ${unit.padEnd(8)}${limit}`);
const gz = (f) => gzipSync(readFileSync(f), { level: 9 }).length;
/** What each kernel of a replay takes, as `fledgling bench --profile` prints it. */
function table(title, p) {
  const share = (rate, of) =>
    rate > 0
      ? `${rate.toFixed(rate < 10 ? 2 : 1).padStart(10)} ${(of === null ? '' : `(${(100 * of).toFixed(1)} %)`).padEnd(9)}`
      : ' '.repeat(20);
  console.log(
    `\n${title}: ${p.wall_ms.toFixed(3)} ms, ${p.kernels_ms.toFixed(3)} ms of it in kernels\n` +
      `         ms      %  count    GFLOP/s (of peak)      GB/s (of copy)`,
  );
  for (const k of p.kernels)
    console.log(
      `${k.ms.toFixed(3).padStart(11)}${((100 * k.ms) / p.kernels_ms).toFixed(1).padStart(7)}${String(k.count).padStart(7)} ` +
        `${share(k.gflops, k.fma_fraction)}${share(k.gbps, k.copy_fraction)}  ${k.kernel}`,
    );
  console.log(
    `between kernels ${p.between_ms.toFixed(3)} ms; ${p.dispatches} dispatches, ${p.submits} submits, ${p.allocations} buffers allocated; ` +
      `activations ${mib(p.slot_bytes)} MiB in ${p.slots} slots (${mib(p.slot_bytes_without_reuse)} without reuse)`,
  );
}
const mib = (n) => (n / 2 ** 20).toFixed(1);

const files = new Map([
  ['/bench.js', readFileSync(new URL('./page.js', import.meta.url))],
  [
    '/bench.html',
    Buffer.from('<!doctype html><title>bench</title><link rel="icon" href="data:," /><script type="module" src="/bench.js"></script>'),
  ],
]);
const server = await serve({
  root: www,
  files: new Map([...files].map(([k, v]) => [k, Buffer.from(v)])),
  mounts: { '/model.gguf': model },
});
// Chromium rounds timestamps to a tenth of a millisecond, which is longer than most kernels take.
const browser = await launch(['--disable-dawn-features=timestamp_quantization']);
let out;
try {
  const page = await browser.page(`${server.origin}/bench.html`);
  await page.waitForFunction(() => window.bench);
  const run = (name, argument) => page.evaluate(([n, a]) => window.bench[n](a), [name, argument]);

  console.log(`${before.cpu}, ${before.cores} cores, load average ${before.load_average} before`);
  const load = await run('load', { ...(device ? { device } : {}), threads });
  const { adapter } = load.info;
  const kind = `${adapter.backend}${adapter.isSoftware ? ', software' : ''}`;
  const why = adapter.reason ? `: ${adapter.reason}` : '';
  console.log(`Chromium ${browser.context.browser()?.version() ?? ''}, adapter ${adapter.name} (${kind})${why}`);
  const peaks = await run('peaks', adapter.device ?? 'auto');
  line('copy, read and written', (peaks.copy / 1e9).toFixed(1), 'GB/s');
  line('fused multiply-adds in registers', (peaks.fma / 1e9).toFixed(1), 'GFLOP/s');
  line(
    `matmul, ${peaks.n}³ f32`,
    (peaks.matmul / 1e9).toFixed(1),
    'GFLOP/s',
    `${(peaks.matmul / peaks.fma).toFixed(3)} of the multiply-adds`,
  );
  line('load, the first time (measures kernels)', load.seconds.toFixed(2), 's');
  line('load, from the browser’s storage', load.again.toFixed(2), 's');
  const tokens = await run('firstTokens');
  line('first decoded token', tokens.first.toFixed(1), 'ms');
  line('fifth', tokens.fifth.toFixed(1), 'ms', `first ÷ fifth ${(tokens.first / tokens.fifth).toFixed(2)} ≤ 1.2`);
  line('median from the fifth on', tokens.later.toFixed(1), 'ms');
  const warm = await run('warm');
  line('first prompt of 128', warm.toFixed(2), 's');
  const prefill = await run('prefill');
  line(`prefill, ${prefill.tokens} tokens`, prefill.tokensPerSecond.toFixed(1), 'tok/s', '≥ 12 on SwiftShader');
  const d1 = await run('decode', 1);
  line('decode, 64 tokens, batch 1', d1.tokensPerSecond.toFixed(2), 'tok/s', '≥ 4 on SwiftShader');
  const d4 = await run('decode', 4);
  line('decode, 64 tokens, batch 4', d4.tokensPerSecond.toFixed(2), 'tok/s');
  line('dispatches per decoded token', d1.dispatchesPerToken.toFixed(1), '', `≤ ${6 * load.info.layers + 4}`);
  line('submits per decoded token', d1.submitsPerToken.toFixed(1));
  line('buffers allocated per decoded token', d1.allocationsPerToken.toFixed(1));
  const idle = await run('memory');
  line('GPU memory, answering', mib(idle.gpuBytes), 'MiB');
  const lora = await run('lora');
  line('LoRA step, 1 × 128', lora.ms.toFixed(0), 'ms', '≤ 22000 on SwiftShader');
  line('dispatches per LoRA step', lora.dispatches, '', `≤ ${26 * load.info.layers + 20}`);
  line('submits per LoRA step', lora.submits);
  line('buffers allocated per LoRA step', lora.allocations);
  line(
    'frames meanwhile, worst lateness',
    lora.frames.worstMs.toFixed(0),
    'ms',
    `${lora.frames.above50} of ${lora.frames.frames} later than 50 ms`,
  );
  line('GPU memory, training', mib(lora.memory.gpuBytes), 'MiB');
  line('wasm memory', mib(lora.memory.wasmBytes), 'MiB');
  await run('dispose');
  const gpt = await run('gpt', adapter.device ?? 'gpu');
  line('GPT 0.80 M step, batch 8 × 128', gpt.ms.toFixed(0), 'ms', '≤ 2000 on SwiftShader');
  line('dispatches per GPT step', gpt.dispatches);
  line('submits per GPT step', gpt.submits);
  const { tokenBytes, profile } = await run('profiles', { ...peaks, device: adapter.device ?? 'auto', keys: d1.promptTokens + 32 });
  const read = tokenBytes * d1.tokensPerSecond;
  line('decode reads weights and keys at', (read / 1e9).toFixed(2), 'GB/s', `${(read / peaks.copy).toFixed(3)} of the measured copy`);

  const js = readdirSync(join(www, 'dist/lib'))
    .filter((f) => f.endsWith('.js'))
    .reduce((n, f) => n + gz(join(www, 'dist/lib', f)), gz(join(www, 'pkg/fledgling.js')));
  const wasm = gz(join(www, 'pkg/fledgling_bg.wasm'));
  line('wasm, gzip', (wasm / 1e3).toFixed(1), 'kB');
  line('JavaScript, gzip', (js / 1e3).toFixed(1), 'kB', `together ${((wasm + js) / 1e6).toFixed(2)} ≤ 1.2 MB`);

  if (profile) {
    table('prefill of 128 tokens', profile.prefill);
    table('one decoded token', profile.decode);
    table('LoRA step, 1 × 128', profile.lora);
    table('GPT step, batch 8 × 128', profile.gpt);
  } else console.log('what each kernel takes: no timestamps on this adapter');

  const after = machine();
  console.log(`load average ${after.load_average} after`);
  out = {
    where: 'browser',
    adapter: adapter.name,
    backend: adapter.backend,
    software: adapter.isSoftware,
    device: adapter.device ?? 'gpu',
    features: adapter.features,
    cpu: before.cpu,
    cores: before.cores,
    model: load.info.name,
    quantization: load.info.quantization,
    copy_gbps: peaks.copy / 1e9,
    fma_gflops: peaks.fma / 1e9,
    matmul_n: peaks.n,
    matmul_gflops: peaks.matmul / 1e9,
    matmul_fma_fraction: peaks.matmul / peaks.fma,
    prompt_length: prefill.tokens,
    new_tokens: 64,
    lora_batch: 1,
    lora_length: 128,
    load_average: [before.load_average, after.load_average],
    load_seconds: load.seconds,
    load_again_seconds: load.again,
    first_use_seconds: warm,
    prefill_tokens_per_second: prefill.tokensPerSecond,
    decode_tokens_per_second: d1.tokensPerSecond,
    decode_batch4_tokens_per_second: d4.tokensPerSecond,
    first_token_ms: tokens.first,
    fifth_token_ms: tokens.fifth,
    later_token_ms: tokens.later,
    frames_while_training: lora.frames.frames,
    worst_frame_lateness_ms: lora.frames.worstMs,
    frames_later_than_50_ms: lora.frames.above50,
    decode_bytes_per_token: tokenBytes,
    decode_gbps: read / 1e9,
    decode_bandwidth_fraction: read / peaks.copy,
    lora_first_step_ms: lora.firstMs,
    lora_step_ms: lora.ms,
    gpt_step_ms: gpt.ms,
    gpt_loss: gpt.loss,
    dispatches_per_token: d1.dispatchesPerToken,
    submits_per_token: d1.submitsPerToken,
    allocations_per_token: d1.allocationsPerToken,
    allocations_per_lora_step: lora.allocations,
    dispatches_per_lora_step: lora.dispatches,
    submits_per_lora_step: lora.submits,
    dispatches_per_gpt_step: gpt.dispatches,
    submits_per_gpt_step: gpt.submits,
    gpu_bytes: idle.gpuBytes,
    gpu_bytes_training: lora.memory.gpuBytes,
    wasm_memory_bytes: lora.memory.wasmBytes,
    wasm_gzip_bytes: wasm,
    js_gzip_bytes: js,
    profile: profile ?? 'no timestamps on this adapter',
  };
} finally {
  await browser.close();
  await server.close();
}
console.log(JSON.stringify(out));
process.exit(0);
