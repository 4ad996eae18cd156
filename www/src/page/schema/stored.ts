// One schema for each kind of file that the page stores. What is essential makes its part unusable where it is wrong; the rest has defaults.
import * as v from 'valibot';
import { cleanHosts } from '../model/hosts.ts';
import { defaultsFor, fieldsFor, METHOD_NAMES } from '../model/learnArgs.ts';
import { inferRest } from '../model/ranking.ts';
import {
  CRITERIA,
  type Answer,
  type Chat,
  type Comparison,
  type Content,
  type FeedbackRow,
  type LearnArgs,
  type Method,
  type Ratings,
  type Run,
  type Setting,
  type Settings,
  type Turn,
  type Versions,
} from '../model/types.ts';
import { each, isObject, note, soft, type Json, type Kind, type Schema } from './notes.ts';

const newId = (): string => crypto.randomUUID();
const text = v.string();
const id = v.pipe(v.string(), v.minLength(1), v.maxLength(200));
const finite = (low: number, high: number): Schema<number> => v.pipe(v.number(), v.finite(), v.minValue(low), v.maxValue(high));
const whole = (low: number, high: number): Schema<number> => v.pipe(v.number(), v.integer(), v.minValue(low), v.maxValue(high));
const time = finite(0, 8.64e15);
const count = whole(0, Number.MAX_SAFE_INTEGER);

// ---- chats

/** Longest title: one line of a list. */
const TITLE = 200;
/** Most answers of a question; the page itself asks for six at most. */
const ANSWERS = 64;

const answer: Schema<Answer> = v.object({
  text,
  adapter: soft('adapter', v.nullable(text), () => null),
  finishReason: soft('finishReason', v.picklist(['stop', 'length', 'abort', 'error']), () => 'stop' as const),
  tokens: soft('tokens', count, () => 0),
  seconds: soft('seconds', finite(0, 1e9), () => 0),
});

const comparison: Schema<Comparison> = v.object({ at: soft('at', time, () => 0), base: answer, tuned: answer });

const ratingList = v.array(v.nullable(whole(1, 5)));

/** As many entries as there are answers, each of them one that may be there. */
function fitList(key: string, list: (number | null)[], n: number, most: number): (number | null)[] {
  if (list.length > 0 && list.length !== n) note(`${key}: ${list.length} entries for ${n} answers`);
  const high = list.find((p) => p !== null && p > most);
  if (high !== undefined) note(`${key}: ${high} is more than ${most}`);
  return Array.from({ length: n }, (_, i) => ((list[i] ?? null) !== null && list[i]! <= most ? list[i]! : null));
}

const turnSchema: Schema<Turn> = v.pipe(
  v.object({
    id: soft('id', id, newId),
    prompt: text,
    answers: v.pipe(v.array(answer), v.minLength(1), v.maxLength(ANSWERS)),
    places: soft('places', v.array(v.nullable(whole(1, ANSWERS))), () => []),
    rest: soft('rest', v.nullable(whole(0, ANSWERS)), () => null),
    orderBy: soft('orderBy', v.picklist(['criteria', 'hand']), () => 'criteria' as const),
    ratings: soft('ratings', v.object({ helpful: ratingList, accurate: ratingList, harmless: ratingList }), () => ({
      helpful: [],
      accurate: [],
      harmless: [],
    })),
    ideal: soft('ideal', v.nullable(v.object({ text, from: soft('from', whole(0, ANSWERS), () => 0) })), () => null),
    picked: soft('picked', v.nullable(whole(0, ANSWERS)), () => null),
    continued: soft('continued', v.nullable(text), () => null),
    comparisons: soft('comparisons', each('comparisons', comparison), () => []),
    unlisted: v.optional(v.array(v.picklist(['preference', 'ideal']))),
  }),
  v.transform((t): Turn => {
    const n = t.answers.length;
    if (t.ideal && t.ideal.from >= n) t.ideal.from = 0;
    if (t.picked !== null && t.picked >= n) {
      note(`picked: there is no answer ${t.picked}`);
      t.picked = null;
    }
    const { unlisted, ...turn } = t;
    return {
      ...turn,
      places: fitList('places', t.places, n, n),
      ratings: Object.fromEntries(CRITERIA.map((c) => [c, fitList(`ratings.${c}`, t.ratings[c], n, 5)])) as Ratings,
      ...(unlisted ? { unlisted } : {}),
    };
  }),
);

/** Before version 1 a turn did not say where the answers without a place stand. */
const withRest = (turn: unknown): unknown => {
  if (!isObject(turn) || turn['rest'] !== undefined || turn['orderBy'] !== 'hand' || !Array.isArray(turn['places'])) return turn;
  return { ...turn, rest: inferRest(turn['places'].map((p) => (typeof p === 'number' ? p : null))) };
};

export const CHAT: Kind<Chat> = {
  version: 1,
  migrations: [(old) => ({ ...old, turns: Array.isArray(old['turns']) ? old['turns'].map(withRest) : old['turns'] })],
  schema: v.pipe(
    v.object({
      id: soft('id', id, newId),
      title: soft('title', text, () => ''),
      created: soft('created', time, Date.now),
      updated: soft('updated', time, Date.now),
      system: soft('system', text, () => ''),
      turns: each('turns', turnSchema),
    }),
    v.transform((chat): Chat => {
      const seen = new Set<string>();
      const turns = chat.turns.map((t) => {
        const own = seen.has(t.id) ? { ...t, id: newId() } : t;
        if (own !== t) note(`turns: the id ${t.id.slice(0, 40)} is there twice`);
        seen.add(own.id);
        return own;
      });
      const title = chat.title.trim() || chat.turns[0]?.prompt.replace(/\s+/g, ' ').slice(0, 60) || 'Chat';
      return { ...chat, turns, title: title.slice(0, TITLE) };
    }),
  ),
};

// ---- feedback

const ids = v.pipe(v.array(whole(0, 0xffff_ffff)), v.minLength(1));
/** The engine reads more of a message than the page shows (tools, parts, nothing at all): that stays as it is. */
const message = v.looseObject({ role: text, content: v.optional(v.union([text, v.null(), v.array(v.unknown())])) });
const content = v.union([text, v.array(message), v.object({ ids })]) as Schema<Content>;

const source = soft(
  'source',
  v.union([v.object({ from: v.literal('chat'), chat: text, turn: text }), v.object({ from: v.literal('file'), name: text })]),
  () => ({ from: 'file' as const, name: 'unknown' }),
);

const kept = { id, created: soft('created', time, Date.now), source };
const placesOf = v.array(v.nullable(finite(-1e9, 1e9)));
const weight = v.optional(finite(0, 1e6));

const rowSchema = v.variant('kind', [
  v.object({
    kind: v.literal('preference'),
    ...kept,
    prompt: content,
    answers: v.pipe(v.array(content), v.minLength(2)),
    ranks: placesOf,
    weight,
    ratings: v.optional(v.object({ helpful: ratingList, accurate: ratingList, harmless: ratingList })),
  }),
  v.object({
    kind: v.literal('ideal'),
    ...kept,
    row: v.union([
      v.looseObject({ messages: v.pipe(v.array(message), v.minLength(1)) }),
      v.looseObject({ prompt: content, completion: content }),
      v.looseObject({ text }),
      v.looseObject({ input_ids: ids, labels: v.optional(v.array(whole(-0x8000_0000, 0xffff_ffff))) }),
    ]),
  }),
  v.object({ kind: v.literal('judged'), ...kept, prompt: content, completion: content, label: v.boolean() }),
]);

/** A row of the dataset; a line of it is one. The file's version stands in its first line. */
export const ROW: Kind<FeedbackRow> = {
  version: 1,
  migrations: [(old) => old],
  schema: v.pipe(
    rowSchema,
    v.check((r) => r.kind !== 'preference' || r.ranks.length === r.answers.length, 'as many ranks as answers'),
    v.check((r) => {
      if (r.kind === 'ideal') return true;
      const parts = r.kind === 'judged' ? [r.prompt, r.completion] : [r.prompt, ...r.answers];
      const tokens = parts.filter((c) => typeof c === 'object' && !Array.isArray(c)).length;
      return tokens === 0 || (tokens === parts.length && (r.kind === 'judged' || tokens === 3));
    }, 'token ids in all of prompt and answers, or in none'),
  ) as Schema<unknown> as Schema<FeedbackRow>,
};

// ---- settings

/** Arguments of a method from a file of any age: those that it has, each of its type. */
function argsOf(method: Method, raw: unknown): LearnArgs {
  const args = defaultsFor(method);
  if (raw !== undefined && !isObject(raw)) note(`learn.${method}: expected an object`);
  if (!isObject(raw)) return args;
  for (const f of fieldsFor(method)) {
    const value = Object.hasOwn(raw, f.key) ? raw[f.key] : undefined;
    if (value === undefined) continue;
    // A number that somebody was still typing is stored as null.
    if (typeof value === typeof f.default || value === null) args[f.key] = value as Setting;
    else note(`${method}.${f.key}: expected a ${typeof f.default}, found a ${typeof value}`);
  }
  return args;
}

const learn = v.pipe(
  v.custom<Json>(isObject),
  v.transform((raw) => Object.fromEntries(METHOD_NAMES.map((m) => [m, argsOf(m, raw[m])])) as Settings['learn']),
);

const weightOf = (c: string): Schema<number> => soft(`weights.${c}`, finite(0, 10), () => 5);

export const SETTINGS: Kind<Settings> = {
  version: 1,
  migrations: [(old) => old],
  schema: v.object({
    theme: soft('theme', v.picklist(['system', 'light', 'dark']), () => 'system' as const),
    language: soft('language', v.picklist(['system', 'en', 'zh']), () => 'system' as const),
    n: soft('n', whole(2, 6), () => 3),
    temperature: soft('temperature', finite(0, 5), () => 0.8),
    topP: soft('topP', finite(0, 1), () => 0.95),
    topK: soft('topK', whole(0, 1e6), () => 0),
    minP: soft('minP', finite(0, 1), () => 0),
    repetitionPenalty: soft('repetitionPenalty', finite(0.01, 100), () => 1),
    maxNewTokens: soft('maxNewTokens', whole(1, 1e6), () => 256),
    seed: soft('seed', v.nullable(whole(0, 0xffff_ffff)), () => null),
    system: soft('system', text, () => ''),
    weights: soft(
      'weights',
      v.object({ helpful: weightOf('helpful'), accurate: weightOf('accurate'), harmless: weightOf('harmless') }),
      () => ({
        helpful: 5,
        accurate: 5,
        harmless: 5,
      }),
    ),
    showCriteria: soft('showCriteria', v.boolean(), () => true),
    compare: soft('compare', v.boolean(), () => false),
    // A damaged file must not be able to loosen the policy.
    modelHosts: soft('modelHosts', v.pipe(v.array(v.unknown()), v.transform(cleanHosts)), () => []),
    lastModel: soft(
      'lastModel',
      v.nullable(v.object({ source: v.pipe(text, v.maxLength(4000)), name: v.pipe(text, v.maxLength(500)) })),
      () => null,
    ),
    openLast: soft('openLast', v.boolean(), () => true),
    device: soft('device', v.picklist(['auto', 'gpu', 'cpu']), () => 'auto' as const),
    activeAdapter: soft('activeAdapter', v.nullable(v.pipe(text, v.maxLength(200))), () => null),
    method: soft('method', v.picklist(METHOD_NAMES), () => 'dpo' as const),
    adapterName: soft('adapterName', v.pipe(text, v.maxLength(200)), () => 'my-first-adapter'),
    learn: soft('learn', learn, () => Object.fromEntries(METHOD_NAMES.map((m) => [m, defaultsFor(m)])) as Settings['learn']),
  }),
};

// ---- runs

/** What JSON has no word for, such as a loss that is not a number, is stored as null. */
export const METRICS: Kind<Run['metrics'][number]> = {
  version: 1,
  migrations: [(old) => old],
  schema: v.pipe(
    v.looseObject({ step: whole(1, Number.MAX_SAFE_INTEGER), totalSteps: count }),
    v.transform((m) =>
      Object.fromEntries(Object.entries(m).flatMap(([k, x]) => (x === null ? [[k, NaN]] : typeof x === 'number' ? [[k, x]] : []))),
    ),
  ) as Schema<unknown> as Schema<Run['metrics'][number]>,
};

export const RUN: Kind<Run> = {
  version: 1,
  migrations: [(old) => old],
  schema: v.pipe(
    v.object({
      id: soft('id', id, newId),
      method: v.picklist(METHOD_NAMES),
      adapterName: v.pipe(text, v.maxLength(200)),
      args: soft('args', v.custom<Json>(isObject, 'an object'), () => ({})),
      rows: soft('rows', count, () => 0),
      model: soft('model', text, () => ''),
      modelSha: v.optional(soft('modelSha', text, () => '')),
      status: soft(
        'status',
        v.picklist(['starting', 'running', 'paused', 'done', 'unsaved', 'cancelled', 'failed', 'interrupted']),
        () => 'interrupted' as const,
      ),
      started: soft('started', time, Date.now),
      ended: soft('ended', v.nullable(time), () => null),
      // Before there was a file for them they stood here.
      metrics: soft('metrics', each('metrics', METRICS.schema), () => []),
      error: soft('error', v.nullable(text), () => null),
      wentOnAt: v.optional(soft('wentOnAt', count, () => 0)),
    }),
    v.transform((r): Run => {
      const { modelSha, wentOnAt, ...run } = r;
      return {
        ...run,
        args: argsOf(r.method, r.args),
        error: r.error?.slice(0, 2000) ?? null,
        ...(modelSha ? { modelSha } : {}),
        ...(wentOnAt === undefined ? {} : { wentOnAt }),
      };
    }),
  ),
};

export interface KeptRows {
  rows: object[];
  /** The feedback row that each of them comes from. */
  from: string[];
}

export const RUN_ROWS: Kind<KeptRows> = {
  version: 1,
  migrations: [(old) => old],
  schema: v.object({
    rows: v.pipe(v.array(v.custom<Json>(isObject, 'an object')), v.minLength(1)),
    from: soft('from', v.array(text), () => []),
  }),
};

// ---- models of one's own, adapters

export interface KeptModel {
  /** kept:<sha256> */
  source: string;
  name: string;
  sha256: string;
  bytes: number;
  files: { name: string; bytes: number }[];
}

/** A name within a folder, and no way out of it. */
const fileName = v.pipe(text, v.regex(/^[^/\\]{1,255}$/), v.notValue('..'), v.notValue('.'));

export const KEPT_MODEL: Kind<KeptModel> = {
  version: 1,
  migrations: [(old) => old],
  schema: v.object({
    source: v.pipe(text, v.regex(/^kept:[0-9a-f]+$/)),
    name: v.pipe(text, v.maxLength(500)),
    sha256: v.pipe(text, v.regex(/^[0-9a-f]+$/)),
    bytes: count,
    files: v.pipe(v.array(v.object({ name: fileName, bytes: count })), v.minLength(1), v.maxLength(2000)),
  }),
};

/** Most versions of one adapter that are read. */
const VERSIONS_MOST = 10_000;

export const VERSIONS: Kind<Versions> = {
  version: 1,
  migrations: [(old) => old],
  schema: v.object({
    current: whole(1, VERSIONS_MOST),
    versions: each(
      'versions',
      v.object({
        n: whole(1, VERSIONS_MOST),
        at: soft('at', time, () => 0),
        method: v.optional(v.picklist(METHOD_NAMES)),
        rows: v.optional(count),
        model: v.optional(text),
        loss: v.optional(v.tuple([v.number(), v.number()])),
        accuracy: v.optional(finite(0, 1)),
      }) as Schema<unknown> as Schema<Versions['versions'][number]>,
    ),
  }),
};

/** What the page shows of PEFT's adapter_config.json, which has no version and is the engine's to judge. */
export const ADAPTER_CONFIG: Kind<{ r: number; loraAlpha: number; targetModules: string[]; base: string }> = {
  version: Number.MAX_SAFE_INTEGER,
  migrations: [],
  schema: v.pipe(
    v.object({
      r: soft('r', finite(0, 1e6), () => 8),
      lora_alpha: soft('lora_alpha', finite(-1e6, 1e6), () => 8),
      target_modules: soft('target_modules', v.nullable(v.union([text, v.array(text)])), () => null),
      base_model_name_or_path: soft('base_model_name_or_path', v.nullable(text), () => null),
    }),
    v.transform((c) => ({
      r: c.r,
      loraAlpha: c.lora_alpha,
      targetModules: typeof c.target_modules === 'string' ? [c.target_modules] : (c.target_modules ?? []),
      base: c.base_model_name_or_path ?? '',
    })),
  ),
};
