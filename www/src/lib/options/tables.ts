// What each object of options holds: the one list of every way in.
import { STORED_TYPES } from '../generated/stored.ts';
import { ARGS, PEFT, SHARED, type Arg } from '../generated/methods.ts';
import type { MethodName } from '../types.ts';
import {
  address,
  all,
  bytes,
  call,
  either,
  fields,
  flag,
  isList,
  name,
  number,
  one,
  orNull,
  seed,
  signal,
  text,
  texts,
  whole,
  wholes,
  type Rule,
  type Rules,
} from './check.ts';

const worker: Rule = {
  takes: 'true, false or a Worker',
  ok: (v) => typeof v === 'boolean' || (typeof v === 'object' && v !== null && 'postMessage' in v && 'terminate' in v),
};

/** Where the parts of the package are. */
const PLACES: Rules = { worker, workerUrl: address, wasmUrl: address };

const device = one('auto', 'gpu', 'cpu');
const threads = whole(1, 64);

export const LOAD: Rules = {
  ...PLACES,
  onProgress: call,
  onWarning: call,
  onDeviceLost: call,
  recover: flag,
  signal,
  cache: one(true, false, 'refresh'),
  stallMs: whole(100, 3_600_000),
  sha256: { takes: 'a SHA-256 in 64 hex digits', ok: (v) => typeof v === 'string' && /^[0-9a-f]{64}$/i.test(v) },
  name: text,
  contextLength: whole(1, 2 ** 26),
  kvCacheDtype: one('f32', 'f16'),
  mask: one('causal', 'prefix'),
  quantize: one(...STORED_TYPES),
  candidates: whole(1, 64),
  device,
  threads,
  kernel: text,
};

const missing = (what: string): string => `is not supported${what ? `; ${what}` : ''}`;

const SAMPLING: Rules = {
  maxNewTokens: whole(1, 1_000_000),
  temperature: number(0, 100),
  topK: whole(0, 1_000_000),
  topP: number(0, 1),
  minP: number(0, 1),
  repetitionPenalty: number(0.01, 100),
  noRepeatNgramSize: whole(0, 1_000_000),
  numBeams: whole(1, 64),
  lengthPenalty: number(-100, 100),
  earlyStopping: one(true, false, 'never'),
  promptLookupNumTokens: whole(0, 63),
  maxMatchingNgramSize: whole(1, 64),
  topLogprobs: whole(0, 20),
  seed,
  stopStrings: texts,
  ignoreEos: flag,
  signal,
  adapter: orNull(name),
  queue: flag,
  stream: missing('every answer is a stream: iterate it, or await its result'),
  logprobs: missing('every answer has its logprobs'),
  tools: missing(''),
  responseFormat: missing(''),
  response_format: missing(''),
  frequencyPenalty: missing('repetitionPenalty makes repetitions less likely'),
  frequency_penalty: missing('repetitionPenalty makes repetitions less likely'),
  presencePenalty: missing('repetitionPenalty makes repetitions less likely'),
  presence_penalty: missing('repetitionPenalty makes repetitions less likely'),
  numBeamGroups: missing('numBeams searches without groups'),
  diversityPenalty: missing('numBeams searches without groups'),
};

export const GENERATE: Rules = { ...SAMPLING, n: missing('generateCandidates() gives several answers') };

export const CANDIDATES: Rules = { ...SAMPLING, n: whole(1, 64) };

export const SCORE: Rules = { adapter: orNull(name), positions: wholes };

const judge = (v: unknown): boolean => typeof v === 'function' || (typeof v === 'string' && v !== '');

export const TRAIN: Rules = {
  onStep: call,
  onEvaluate: call,
  evalDataset: { takes: 'a list of rows', ok: Array.isArray },
  onWarning: call,
  signal,
  saveSteps: whole(0, 2 ** 31),
  onCheckpoint: call,
  rewards: {
    takes: 'a rule, a function, or a list of them',
    ok: (v) => judge(v) || (isList(v) && v.length > 0 && all(v, judge)),
  },
  rewardTimeoutMs: whole(1, 2 ** 31 - 1),
  onRollouts: call,
};

export const EVALUATE: Rules = { adapter: orNull(name), signal };

export const MEASURE: Rules = { ...PLACES, device, threads, signal, onFigure: call };

const names: Rule = {
  takes: 'an object of names',
  ok: (v) => typeof v === 'object' && v !== null && Object.values(v).every((name) => typeof name === 'string' && name !== ''),
};

export const ROWS: Rules = { ...PLACES, name: text, columns: names, signal };

export const WRITE_ROWS: Rules = { ...PLACES };

export const ADAPTER: Rules = { signal };

export const COMBINE: Rules = { combinationType: one('linear', 'cat', 'svd'), svdRank: whole(1, 4096) };

/** OpenAI's names; what would change an answer and is not there is taken only where it asks for nothing. */
const nothing = (takes: string, ...values: unknown[]): Rule => ({
  takes: `${takes}: more is not supported`,
  ok: (v) =>
    values.includes(v) || (Array.isArray(v) && v.length === 0) || (typeof v === 'object' && v !== null && Object.keys(v).length === 0),
});

export const COMPLETION: Rules = {
  messages: { takes: 'a list of messages', ok: Array.isArray },
  model: text,
  stream: flag,
  temperature: number(0, 100),
  top_p: number(0, 1),
  max_tokens: whole(1, 1_000_000),
  max_completion_tokens: whole(1, 1_000_000),
  n: whole(1, 64),
  seed,
  stop: either(name, texts),
  stream_options: fields,
  user: text,
  frequency_penalty: nothing('0', 0),
  presence_penalty: nothing('0', 0),
  logit_bias: nothing('{}'),
  logprobs: flag,
  top_logprobs: whole(0, 20),
  tools: nothing('[]'),
  tool_choice: nothing("'none'", 'none', 'auto'),
  parallel_tool_calls: flag,
  functions: nothing('[]'),
  response_format: {
    takes: "{ type: 'text' }: other formats are not supported",
    ok: (v) => (v as { type?: unknown } | null)?.type === 'text' && Object.keys(v as object).length === 1,
  },
  store: nothing('false', false),
  metadata: nothing('{}'),
};

export const STREAM_OPTIONS: Rules = { include_usage: flag, include_obfuscation: one(false) };

export const REQUEST: Rules = { signal };

/** What a row of the table of methods takes. */
function ruleOf(a: Arg): Rule {
  const list = (takes: string, ok: (v: unknown) => boolean): Rule => ({
    takes: `${takes} or a list of them`,
    ok: (v) => ok(v) || (Array.isArray(v) && all(v, ok)),
  });
  const isText = (v: unknown): boolean => typeof v === 'string';
  const rules: Record<Arg['kind'], () => Rule> = {
    number: () => number(a.low!, a.high!),
    whole: () => whole(a.low!, a.high!),
    switch: () => flag,
    switchOr: () => ({
      takes: `true, false or one of ${a.choices!.join(', ')}`,
      ok: (v) => typeof v === 'boolean' || typeof v === 'string',
    }),
    choice: () => one(...a.choices!),
    choices: () => list(`one of ${a.choices!.join(', ')}`, (v) => (a.choices as readonly unknown[]).includes(v)),
    numbers: () => ({ takes: 'a list of numbers', ok: (v) => Array.isArray(v) && v.length > 0 && all(v, Number.isFinite) }),
    text: () => text,
    names: () => list('a text', isText),
    wholes: () => list('a whole number', Number.isSafeInteger),
    patterns: () => ({
      takes: 'an object of numbers',
      ok: (v) => fields.ok(v) && all(Object.values(v as object), Number.isFinite),
    }),
  };
  const rule = rules[a.kind]();
  return a.nullable ? orNull(rule) : rule;
}

const rulesOf = (args: Readonly<Record<string, Arg>>): Record<string, Rule> =>
  Object.fromEntries(Object.entries(args).map(([key, a]) => [key, ruleOf(a)]));

const OTHERS: Rules = { peftConfig: fields, adapterName: name, resumeFrom: bytes };

const missingPeft = 'is not supported';

export const PEFT_RULES: Rules = {
  ...rulesOf(PEFT),
  modulesToSave: missingPeft,
  bias: one('none'),
};

/** A trainer's arguments, and what the engine calls them. */
export interface TrainerTable {
  rules: Rules;
  names: Readonly<Record<string, string>>;
}

const tables = new Map<MethodName, TrainerTable>();

export function trainerTable(method: MethodName): TrainerTable {
  let table = tables.get(method);
  if (!table) {
    const { own, without } = ARGS[method];
    const args = { ...SHARED, ...own };
    const lacks = Object.entries(without).map(([key, why]) => [key, `is not an argument of ${method.toUpperCase()}Trainer: ${why}`]);
    table = {
      rules: { ...rulesOf(args), ...OTHERS, ...Object.fromEntries(lacks) },
      names: Object.fromEntries(Object.entries(args).map(([key, a]) => [key, a.name])),
    };
    tables.set(method, table);
  }
  return table;
}

/** The same by PEFT's names, in a file: what it holds there, whatever a training would take. */
export const PEFT_TYPES: Readonly<Record<string, Rule>> = Object.fromEntries(
  Object.values(PEFT).map((a) => {
    const wide: Arg = a.kind === 'number' || a.kind === 'whole' ? { ...a, low: -1e308, high: 1e308 } : a;
    return [a.name, a.kind === 'choice' ? text : ruleOf(wide)];
  }),
);

export const PEFT_NAMES: Readonly<Record<string, string>> = Object.fromEntries(Object.entries(PEFT).map(([key, a]) => [key, a.name]));

/** A message of the engine, whose names are those of files, in the names of the caller. */
export function inCallersWords(message: string): string {
  return message.replace(/\b[a-z]+(?:_[a-z0-9]+)+\b/g, (found) => ENGINE_NAMES.get(found) ?? found);
}

const ENGINE_NAMES: ReadonlyMap<string, string> = new Map([
  ...[SHARED, PEFT, ...Object.values(ARGS).map((m) => m.own)].flatMap((t) => Object.entries(t).map(([key, a]) => [a.name, key] as const)),
  ['peft_config', 'peftConfig'],
  ['adapter_name', 'adapterName'],
  ['context_length', 'contextLength'],
  ['kv_cache_dtype', 'kvCacheDtype'],
  ['max_new_tokens', 'maxNewTokens'],
  ['top_k', 'topK'],
  ['top_p', 'topP'],
  ['min_p', 'minP'],
  ['repetition_penalty', 'repetitionPenalty'],
  ['no_repeat_ngram_size', 'noRepeatNgramSize'],
  ['num_beams', 'numBeams'],
  ['length_penalty', 'lengthPenalty'],
  ['early_stopping', 'earlyStopping'],
  ['prompt_lookup_num_tokens', 'promptLookupNumTokens'],
  ['max_matching_ngram_size', 'maxMatchingNgramSize'],
  ['top_logprobs', 'topLogprobs'],
  ['stop_strings', 'stopStrings'],
  ['ignore_eos', 'ignoreEos'],
]);
