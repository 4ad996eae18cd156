// What the package uses of the wasm module (src/web in Rust): the two sides of the boundary agree on this file.
// Plain data crosses it as plain objects; every method that can fail throws an Error with a `code`.
import type { AdapterDescription, AdapterInfo, Candidate, CandidateEvent, Counters, Device, KvCacheDtype, Message, ModelInfo, Score, StepMetrics } from './types.ts';

/** Streaming SHA-256. */
export interface WasmSha256 {
  update(chunk: Uint8Array): void;
  /** Hex digits; the object is spent. */
  digest(): string;
}

/** Takes the files of a model piece by piece; nothing but the header stays in the wasm heap. */
export interface WasmLoader {
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

export interface WasmTrainer {
  /** One optimizer step; undefined after the last. */
  step(): Promise<StepMetrics | undefined>;
  checkpoint(): Promise<Uint8Array>;
  free(): void;
}

export interface WasmWarming {
  /** Records and compiles the next program; false when none is left. */
  step(): Promise<boolean>;
  free(): void;
}

export interface WasmModel {
  /** All of ModelInfo but what only JavaScript knows (wasmBytes, sha256, fileBytes). */
  info(): Omit<ModelInfo, 'wasmBytes' | 'sha256' | 'fileBytes'>;
  /** Gets ready for the first request; freed half-way, it leaves the rest to that. Nothing on the processor. */
  warming(): WasmWarming;
  count_tokens(input: string | Message[]): number;
  generate(request: WasmRequest): WasmSession;
  score(request: WasmScoreRequest): Promise<Score>;
  /** `args` as snake_case TrainingArguments with `peft_config`. */
  trainer(method: 'sft' | 'dpo', args: unknown, rows: unknown, checkpoint: Uint8Array | undefined): Promise<WasmTrainer>;
  save_adapter(name: string | undefined): Promise<{ config: string; weights: Uint8Array }>;
  load_adapter(config: string, weights: Uint8Array, name: string): Promise<AdapterInfo>;
  /** undefined: none. */
  set_adapter(name: string | undefined): void;
  remove_adapter(name: string): void;
  merge_adapter(name: string): Promise<void>;
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
  /** Bytes per second, read and written. */
  copy(): Promise<number>;
  /** Operations per second. */
  fma(): Promise<number>;
  matmul(n: number): Promise<number>;
  free(): void;
}

export interface WasmGptBench {
  step(): Promise<{ loss: number }>;
  free(): void;
}

export interface WasmModule {
  default(input?: unknown): Promise<{ memory: WebAssembly.Memory }>;
  version(): string;
  /** Opens the adapter and says under which key its measured kernel choices are kept; undefined where there is none. */
  tuning_key(): Promise<string | undefined>;
  Sha256: new () => WasmSha256;
  /** Opens the device. */
  DeviceBench: { open(device: Device, tuning: string | undefined): Promise<WasmDeviceBench> };
  GptBench: { create(device: Device): Promise<WasmGptBench> };
  ModelLoader: { open(options: LoaderOptions): Promise<WasmLoader> };
}

let instance: Promise<{ module: WasmModule; memory: WebAssembly.Memory }> | undefined;

/** Compiles the wasm module once. Its address is relative to its own glue file, which bundlers and browsers both follow. */
export function loadWasm(): Promise<{ module: WasmModule; memory: WebAssembly.Memory }> {
  instance ??= (async () => {
    // @ts-ignore: built by wasm-pack into www/pkg, absent in a fresh checkout
    const module = (await import('../../pkg/fledgling.js')) as unknown as WasmModule;
    const { memory } = await module.default();
    return { module, memory };
  })();
  instance.catch(() => (instance = undefined));
  return instance;
}
