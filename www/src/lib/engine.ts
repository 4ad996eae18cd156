// The engine behind the facade: this very class runs in the Worker (exposed by comlink) or in the page. It holds the
// wasm model, drives generation token by token and training step by step, and looks for a cancel between any two.
import { breathe } from './breathe.ts';
import { loadModel, type EngineLoad, type Housed } from './engine/loading.ts';
import { measureOn } from './engine/measuring.ts';
import { moved, type Emit, type Room } from './engine/room.ts';
import { Runs, type EngineTrain, type Rewarded } from './engine/runs.ts';
import { aborted, FledglingError } from './errors.ts';
import { Jobs } from './jobs.ts';
import { opened, type Named } from './node.ts';
import { pieces } from './pieces.ts';
import type { WasmPlace } from './places.ts';
import type {
  AdapterFiles,
  AdapterInfo,
  Candidate,
  Counters,
  Device,
  DeviceFigures,
  Evaluation,
  Memory,
  Message,
  MethodName,
  ModelInfo,
  PreferenceRow,
  Read,
  Score,
  TrainResult,
} from './types.ts';
import { loadWasm, wasmIsAt, type WasmModel, type WasmRequest, type WasmScoreRequest } from './wasm.ts';

export type { EngineLoad } from './engine/loading.ts';
export type { EngineEvent } from './engine/room.ts';
export type { EngineTrain } from './engine/runs.ts';

/** What a model is loaded from. */
export type Source = string | Blob | readonly (File | Named)[];

export class Engine {
  #room: Room = { jobs: new Jobs(), emit: () => {} };
  #runs = new Runs(this.#room);
  #housed: Housed | undefined;

  /** Where events go, and where the wasm is. */
  async connect(emit: Emit, wasm: WasmPlace | undefined): Promise<void> {
    this.#room.emit = emit;
    wasmIsAt(wasm);
  }

  /** Ends a job within one token, the training steps under way (two at most) or one piece of a file. */
  async cancel(job: number): Promise<void> {
    this.#room.jobs.cancel(job);
    this.#runs.wake(job);
  }

  async load(job: number, given: Source, o: EngineLoad): Promise<ModelInfo> {
    const files = Array.isArray(given) ? await Promise.all(given.map((f: File | Named) => ('file' in f ? opened(f) : f))) : undefined;
    const source = files ?? (given as string | Blob);
    return this.#room.jobs.run(job, 'loading', (signal) =>
      loadModel(this.#room, job, signal, source, o, (loaded) => {
        this.#housed?.model.free();
        this.#housed = loaded;
      }),
    );
  }

  /** Generates; text comes as events, the candidates at the end. `ended`: before it began. `queue` false: not behind another. */
  async generate(job: number, request: WasmRequest, ended = false, queue = true): Promise<Candidate[]> {
    const { jobs, emit } = this.#room;
    return jobs.run(job, 'generation', async (signal) => {
      this.#need();
      const release = await jobs.acquire('generation', { signal, queue }).catch((e: unknown) => {
        if (signal.aborted) return undefined;
        throw e;
      });
      // Whoever gave up while waiting has an answer of nothing.
      if (!release) return this.#unanswered(request);
      try {
        const session = this.#need().generate(request);
        try {
          let last: unknown;
          for (;;) {
            if (ended || signal.aborted) session.abort();
            const events = await session.step();
            if (!events) break;
            for (const event of events) last = emit(job, { type: 'token', event });
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

  #unanswered(request: WasmRequest): Candidate[] {
    const adapter =
      request.adapter === undefined
        ? (this.#need()
            .adapters()
            .find((a) => a.active)?.name ?? null)
        : request.adapter;
    const none = {
      text: '',
      tokenIds: [],
      logprobs: [],
      topLogprobs: [],
      score: null,
      seconds: { prefill: 0, decode: 0 },
      promptTokens: 0,
      adapter,
    };
    return Array.from({ length: request.n }, () => ({ ...none, finishReason: 'abort' }));
  }

  async score(request: WasmScoreRequest): Promise<Score> {
    return this.#exclusive('scoring', async (m) => {
      const score = await m.score(request);
      return moved(score, ...score.logits);
    });
  }

  async train(job: number, t: EngineTrain): Promise<TrainResult> {
    const model = this.#need();
    return this.#runs.train(job, t, model, () => this.#housed?.model === model);
  }

  async rewarded(ask: number, answer: Rewarded): Promise<void> {
    return this.#runs.rewarded(ask, answer);
  }

  async keptRounds(job: number): Promise<number[]> {
    return this.#runs.keptRounds(job);
  }

  async takeRound(job: number, round: number): Promise<void> {
    return this.#runs.takeRound(job, round);
  }

  async pause(job: number): Promise<void> {
    return this.#runs.pause(job);
  }

  async resume(job: number): Promise<void> {
    return this.#runs.resume(job);
  }

  async checkpoint(job: number): Promise<Uint8Array<ArrayBuffer>> {
    return this.#runs.checkpoint(job);
  }

  async releaseRun(job: number): Promise<void> {
    return this.#runs.releaseRun(job);
  }

  async countTokens(input: string | Message[]): Promise<number> {
    return this.#need().count_tokens(input);
  }

  async encode(text: string, special: boolean): Promise<Uint32Array> {
    return this.#need().encode(text, special);
  }

  async decode(ids: Uint32Array, skipSpecial: boolean): Promise<string> {
    return this.#need().decode(ids, skipSpecial);
  }

  async render(messages: Message[], open: boolean): Promise<string> {
    return this.#need().render(messages, open);
  }

  /** What rows say of an adapter; `null` is the base model. */
  async evaluate(job: number, method: MethodName, args: object, rows: object[], adapter: string | null): Promise<Evaluation> {
    const { jobs } = this.#room;
    return jobs.run(job, 'evaluation', async (signal) => {
      const release = await jobs.acquire('evaluation', { signal });
      try {
        const evaluator = await this.#need().evaluator(method, args, rows, adapter);
        try {
          for (;;) {
            if (signal.aborted) throw aborted('evaluation');
            const found = await evaluator.step();
            if (found) return found;
            await breathe();
          }
        } finally {
          evaluator.free();
        }
      } finally {
        release();
      }
    });
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

  async combineAdapters(name: string, parts: Record<string, number>, kind: string, rank: number | undefined): Promise<AdapterInfo> {
    return this.#exclusive('combining adapters', (m) =>
      m.combine_adapters(name, Object.keys(parts), Float64Array.from(Object.values(parts)), kind, rank),
    );
  }

  async adapters(): Promise<AdapterInfo[]> {
    return this.#need().adapters();
  }

  async memory(): Promise<Memory> {
    return { gpuBytes: this.#housed?.model.gpu_bytes() ?? 0, wasmBytes: this.#housed?.memory.buffer.byteLength ?? 0 };
  }

  async counters(): Promise<Counters> {
    return this.#need().counters();
  }

  async measure(job: number, device: Device | undefined, threads?: number): Promise<DeviceFigures> {
    return this.#room.jobs.run(job, 'measuring', (signal) => measureOn(this.#room, job, signal, device, threads));
  }

  /** Rows of a file, told piece by piece. Neither a model nor a device is needed. */
  async readRows(job: number, file: Blob, name: string, columns: Readonly<Record<string, string>> | undefined): Promise<void> {
    return this.#room.jobs.run(job, 'reading rows', async (signal) => {
      const { module } = await loadWasm(1);
      let found = 0;
      for await (const { text, first } of pieces(file, name)) {
        if (signal.aborted) throw aborted('reading rows');
        const rows = module.read_rows(text, first, name, columns);
        found += rows.length;
        if (rows.length > 0) await this.#room.emit(job, { type: 'rows', rows });
      }
      if (found === 0) {
        throw new FledglingError(
          'empty-dataset',
          `${name} holds no rows: expected one JSON object on each line, a JSON array of them, or a table (.csv)`,
        );
      }
    });
  }

  async writeRows(rows: object[]): Promise<string> {
    return (await loadWasm(1)).module.write_rows(rows);
  }

  async rankingPairs(ranking: object): Promise<PreferenceRow<Read>[]> {
    return (await loadWasm(1)).module.ranking_pairs(ranking);
  }

  async dispose(): Promise<void> {
    this.#room.jobs.cancelAll();
    this.#runs.wakeAll();
    await this.#room.jobs.idle();
    this.#runs.clear();
    this.#housed?.model.free();
    this.#housed = undefined;
  }

  #need(): WasmModel {
    if (!this.#housed) throw new FledglingError('disposed', 'no model is loaded here (any more)');
    return this.#housed.model;
  }

  async #exclusive<T>(what: string, body: (m: WasmModel) => Promise<T>): Promise<T> {
    const release = await this.#room.jobs.acquire(what, {});
    try {
      return await body(this.#need());
    } finally {
      release();
    }
  }
}
