// The engine behind the facade: this very class runs in the Worker (exposed by comlink) or in the page. It holds the
// wasm model, drives generation token by token and training step by step, and looks for a cancel between any two.
import { readNote, writeNote } from './cache.ts';
import { capabilities } from './capabilities.ts';
import { aborted, FledglingError, toFledglingError, toWire, type WireError } from './errors.ts';
import { Jobs } from './jobs.ts';
import { feed, partsOf, REFUSED, type Fed } from './loader.ts';
import type { AdapterFiles, AdapterInfo, Candidate, CandidateEvent, Counters, Memory, Message, ModelInfo, Progress, Score, StepMetrics, TrainResult } from './types.ts';
import { loadWasm, type WasmModel, type WasmModule, type WasmRequest, type WasmScoreRequest, type WasmTrainer } from './wasm.ts';

/** What a running job tells the facade. */
export type EngineEvent =
  | { type: 'progress'; progress: Progress }
  | { type: 'warning'; error: WireError }
  | { type: 'token'; event: CandidateEvent }
  | { type: 'step'; metrics: StepMetrics }
  | { type: 'checkpoint'; bytes: Uint8Array };

export type Emit = (job: number, event: EngineEvent) => unknown;

export interface EngineLoad {
  cache: boolean | 'refresh';
  sha256?: string | undefined;
  name?: string | undefined;
  contextLength?: number | undefined;
  kernel?: string | undefined;
}

export interface EngineTrain {
  method: 'sft' | 'dpo';
  args: object;
  rows: object[];
  adapter: string;
  resumeFrom?: Uint8Array | undefined;
  saveSteps?: number | undefined;
}

/** A training run as the facade sees it. */
interface Run {
  trainer: WasmTrainer;
  running: boolean;
  paused: boolean;
  /** Ends a pause. */
  resume: (() => void)[];
  /** Checkpoints asked for while a step was being taken. */
  wanted: { resolve: (b: Uint8Array) => void; reject: (e: unknown) => void }[];
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

  /** Ends a job within one token, one training step or one piece of a file. */
  async cancel(job: number): Promise<void> {
    this.#jobs.cancel(job);
    this.#runs.get(job)?.resume.splice(0).forEach((r) => r());
  }

  async load(job: number, source: string | Blob | readonly File[], o: EngineLoad): Promise<ModelInfo> {
    return this.#jobs.run(job, 'loading', async (signal) => {
      const { module, memory } = await loadWasm().catch((e: unknown) => {
        throw new FledglingError('network', `the engine's wasm could not be loaded: ${e instanceof Error ? e.message : String(e)}`, { cause: e });
      });
      this.#module = module;
      this.#memory = memory;
      const release = await this.#jobs.acquire('loading', signal);
      const fed: Fed[] = [];
      // The device is opened first: without one, nothing should be downloaded.
      try {
        const key = await module.tuning_key();
        // The browser tells JavaScript more about its adapter than it tells the engine.
        const { adapter } = await capabilities();
        const note = `tuning-${key}-${(adapter?.name ?? '').replace(/[^\w.-]+/g, '_').slice(0, 80)}.json`;
        const tuning = o.kernel ? undefined : await readNote(note);
        const loader = await module.ModelLoader.open({ name: o.name, context_length: o.contextLength, kernels: o.kernel, tuning });
        let model: WasmModel | undefined;
        try {
          const parts = await partsOf(source, signal);
          let file = '';
          for (const [i, part] of parts.entries()) {
            const done = await feed(part, {
              signal,
              cache: o.cache,
              // One hash names one file: in a folder, that of the last weights.
              expected: i === parts.length - 1 ? o.sha256 : undefined,
              hasher: () => new module.Sha256(),
              sink: { begin: (total) => loader.begin(part.name, total), push: async (chunk) => loader.push(chunk) },
              progress: (progress) => this.#emit(job, { type: 'progress', progress }),
              warn: (e) => this.#emit(job, { type: 'warning', error: toWire(e) }),
            });
            if (!done) continue;
            fed.push(done);
            file = part.name;
            loader.end();
          }
          if (signal.aborted) throw aborted('loading');
          model = await loader.finish();
          this.#model?.free();
          this.#model = model;
          const known = model.info();
          const info: ModelInfo = {
            ...known,
            adapter: { ...known.adapter, ...(adapter ? { name: adapter.name, vendor: adapter.vendor, backend: adapter.backend } : {}) },
            fileBytes: fed.reduce((n, f) => n + f.bytes, 0),
            sha256: fed.at(-1)?.sha256 ?? '',
            wasmBytes: memory.buffer.byteLength,
          };
          if (!o.kernel) await writeNote(note, model.tuning());
          await this.#emit(job, { type: 'progress', progress: { status: 'ready', file, loaded: info.fileBytes, total: info.fileBytes } });
          return info;
        } catch (e) {
          if (REFUSED.has(toFledglingError(e).code)) for (const f of fed) await f.entry?.remove();
          throw e;
        } finally {
          loader.free();
        }
      } finally {
        release();
      }
    });
  }

  /** Generates; text comes as events, the candidates at the end. */
  async generate(job: number, request: WasmRequest): Promise<Candidate[]> {
    return this.#jobs.run(job, 'generation', async (signal) => {
      const model = this.#need();
      const release = await this.#jobs.acquire('generation', signal);
      try {
        const session = model.generate(request);
        try {
          let last: unknown;
          for (;;) {
            if (signal.aborted) session.abort();
            const events = await session.step();
            if (!events) break;
            for (const event of events) last = this.#emit(job, { type: 'token', event });
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
    return this.#exclusive('scoring', (m) => m.score(request));
  }

  async train(job: number, t: EngineTrain): Promise<TrainResult> {
    return this.#jobs.run(job, 'training', async (signal) => {
      const model = this.#need();
      let release = await this.#jobs.acquire('training', signal);
      let run: Run | undefined;
      const start = performance.now();
      let steps = 0;
      let taken = 0;
      let lossSum = 0;
      try {
        // The run before this one has nothing left to say: its moments and plans are given back first.
        this.#freeIdleRuns();
        run = { trainer: await model.trainer(t.method, t.args, t.rows, t.resumeFrom), running: true, paused: false, resume: [], wanted: [] };
        this.#runs.set(job, run);
        for (;;) {
          for (const w of run.wanted.splice(0)) await run.trainer.checkpoint().then(w.resolve, w.reject);
          if (signal.aborted) throw aborted(`training (after ${steps} steps; the adapter keeps them)`);
          if (run.paused) {
            release(); // meanwhile the model can answer
            await new Promise<void>((resolve) => run!.resume.push(resolve));
            release = await this.#jobs.wait('training', signal);
            continue;
          }
          const metrics = await run.trainer.step();
          if (!metrics) break;
          steps = metrics.step;
          taken += 1;
          lossSum += metrics.loss;
          const last = this.#emit(job, { type: 'step', metrics });
          if (t.saveSteps && t.saveSteps > 0 && steps % t.saveSteps === 0) {
            await this.#emit(job, { type: 'checkpoint', bytes: await run.trainer.checkpoint() });
          } else {
            await last;
          }
        }
        return { steps, trainLoss: taken ? lossSum / taken : Number.NaN, seconds: (performance.now() - start) / 1000, adapter: t.adapter };
      } finally {
        if (run) {
          run.running = false;
          // The adapter that was trained is the active one, also after an abort.
          if (taken > 0 && model === this.#model) model.set_adapter(t.adapter);
          for (const w of run.wanted.splice(0)) await run.trainer.checkpoint().then(w.resolve, w.reject);
        }
        release();
      }
    });
  }

  async pause(job: number): Promise<void> {
    this.#run(job).paused = true;
  }

  async resume(job: number): Promise<void> {
    const run = this.#run(job);
    run.paused = false;
    run.resume.splice(0).forEach((r) => r());
  }

  /** Optimizer, schedule, data position and random state of a run: between two steps, or after it has ended. */
  async checkpoint(job: number): Promise<Uint8Array> {
    const run = this.#run(job);
    if (!run.running) {
      const release = await this.#jobs.acquire('saving a checkpoint');
      try {
        return await run.trainer.checkpoint();
      } finally {
        release();
      }
    }
    return new Promise((resolve, reject) => {
      run.wanted.push({ resolve, reject });
      run.resume.splice(0).forEach((r) => r()); // a paused run looks up, saves and goes on pausing
    });
  }

  /** Gives back what an ended run still holds. */
  async releaseRun(job: number): Promise<void> {
    const run = this.#runs.get(job);
    if (!run || run.running) return;
    this.#runs.delete(job);
    run.trainer.free();
  }

  async countTokens(input: string | Message[]): Promise<number> {
    return this.#need().count_tokens(input);
  }

  async saveAdapter(name: string | undefined): Promise<AdapterFiles> {
    return this.#exclusive('saving an adapter', async (m) => {
      const { config, weights } = await m.save_adapter(name);
      return { 'adapter_config.json': config, 'adapter_model.safetensors': weights };
    });
  }

  async loadAdapter(files: AdapterFiles, name: string): Promise<AdapterInfo> {
    return this.#exclusive('loading an adapter', (m) => m.load_adapter(files['adapter_config.json'], files['adapter_model.safetensors'], name));
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

  async dispose(): Promise<void> {
    this.#jobs.cancelAll();
    for (const run of this.#runs.values()) run.resume.splice(0).forEach((r) => r());
    await this.#jobs.idle();
    for (const run of this.#runs.values()) run.trainer.free();
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
      run.trainer.free();
      this.#runs.delete(job);
    }
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
