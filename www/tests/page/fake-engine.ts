// An engine without a GPU for the fast tests of the page: the package's interface, answers made by rule. It is named only
// by Vite's mode "test" (see vite.config.ts) and is in no build that ships.
import { FledglingError } from '../../src/lib/errors.ts';
import { Stream } from '../../src/lib/stream.ts';
import type * as Api from '../../src/lib/index.ts';

export { FledglingError, Stream };
// Rows are read and written by the real engine, which needs no GPU for it.
import { rankingToPairs, readRows, writeRows } from '../../src/lib/rows.ts';
export { rankingToPairs, readRows, writeRows };
export type * from '../../src/lib/types.ts';
export { cachedModels, deleteCachedModel } from '../../src/lib/cache.ts';

/** What the page asked of the engine, for tests that care. */
const calls: { what: string; seed?: number | undefined; adapter?: string | null | undefined; name?: string }[] = ((
  globalThis as { fledglingCalls?: typeof calls }
).fledglingCalls = []);

/** Set by a test before the page starts. */
export interface FakeOptions {
  webgpu?: boolean;
  /** Milliseconds for each piece of text and each training step. */
  pieceMs?: number;
  stepMs?: number;
  /** Milliseconds for each token that is only read. */
  readMs?: number;
  /** Characters of prompt that fit the context. */
  contextChars?: number;
  /** Milliseconds for each tenth of a file. */
  loadMs?: number;
  /** A file whose load goes on until it is cancelled. */
  holdLoad?: string;
  /** Does not heed being stopped. */
  deaf?: 'answering' | 'learning';
  /** The device for which there is none, and from which load on. */
  noDevice?: { device: string; from: number };
  /** How many times in all it fails there, in place of once in every run from its beginning. */
  failTimes?: number;
  /** Training step before which the engine fails, and the code it fails with. */
  failAt?: number;
  failCode?: string;
}
const options: FakeOptions = (globalThis as { fledglingFake?: FakeOptions }).fledglingFake ?? {};
const sleep = (ms: number, signal?: AbortSignal): Promise<void> =>
  new Promise((resolve, reject) => {
    const t = setTimeout(resolve, ms);
    signal?.addEventListener('abort', () => (clearTimeout(t), reject(new FledglingError('aborted', 'stopped'))), { once: true });
  });

const description: Api.AdapterDescription = { name: 'Test adapter', vendor: 'test', backend: 'none', isSoftware: true, features: [] };

export async function capabilities(): Promise<Api.Capabilities> {
  return options.webgpu === false
    ? { webgpu: false, reason: 'navigator.gpu is missing in this browser.' }
    : { webgpu: true, adapter: description };
}

const VOICES = ['Certainly. ', 'In short: ', 'Well, ', 'Here is one way to see it. ', 'Put simply, ', 'Let me think. '];
const SAYING = 'Small birds learn to fly by trying, resting and trying again. ';
const tail = (prompt: string, i: number): string =>
  `${VOICES[i % VOICES.length]}you asked “${prompt.slice(0, 60)}”. ${SAYING.repeat(1 + ((i * 7) % 3))}`.trim();

export async function measureDevice(o: Api.MeasureOptions = {}): Promise<Api.DeviceFigures> {
  const device = o.device === 'cpu' || options.webgpu === false ? 'cpu' : 'gpu';
  const all: Api.DeviceFigures = {
    adapter: { ...description, device, isSoftware: device === 'gpu', ...(o.device === 'auto' ? { reason: 'made up' } : {}) },
    matmulGflops: 12.5,
    gptStepMs: 1234,
    fmaGflops: 230,
    copyGBps: 20.25,
  };
  o.onFigure?.({ matmulGflops: all.matmulGflops });
  await sleep(options.stepMs ?? 2, o.signal);
  return all;
}

let kills = 0;
/** A test kills the engine from outside, as a crash does. */
let present: Model | null = null;
Object.assign(globalThis, { fledglingKill: (code: string): void => void (present && (present.gone = code)) });

export class Model {
  readonly info: Api.ModelInfo;
  #adapters = new Map<string, Api.AdapterFiles>();
  #active: string | null = null;
  busy = false;
  #dieAfter: { code: string; pieces: number } | null = null;
  gone: string | null = null;
  /** Ends whatever waits for a model that is taken away. */
  readonly ending = new AbortController();

  private constructor(name: string, bytes: number, sha256: string) {
    this.info = {
      name,
      architecture: 'llama',
      parameters: 134_515_008,
      layers: 30,
      hiddenSize: 576,
      contextLength: 2048,
      vocabSize: 49152,
      quantization: 'Q4_1',
      fileBytes: bytes,
      gpuBytes: 131_000_000,
      wasmBytes: 9_400_000,
      sha256,
      adapter: description,
      mask: 'causal',
      targetModules: ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'],
    };
  }

  static async load(source: Api.ModelSource, o: Api.LoadOptions = {}): Promise<Model> {
    const name = o.name ?? 'model';
    let total = 98_000_000;
    let sha256 = 'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53';
    calls.push({ what: 'load', name });
    if (options.noDevice?.device === (o.device ?? 'auto') && calls.filter((c) => c.what === 'load').length >= options.noDevice.from)
      throw new FledglingError('webgpu-unavailable', 'no graphics adapter was found');
    const sha = async (b: Blob): Promise<string> =>
      Array.from(new Uint8Array(await crypto.subtle.digest('SHA-256', await b.arrayBuffer())), (v) => v.toString(16).padStart(2, '0')).join(
        '',
      );
    if (Array.isArray(source)) {
      const files = source as File[];
      const want = ['config.json', 'tokenizer.json', 'model.safetensors'];
      if (!want.every((w) => files.some((f) => f.name === w))) throw new FledglingError('bad-file', `${name}: expected ${want.join(', ')}`);
      total = files.reduce((n, f) => n + f.size, 0);
      sha256 = await sha(files.at(-1)!);
    } else if (source instanceof Blob) {
      total = source.size;
      sha256 = await sha(source);
      const magic = new TextDecoder().decode(await source.slice(0, 4).arrayBuffer());
      if (magic !== 'GGUF')
        throw new FledglingError('bad-file', `${name}: expected the magic bytes "GGUF" at byte 0, found ${JSON.stringify(magic)}`);
    } else if (String(source).includes('wrong-architecture')) {
      throw new FledglingError('unsupported-architecture', `${name}: general.architecture is "mamba"; expected llama, qwen2 or qwen3`);
    } else {
      // A real request, so that the policy of the page applies to it as to the real engine's.
      const response = await fetch(String(source), { headers: { Range: 'bytes=0-3' } }).catch((e: Error) => {
        throw new FledglingError('network', `${String(source)}: ${e.message}`);
      });
      if (!response.ok) throw new FledglingError('network', `${String(source)}: the server answered ${response.status}`);
    }
    for (let i = 0; i <= 10; i++) {
      o.onProgress?.({ status: i === 0 ? 'download' : i === 10 ? 'done' : 'progress', file: name, loaded: (total * i) / 10, total });
      await sleep(name.replace(/\.gguf$/, '') === options.holdLoad ? 60_000 : (options.loadMs ?? 5), o.signal ?? undefined);
    }
    return (present = new Model(name, total, sha256));
  }

  alive(): void {
    if (this.gone) throw new FledglingError(this.gone, `the engine is gone: ${this.gone}`);
  }

  #check(messages: readonly Api.Message[]): string {
    this.alive();
    if (this.busy) throw new FledglingError('busy', 'the model is training');
    // A question can kill the engine, the first so many times, after so many pieces: "kill: device-lost 2 after 5".
    const fatal = /^kill: ([a-z-]+)(?: (\d+))?(?: after (\d+))?/.exec(messages.at(-1)?.content ?? '');
    if (fatal && kills < Number(fatal[2] ?? Infinity)) {
      kills++;
      if (fatal[3]) this.#dieAfter = { code: fatal[1]!, pieces: Number(fatal[3]) };
      else {
        this.gone = fatal[1]!;
        this.alive();
      }
    }
    const length = messages.reduce((n, m) => n + m.content.length, 0);
    const most = options.contextChars ?? 8000;
    if (length > most) throw new FledglingError('context-overflow', `the prompt has ${length} tokens, the context holds ${most}`);
    return messages.at(-1)?.content ?? '';
  }

  #answer(prompt: string, i: number, o: Api.GenerateOptions): { text: string; adapter: string | null } {
    const adapter = o.adapter === undefined ? this.#active : o.adapter;
    if (i === 0) calls.push({ what: 'answer', seed: o.seed, adapter });
    if (adapter !== null && !this.#adapters.has(adapter)) throw new FledglingError('bad-adapter', `no adapter "${adapter}" is loaded`);
    // What is learnt shows: an adapter answers briefly.
    return { text: adapter === null ? tail(prompt, i) : `Briefly (${i + 1}): ${prompt.slice(0, 40)}`, adapter };
  }

  async #speak(
    prompt: string,
    n: number,
    o: Api.GenerateOptions,
    push: (e: Api.CandidateEvent) => void,
    signal: AbortSignal,
  ): Promise<Api.Candidate[]> {
    const all = Array.from({ length: n }, (_, i) => this.#answer(prompt, i, o));
    const said = all.map(() => '');
    const words = all.map((a) => a.text.split(/(?<= )/));
    const longest = Math.max(...words.map((w) => w.length));
    for (let k = 0; k < longest && !(signal.aborted && options.deaf !== 'answering'); k++) {
      if (this.#dieAfter && k >= this.#dieAfter.pieces) {
        this.gone = this.#dieAfter.code;
        this.alive();
      }
      if (this.gone) this.alive();
      words.forEach((w, i) => {
        if (k >= w.length) return;
        said[i] += w[k]!;
        push({ index: i, text: w[k]!, done: k === w.length - 1 });
      });
      await sleep(options.pieceMs ?? 2);
    }
    return all.map((a, i) => ({
      text: said[i]!,
      tokenIds: words[i]!.map((_, k) => k),
      logprobs: words[i]!.map(() => -0.5),
      finishReason: signal.aborted ? 'abort' : 'stop',
      seconds: { prefill: 0.1, decode: 0.5 },
      topLogprobs: [],
      score: null,
      promptTokens: prompt.length,
      adapter: a.adapter,
    }));
  }

  chat(messages: readonly Api.Message[], o: Api.GenerateOptions = {}): Stream<string, Api.Candidate> {
    return new Stream(async (push, signal) => (await this.#speak(this.#check(messages), 1, o, (e) => push(e.text), signal))[0]!, o.signal);
  }

  generateCandidates(
    messages: readonly Api.Message[],
    o: Api.GenerateOptions & { n: number },
  ): Stream<Api.CandidateEvent, Api.Candidate[]> {
    return new Stream(async (push, signal) => this.#speak(this.#check(messages), o.n, o, push, signal), o.signal);
  }

  async score(ids: readonly number[]): Promise<{ logprobs: number[] }> {
    this.alive();
    calls.push({ what: 'score' });
    await sleep(ids.length * (options.readMs ?? 0.2));
    return { logprobs: ids.map(() => -1) };
  }

  async saveAdapter(name?: string): Promise<Api.AdapterFiles> {
    this.alive();
    const files = this.#adapters.get(name ?? this.#active ?? '');
    if (!files) throw new FledglingError('bad-adapter', `no adapter "${name}" is loaded`);
    return files;
  }
  async loadAdapter(files: Api.AdapterFiles, name: string): Promise<Api.AdapterInfo> {
    const config = JSON.parse(files['adapter_config.json']) as { peft_type?: string; r?: number };
    if (config.peft_type !== 'LORA')
      throw new FledglingError('bad-adapter', `adapter_config.json: peft_type is ${JSON.stringify(config.peft_type)}; expected "LORA"`);
    // Made for another model: its base is named in the config.
    const base = (config as { base_model_name_or_path?: string }).base_model_name_or_path;
    if (base && base !== this.info.name && base.startsWith('only-'))
      throw new FledglingError('bad-adapter', `${name} was made for ${base}`);
    this.#adapters.set(name, files);
    return {
      name,
      active: false,
      peftType: 'LORA',
      numVirtualTokens: 0,
      r: config.r ?? 8,
      loraAlpha: 16,
      mask: 'causal',
      targetModules: [],
      scores: 0,
      parameters: 1,
      bytes: files['adapter_model.safetensors'].byteLength,
    };
  }
  async setAdapter(name: string): Promise<void> {
    if (!this.#adapters.has(name)) throw new FledglingError('bad-adapter', `no adapter "${name}" is loaded`);
    this.#active = name;
  }
  async disableAdapter(): Promise<void> {
    this.#active = null;
  }
  async removeAdapter(name: string): Promise<void> {
    this.#adapters.delete(name);
    if (this.#active === name) this.#active = null;
  }
  async adapters(): Promise<Api.AdapterInfo[]> {
    return [...this.#adapters].map(([name, f]) => ({
      name,
      active: name === this.#active,
      peftType: 'LORA',
      numVirtualTokens: 0,
      r: 8,
      loraAlpha: 16,
      mask: 'causal',
      targetModules: [],
      scores: 0,
      parameters: 1,
      bytes: f['adapter_model.safetensors'].byteLength,
    }));
  }
  async memory(): Promise<Api.Memory> {
    this.alive();
    return { gpuBytes: this.info.gpuBytes + 1e7 * this.#adapters.size, wasmBytes: this.info.wasmBytes };
  }
  async dispose(): Promise<void> {
    this.gone ??= 'disposed';
    this.ending.abort();
  }
}

let fails = 0;

class Trainer<
  Row extends Api.SFTRow | Api.DPORow | Api.UnpairedRow | Api.RewardRow | Api.PromptRow,
  Args extends Omit<Api.TrainArgs, 'reportKl'>,
> {
  #paused: Promise<void> | null = null;
  #go: () => void = () => {};
  #stopped: () => void = () => {};
  #step = 0;
  protected method: Api.MethodName = 'sft';
  constructor(
    readonly model: Model,
    readonly args: Args,
  ) {}

  async train(rows: readonly Row[], o: Api.TrainOptions = {}): Promise<Api.TrainResult> {
    const { args, model } = this;
    if (args.learningRate === 0.666) throw new FledglingError('not-finite', 'step 1: the loss is NaN');
    // A ranking trains as its pairs.
    const count = async (): Promise<number> =>
      (await writeRows(rows as readonly (Api.SFTRow | Api.DPORow | Api.UnpairedRow)[])).split('\n').length - 1;
    const totalSteps = args.maxSteps && args.maxSteps > 0 ? args.maxSteps : Math.ceil((await count()) * (args.numTrainEpochs ?? 3));
    if (args.resumeFrom) this.#step = (JSON.parse(new TextDecoder().decode(args.resumeFrom)) as { step: number }).step;
    const name = args.adapterName ?? 'default';
    model.busy = true;
    try {
      while (this.#step < totalSteps) {
        await sleep(options.stepMs ?? 10, options.deaf === 'learning' ? model.ending.signal : (o.signal ?? undefined)).catch(
          (e: unknown) => {
            model.alive();
            throw e;
          },
        );
        model.alive();
        if (options.failAt === this.#step + 1 && (options.failTimes === undefined ? !args.resumeFrom : fails++ < options.failTimes)) {
          if (['device-lost', 'worker-failed', 'internal'].includes(options.failCode!)) model.gone = options.failCode!;
          throw new FledglingError(
            options.failCode!,
            options.failCode === 'bad-row' ? 'row 1: the chosen answer is empty' : `step ${options.failAt} failed: ${options.failCode}`,
          );
        }
        if (this.#paused) {
          this.#stopped();
          model.busy = false;
          await Promise.race([
            this.#paused,
            new Promise((_, reject) =>
              model.ending.signal.addEventListener('abort', () => reject(new FledglingError('disposed', 'the model was disposed of'))),
            ),
            new Promise((_, reject) =>
              o.signal?.addEventListener('abort', () => reject(new FledglingError('aborted', 'training was aborted')), { once: true }),
            ),
          ]);
          model.busy = true;
        }
        const step = ++this.#step;
        const t = step / totalSteps;
        const margin = 2.4 * t * t + 0.1 * Math.sin(step * 1.7) * t;
        o.onStep?.({
          step,
          totalSteps,
          epoch: t * (args.numTrainEpochs ?? 3),
          loss: this.method !== 'sft' ? Math.log1p(Math.exp(-margin)) : 2.2 - 1.5 * t + 0.12 * Math.sin(step * 2.1),
          learning_rate: (args.learningRate ?? 1e-4) * (1 - t),
          grad_norm: 1.2 - 0.6 * t,
          tokens: step * 64,
          entropy: 2.4 - 0.3 * t,
          tokens_per_second: 38 + 4 * Math.sin(step),
          seconds_left: ((totalSteps - step) * (options.stepMs ?? 10)) / 1000,
          ...(this.method !== 'sft'
            ? {
                'rewards/chosen': margin * 0.6,
                'rewards/rejected': -margin * 0.4,
                'rewards/margins': margin,
                'rewards/accuracies': Math.min(1, 0.5 + t),
                'logps/chosen': -12 + margin,
                'logps/rejected': -20 - margin,
                kl: margin / 12,
              }
            : { kl: 0.02 * t }),
        });
        if (o.saveSteps && step % o.saveSteps === 0) o.onCheckpoint?.(await this.saveCheckpoint());
      }
    } finally {
      this.#stopped();
      model.busy = false;
      if (!model.gone) await this.#keep(name);
    }
    return { steps: totalSteps, trainLoss: 0.4, seconds: 1, adapter: name, stoppedEarly: false };
  }
  async #keep(name: string): Promise<void> {
    const { r = 8, loraAlpha = 16 } = this.args.peftConfig ?? {};
    const config = JSON.stringify(
      {
        base_model_name_or_path: this.model.info.name,
        lora_alpha: loraAlpha,
        peft_type: 'LORA',
        r,
        target_modules: this.model.info.targetModules,
        task_type: 'CAUSAL_LM',
      },
      null,
      2,
    );
    await this.model.loadAdapter(
      { 'adapter_config.json': config, 'adapter_model.safetensors': new Uint8Array(4096).fill(this.#step) },
      name,
    );
  }
  async pause(): Promise<void> {
    this.#paused = new Promise((resolve) => (this.#go = resolve));
    // When the step under way has ended.
    if (this.model.busy) await new Promise<void>((resolve) => (this.#stopped = resolve));
  }
  async resume(): Promise<void> {
    this.#paused = null;
    this.#go();
  }
  async dispose(): Promise<void> {}
  async saveCheckpoint(): Promise<Uint8Array<ArrayBuffer>> {
    return new TextEncoder().encode(JSON.stringify({ step: this.#step }));
  }
}

export class SFTTrainer extends Trainer<Api.SFTRow, Api.SFTArgs> {}
export class DPOTrainer extends Trainer<Api.DPORow, Api.DPOArgs> {
  protected override method = 'dpo' as const;
}
export class KTOTrainer extends Trainer<Api.UnpairedRow, Api.KTOArgs> {
  protected override method = 'kto' as const;
}
export class ORPOTrainer extends Trainer<Api.DPORow, Api.ORPOArgs> {
  protected override method = 'orpo' as const;
}
export class CPOTrainer extends Trainer<Api.DPORow, Api.CPOArgs> {
  protected override method = 'cpo' as const;
}
export class RewardTrainer extends Trainer<Api.RewardRow, Api.RewardArgs> {
  protected override method = 'reward' as const;
}
export class GRPOTrainer extends Trainer<Api.PromptRow, Api.GRPOArgs> {
  protected override method = 'grpo' as const;
}
export class RLOOTrainer extends Trainer<Api.PromptRow, Api.RLOOArgs> {
  protected override method = 'rloo' as const;
}
export class OnlineDPOTrainer extends Trainer<Api.PromptRow, Api.OnlineDPOArgs> {
  protected override method = 'online_dpo' as const;
}
export class PPOTrainer extends Trainer<Api.PromptRow, Api.PPOArgs> {
  protected override method = 'ppo' as const;
}
export const TRAINERS = {
  sft: SFTTrainer,
  dpo: DPOTrainer,
  kto: KTOTrainer,
  orpo: ORPOTrainer,
  cpo: CPOTrainer,
  reward: RewardTrainer,
  grpo: GRPOTrainer,
  rloo: RLOOTrainer,
  online_dpo: OnlineDPOTrainer,
  ppo: PPOTrainer,
} as const;
