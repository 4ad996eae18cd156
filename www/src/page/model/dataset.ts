// Feedback rows ↔ training rows ↔ JSONL in TRL's columns. Pure functions, no DOM.
import type { DPORow, Message, SFTRow } from '../api.ts';
import { breathe } from './breathe.ts';
import { PageError } from './errors.ts';
import type { FeedbackRow, IdealRow, PreferenceRow, TextOrMessages } from './types.ts';

export const newId = (): string => crypto.randomUUID();

export const textOf = (t: TextOrMessages): string =>
  typeof t === 'string' ? t : t.map((m) => (t.length > 1 ? `${m.role}: ${m.content}` : m.content)).join('\n');

/** TRL wants all columns of a row in one style: with a conversational prompt, answers are messages too. */
const answerLike = (prompt: TextOrMessages, answer: TextOrMessages): TextOrMessages =>
  typeof prompt !== 'string' && typeof answer === 'string' ? [{ role: 'assistant', content: answer }] : answer;

/** Two equal texts teach nothing, however they were ranked; an answer without words cannot be learnt from. */
const differ = (a: string, b: string): boolean => a !== b && a.trim() !== '' && b.trim() !== '';

/** All strict pairs of one preference row, as indices of the better and the worse answer; what is not ranked is in none. */
function* strictPairs({ answers, ranks }: PreferenceRow): Generator<[better: number, worse: number]> {
  const texts = answers.map(textOf);
  const order = ranks.flatMap((rank, i) => (rank === null ? [] : [{ rank, i }])).sort((a, b) => a.rank - b.rank || a.i - b.i);
  for (let a = 0; a < order.length; a++) {
    for (let b = a + 1; b < order.length; b++) {
      const [better, worse] = [order[a]!, order[b]!];
      if (better.rank < worse.rank && differ(texts[better.i]!, texts[worse.i]!)) yield [better.i, worse.i];
    }
  }
}

/** The same as rows for DPO; none where everything is tied. */
export function pairsOf(row: PreferenceRow): DPORow[] {
  const { prompt, answers } = row;
  return [...strictPairs(row)].map(([better, worse]) => ({
    prompt,
    chosen: answerLike(prompt, answers[better]!),
    rejected: answerLike(prompt, answers[worse]!),
    ...(row.weight === undefined ? {} : { weight: row.weight }),
  }));
}

const counted = new WeakMap<FeedbackRow, number>();
/** How many pairs a row gives. Rows never change: each is counted once. */
export function pairsIn(row: FeedbackRow): number {
  if (row.kind === 'ideal') return 0;
  let pairs = counted.get(row);
  if (pairs === undefined) counted.set(row, (pairs = [...strictPairs(row)].length));
  return pairs;
}

/** What a trainer gets, and of which feedback row each of its rows is made. */
export interface TrainingRows<Row> {
  rows: Row[];
  from: string[];
}

/** Rows for DPOTrainer; typed errors where there is nothing to learn from. `tied`: rankings in chats in which nothing is better. */
export async function dpoRows(feedback: FeedbackRow[], tied = 0): Promise<TrainingRows<DPORow>> {
  const out: TrainingRows<DPORow> = { rows: [], from: [] };
  let preferences = 0;
  const rest = breathe();
  for (const row of feedback) {
    if (row.kind !== 'preference') continue;
    preferences++;
    for (const pair of pairsOf(row)) {
      out.rows.push(pair);
      out.from.push(row.id);
    }
    await rest();
  }
  if (out.rows.length > 0) return out;
  const all = preferences + tied;
  if (all === 0)
    throw new PageError(
      'empty-dataset',
      'The dataset holds no ranked answers; DPO needs at least one ranking with a better and a worse answer.',
    );
  throw new PageError(
    'no-pairs',
    `All answers are tied in ${all === 1 ? 'the one ranking' : `each of the ${all} rankings`}, which gives no pair of a better and a worse answer.`,
  );
}

const sftRow = ({ row }: IdealRow): SFTRow => {
  if ('input_ids' in row) return row.labels ? { inputIds: row.input_ids, labels: row.labels } : { inputIds: row.input_ids };
  if ('messages' in row) return row;
  return { prompt: row.prompt, completion: answerLike(row.prompt, row.completion) };
};

/** Rows for SFTTrainer. */
export async function sftRows(feedback: FeedbackRow[]): Promise<TrainingRows<SFTRow>> {
  const out: TrainingRows<SFTRow> = { rows: [], from: [] };
  const rest = breathe();
  for (const row of feedback) {
    if (row.kind !== 'ideal') continue;
    out.rows.push(sftRow(row));
    out.from.push(row.id);
    await rest();
  }
  if (out.rows.length === 0)
    throw new PageError(
      'empty-dataset',
      'The dataset holds no ideal answers; SFT needs at least one answer edited into the ideal one, or imported rows.',
    );
  return out;
}

const line = (value: unknown): string => JSON.stringify(value) + '\n';

/** Lines of some megabytes each, gathered without holding anything up. */
export async function gather(feedback: FeedbackRow[], linesOf: (row: FeedbackRow) => string[]): Promise<string[]> {
  const parts: string[] = [];
  let open: string[] = [];
  let size = 0;
  const rest = breathe();
  for (const row of feedback) {
    for (const text of linesOf(row)) {
      open.push(text);
      size += text.length;
    }
    if (size > 1 << 18) {
      parts.push(open.join(''));
      open = [];
      size = 0;
    }
    await rest();
  }
  parts.push(open.join(''));
  return parts;
}

/** One JSONL line for each pair: prompt, chosen, rejected. */
export const exportPreferences = (feedback: FeedbackRow[]): Promise<string[]> =>
  gather(feedback, (r) => (r.kind === 'preference' ? pairsOf(r).map(line) : []));

/** One JSONL line for each example: prompt, completion · messages · input_ids, labels. */
export const exportIdeals = (feedback: FeedbackRow[]): Promise<string[]> =>
  gather(feedback, (r) =>
    r.kind !== 'ideal'
      ? []
      : [line('completion' in r.row ? { prompt: r.row.prompt, completion: answerLike(r.row.prompt, r.row.completion) } : r.row)],
  );

/** A line of an imported file that cannot be used: where, which column, what was expected. */
export interface RefusedLine {
  line: number;
  column: string | null;
  reason: string;
}

export interface ImportResult {
  rows: FeedbackRow[];
  refused: RefusedLine[];
}

class Refusal extends Error {
  constructor(
    readonly column: string | null,
    reason: string,
  ) {
    super(reason);
  }
}

const kindOf = (v: unknown): string =>
  v === null
    ? 'null'
    : Array.isArray(v)
      ? v.length
        ? 'a list'
        : 'an empty list'
      : typeof v === 'object'
        ? 'an object'
        : v === ''
          ? 'an empty text'
          : `a ${typeof v}`;

function messages(value: unknown, column: string): Message[] {
  if (!Array.isArray(value) || value.length === 0) throw new Refusal(column, `expected a list of {role, content}, found ${kindOf(value)}`);
  return value.map((m: unknown, i) => {
    const { role, content } = (m ?? {}) as Record<string, unknown>;
    if (role !== 'system' && role !== 'user' && role !== 'assistant')
      throw new Refusal(`${column}[${i}].role`, `expected "system", "user" or "assistant", found ${JSON.stringify(role) ?? 'nothing'}`);
    if (typeof content !== 'string')
      throw new Refusal(`${column}[${i}].content`, `expected a text, found ${content === undefined ? 'nothing' : kindOf(content)}`);
    return { role, content };
  });
}

function textOrMessages(record: Record<string, unknown>, column: string): TextOrMessages {
  const value = record[column];
  if (value === undefined) throw new Refusal(column, 'this column is missing');
  if (typeof value === 'string' && value !== '') return value;
  if (Array.isArray(value) && value.length > 0) return messages(value, column);
  throw new Refusal(column, `expected a text or a list of messages, found ${kindOf(value)}`);
}

/** An answer to learn from: not without words. */
function answer(record: Record<string, unknown>, column: string): TextOrMessages {
  const value = textOrMessages(record, column);
  if (textOf(value).trim() === '' || (typeof value !== 'string' && value.every((m) => m.content.trim() === '')))
    throw new Refusal(column, 'expected an answer, found one without words');
  return value;
}

function ids(value: unknown, column: string, lowest: number): number[] {
  if (!Array.isArray(value) || value.length === 0) throw new Refusal(column, `expected a list of token ids, found ${kindOf(value)}`);
  value.forEach((v: unknown, i) => {
    if (!Number.isInteger(v) || (v as number) < lowest)
      throw new Refusal(`${column}[${i}]`, `expected a whole number ≥ ${lowest}, found ${JSON.stringify(v)}`);
  });
  return value as number[];
}

/** TRL's "implicit prompt": chosen and rejected are whole conversations that begin alike. */
function splitImplicit(chosen: TextOrMessages, rejected: TextOrMessages): [TextOrMessages, TextOrMessages, TextOrMessages] {
  if (typeof chosen === 'string' || typeof rejected === 'string')
    throw new Refusal('prompt', 'this column is missing, and chosen and rejected are not conversations that could begin with it');
  let common = 0;
  while (common < Math.min(chosen.length, rejected.length) - 1 && JSON.stringify(chosen[common]) === JSON.stringify(rejected[common]))
    common++;
  if (common === 0) throw new Refusal('prompt', 'this column is missing, and chosen and rejected do not begin with the same messages');
  return [chosen.slice(0, common), chosen.slice(common), rejected.slice(common)];
}

function rowOf(record: Record<string, unknown>, base: { id: string; created: number; source: FeedbackRow['source'] }): FeedbackRow {
  if ('chosen' in record || 'rejected' in record) {
    let chosen = answer(record, 'chosen');
    let rejected = answer(record, 'rejected');
    let prompt: TextOrMessages;
    if ('prompt' in record) prompt = textOrMessages(record, 'prompt');
    else [prompt, chosen, rejected] = splitImplicit(chosen, rejected);
    const weight = record['weight'];
    if (weight !== undefined && !(typeof weight === 'number' && weight >= 0 && Number.isFinite(weight)))
      throw new Refusal('weight', `expected a number ≥ 0, found ${kindOf(weight)}`);
    return {
      kind: 'preference',
      ...base,
      prompt,
      answers: [chosen, rejected],
      ranks: [1, 2],
      ...(weight === undefined ? {} : { weight: weight as number }),
    };
  }
  if ('label' in record && 'completion' in record)
    throw new Refusal(
      'label',
      'unpaired rows (prompt, completion, label) train KTO, which is not offered; pair them as prompt, chosen, rejected',
    );
  if ('completion' in record || 'prompt' in record) {
    return { kind: 'ideal', ...base, row: { prompt: textOrMessages(record, 'prompt'), completion: answer(record, 'completion') } };
  }
  if ('messages' in record) {
    const list = messages(record['messages'], 'messages');
    if (!list.some((m) => m.role === 'assistant'))
      throw new Refusal('messages', 'expected at least one message with the role "assistant" to learn from, found none');
    if (list.every((m) => m.role !== 'assistant' || m.content.trim() === ''))
      throw new Refusal('messages', 'expected words in a message with the role "assistant", found none');
    return { kind: 'ideal', ...base, row: { messages: list } };
  }
  if ('input_ids' in record) {
    const input_ids = ids(record['input_ids'], 'input_ids', 0);
    if (record['labels'] === undefined) return { kind: 'ideal', ...base, row: { input_ids } };
    const labels = ids(record['labels'], 'labels', -100);
    if (labels.length !== input_ids.length)
      throw new Refusal('labels', `expected ${input_ids.length} numbers, as many as input_ids, found ${labels.length}`);
    return { kind: 'ideal', ...base, row: { input_ids, labels } };
  }
  throw new Refusal(
    null,
    'expected the columns prompt, chosen, rejected · prompt, completion · messages · input_ids, ' +
      `found ${Object.keys(record).slice(0, 6).join(', ') || 'none'}`,
  );
}

/** Lines longer than this are refused unread: 8 Mi characters is far beyond any context. */
const LONGEST_LINE = 8 << 20;

/** Parses one line of JSONL. */
export function parseLine(text: string, number: number, source: FeedbackRow['source'], created: number): FeedbackRow | RefusedLine {
  try {
    if (text.length > LONGEST_LINE) throw new Refusal(null, `the line has ${text.length} characters, more than ${LONGEST_LINE}`);
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (e) {
      throw new Refusal(null, `not JSON: ${(e as Error).message}`);
    }
    if (value === null || typeof value !== 'object' || Array.isArray(value))
      throw new Refusal(null, `expected a JSON object, found ${kindOf(value)}`);
    return rowOf(value as Record<string, unknown>, { id: newId(), created, source });
  } catch (e) {
    if (e instanceof Refusal) return { line: number, column: e.column, reason: e.message };
    throw e;
  }
}

/** Reads JSONL line by line and in slices, so that a large file never holds the main thread for long. */
export async function parseJsonl(lines: AsyncIterable<string>, fileName: string): Promise<ImportResult> {
  const result: ImportResult = { rows: [], refused: [] };
  const created = Date.now();
  const rest = breathe();
  let number = 0;
  for await (const text of lines) {
    number++;
    const one = (number === 1 ? text.replace(/^\uFEFF/, '') : text).trim();
    if (one === '') continue;
    const parsed = parseLine(one, number, { from: 'file', name: fileName }, created + number - 1);
    if ('kind' in parsed) result.rows.push(parsed);
    else result.refused.push(parsed);
    await rest();
  }
  if (result.rows.length === 0 && result.refused.length === 0)
    throw new PageError('empty-dataset', `${fileName} holds no rows: expected JSONL, one JSON object on each line.`);
  return result;
}
