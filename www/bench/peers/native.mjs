// fledgling's processor against PyTorch, Transformers and PEFT on the same one, taking turns: a table, then one line of JSON.
//   node native.mjs <python>       PEERS_ROUNDS (3)
import { execFileSync } from 'node:child_process';
import { cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const [python] = process.argv.slice(2);
const rounds = Number(process.env.PEERS_ROUNDS ?? 3);
const WORK = {
  prefill_tokens_per_second: ['prefill, 128 tokens', 'tok/s'],
  decode_tokens_per_second: ['decode, 64 tokens', 'tok/s'],
  lora_step_ms: ['LoRA step, 1 × 128', 'ms'],
  gpt_step_ms: ['GPT step, 8 × 128', 'ms'],
};

/** What a command prints last, as an object. */
function last(command, args) {
  const out = execFileSync(command, args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 1 << 24 });
  return JSON.parse(out.trim().split('\n').pop());
}

const ours = () =>
  last(join(root, 'target/release/fledgling'), ['--device', 'cpu', 'bench', '--random', 'smollm2', '--only', 'prefill,decode,lora,gpt']);
const theirs = () =>
  last(python, [
    join(root, 'tests/oracle/speed_torch.py'),
    '--only',
    'prefill,decode,lora,gpt',
    '--device',
    'cpu',
    '--threads',
    String(cpus().length),
    '--steps',
    '5',
  ]);
const median = (v) => v.toSorted((a, b) => a - b)[v.length >> 1];
const load = [loadavg()[0]];
const runs = { ours: [], torch: [] };
for (let i = 0; i < rounds; i++) {
  runs.ours.push(ours());
  runs.torch.push(theirs());
  console.log(`  round ${i + 1} of ${rounds}`);
}
load.push(loadavg()[0]);
const { torch, transformers, peft, threads } = runs.torch[0];
const adapter = runs.ours[0].adapter;
console.log(
  `${adapter}; PyTorch ${torch}, Transformers ${transformers}, PEFT ${peft}, ${threads} threads; ` +
    `load average ${load.map((v) => v.toFixed(2)).join(' before, ')} after`,
);
console.log(`${''.padEnd(28)}${'ours'.padStart(12)}${'PyTorch'.padStart(12)}   ours is … times as fast`);
const rows = Object.entries(WORK).map(([key, [name, unit]]) => {
  const [a, b] = ['ours', 'torch'].map((who) => median(runs[who].map((r) => r[key])));
  const faster = unit === 'ms' ? b / a : a / b;
  console.log(`${`${name} (${unit})`.padEnd(28)}${a.toFixed(1).padStart(12)}${b.toFixed(1).padStart(12)}   ${faster.toFixed(2)}`);
  return { work: key, ours: a, torch: b, faster, ours_runs: runs.ours.map((r) => r[key]), torch_runs: runs.torch.map((r) => r[key]) };
});
console.log(
  JSON.stringify({
    where: 'native',
    adapter,
    cpu: cpus()[0]?.model.trim(),
    cores: cpus().length,
    load_average: load,
    torch,
    transformers,
    peft,
    threads,
    rounds,
    rows,
  }),
);
