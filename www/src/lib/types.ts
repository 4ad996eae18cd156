// The public types of the package. Names follow the field: Transformers and PEFT/TRL configs in camelCase,
// metrics exactly as TRL writes them.
import type { FledglingError } from './errors.ts';
import type { StepMetrics } from './generated/methods.ts';

export type * from './generated/methods.ts';

export interface Message {
  role: 'system' | 'user' | 'assistant';
  content: string;
}

/**
 * An address, a file, or the files of a folder. An address names a GGUF file (of one in several, `…-00001-of-00003.gguf`, any part: the others lie
 * beside it), a folder as Transformers writes it (ending in `/` or in `config.json`), or a safetensors file in such a folder.
 */
export type ModelSource = string | URL | File | Blob | readonly File[];

export interface Progress {
  /** `initiate` before the first byte, `download` when the size is known, `done` after the last byte, `ready` when the model can answer. */
  status: 'initiate' | 'download' | 'progress' | 'done' | 'ready';
  file: string;
  /** Bytes so far. */
  loaded: number;
  /** Bytes in all; 0 where the server does not say. */
  total: number;
  /** True where the bytes come from the browser's own storage. */
  fromCache?: boolean | undefined;
}

/**
 * `gpu`, `cpu` (this processor, in WebAssembly), or `auto`: a GPU where there is one; where the only adapter is software, whichever was
 * faster in a short measurement.
 */
export type Device = 'auto' | 'gpu' | 'cpu';

export type KvCacheDtype = 'f32' | 'f16';

/** What float weights can be made into. */
export type StoredType =
  | 'q4_0'
  | 'q4_1'
  | 'q5_0'
  | 'q5_1'
  | 'q8_0'
  | 'q2_k'
  | 'q3_k'
  | 'q4_k'
  | 'q5_k'
  | 'q6_k'
  | 'iq4_nl'
  | 'iq4_xs'
  | 'mxfp4'
  | 'f16'
  | 'bf16'
  | 'f32';

export interface LoadOptions {
  onProgress?: ((progress: Progress) => void) | undefined;
  /** Something went wrong that loading survives, such as `quota-exceeded`: the model is used but not kept. `fewer-threads`: not all of them started. */
  onWarning?: ((warning: FledglingError) => void) | undefined;
  signal?: AbortSignal | undefined;
  /** Run in a Worker (default) or in this page. */
  worker?: boolean | undefined;
  /** Keep a downloaded file in the browser's storage (default); `refresh` downloads it again. */
  cache?: boolean | 'refresh' | undefined;
  /** Expected SHA-256 of the file in hex; anything else is a `hash-mismatch`. */
  sha256?: string | undefined;
  /** Name to show, in place of the file's own. */
  name?: string | undefined;
  /** Tokens of context to reserve, at most what the model was trained for. */
  contextLength?: number | undefined;
  /**
   * What keys and values are stored as: `f32` (default: log-probabilities are those of PyTorch), or `f16`, half the memory of the cache and half
   * the bytes that long contexts read. No device needs `shader-f16` for it.
   */
  kvCacheDtype?: KvCacheDtype | undefined;
  /**
   * Makes blocks of few bits of weights that the files have as floats, row by row while they arrive, so that a folder of safetensors fits a tab.
   * Norms and biases stay floats; rows that are no whole blocks take a type that fits. What the files have in blocks already stays as it is.
   */
  quantize?: StoredType | undefined;
  /**
   * Answers at once that the first request will want (1). Loading makes ready what those need, so that their first token takes as long as any other;
   * other numbers are as right, but what they need is compiled at their first use.
   */
  candidates?: number | undefined;
  /** `auto` by default. */
  device?: Device | undefined;
  /**
   * Threads of the processor, where it does the work. They need a page that is cross-origin isolated, and an engine in a Worker; elsewhere there is
   * one. By default as many as the machine has cores, up to 8; 1 for none beside the Worker's own. The bits of a result do not depend on it.
   */
  threads?: number | undefined;
  /** `class=variant,…`: kernel variants in place of those that measuring chose. */
  kernel?: string | undefined;
}

export interface AdapterDescription {
  name: string;
  vendor: string;
  backend: string;
  /** A processor that pretends to be a GPU. */
  isSoftware: boolean;
  features: string[];
  device?: 'gpu' | 'cpu' | undefined;
  /** Why this device, in words for a person. */
  reason?: string | undefined;
}

/** What a device reaches: see `measureDevice`. */
export interface DeviceFigures {
  adapter: AdapterDescription;
  /** Bytes read and written by a large copy, in 10⁹ per second. */
  copyGBps: number;
  /** Fused multiply-adds in registers (each two operations), in 10⁹ per second. */
  fmaGflops: number;
  /** A square f32 matmul of 512 × 512. */
  matmulGflops: number;
  /** One step of training a GPT with 0.80 M parameters on 8 × 128 tokens. */
  gptStepMs: number;
}

export interface MeasureOptions {
  /** Which device (`auto`). */
  device?: Device | undefined;
  /** Threads of the processor: as in `LoadOptions`. Where fewer start, there is no warning; the name that the result gives tells how many. */
  threads?: number | undefined;
  signal?: AbortSignal | undefined;
  /** Told what has been measured so far. */
  onFigure?: ((figures: Partial<DeviceFigures>) => void) | undefined;
  /** `false` measures in the calling thread. */
  worker?: boolean | undefined;
}

export interface ModelInfo {
  name: string;
  architecture: string;
  parameters: number;
  layers: number;
  hiddenSize: number;
  contextLength: number;
  vocabSize: number;
  quantization: string;
  fileBytes: number;
  gpuBytes: number;
  wasmBytes: number;
  sha256: string;
  adapter: AdapterDescription;
  /** What `peftConfig.targetModules` may name. */
  targetModules: string[];
}

export interface GenerateOptions {
  maxNewTokens?: number | undefined;
  /** 0 (default) is greedy. */
  temperature?: number | undefined;
  topK?: number | undefined;
  topP?: number | undefined;
  minP?: number | undefined;
  repetitionPenalty?: number | undefined;
  seed?: number | undefined;
  stopStrings?: string[] | undefined;
  /** Goes on after the token that ends an answer, up to `maxNewTokens`. */
  ignoreEos?: boolean | undefined;
  signal?: AbortSignal | undefined;
  /** Name of an adapter, `null` for the base model, left out for the active adapter. */
  adapter?: string | null | undefined;
}

export interface Candidate {
  text: string;
  tokenIds: number[];
  /** Natural logarithms, one per token id, of the model's own distribution. */
  logprobs: number[];
  finishReason: 'stop' | 'length' | 'abort';
  seconds: { prefill: number; decode: number };
  promptTokens: number;
  adapter: string | null;
}

export interface ScoreOptions {
  /** Name of an adapter, `null` for the base model, left out for the active adapter. */
  adapter?: string | null | undefined;
  /** Token positions after which the logits are wanted, too: a row of the vocabulary's length each. */
  positions?: readonly number[] | undefined;
}

export interface Score {
  tokenIds: number[];
  /** ln p of every token but the first, given those before it: one less than `tokenIds`. */
  logprobs: number[];
  /** One (vocabSize) row per entry of `positions`. */
  logits: Float32Array[];
}

export interface CandidateEvent {
  index: number;
  text: string;
  done: boolean;
}

export interface AdapterInfo {
  name: string;
  active: boolean;
  r: number;
  loraAlpha: number;
  targetModules: string[];
  parameters: number;
  bytes: number;
}

/** A PEFT folder. */
export interface AdapterFiles {
  'adapter_config.json': string;
  'adapter_model.safetensors': Uint8Array;
}

export interface Memory {
  gpuBytes: number;
  wasmBytes: number;
}

/** Counts since the device was opened. */
export interface Counters {
  dispatches: number;
  submits: number;
  allocations: number;
  pipelines: number;
  peakGpuBytes: number;
}

/** Columns may also be written as TRL does (`input_ids`). What is no column is refused by name. */
export type SFTRow =
  | { messages: Message[] }
  | { prompt: string | Message[]; completion: string | Message[] }
  | { text: string }
  | { inputIds: ArrayLike<number>; labels?: ArrayLike<number> | undefined }
  | { input_ids: ArrayLike<number>; labels?: ArrayLike<number> | undefined };

export interface PreferenceRow {
  prompt: string | Message[];
  chosen: string | Message[];
  rejected: string | Message[];
  /** Multiplies the row's loss. */
  weight?: number | undefined;
}

/** Several answers and how they stand: 1 is best, equal ranks are ties, null is an answer that nobody has placed. */
export interface RankingRow {
  prompt: string | Message[];
  answers: readonly (string | Message[])[];
  ranks: readonly (number | null)[];
  weight?: number | undefined;
}

/**
 * A preference; whole conversations in chosen and rejected, whose common beginning is the prompt; a preference of token ids; or a ranking, which
 * trains as all its strict pairs.
 */
export type DPORow =
  | PreferenceRow
  | Omit<PreferenceRow, 'prompt'>
  | {
      promptIds: ArrayLike<number>;
      chosenIds: ArrayLike<number>;
      rejectedIds: ArrayLike<number>;
      weight?: number | undefined;
    }
  | RankingRow;

/** An answer that is good or not. */
export type UnpairedRow =
  | { prompt: string | Message[]; completion: string | Message[]; label: boolean }
  | { promptIds: ArrayLike<number>; completionIds: ArrayLike<number>; label: boolean };

/** A row as TRL writes it, every column of a conversation in messages. */
export type Columns =
  | {
      kind: 'sft';
      row:
        | { messages: Message[] }
        | { prompt: string | Message[]; completion: string | Message[] }
        | { text: string }
        | { input_ids: number[]; labels?: number[] };
    }
  | { kind: 'preference'; row: PreferenceRow | { prompt_ids: number[]; chosen_ids: number[]; rejected_ids: number[]; weight?: number } }
  | {
      kind: 'unpaired';
      row:
        | { prompt: string | Message[]; completion: string | Message[]; label: boolean }
        | { prompt_ids: number[]; completion_ids: number[]; label: boolean };
    }
  | { kind: 'ranking'; row: RankingRow };

/** A line of a file that is no row: the column or the place in it, and what is wrong there and what was expected. */
export interface RefusedLine {
  line: number;
  column: string | null;
  reason: string;
}

/** What stands in a line of a file. */
export type ReadLine = ({ line: number } & Columns) | RefusedLine;

export interface RowsOptions {
  /** The file's name for errors; a `File` has its own. */
  name?: string | undefined;
  signal?: AbortSignal | undefined;
  /** False: read in the page instead of in a Worker. */
  worker?: boolean | undefined;
}

export interface TrainOptions {
  onStep?: ((metrics: StepMetrics) => void) | undefined;
  signal?: AbortSignal | undefined;
  /** A checkpoint every so many steps, handed to `onCheckpoint`. */
  saveSteps?: number | undefined;
  onCheckpoint?: ((bytes: Uint8Array) => void) | undefined;
}

export interface TrainResult {
  /** Optimizer steps taken, earlier ones of a resumed run included. */
  steps: number;
  /** Mean loss of the steps of this call. */
  trainLoss: number;
  seconds: number;
  /** Name of the trained adapter, now active. */
  adapter: string;
}

export interface Capabilities {
  webgpu: boolean;
  /** Why not, in words for a person. */
  reason?: string;
  adapter?: AdapterDescription;
}

/** A downloaded model in the browser's storage. */
export interface CachedModel {
  address: string;
  bytes: number;
  /** Of the whole file; empty while it is incomplete. */
  sha256: string;
  complete: boolean;
}
