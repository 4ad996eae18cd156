// The engine behind the facade: this very class runs in the Worker (exposed by comlink) or in the page. It holds the
// wasm model, drives generation token by token and training step by step, and looks for a cancel between any two.
import { transfer } from 'comlink';
import { breathe } from './breathe.ts';
import { readNote, writeNote } from './cache.ts';
import { capabilities } from './capabilities.ts';
import { aborted, FledglingError, toFledglingError, toWire, type WireError } from './errors.ts';
import { Jobs } from './jobs.ts';
import { beginning, feed, partsOf, REFUSED, type Fed, type Part, type Sink } from './loader.ts';
import { pieces } from './pieces.ts';
import { threadsFor } from './threads.ts';
import type {
  AdapterDescription,
  AdapterFiles,
  AdapterInfo,
  Candidate,
  CandidateEvent,
  Counters,
  Device,
  DeviceFigures,
  KvCacheDtype,
  Memory,
  Message,
  MethodName,
  ModelInfo,
  PreferenceRow,
  Progress,
  ReadLine,
  Score,
  StepMetrics,
  StoredType,
  TrainResult,
} from './types.ts';
import {
  loadWasm,
  type Loaded,
  type WasmModel,
  type WasmModule,
  type WasmRequest,
  type WasmScoreRequest,
  type WasmTrainer,
} from './wasm.ts';

/** What a running job reports to the facade. */
export type EngineEvent =
  | { type: 'progress'; progress: Progress }
  | { type: 'warning'; error: WireError }
  | { type: 'token'; event: CandidateEvent }
  | { type: 'step'; metrics: StepMetrics }
  | { type: 'checkpoint'; bytes: Uint8Array }
  | { type: 'figure'; figures: Partial<DeviceFigures> }
  | { type: 'rows'; rows: ReadLine[] };

export type Emit = (job: number, event: EngineEvent) => unknown;

export interface EngineLoad {
  cache: boolean | 'refresh';
  sha256?: string | undefined;
  name?: string | undefined;
  contextLength?: number | undefined;
  kvCacheDtype?: KvCacheDtype | undefined;
  quantize?: StoredType | undefined;
  candidates?: number | undefined;
  kernel?: string | undefined;
  device?: Device | undefined;
  threads?: number | undefined;
}

/** Which device was faster here, of the processor with so many threads: measured once, because measuring takes seconds. */
interface Judged {
  device: Exclude<Device, 'auto'>;
  reason: string;
}

export interface EngineTrain {
  method: MethodName;
  args: object;
  rows: object[];
  adapter: string;
  resumeFrom?: Uint8Array | undefined;
  saveSteps?: number | undefined;
}

/** A training run as the facade sees it. */
interface Run {
  /** Undefined until the rows are tokenized and the first plan is made. */
  trainer: WasmTrainer | undefined;
  running: boolean;
  /** A pause was asked for … */
  paused: boolean;
  /** … and has begun: the device is free. */
  stopped: boolean;
  /** Told when it has. */
  stops: (() => void)[];
  /** Ends a pause. */
  resume: (() => void)[];
  /** Checkpoints asked for while a step was being taken. */
  wanted: { resolve: (b: Uint8Array) => void; reject: (e: unknown) => void }[];
}

const wake = (waiting: (() => void)[]): void => waiting.splice(0).forEach((w) => w());

/** Settles as the promise does, or rejects as soon as the signal aborts. */
function orAborted<T>(promise: Promise<T>, signal: AbortSignal, what: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = () => reject(aborted(what));
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
  });
}

/** The engine for a device, and what the browser says of its adapter: JavaScript hears more than the engine does. */
async function engineFor(
  device: Device = 'auto',
  threads: number | undefined,
): Promise<Loaded & { adapter: AdapterDescription | undefined }> {
  const most = threadsFor(threads);
  const { adapter } = await capabilities();
  // A real GPU is taken without asking; a software adapter is compared with the processor at its best.
  const processor = device === 'cpu' || (device === 'auto' && (adapter?.isSoftware ?? true));
  return { ...(await loadWasm(processor ? most : 1)), adapter };
}

/** Where something measured on an adapter is kept. */
const noteName = (what: string, key: string | undefined, adapter: AdapterDescription | undefined): string =>
  `${what}-${key}-${(adapter?.name ?? '').replace(/[^\w.-]+/g, '_').slice(0, 80)}.json`;

function judgedOf(note: string | undefined): Judged | undefined {
  try {
    const judged = JSON.parse(note ?? '') as Judged;
    return (judged.device === 'gpu' || judged.device === 'cpu') && typeof judged.reason === 'string' ? judged : undefined;
  } catch {
    return undefined; // a broken note is none
  }
}

/**
 * Bytes that the wasm heap has just handed out: they move to the page instead of being copied. (What comes the other way is
 * copied once: it stays the caller's.)
 */
const moved = <T>(value: T, ...arrays: (Uint8Array | Float32Array)[]): T =>
  transfer(
    value,
    arrays.map((a) => a.buffer as ArrayBuffer),
  );

/**
 * Records and compiles what the first answer needs, so that its first token takes as long as any other. Whatever the device has against it,
 * the request itself will say.
 */
async function warmUp(model: WasmModel, candidates: number | undefined, signal: AbortSignal): Promise<void> {
  try {
    const warming = model.warming(candidates);
    try {
      while (!signal.aborted && (await warming.step())) await breathe();
    } finally {
      warming.free();
    }
  } catch (e) {
    if (['device-lost', 'bad-config'].includes(toFledglingError(e).code)) throw e;
  }
  if (signal.aborted) throw aborted('loading');
}

export class Engine {
  #module: WasmModule | undefined;
  #memory: WebAssembly.Memory | undefined;
  #model: WasmModel | undefined;
  #jobs = new Jobs();
  #runs = new Map<number, Run>();
  #emit: Emit = () => {};

  /** Where events go. */
  async connect(emit: Emit): Promise<void> {
    this.#emit = emit;
  }

  /** Ends a job within one token, the training steps under way (two at most) or one piece of a file. */
  async cancel(job: number): Promise<void> {
    this.#jobs.cancel(job);
    wake(this.#runs.get(job)?.resume ?? []);
  }

  async load(job: number, source: string | Blob | readonly File[], o: EngineLoad): Promise<ModelInfo> {
    return this.#jobs.run(job, 'loading', async (signal) => {
      const { module, memory, threads, adapter, missing } = await orAborted(engineFor(o.device, o.threads), signal, 'loading');
      this.#module = module;
      this.#memory = memory;
      if (missing) this.#emit(job, { type: 'warning', error: toWire(missing) });
      const release = await this.#jobs.acquire('loading', signal);
      const fed: Fed[] = [];
      let rest: Promise<void> | undefined;
      // Kernels are being measured, which takes seconds and cannot be interrupted: an abort is answered at once, the device is
      // free when that has ended.
      const making = <T extends { free(): void }>(made: Promise<T>): Promise<T> =>
        orAborted(made, signal, 'loading').catch((e: unknown) => {
          rest = made.then(
            (late) => late.free(),
            () => {},
          );
          throw e;
        });
      // The device is opened first: without one, nothing should be downloaded.
      try {
        const key = o.device === 'cpu' ? undefined : await orAborted(module.tuning_key(), signal, 'loading');
        const note = (what: string) => noteName(what, key, adapter);
        const remembered = key !== undefined && !o.kernel;
        // With a forced variant the others are those that were measured; what is measured beside it is not kept.
        const tuning = key === undefined ? undefined : await readNote(note('tuning'));
        const auto = (o.device ?? 'auto') === 'auto';
        const judged = remembered && auto ? judgedOf(await readNote(note(`device-${threads}`))) : undefined;
        const device = judged?.device ?? o.device;
        const loader = await making(
          module.ModelLoader.open({
            name: o.name,
            context_length: o.contextLength,
            kv_cache_dtype: o.kvCacheDtype,
            quantize: o.quantize,
            kernels: o.kernel,
            tuning,
            ...(device ? { device } : {}),
          }),
        );
        let model: WasmModel | undefined;
        try {
          const common = {
            signal,
            cache: o.cache,
            hasher: () => new module.Sha256(),
            warn: (e: FledglingError) => this.#emit(job, { type: 'warning', error: toWire(e) }),
          };
          let offline = false;
          const read = async (part: Part): Promise<string | undefined> => {
            const pieces: Uint8Array<ArrayBuffer>[] = [];
            const sink: Sink = { begin: () => {}, push: async (chunk) => void pieces.push(chunk.slice()) };
            const done = await feed(part, { ...common, expected: undefined, offline, sink, progress: () => {} });
            offline ||= done?.unverified ?? false;
            return done && new Blob(pieces).text();
          };
          let file = '';
          const peek = (part: Part) => beginning(part, signal, o.cache, (chunk) => loader.header(part.name, chunk));
          for await (const part of partsOf(source, read, peek)) {
            const done = await feed(part, {
              ...common,
              offline,
              // One hash names one file.
              expected: part.last ? o.sha256 : undefined,
              sink: { begin: (total) => loader.begin(part.name, total), push: async (chunk) => loader.push(chunk) },
              progress: (progress) => this.#emit(job, { type: 'progress', progress }),
            });
            if (!done) continue;
            offline ||= done.unverified;
            fed.push(done);
            file = part.name;
            loader.end();
          }
          if (signal.aborted) throw aborted('loading');
          model = await making(loader.finish());
          try {
            await warmUp(model, o.candidates, signal);
          } catch (e) {
            model.free();
            throw e;
          }
          this.#model?.free();
          this.#model = model;
          const known = model.info();
          const on = known.adapter;
          const info: ModelInfo = {
            ...known,
            adapter: {
              ...on,
              ...(judged ? { reason: judged.reason } : {}),
              ...(adapter && on.device !== 'cpu' ? { name: adapter.name, vendor: adapter.vendor, backend: adapter.backend } : {}),
            },
            fileBytes: fed.reduce((n, f) => n + f.bytes, 0),
            sha256: fed.at(-1)?.sha256 ?? '',
            wasmBytes: memory.buffer.byteLength,
          };
          if (remembered) {
            const measured = model.tuning();
            if (measured) await writeNote(note('tuning'), measured);
            // A real GPU is used without asking; between a software adapter and the processor, measuring decided.
            const { device: used, reason = '' } = on;
            if (auto && used && !judged && (used === 'cpu' || on.isSoftware))
              await writeNote(note(`device-${threads}`), JSON.stringify({ device: used, reason } satisfies Judged));
          }
          await this.#emit(job, { type: 'progress', progress: { status: 'ready', file, loaded: info.fileBytes, total: info.fileBytes } });
          return info;
        } catch (e) {
          if (REFUSED.has(toFledglingError(e).code)) for (const f of fed) await f.entry?.remove();
          throw e;
        } finally {
          loader.free();
        }
      } finally {
        if (rest) void rest.then(release);
        else release();
      }
    });
  }

  /** Generates; text comes as events, the candidates at the end. `aborted`: ended before it began. */
  async generate(job: number, request: WasmRequest, aborted = false): Promise<Candidate[]> {
    return this.#jobs.run(job, 'generation', async (signal) => {
      const model = this.#need();
      const release = await this.#jobs.acquire('generation', signal);
      try {
        const session = model.generate(request);
        try {
          let last: unknown;
          for (;;) {
            if (aborted || signal.aborted) session.abort();
            const events = await session.step();
            if (!events) break;
            for (const event of events) last = this.#emit(job, { type: 'token', event });
            await breathe();
          }
          const candidates = await session.finish();
          // Events and results travel on different ports: the last event must have arrived before the result leaves.
          await last;
          return candidates;
        } finally {
          session.free();
        }
      } finally {
        release();
      }
    });
  }

  async score(request: WasmScoreRequest): Promise<Score> {
    return this.#exclusive('scoring', async (m) => {
      const score = await m.score(request);
      return moved(score, ...score.logits);
    });
  }

  async train(job: number, t: EngineTrain): Promise<TrainResult> {
    return this.#jobs.run(job, 'training', async (signal) => {
      const model = this.#need();
      // Known from now on, so that a pause can be asked for while the run is being prepared.
      const run: Run = { trainer: undefined, running: true, paused: false, stopped: false, stops: [], resume: [], wanted: [] };
      this.#runs.set(job, run);
      let release = () => {};
      const start = performance.now();
      let steps = 0;
      let taken = 0;
      let lossSum = 0;
      let reported = true;
      /** Tells the metrics that are known, with `all` those of every update so far. */
      const tell = async (trainer: WasmTrainer, all: boolean): Promise<void> => {
        let last: unknown;
        for (let metrics = await trainer.report(all); metrics; metrics = await trainer.report(all)) {
          taken += 1;
          lossSum += metrics.loss;
          last = this.#emit(job, { type: 'step', metrics });
        }
        reported ||= all;
        await last;
      };
      try {
        release = await this.#jobs.acquire('training', signal);
        // The run before this one has nothing left to say: its moments and plans are given back first.
        this.#freeIdleRuns();
        const trainer = (run.trainer = await model.trainer(t.method, t.args, t.rows, t.resumeFrom));
        for (;;) {
          // Metrics are reported one update late where that keeps the device busy, but not behind a checkpoint, a pause or an end. Whoever wakes this
          // run must find it asleep or not yet decided: between looking at `paused` and falling asleep nothing is awaited.
          if (!reported && (run.wanted.length > 0 || run.paused || signal.aborted)) await tell(trainer, true);
          const answer = await this.#saveWanted(run);
          if (!reported && (run.paused || signal.aborted)) {
            answer();
            continue;
          }
          if (run.paused && !signal.aborted) {
            release(); // meanwhile the model can answer
            answer();
            run.stopped = true;
            wake(run.stops);
            await new Promise<void>((resolve) => run.resume.push(resolve));
            run.stopped = false;
            release = await this.#jobs.wait('training', signal);
            continue;
          }
          answer();
          if (signal.aborted) throw aborted(`training (after ${steps} steps; the adapter keeps them)`);
          const submitted = await trainer.submit();
          if (submitted === undefined) break;
          reported = false;
          await breathe();
          steps = submitted;
          const save = t.saveSteps !== undefined && t.saveSteps > 0 && steps % t.saveSteps === 0;
          await tell(trainer, save);
          if (save) {
            const bytes = await trainer.checkpoint();
            await this.#emit(job, moved({ type: 'checkpoint', bytes }, bytes));
          }
        }
        return { steps, trainLoss: taken ? lossSum / taken : Number.NaN, seconds: (performance.now() - start) / 1000, adapter: t.adapter };
      } catch (e) {
        // Updates before the one that failed are in the weights: they are reported, too.
        if (run.trainer && !reported) await tell(run.trainer, true).catch(() => {});
        throw e;
      } finally {
        run.running = false;
        // The adapter that was trained is the active one, also after an abort.
        if (taken > 0 && model === this.#model) model.set_adapter(t.adapter);
        const answer = await this.#saveWanted(run);
        if (!run.trainer) this.#runs.delete(job);
        release();
        answer();
        wake(run.stops);
      }
    });
  }

  /** Resolves when the step being taken has ended and the device is free. */
  async pause(job: number): Promise<void> {
    const run = this.#run(job);
    if (!run.running) return;
    run.paused = true;
    if (!run.stopped) await new Promise<void>((resolve) => run.stops.push(resolve));
  }

  async resume(job: number): Promise<void> {
    const run = this.#run(job);
    run.paused = false;
    wake(run.stops);
    wake(run.resume);
  }

  /** Optimizer, schedule, data position and random state of a run: between two steps, or after it has ended. */
  async checkpoint(job: number): Promise<Uint8Array> {
    const run = this.#run(job);
    const { trainer } = run;
    const bytes = await (run.running || !trainer
      ? new Promise<Uint8Array>((resolve, reject) => {
          run.wanted.push({ resolve, reject });
          wake(run.resume); // a paused run looks up, saves and goes on pausing
        })
      : this.#exclusive('saving a checkpoint', () => trainer.checkpoint()));
    return moved(bytes, bytes);
  }

  /** Gives back what an ended run still holds. */
  async releaseRun(job: number): Promise<void> {
    const run = this.#runs.get(job);
    if (!run || run.running) return;
    this.#runs.delete(job);
    run.trainer?.free();
  }

  async countTokens(input: string | Message[]): Promise<number> {
    return this.#need().count_tokens(input);
  }

  async saveAdapter(name: string | undefined): Promise<AdapterFiles> {
    return this.#exclusive('saving an adapter', async (m) => {
      const { config, weights } = await m.save_adapter(name);
      return moved({ 'adapter_config.json': config, 'adapter_model.safetensors': weights }, weights);
    });
  }

  async loadAdapter(files: AdapterFiles, name: string): Promise<AdapterInfo> {
    return this.#exclusive('loading an adapter', (m) =>
      m.load_adapter(files['adapter_config.json'], files['adapter_model.safetensors'], name),
    );
  }

  async setAdapter(name: string | undefined): Promise<void> {
    return this.#exclusive('switching the adapter', async (m) => m.set_adapter(name));
  }

  async removeAdapter(name: string): Promise<void> {
    return this.#exclusive('removing an adapter', async (m) => m.remove_adapter(name));
  }

  async mergeAdapter(name: string): Promise<void> {
    return this.#exclusive('merging an adapter', (m) => m.merge_adapter(name));
  }

  async adapters(): Promise<AdapterInfo[]> {
    return this.#need().adapters();
  }

  async memory(): Promise<Memory> {
    return { gpuBytes: this.#model?.gpu_bytes() ?? 0, wasmBytes: this.#memory?.buffer.byteLength ?? 0 };
  }

  async counters(): Promise<Counters> {
    return this.#need().counters();
  }

  /** Measures a device, without a model; between two figures it can be cancelled. */
  async measure(job: number, device: Device, threads?: number): Promise<DeviceFigures> {
    return this.#jobs.run(job, 'measuring', async (signal) => {
      const { module, adapter } = await orAborted(engineFor(device, threads), signal, 'measuring');
      const release = await this.#jobs.acquire('measuring', signal);
      try {
        const key = device === 'cpu' ? undefined : await module.tuning_key();
        const note = noteName('tuning', key, adapter);
        const bench = await module.DeviceBench.open(device, key === undefined ? undefined : await readNote(note));
        const found: Partial<DeviceFigures> = {};
        const tell = async (more: Partial<DeviceFigures>): Promise<void> => {
          await this.#emit(job, { type: 'figure', figures: Object.assign(found, more) });
          if (signal.aborted) throw aborted('measuring');
          await breathe();
        };
        try {
          const on = bench.info();
          const measured = bench.tuning();
          if (key !== undefined && measured) await writeNote(note, measured);
          await tell({
            adapter: {
              ...on,
              ...(adapter && on.device !== 'cpu' ? { name: adapter.name, vendor: adapter.vendor, backend: adapter.backend } : {}),
            },
          });
          await tell({ matmulGflops: (await bench.matmul(512)) / 1e9 });
          const gpt = await module.GptBench.create(on.device ?? 'gpu');
          try {
            let best = Infinity;
            // The first step compiles.
            for (let i = 0; i < 4 && !signal.aborted; i++) {
              const begin = performance.now();
              await gpt.step();
              if (i > 0) best = Math.min(best, performance.now() - begin);
            }
            await tell({ gptStepMs: best });
          } finally {
            gpt.free();
          }
          await tell({ fmaGflops: (await bench.fma()) / 1e9 });
          await tell({ copyGBps: (await bench.copy()) / 1e9 });
          return found as DeviceFigures;
        } finally {
          bench.free();
        }
      } finally {
        release();
      }
    });
  }

  /** Rows of a file, told piece by piece. Neither a model nor a device is needed. */
  async readRows(job: number, file: Blob, name: string): Promise<void> {
    return this.#jobs.run(job, 'reading rows', async (signal) => {
      const { module } = await loadWasm(1);
      let found = 0;
      for await (const { text, first } of pieces(file, name)) {
        if (signal.aborted) throw aborted('reading rows');
        const rows = module.read_rows(text, first);
        found += rows.length;
        if (rows.length > 0) await this.#emit(job, { type: 'rows', rows });
      }
      if (found === 0) {
        throw new FledglingError('empty-dataset', `${name} holds no rows: expected one JSON object on each line, or a JSON array of them`);
      }
    });
  }

  async writeRows(rows: object[]): Promise<string> {
    return (await loadWasm(1)).module.write_rows(rows);
  }

  async rankingPairs(ranking: object): Promise<PreferenceRow[]> {
    return (await loadWasm(1)).module.ranking_pairs(ranking);
  }

  async dispose(): Promise<void> {
    this.#jobs.cancelAll();
    for (const run of this.#runs.values()) wake(run.resume);
    await this.#jobs.idle();
    for (const run of this.#runs.values()) run.trainer?.free();
    this.#runs.clear();
    this.#model?.free();
    this.#model = undefined;
  }

  #need(): WasmModel {
    if (!this.#model || !this.#module) throw new FledglingError('disposed', 'no model is loaded here (any more)');
    return this.#model;
  }

  #run(job: number): Run {
    const run = this.#runs.get(job);
    if (!run) throw new FledglingError('bad-config', 'this trainer has not started, or a later one has taken its place');
    return run;
  }

  #freeIdleRuns(): void {
    for (const [job, run] of this.#runs) {
      if (run.running) continue;
      run.trainer?.free();
      this.#runs.delete(job);
    }
  }

  /** Takes the checkpoints that were asked for; the result hands them over (once the device is free, where that follows). */
  async #saveWanted(run: Run): Promise<() => void> {
    const answers: (() => void)[] = [];
    for (const w of run.wanted.splice(0)) {
      const bytes = run.trainer
        ? run.trainer.checkpoint()
        : Promise.reject(new FledglingError('bad-config', 'this training did not start: there is nothing to save'));
      answers.push(
        await bytes.then(
          (b) => () => w.resolve(b),
          (e: unknown) => () => w.reject(e),
        ),
      );
    }
    return () => answers.forEach((a) => a());
  }

  async #exclusive<T>(what: string, body: (m: WasmModel) => Promise<T>): Promise<T> {
    const model = this.#need();
    const release = await this.#jobs.acquire(what);
    try {
      return await body(model);
    } finally {
      release();
    }
  }
}
