// Feedback rows ↔ training rows ↔ JSONL in TRL's columns. Pure functions, no DOM.
import { rankingToPairs, type DPORow, type Message, type SFTRow } from '../api.ts';
import { breathe } from './breathe.ts';
import { PageError } from './errors.ts';
import type { FeedbackRow, IdealRow, PreferenceRow, TextOrMessages } from './types.ts';

export const newId = (): string => crypto.randomUUID();

export const textOf = (t: TextOrMessages): string => (typeof t === 'string' ? t : t.map((m) => (t.length > 1 ? `${m.role}: ${m.content}` : m.content)).join('\n'));

/** TRL wants all columns of a row in one style: with a conversational prompt, answers are messages too. */
const answerLike = (prompt: TextOrMessages, answer: TextOrMessages): TextOrMessages =>
  typeof prompt !== 'string' && typeof answer === 'string' ? [{ role: 'assistant', content: answer }] : answer;

const sameAnswer = (a: TextOrMessages, b: TextOrMessages): boolean => textOf(a) === textOf(b);

/** All strict pairs of one preference row; none where everything is tied. Two equal texts teach nothing, however they were ranked. */
export function pairsOf(row: PreferenceRow): DPORow[] {
  const { prompt, answers, ranks } = row;
  if (pairsIn(row) === 0) return [];
  // The engine's rule decides which pairs a ranking holds; answers travel as their index and come back as they were.
  const indices = answers.map((_, i) => String(i));
  return rankingToPairs('', indices, ranks)
    .map((pair) => [answers[Number(pair.chosen as string)]!, answers[Number(pair.rejected as string)]!] as const)
    .filter(([chosen, rejected]) => !sameAnswer(chosen, rejected))
    .map(([chosen, rejected]) => ({
      prompt,
      chosen: answerLike(prompt, chosen),
      rejected: answerLike(prompt, rejected),
      ...(row.weight === undefined ? {} : { weight: row.weight }),
    }));
}

/** How many pairs a row gives. */
export function pairsIn(row: FeedbackRow): number {
  if (row.kind === 'ideal') return 0;
  const { answers, ranks } = row;
  let pairs = 0;
  for (let i = 0; i < ranks.length; i++) for (let j = i + 1; j < ranks.length; j++) if (ranks[i] !== ranks[j] && !sameAnswer(answers[i]!, answers[j]!)) pairs++;
  return pairs;
}

/** Rows for DPOTrainer; typed errors where there is nothing to learn from. */
export function dpoRows(rows: FeedbackRow[]): DPORow[] {
  const preferences = rows.filter((r): r is PreferenceRow => r.kind === 'preference');
  if (preferences.length === 0) throw new PageError('empty-dataset', 'The dataset holds no ranked answers; DPO needs at least one ranking with a better and a worse answer.');
  const pairs = preferences.flatMap(pairsOf);
  if (pairs.length === 0) throw new PageError('no-pairs', `All answers are tied in ${preferences.length === 1 ? 'the one ranking' : `each of the ${preferences.length} rankings`} of the dataset, which gives no pair of a better and a worse answer.`);
  return pairs;
}

/** Rows for SFTTrainer. */
export function sftRows(rows: FeedbackRow[]): SFTRow[] {
  const ideals = rows.filter((r): r is IdealRow => r.kind === 'ideal');
  if (ideals.length === 0) throw new PageError('empty-dataset', 'The dataset holds no ideal answers; SFT needs at least one answer edited into the ideal one, or imported rows.');
  return ideals.map(({ row }) => {
    if ('input_ids' in row) return row.labels ? { inputIds: row.input_ids, labels: row.labels } : { inputIds: row.input_ids };
    if ('messages' in row) return row;
    return { prompt: row.prompt, completion: answerLike(row.prompt, row.completion) };
  });
}

const line = (value: unknown): string => JSON.stringify(value) + '\n';

/** One JSONL line for each pair: prompt, chosen, rejected. */
export const exportPreferences = (rows: FeedbackRow[]): string[] =>
  rows.filter((r): r is PreferenceRow => r.kind === 'preference').flatMap((r) => pairsOf(r).map(line));

/** One JSONL line for each example: prompt, completion · messages · input_ids, labels. */
export const exportIdeals = (rows: FeedbackRow[]): string[] =>
  rows
    .filter((r): r is IdealRow => r.kind === 'ideal')
    .map(({ row }) => line('completion' in row ? { prompt: row.prompt, completion: answerLike(row.prompt, row.completion) } : row));

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

const kindOf = (v: unknown): string => (v === null ? 'null' : Array.isArray(v) ? (v.length ? 'a list' : 'an empty list') : typeof v === 'object' ? 'an object' : v === '' ? 'an empty text' : `a ${typeof v}`);

function messages(value: unknown, column: string): Message[] {
  if (!Array.isArray(value) || value.length === 0) throw new Refusal(column, `expected a list of {role, content}, found ${kindOf(value)}`);
  return value.map((m: unknown, i) => {
    const { role, content } = (m ?? {}) as Record<string, unknown>;
    if (role !== 'system' && role !== 'user' && role !== 'assistant') throw new Refusal(`${column}[${i}].role`, `expected "system", "user" or "assistant", found ${JSON.stringify(role) ?? 'nothing'}`);
    if (typeof content !== 'string') throw new Refusal(`${column}[${i}].content`, `expected a text, found ${content === undefined ? 'nothing' : kindOf(content)}`);
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

function ids(value: unknown, column: string, lowest: number): number[] {
  if (!Array.isArray(value) || value.length === 0) throw new Refusal(column, `expected a list of token ids, found ${kindOf(value)}`);
  value.forEach((v: unknown, i) => {
    if (!Number.isInteger(v) || (v as number) < lowest) throw new Refusal(`${column}[${i}]`, `expected a whole number ≥ ${lowest}, found ${JSON.stringify(v)}`);
  });
  return value as number[];
}

/** TRL's "implicit prompt": chosen and rejected are whole conversations that begin alike. */
function splitImplicit(chosen: TextOrMessages, rejected: TextOrMessages): [TextOrMessages, TextOrMessages, TextOrMessages] {
  if (typeof chosen === 'string' || typeof rejected === 'string') throw new Refusal('prompt', 'this column is missing, and chosen and rejected are not conversations that could begin with it');
  let common = 0;
  while (common < Math.min(chosen.length, rejected.length) - 1 && JSON.stringify(chosen[common]) === JSON.stringify(rejected[common])) common++;
  if (common === 0) throw new Refusal('prompt', 'this column is missing, and chosen and rejected do not begin with the same messages');
  return [chosen.slice(0, common), chosen.slice(common), rejected.slice(common)];
}

function rowOf(record: Record<string, unknown>, base: { id: string; created: number; source: FeedbackRow['source'] }): FeedbackRow {
  if ('chosen' in record || 'rejected' in record) {
    let chosen = textOrMessages(record, 'chosen');
    let rejected = textOrMessages(record, 'rejected');
    let prompt: TextOrMessages;
    if ('prompt' in record) prompt = textOrMessages(record, 'prompt');
    else [prompt, chosen, rejected] = splitImplicit(chosen, rejected);
    const weight = record['weight'];
    if (weight !== undefined && !(typeof weight === 'number' && weight >= 0 && Number.isFinite(weight))) throw new Refusal('weight', `expected a number ≥ 0, found ${kindOf(weight)}`);
    return { kind: 'preference', ...base, prompt, answers: [chosen, rejected], ranks: [1, 2], ...(weight === undefined ? {} : { weight: weight as number }) };
  }
  if ('label' in record && 'completion' in record) throw new Refusal('label', 'unpaired rows (prompt, completion, label) train KTO, which is not offered; pair them as prompt, chosen, rejected');
  if ('completion' in record || 'prompt' in record) {
    return { kind: 'ideal', ...base, row: { prompt: textOrMessages(record, 'prompt'), completion: textOrMessages(record, 'completion') } };
  }
  if ('messages' in record) {
    const list = messages(record['messages'], 'messages');
    if (!list.some((m) => m.role === 'assistant')) throw new Refusal('messages', 'expected at least one message with the role "assistant" to learn from, found none');
    return { kind: 'ideal', ...base, row: { messages: list } };
  }
  if ('input_ids' in record) {
    const input_ids = ids(record['input_ids'], 'input_ids', 0);
    if (record['labels'] === undefined) return { kind: 'ideal', ...base, row: { input_ids } };
    const labels = ids(record['labels'], 'labels', -100);
    if (labels.length !== input_ids.length) throw new Refusal('labels', `expected ${input_ids.length} numbers, as many as input_ids, found ${labels.length}`);
    return { kind: 'ideal', ...base, row: { input_ids, labels } };
  }
  throw new Refusal(null, `expected the columns prompt, chosen, rejected · prompt, completion · messages · input_ids, found ${Object.keys(record).slice(0, 6).join(', ') || 'none'}`);
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
    if (value === null || typeof value !== 'object' || Array.isArray(value)) throw new Refusal(null, `expected a JSON object, found ${kindOf(value)}`);
    return rowOf(value as Record<string, unknown>, { id: newId(), created, source });
  } catch (e) {
    if (e instanceof Refusal) return { line: number, column: e.column, reason: e.message };
    throw e;
  }
}

/** Reads a JSONL text in slices, so that a large file never holds the main thread for long. */
export async function parseJsonl(text: string, fileName: string): Promise<ImportResult> {
  const lines = text.replace(/^\uFEFF/, '').split('\n');
  const result: ImportResult = { rows: [], refused: [] };
  const created = Date.now();
  const rest = breathe();
  for (let i = 0; i < lines.length; i++) {
    const one = lines[i]!.trim();
    if (one === '') continue;
    const parsed = parseLine(one, i + 1, { from: 'file', name: fileName }, created + i);
    if ('kind' in parsed) result.rows.push(parsed);
    else result.refused.push(parsed);
    await rest();
  }
  if (result.rows.length === 0 && result.refused.length === 0) throw new PageError('empty-dataset', `${fileName} holds no rows: expected JSONL, one JSON object on each line.`);
  return result;
}
