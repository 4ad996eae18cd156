// The documents the page keeps: chats with their turns, feedback rows, settings, training runs.
// Everything here is plain JSON, so that a file in OPFS is exactly one of these.
import type { Message, MethodName, StepMetrics } from '../api.ts';

/** The three criteria a person can judge an answer by. */
export const CRITERIA = ['helpful', 'accurate', 'harmless'] as const;
export type Criterion = (typeof CRITERIA)[number];

/** How much each criterion counts towards the overall order: 0 (ignored) to 10. */
export type Weights = Record<Criterion, number>;

/** Per criterion one rating for each answer: 1 (poor) to 5 (excellent), null = not rated. */
export type Ratings = Record<Criterion, (number | null)[]>;

/** Place or rank of each answer: 1 = best, equal = tie, null = none (which is not the same as last). */
export type Places = (number | null)[];

export interface Answer {
  text: string;
  /** Adapter that wrote it; null = base model. */
  adapter: string | null;
  finishReason: 'stop' | 'length' | 'abort' | 'error';
  tokens: number;
  /** Seconds of decoding, for tokens per second. */
  seconds: number;
}

/** The same prompt answered greedily by the base model and by an adapter. */
export interface Comparison {
  at: number;
  base: Answer;
  tuned: Answer;
}

export interface Turn {
  id: string;
  prompt: string;
  answers: Answer[];
  places: Places;
  /** Where the answers without a place stand, see model/ranking.ts; absent in chats of older versions. */
  rest?: number | null;
  /** Whether `places` follow from the ratings or were set by hand. */
  orderBy: 'criteria' | 'hand';
  ratings: Ratings;
  /** An answer rewritten into the ideal one; `from` is the index of the answer it started as. */
  ideal: { text: string; from: number } | null;
  /** Answer chosen to continue the chat; null = the ideal one, else the best placed. */
  picked: number | null;
  /** The text that the next turn was asked after; fixed then, so that later edits rewrite no history. */
  continued: string | null;
  comparisons: Comparison[];
  /** Rows of it that a person has taken out of the dataset: they stay out until something new is said about the answers. */
  unlisted?: ('preference' | 'ideal')[];
}

export interface Chat {
  id: string;
  title: string;
  created: number;
  updated: number;
  system: string;
  turns: Turn[];
}

/** Text or messages, as TRL allows for prompt, completion, chosen and rejected. */
export type TextOrMessages = string | Message[];

/** What a row holds in place of text: token ids of some tokenizer, which the page shows as they are. */
export interface TokenIds {
  ids: number[];
}
export type Content = TextOrMessages | TokenIds;

export type Source = { from: 'chat'; chat: string; turn: string } | { from: 'file'; name: string };

/** A ranking of answers to one prompt; an imported pair is a ranking of two. */
export interface PreferenceRow {
  kind: 'preference';
  id: string;
  created: number;
  prompt: Content;
  answers: Content[];
  /** null = not ranked: such an answer is in no pair. */
  ranks: Places;
  weight?: number;
  ratings?: Ratings;
  source: Source;
}

/** An example of the right answer, in one of the forms of TRL's SFT rows. */
export interface IdealRow {
  kind: 'ideal';
  id: string;
  created: number;
  row:
    | { messages: Message[] }
    | { prompt: TextOrMessages; completion: TextOrMessages }
    | { text: string }
    | { input_ids: number[]; labels?: number[] };
  source: Source;
}

/** A judgement of one answer: good or bad. */
export interface JudgedRow {
  kind: 'judged';
  id: string;
  created: number;
  prompt: Content;
  completion: Content;
  /** True for a good answer. */
  label: boolean;
  source: Source;
}

export type FeedbackRow = PreferenceRow | IdealRow | JudgedRow;

export type Method = MethodName;

export type Setting = number | boolean | string | null;

/** Training arguments a person can set, by their names in the package; which there are, the table of methods says. */
export type LearnArgs = Record<string, Setting>;

export interface Settings {
  theme: 'system' | 'light' | 'dark';
  language: 'system' | 'en' | 'zh';
  n: number;
  temperature: number;
  topP: number;
  topK: number;
  minP: number;
  repetitionPenalty: number;
  maxNewTokens: number;
  /** null = a new seed for each question. */
  seed: number | null;
  system: string;
  weights: Weights;
  showCriteria: boolean;
  compare: boolean;
  /** Extra hosts that models may be fetched from; applied by the service worker to connect-src. */
  modelHosts: string[];
  lastModel: { source: string; name: string } | null;
  openLast: boolean;
  /** Where models compute; counts from the next load on. */
  device: 'auto' | 'gpu' | 'cpu';
  activeAdapter: string | null;
  method: Method;
  adapterName: string;
  learn: Record<Method, LearnArgs>;
}

/** The run that a version of an adapter came of; nothing of it is known where it came as files. */
export interface Made {
  method?: Method;
  rows?: number;
  model?: string;
  /** Mean over the first and the last pass through the data. */
  loss?: [first: number, last: number];
  /** Share of the pairs of the last pass in which the better answer was preferred. */
  accuracy?: number;
}

/** An adapter as it was at one time. */
export interface Version extends Made {
  n: number;
  at: number;
}

export interface Versions {
  /** The one that the adapter's files are now. */
  current: number;
  versions: Version[];
}

/** `unsaved`: learnt to the end, but the adapter found no room on disk yet. */
export type RunStatus = 'starting' | 'running' | 'paused' | 'done' | 'unsaved' | 'cancelled' | 'failed' | 'interrupted';

/** One training run with its metrics, kept so that the charts survive a reload. */
export interface Run {
  id: string;
  method: Method;
  adapterName: string;
  args: LearnArgs;
  rows: number;
  /** Name and SHA-256 of the model that learns; a checkpoint fits no other. */
  model: string;
  modelSha?: string;
  status: RunStatus;
  started: number;
  ended: number | null;
  /** On disk they have a file of their own, to which steps are only ever added. */
  metrics: StepMetrics[];
  error: string | null;
  /** Its last step when it went on by itself after the page was closed. */
  wentOnAt?: number;
}
