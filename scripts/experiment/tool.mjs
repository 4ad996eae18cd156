// The command line as the experiment calls it, and files that are made once.

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const hash = (data) => createHash('sha256').update(data).digest('hex');
/** What an adapter is, whatever its folder is called. */
const weights = (folder) => (folder ? hash(readFileSync(join(folder, 'adapter_model.safetensors'))) : '');

export class Tool {
  constructor({ bin, model, out, device, threads }) {
    Object.assign(this, { bin, model, out });
    this.common = ['--device', device, ...(threads ? ['--threads', String(threads)] : [])];
  }

  path(name) {
    const path = join(this.out, name);
    mkdirSync(dirname(path), { recursive: true });
    return path;
  }

  run(args) {
    return new Promise((resolve, reject) => {
      execFile(this.bin, [...args, '--model', this.model, ...this.common], { maxBuffer: 1 << 30 }, (error, stdout, stderr) => {
        if (error) reject(new Error(`fledgling ${args.slice(0, 3).join(' ')} …: ${stderr.trim().split('\n').slice(-3).join(' ')}`));
        else resolve(stdout);
      });
    });
  }

  /** JSON lines of a file, which is made where it is not there, or was made of something else than `of`. It is there only when it is whole. */
  async once(name, of, make) {
    const path = this.path(name);
    const key = hash(JSON.stringify([this.model, of]));
    const known = existsSync(`${path}.of`) ? readFileSync(`${path}.of`, 'utf8') : '';
    if (!existsSync(path) || known !== key) {
      rmSync(path, { force: true });
      writeFileSync(`${path}.part`, await make());
      writeFileSync(`${path}.of`, key);
      renameSync(`${path}.part`, path);
    }
    return readFileSync(path, 'utf8')
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line));
  }

  async write(name, rows) {
    const path = this.path(name);
    writeFileSync(path, rows.map((r) => `${JSON.stringify(r)}\n`).join(''));
    return path;
  }

  /** Answers to prompts: rows with candidates. */
  async sample(name, prompts, { n, adapter, seed, sampling }) {
    return this.once(name, [prompts, n, weights(adapter), seed, sampling], async () => {
      const data = await this.write(
        `${name}.prompts`,
        prompts.map((prompt) => ({ prompt })),
      );
      const how = Object.entries(sampling).flatMap(([k, v]) => [`--${k}`, String(v)]);
      const with_ = adapter ? ['--adapter', adapter] : [];
      return this.run(['generate', '--data', data, '--chat', '--n', String(n), '--seed', String(seed), ...how, ...with_]);
    });
  }

  /** A training: what it reported, its adapter's folder and the seconds it took. */
  async tune(name, method, rows, fields, judge) {
    const more = judge ? ['--reward-model', judge] : [];
    const judged = weights(judge);
    const folder = this.path(`${name}/adapter`);
    const data = await this.write(`${name}/rows.jsonl`, rows);
    const config = this.path(`${name}/config.json`);
    writeFileSync(config, JSON.stringify(fields));
    const steps = await this.once(`${name}/steps.jsonl`, [method, rows, fields, judged], async () => {
      const begun = Date.now();
      const said = await this.run(['tune', '--method', method, '--data', data, '--out', folder, '--config', config, '--json', ...more]);
      return `${said}${JSON.stringify({ event: 'seconds', seconds: (Date.now() - begun) / 1000 })}\n`;
    });
    return { folder, steps: steps.filter((s) => s.event === 'step'), seconds: steps.find((s) => s.event === 'seconds').seconds };
  }

  /** How well a reward model's scores agree with rankings. */
  async score(name, rows, adapter) {
    const said = await this.once(name, [rows, weights(adapter)], async () => {
      const data = await this.write(`${name}.rows`, rows);
      return this.run(['score', '--data', data, '--adapter', adapter, '--json']);
    });
    const { pairs, accuracy, calibration_error } = said.at(-1);
    return { pairs, accuracy, calibration_error };
  }

  /** Perplexity of texts: exp of the mean over tokens of −ln p. */
  async perplexity(name, texts, adapter) {
    const [found] = await this.once(name, [texts, weights(adapter)], async () => {
      const data = await this.write(
        `${name}.texts`,
        texts.map((text) => ({ text })),
      );
      const out = this.path(`${name}.unused`);
      // A loss without an update.
      const with_ = adapter ? ['--init-adapter', adapter] : [];
      const said = await this.run([
        ...['tune', '--method', 'sft', '--data', data, '--out', out, '--json', '--max-steps', '1', '--learning-rate', '0'],
        ...['--per-device-train-batch-size', String(texts.length), '--lr-scheduler-type', 'constant', ...with_],
      ]);
      const step = said
        .split('\n')
        .filter(Boolean)
        .map((l) => JSON.parse(l))
        .find((l) => l.event === 'step');
      return `${JSON.stringify({ perplexity: Math.exp(step.loss), kl: step.kl })}\n`;
    });
    return found.perplexity;
  }
}
