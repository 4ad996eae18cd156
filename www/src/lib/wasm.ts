// What the package uses of the wasm module (src/web in Rust): the two sides of the boundary agree on this file.
// Plain data crosses it as plain objects; every method that can fail throws an Error with a `code`.
import { FledglingError, why } from './errors.ts';
import { isNode, ofNode, type WasmPlace } from './places.ts';
import { forbidsWasm, violationOf } from './policy.ts';
import { startCrew, type Crewed } from './threads.ts';
import type {
  AdapterDescription,
  AdapterInfo,
  BestEvaluation,
  Candidate,
  CandidateEvent,
  Counters,
  Device,
  EvalMetrics,
  KvCacheDtype,
  Mask,
  Message,
  MethodName,
  ModelInfo,
  PreferenceRow,
  Read,
  ReadLine,
  Score,
  StepMetrics,
  StoredType,
} from './types.ts';

/** Streaming SHA-256. */
export interface WasmSha256 {
  update(chunk: Uint8Array): void;
  /** Hex digits; the object is spent. */
  digest(): string;
}

/** Takes the files of a model piece by piece; nothing but the header stays in the wasm heap. */
export interface WasmLoader {
  /** The next bytes of the beginning of a part of a split GGUF, in front of all weights; true when its header has come. */
  header(name: string, chunk: Uint8Array): boolean;
  /** Begins a file of `total` bytes (0: unknown). The weights come last. */
  begin(name: string, total: number): void;
  push(chunk: Uint8Array): void;
  /** The last byte was pushed: a file that should have been longer is refused here. */
  end(): void;
  /** Builds the model. */
  finish(): Promise<WasmModel>;
  free(): void;
}

export interface LoaderOptions {
  name?: string | undefined;
  context_length?: number | undefined;
  /** Absent: `f32`. */
  kv_cache_dtype?: KvCacheDtype | undefined;
  /** Absent: `causal`. */
  mask?: Mask | undefined;
  /** Absent: weights are what the files have. */
  quantize?: StoredType | undefined;
  kernels?: string | undefined;
  /** What `WasmModel.tuning()` gave for this adapter and this version. */
  tuning?: string | undefined;
  /** Absent: `auto`. */
  device?: Device | undefined;
}

/** What is to be read: exactly one of the three. */
export interface WasmInput {
  messages?: Message[] | undefined;
  prompt?: string | undefined;
  input_ids?: number[] | undefined;
  /** Absent: the active adapter; `null`: none. */
  adapter?: string | null | undefined;
}

/** A prompt and how to continue it. */
export interface WasmRequest extends WasmInput {
  n: number;
  max_new_tokens: number;
  temperature: number;
  top_k?: number | undefined;
  top_p?: number | undefined;
  min_p?: number | undefined;
  repetition_penalty?: number | undefined;
  no_repeat_ngram_size?: number | undefined;
  num_beams?: number | undefined;
  length_penalty?: number | undefined;
  early_stopping?: 'true' | 'false' | 'never' | undefined;
  prompt_lookup_num_tokens?: number | undefined;
  max_matching_ngram_size?: number | undefined;
  top_logprobs?: number | undefined;
  seed: number;
  stop_strings: string[];
  ignore_eos?: boolean | undefined;
}

/** Tokens to be judged; `positions` are those after which the logits are wanted. */
export interface WasmScoreRequest extends WasmInput {
  positions: number[];
}

export interface WasmSession {
  /** The next chunk of the prompt, or one token of every candidate still running; undefined when all are done. */
  step(): Promise<CandidateEvent[] | undefined>;
  /** The next step ends what is still running. */
  abort(): void;
  /** The answers; the session is spent. */
  finish(): Promise<Candidate[]>;
  free(): void;
}

/** A judge of completions that is no rule. */
export interface WasmJudge {
  name: string;
  call: (batch: WasmBatch) => Promise<number[]>;
}

/** Completions to be judged; all lists are of one length. */
export interface WasmBatch {
  prompts: (string | object[] | number[])[];
  completions: string[];
  completion_ids: number[][];
  columns: Record<string, unknown[]>;
}

export interface WasmTrainer {
  /** Gives up the round that is being sampled: `submit` then fails as `aborted`. */
  abort(): void;
  /** Why no further update is made, where a limit was met. */
  stopped(): string | undefined;
  /** Rounds whose adapters are kept. */
  kept_rounds(): Float64Array;
  take_round(number: number): void;
  /** What a person should know before it runs: sentences. */
  notes(): string[];
  /** Hands the next update to the device: the updates so far; undefined after the last. */
  submit(): Promise<number | undefined>;
  /** The earliest metrics not yet reported; undefined where there are none, or, without `all`, where the device is better kept busy meanwhile. */
  report(all: boolean): Promise<StepMetrics | undefined>;
  /** The earliest evaluation not yet told of. */
  evaluation(): EvalMetrics | undefined;
  /** The best evaluation, and whether the run has ended early; undefined where nobody asked. */
  outcome(): { best?: BestEvaluation; stoppedEarly: boolean };
  checkpoint(): Promise<Uint8Array<ArrayBuffer>>;
  /** Of a step: for the benchmark, not in the middle of a training. */
  profile(fma: number | undefined, copy: number | undefined): Promise<WasmProfile>;
  free(): void;
}

/** A replay kernel by kernel, in the words of `fledgling bench --profile`; kernels that take longest first. */
export interface WasmProfile {
  wall_ms: number;
  kernels_ms: number;
  between_ms: number;
  dispatches: number;
  submits: number;
  allocations: number;
  slots: number;
  slot_bytes: number;
  slot_bytes_without_reuse: number;
  kernels: {
    kernel: string;
    count: number;
    ms: number;
    gflops: number;
    gbps: number;
    fma_fraction: number | null;
    copy_fraction: number | null;
  }[];
}

/** Rows that are judged without an update. */
export interface WasmEvaluator {
  /** Judges some of them; the numbers when those were the last. */
  step(): Promise<Omit<EvalMetrics, 'step' | 'epoch'> | undefined>;
  free(): void;
}

export interface WasmWarming {
  /** Records and compiles the next program; false when none is left. */
  step(): Promise<boolean>;
  free(): void;
}

export interface WasmModel {
  /** Bytes that decoding one token behind `keys` others reads. */
  token_bytes(keys: number): number;
  /** What each kernel takes, with shares of peaks in operations and bytes per second; rejected where the adapter has no timestamps. */
  profile(ids: Uint32Array, fma: number | undefined, copy: number | undefined): Promise<{ prefill: WasmProfile; decode: WasmProfile }>;
  /** All of ModelInfo but what only JavaScript knows (wasmBytes, sha256, fileBytes). */
  info(): Omit<ModelInfo, 'wasmBytes' | 'sha256' | 'fileBytes'>;
  /** Gets ready for the first request, of so many answers at once (1); freed half-way, it leaves the rest to that. */
  warming(candidates: number | undefined): WasmWarming;
  count_tokens(input: string | Message[]): number;
  /** The ids of a text; with `special`, those that belong around every text are added. */
  encode(text: string, special: boolean): Uint32Array;
  decode(ids: Uint32Array, skip_special: boolean): string;
  /** A chat in the model's template; with `open`, with the beginning of an answer. */
  render(messages: Message[], open: boolean): string;
  generate(request: WasmRequest): WasmSession;
  score(request: WasmScoreRequest): Promise<Score>;
  /** `args` as snake_case TrainingArguments with `peft_config`. */
  trainer(
    method: MethodName,
    args: unknown,
    rows: unknown,
    checkpoint: Uint8Array | undefined,
    held?: unknown,
    judges?: (string | WasmJudge)[],
    rollouts?: (rows: object[]) => void,
  ): Promise<WasmTrainer>;
  /** Judges rows by an adapter, or by the base model. */
  evaluator(method: MethodName, args: unknown, rows: unknown, adapter: string | null): Promise<WasmEvaluator>;
  save_adapter(name: string | undefined): Promise<{ config: string; weights: Uint8Array<ArrayBuffer> }>;
  load_adapter(config: string, weights: Uint8Array, name: string): Promise<AdapterInfo>;
  /** undefined: none. */
  set_adapter(name: string | undefined): void;
  remove_adapter(name: string): void;
  merge_adapter(name: string): Promise<void>;
  combine_adapters(name: string, names: string[], weights: Float64Array, kind: string, rank: number | undefined): Promise<AdapterInfo>;
  adapters(): AdapterInfo[];
  gpu_bytes(): number;
  counters(): Counters;
  /** The measured kernel choices as JSON, to be remembered for this adapter; undefined on the processor. */
  tuning(): string | undefined;
  free(): void;
}

/** An opened device, to be measured. */
export interface WasmDeviceBench {
  info(): AdapterDescription;
  /** As `WasmModel.tuning()`; where the processor was faster, of the adapter that it was compared with. */
  tuning(): string | undefined;
  /** Bytes per second, read and written. */
  copy(): Promise<number>;
  /** Operations per second. */
  fma(): Promise<number>;
  matmul(n: number): Promise<number>;
  free(): void;
}

export interface WasmGptBench {
  step(): Promise<{ loss: number }>;
  profile(fma: number | undefined, copy: number | undefined): Promise<WasmProfile>;
  free(): void;
}

export interface WasmModule {
  default(input?: unknown): Promise<unknown>;
  /** For a worker of the crew; only the module with threads takes a memory. */
  initSync?(shared: Crewed): unknown;
  version(): string;
  /** Opens the adapter and says under which key its measured kernel choices are kept; undefined where there is none. */
  tuning_key(): Promise<string | undefined>;
  Sha256: new () => WasmSha256;
  /** Opens the device. */
  DeviceBench: { open(device: Device, tuning: string | undefined): Promise<WasmDeviceBench> };
  GptBench: { create(device: Device): Promise<WasmGptBench> };
  ModelLoader: { open(options: LoaderOptions): Promise<WasmLoader> };
  /** The rows of a text whose first line has that number, of a file of that name; `columns`: what columns are called in it. */
  read_rows(text: string, first: number, name: string, columns: Readonly<Record<string, string>> | undefined): ReadLine[];
  /** Rows as JSONL, rankings as all their pairs. */
  write_rows(rows: object[]): string;
  ranking_pairs(ranking: object): PreferenceRow<Read>[];
  crew_module(): WebAssembly.Module;
  crew_memory(): WebAssembly.Memory;
  /** Threads, this one included. */
  crew_size(): number;
  /** Does not return. */
  crew_work(): void;
  crew_fell(): void;
}

/** An instance of the engine. */
export interface Loaded {
  module: WasmModule;
  memory: WebAssembly.Memory;
  /** Threads that the processor has, this one included. */
  threads: number;
  /** Why they are fewer than were asked for. */
  missing?: FledglingError | undefined;
}

/** The two modules: `glue.ts` puts them here, so that a Worker has all of its script at once. */
export const glues: { one?: WasmModule; many?: WasmModule } = {};
type Glue = keyof typeof glues;

const FILES: Record<Glue, string> = { one: 'fledgling_bg.wasm', many: 'threads/fledgling_bg.wasm' };
const HERE: string = import.meta.url;

let place: WasmPlace | undefined;
const instances = new Map<Glue, Promise<WasmModule | undefined>>();

/** Where the wasm of this thread is: said before it is loaded. */
export function wasmIsAt(where: WasmPlace | undefined): void {
  place ??= where;
}

/** What the glue is to read; undefined: it knows itself where its wasm is. */
async function bytesFor(glue: Glue): Promise<BufferSource | Response | undefined> {
  if (typeof place === 'object') return place;
  let address = place === undefined ? undefined : new URL(FILES[glue], new URL('.', place)).href;
  if (glue === 'one' && place !== undefined) address = place;
  if (isNode) {
    const file = new URL(address ?? `../../pkg/${FILES[glue]}`, HERE);
    if (file.protocol === 'file:') {
      const { readFile } = await ofNode<{ readFile(file: URL): Promise<Uint8Array<ArrayBuffer>> }>('node:fs/promises');
      return readFile(file);
    }
  }
  if (address === undefined) return undefined;
  const since = performance.now();
  const response = await fetch(address).catch(async (e: unknown) => {
    throw (
      (await violationOf(address, since, ['connect-src'])) ?? new FledglingError('network', `wasmUrl: ${address}: ${why(e)}`, { cause: e })
    );
  });
  if (!response.ok) throw new FledglingError('network', `wasmUrl: ${address}: HTTP ${response.status} ${response.statusText}`.trim());
  // Some servers call it something else, which streaming would not take.
  return response.headers.get('content-type')?.startsWith('application/wasm') ? response : response.arrayBuffer();
}

/** In a Worker that a bundler starts from a Blob, addresses without an origin lead nowhere: they are meant from the page's. */
async function fromRoot<T>(body: () => Promise<T>): Promise<T> {
  const [, root] = /^blob:(https?:\/\/[^/]+)/.exec(globalThis.location?.href ?? '') ?? [];
  if (root === undefined) return body();
  const { fetch } = globalThis;
  globalThis.fetch = (input, o) => fetch(input instanceof Request || /^\w+:/.test(String(input)) ? input : new URL(String(input), root), o);
  try {
    return await body();
  } finally {
    globalThis.fetch = fetch;
  }
}

/** Compiles a module once; undefined where this package has none. */
function instance(glue: Glue): Promise<WasmModule | undefined> {
  let made = instances.get(glue);
  if (!made) {
    made = (async () => {
      const module = glues[glue];
      if (typeof module?.default !== 'function') return undefined;
      if (glue === 'many' && typeof place === 'object') return undefined; // one file holds one module
      const from = await bytesFor(glue);
      await (from === undefined ? fromRoot(() => module.default()) : module.default({ module_or_path: from }));
      return module;
    })();
    instances.set(glue, made);
    made.catch(() => instances.delete(glue));
  }
  return made;
}

/**
 * The engine, for a processor with so many threads. The module whose memory is shared is for them alone: with one thread, or on a GPU, it has
 * nothing to give. Where it cannot be had, or not all threads start, loading goes on with what there is.
 */
export async function loadWasm(threads: number): Promise<Loaded> {
  let missing: FledglingError | undefined;
  if (threads > 1) {
    try {
      const module = await instance('many');
      if (module) {
        const { size, why } = await startCrew(module, threads);
        if (size < threads)
          missing = new FledglingError(
            'fewer-threads',
            `${size} of ${threads} threads started${why ? ` (${why})` : ''}; the processor works with these`,
          );
        return { module, memory: module.crew_memory(), threads: size, missing };
      }
    } catch (e) {
      missing = new FledglingError('fewer-threads', `the processor works with one thread: ${why(e)}`, { cause: e });
    }
  }
  const since = performance.now();
  const module = await instance('one').catch(async (e: unknown) => {
    if (e instanceof FledglingError) throw e;
    const where = place === undefined || typeof place === 'object' ? '' : ` (${place})`;
    throw (
      forbidsWasm(e) ??
      (await violationOf(undefined, since, ['connect-src'])) ??
      new FledglingError('network', `the engine's wasm could not be loaded${where}: ${why(e)}; wasmUrl says where it is`, { cause: e })
    );
  });
  if (!module) throw new FledglingError('network', "the engine's wasm could not be loaded: its glue is empty");
  return { module, memory: module.crew_memory(), threads: 1, missing };
}
