// The public types of the package. Names follow the field: Transformers and PEFT/TRL configs in camelCase,
// metrics exactly as TRL writes them.
import type { StoredType } from './generated/stored.ts';
import type { FledglingError } from './errors.ts';
import type { StepMetrics } from './generated/methods.ts';

export type * from './generated/methods.ts';
export type { StoredType } from './generated/stored.ts';

declare global {
  /** As in TypeScript's `esnext.disposable`, which no user of these types needs to name. */
  interface SymbolConstructor {
    readonly asyncDispose: unique symbol;
  }
}

export interface Message {
  role: 'system' | 'user' | 'assistant';
  content: string;
}

/** A message that is read only; roles other than the usual ones are the template's to know. */
export interface InputMessage {
  readonly role: Message['role'] | (string & {});
  readonly content: string;
}

/**
 * An address, a file, its bytes, or the files of a folder. An address names a GGUF file (of one in several, `…-00001-of-00003.gguf`, any part: the
 * others lie beside it), a folder as Transformers writes it (ending in `/` or in `config.json`), or a safetensors file in such a folder.
 */
export type ModelSource = string | URL | Blob | ArrayBuffer | Uint8Array<ArrayBuffer> | FileList | readonly File[];

/** Where the parts of the package are, for pages that do not have them beside its script. */
export interface Places {
  /**
   * Run in a Worker, or in this page, or in a Worker of your own that imports `fledgling/worker`: it serves one model and ends with it.
   * @default true
   */
  worker?: boolean | Worker | undefined;
  /** Address of `fledgling/worker`, also on another origin. By default it lies beside the package's script. */
  workerUrl?: string | URL | undefined;
  /** Address of `fledgling_bg.wasm`; `threads/fledgling_bg.wasm` is looked for beside it. By default it lies beside its glue. */
  wasmUrl?: string | URL | undefined;
}

/** The GPU was lost: the driver or the browser's GPU process ended it. */
export interface DeviceLoss {
  error: FledglingError;
  /** Whether everything comes back by itself: model, adapters, the answer and the run under way. */
  recovering: boolean;
  /** How often that has been tried in the last ten minutes, this time included. */
  attempt: number;
}

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
  /** Why nothing comes at the moment, and what is done about it, in words for a person. */
  note?: string | undefined;
}

/**
 * `gpu`, `cpu` (this processor, in WebAssembly), or `auto`: a GPU where there is one; where the only adapter is software, whichever was
 * faster in a short measurement.
 */
export type Device = 'auto' | 'gpu' | 'cpu';

export type KvCacheDtype = 'f32' | 'f16';
/** See `LoadOptions.mask`. */
export type Mask = 'causal' | 'prefix';

export interface LoadOptions extends Places {
  onProgress?: ((progress: Progress) => void) | undefined;
  /**
   * Something went wrong that loading survives, such as `quota-exceeded`: the model is used but not kept. `fewer-threads`: not all of them started.
   * Without it, warnings go to the console.
   */
  onWarning?: ((warning: FledglingError) => void) | undefined;
  /** The GPU was lost. With `recover`, what ran goes on when this has been called. */
  onDeviceLost?: ((loss: DeviceLoss) => void) | undefined;
  /**
   * After a loss of the GPU model and adapters are loaded again, and what ran goes on, up to three times in ten minutes.
   * @default true
   */
  recover?: boolean | undefined;
  signal?: AbortSignal | undefined;
  /**
   * Keep a downloaded file in the browser's storage; `refresh` downloads it again.
   * @default true
   */
  cache?: boolean | 'refresh' | undefined;
  /**
   * Milliseconds that a server may be silent, or nearly so, before it is asked anew, four times in a row at most.
   * @default 30000
   */
  stallMs?: number | undefined;
  /** Expected SHA-256 of the file in hex; anything else is a `hash-mismatch`. */
  sha256?: string | undefined;
  /** Name to show, in place of the file's own. */
  name?: string | undefined;
  /** Tokens of context to reserve, at most what the model was trained for. */
  contextLength?: number | undefined;
  /**
   * What keys and values are stored as: `f32` (log-probabilities are those of PyTorch), or `f16`, half the memory of the cache and half
   * the bytes that long contexts read. No device needs `shader-f16` for it.
   * @default 'f32'
   */
  kvCacheDtype?: KvCacheDtype | undefined;
  /**
   * Which keys a token sees, in training and in answers: `causal`, itself and what stands before it; `prefix`, the tokens of a prompt one another and
   * those of an answer what stands before them. An adapter that was trained with `prefix` says so in its files and wants it here.
   * @default 'causal'
   */
  mask?: Mask | undefined;
  /**
   * Makes blocks of few bits of weights that the files have as floats, row by row while they arrive, so that a folder of safetensors fits a tab.
   * Norms and biases stay floats; rows that are no whole blocks take a type that fits. What the files have in blocks already stays as it is.
   */
  quantize?: StoredType | undefined;
  /**
   * Answers at once that the first request will want. Loading makes ready what those need, so that their first token takes as long as any other;
   * other numbers are as right, but what they need is compiled at their first use.
   * @default 1
   */
  candidates?: number | undefined;
  /** @default 'auto' */
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

export interface MeasureOptions extends Places {
  /** @default 'auto' */
  device?: Device | undefined;
  /** Threads of the processor: as in `LoadOptions`. Where fewer start, there is no warning; the name that the result gives tells how many. */
  threads?: number | undefined;
  signal?: AbortSignal | undefined;
  /** Told what has been measured so far. */
  onFigure?: ((figures: Partial<DeviceFigures>) => void) | undefined;
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
  /** Which keys a token sees. */
  mask: Mask;
}

export interface GenerateOptions {
  /**
   * From 1.
   * @default 256
   */
  maxNewTokens?: number | undefined;
  /**
   * 0 is greedy.
   * @default 0
   */
  temperature?: number | undefined;
  /**
   * 0: all tokens.
   * @default 0
   */
  topK?: number | undefined;
  /** @default 1 */
  topP?: number | undefined;
  /** @default 0 */
  minP?: number | undefined;
  /** @default 1 */
  repetitionPenalty?: number | undefined;
  /**
   * No run of so many tokens comes a second time, the prompt's counted; 0: off.
   * @default 0
   */
  noRepeatNgramSize?: number | undefined;
  /**
   * Beams of a beam search, the best of which is the answer (`generateCandidates()`: the best `n`); 1: none. Its text comes at the end, and it is never
   * sampled.
   * @default 1
   */
  numBeams?: number | undefined;
  /**
   * A beam's score is the sum of its log-probabilities divided by its length to this power.
   * @default 1
   */
  lengthPenalty?: number | undefined;
  /**
   * When a beam search ends: `true`, as many beams have ended as there are; `false`, no better one is likely; `'never'`, none is possible.
   * @default false
   */
  earlyStopping?: boolean | 'never' | undefined;
  /**
   * Guesses up to so many tokens by looking the last ones up in what was said, and checks them in one pass; 0: off. The same greedy answer, sooner
   * where it repeats something.
   * @default 0
   */
  promptLookupNumTokens?: number | undefined;
  /**
   * Most tokens that are looked up.
   * @default 2
   */
  maxMatchingNgramSize?: number | undefined;
  /**
   * So many of the likeliest tokens are told in the place of each.
   * @default 0
   */
  topLogprobs?: number | undefined;
  /** A whole number from 0 to 2³² − 1. Without it, every call draws its own. */
  seed?: number | undefined;
  stopStrings?: readonly string[] | undefined;
  /**
   * Goes on after the token that ends an answer, up to `maxNewTokens`.
   * @default false
   */
  ignoreEos?: boolean | undefined;
  signal?: AbortSignal | undefined;
  /** Name of an adapter, `null` for the base model, left out for the active adapter. */
  adapter?: string | null | undefined;
  /**
   * Waits while another answer is made; `false`: is refused as `busy` then.
   * @default true
   */
  queue?: boolean | undefined;
}

export interface Candidate {
  text: string;
  tokenIds: number[];
  /** Natural logarithms, one per token id, of the model's own distribution. */
  logprobs: number[];
  /** With `topLogprobs`: for each token the likeliest in its place, the likeliest first. Empty otherwise. */
  topLogprobs: { tokenId: number; logprob: number }[][];
  /** Of a beam: the sum of its log-probabilities divided by its length to the power of `lengthPenalty`; `null` otherwise. */
  score: number | null;
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
  /** Of a reward model (an adapter that `RewardTrainer` trained): its score of the whole; then there are no log-probabilities. Empty otherwise. */
  scores: number[];
}

export interface CandidateEvent {
  index: number;
  text: string;
  done: boolean;
}

export interface AdapterInfo {
  name: string;
  active: boolean;
  /** PEFT's `peft_type`. */
  peftType: 'LORA' | 'PROMPT_TUNING' | 'P_TUNING' | 'PREFIX_TUNING';
  /** Of virtual tokens; 0 for LoRA, whose `r`, `loraAlpha` and `targetModules` are 0 and none for others. */
  numVirtualTokens: number;
  r: number;
  loraAlpha: number;
  targetModules: string[];
  /** Scores that its head gives of a sequence: 1 of a reward model, one for each criterion of several, 0 of an adapter that writes. */
  scores: number;
  /** What it was trained with. */
  mask: Mask;
  parameters: number;
  bytes: number;
}

export interface CombineOptions {
  /**
   * linear: weighted sums of A and of B, of one rank; cat: exact, of the sum of the ranks; svd: exact, and then cut to a rank.
   * @default 'svd'
   */
  combinationType?: 'linear' | 'cat' | 'svd' | undefined;
  /** The rank of svd; without it, the largest of the adapters'. */
  svdRank?: number | undefined;
}

/** A PEFT folder. */
export interface AdapterFiles {
  'adapter_config.json': string;
  'adapter_model.safetensors': Uint8Array<ArrayBuffer>;
}

/** The same as it may be handed over: the configuration also parsed, both also as files. */
export interface AdapterInput {
  'adapter_config.json': string | object | Blob;
  'adapter_model.safetensors': Uint8Array<ArrayBuffer> | ArrayBuffer | Blob;
}

/** A PEFT folder: its two files, the address of the folder, the files of one that a person chose, or a zip of it. */
export type AdapterSource = AdapterInput | string | URL | FileList | readonly File[] | Blob | ArrayBuffer | Uint8Array<ArrayBuffer>;

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

/** A message of a row: it goes to the model's chat template whole, with `tool_calls`, `reasoning_content` or whatever else it holds. */
export interface RowMessage {
  role: string;
  content?: string | readonly { type: 'text'; text: string }[] | null | undefined;
  [field: string]: unknown;
}

/** What a row of conversations says to the chat template beside the messages. */
export interface ForTemplate {
  tools?: readonly object[] | undefined;
  documents?: readonly object[] | undefined;
  /** Variables of the template by their names. */
  chatTemplateKwargs?: Readonly<Record<string, unknown>> | undefined;
}

/** Columns may also be written as TRL does (`input_ids`). What is no column is refused by name. */
export type SFTRow =
  | ({ messages: readonly (Message | RowMessage)[] } & ForTemplate)
  | { conversations: readonly ({ from: string; value: string } | RowMessage)[] }
  | ({ prompt: Given; completion: Given } & ForTemplate)
  | { instruction: string; input?: string | undefined; output: string }
  | { text: string }
  | { inputIds: ArrayLike<number>; labels?: ArrayLike<number> | undefined; prefixLength?: number | undefined }
  | {
      input_ids: ArrayLike<number>;
      labels?: ArrayLike<number> | undefined;
      prefix_length?: number | undefined;
      /** Of an encoder: the segment of each token. */
      token_type_ids?: ArrayLike<number> | undefined;
    };

/** A text or a chat, as it may be given … */
export type Given = string | readonly (Message | RowMessage)[];
/** … and as it is read. */
export type Read = string | Message[];

export interface PreferenceRow<Text = Given> extends ForTemplate {
  prompt: Text;
  chosen: Text;
  rejected: Text;
  /** Multiplies the row's loss. */
  weight?: number | undefined;
}

/** Several answers and how they stand: 1 is best, equal ranks are ties, null is an answer that nobody has placed. */
export interface RankingRow<Text = Given> extends ForTemplate {
  prompt: Text;
  answers: readonly Text[];
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
  | ({ prompt: Given; completion: Given; label: boolean } & ForTemplate)
  | { promptIds: ArrayLike<number>; completionIds: ArrayLike<number>; label: boolean };

/**
 * Answers that were compared, for a reward model: preferences and rankings, each ranking as a whole; by how much the better answer's score should be the
 * larger one; or token ids of whole sequences, prompt and answer together.
 */
export type RewardRow =
  | DPORow
  | (Omit<PreferenceRow, 'prompt' | 'weight'> & { prompt?: Given | undefined; margin: number })
  | { chosenIds: ArrayLike<number>; rejectedIds: ArrayLike<number>; margin?: number | undefined }
  | { ids: readonly ArrayLike<number>[]; ranks: readonly (number | null)[] };

/**
 * A prompt to be answered, with any other columns, which reward functions get; or a rollout that is replayed: its completions and their rewards are
 * there. In a dataset all rows are prompts, or all are rollouts.
 */
export type PromptRow =
  | ({ prompt: Given } & ForTemplate & Readonly<Record<string, unknown>>)
  | ({ promptIds: ArrayLike<number> } & Readonly<Record<string, unknown>>)
  | { promptIds: ArrayLike<number>; completionIds: readonly ArrayLike<number>[]; rewards: readonly number[] }
  | { queryIds: ArrayLike<number>; responseIds: ArrayLike<number>; score: number };

/** A row as TRL writes it, every column of a conversation in messages. */
export type Columns =
  | {
      kind: 'sft';
      row: { messages: Message[] } | { prompt: Read; completion: Read } | { text: string } | { input_ids: number[]; labels?: number[] };
    }
  | {
      kind: 'preference';
      row: PreferenceRow<Read> | { prompt_ids: number[]; chosen_ids: number[]; rejected_ids: number[]; weight?: number };
    }
  | {
      kind: 'unpaired';
      row: { prompt: Read; completion: Read; label: boolean } | { prompt_ids: number[]; completion_ids: number[]; label: boolean };
    }
  | { kind: 'ranking'; row: RankingRow<Read> }
  | {
      kind: 'reward';
      row:
        | (PreferenceRow<Read> & { margin: number })
        | { chosen_ids: number[]; rejected_ids: number[]; margin?: number }
        | { ids: number[][]; ranks: (number | null)[] };
    };

/** A line of a file that is no row: the column or the place in it, and what is wrong there and what was expected. */
export interface RefusedLine {
  line: number;
  column: string | null;
  reason: string;
}

/** What stands in a line of a file. */
export type ReadLine = ({ line: number } & Columns) | RefusedLine;

export interface RowsOptions extends Places {
  /** The file's name for errors, and to tell tables (`.csv`, `.tsv`); a `File` has its own. */
  name?: string | undefined;
  /** What columns are called in the file: `{ prompt: 'question' }`. Others that rows do not have are then left out. */
  columns?: Readonly<Record<string, string>> | undefined;
  signal?: AbortSignal | undefined;
}

/** Completions of a round, for a reward function; all lists are of one length. */
export interface RewardBatch {
  /** As they stand in the rows: texts, messages or token ids. */
  prompts: (string | object[] | number[])[];
  completions: string[];
  completionIds: number[][];
  /** The rows' other columns; null where a row has none. */
  columns: Record<string, unknown[]>;
  /** Aborts where the answer is not waited for any more. */
  signal: AbortSignal;
}

/** A number for each completion of a batch. What it throws, a hang (`rewardTimeoutMs`) and NaN end the run as `bad-reward`. */
export type RewardFunction = (batch: RewardBatch) => ArrayLike<number> | PromiseLike<ArrayLike<number>>;

export interface TrainOptions {
  /**
   * Who says how good sampled completions are (GRPO, RLOO, online DPO): rules such as `length:max=40` or `no_regex:[0-9]` (docs/methods.md), and functions,
   * each under its own name. Several are added with `rewardWeights`.
   */
  rewards?: string | RewardFunction | readonly (string | RewardFunction)[] | undefined;
  /**
   * Milliseconds that a reward function may take for a batch.
   * @default 60000
   */
  rewardTimeoutMs?: number | undefined;
  /** Every round as rows that replay it: completions, rewards, log-probabilities, entropies, advantages. */
  onRollouts?: ((rows: object[]) => void) | undefined;
  onStep?: ((metrics: StepMetrics) => void) | undefined;
  /**
   * Rows that are judged and never learned from, as `evalStrategy` says (behind every epoch). In place of them, `evalSplit` holds some of the rows out.
   */
  evalDataset?: readonly object[] | undefined;
  onEvaluate?: ((metrics: EvalMetrics) => void) | undefined;
  /**
   * What is no error and should still be known before the run has taken hours (`training-note`): rows that were left out or cut, rates and rows that
   * cannot teach anything, a text as prompt of a model that chats. Without it, warnings go to the console.
   */
  onWarning?: ((warning: FledglingError) => void) | undefined;
  signal?: AbortSignal | undefined;
  /** A checkpoint every so many steps, handed to `onCheckpoint`. */
  saveSteps?: number | undefined;
  onCheckpoint?: ((bytes: Uint8Array<ArrayBuffer>) => void) | undefined;
}

export interface TrainResult {
  /** Optimizer steps taken, earlier ones of a resumed run included. */
  steps: number;
  /** Mean loss of the steps of this call. */
  trainLoss: number;
  seconds: number;
  /** Name of the trained adapter, now active. */
  adapter: string;
  /** The best evaluation, where somebody asked for it; with `loadBestModelAtEnd` the adapter is that one's. */
  best?: BestEvaluation | undefined;
  /** True where `earlyStoppingPatience` has ended the run. */
  stoppedEarly: boolean;
}

export interface BestEvaluation {
  /** The update behind which it was. */
  step: number;
  metric: string;
  value: number;
  /** Whether the adapter is that one's. */
  loaded: boolean;
}

/** What `evaluate()` gives. */
export type Evaluation = Omit<EvalMetrics, 'step' | 'epoch' | 'best'>;

export interface EvaluateOptions {
  /** Name of an adapter, `null` for the base model, left out for the trainer's. */
  adapter?: string | null | undefined;
  signal?: AbortSignal | undefined;
}

/** What held-out rows gave: the metrics that the method reports, with `eval_` in front, as Transformers names them. */
export interface EvalMetrics {
  /** Updates so far. */
  step: number;
  /** Passes over the rows so far. */
  epoch: number;
  eval_loss: number;
  eval_rows: number;
  /** Tokens that were judged. */
  eval_tokens: number;
  /** Seconds. */
  eval_runtime: number;
  /** Whether it is the best so far, where somebody asked for the best. */
  best?: boolean;
  [metric: `eval_${string}`]: number;
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
