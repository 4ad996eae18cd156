// Feedback rows ↔ training rows ↔ files. What a row may be, what it is called and which pairs a ranking gives, the engine says (readRows,
// writeRows, the trainers); here is what the page keeps of it.
import { readRows, writeRows, type Columns, type DPORow, type ReadLine, type RefusedLine, type SFTRow, type UnpairedRow } from '../api.ts';
import { breathe } from './breathe.ts';
import { PageError } from './errors.ts';
import { pairCount } from './ranking.ts';
import type { MethodForm } from '../generated/form.ts';
import type { Content, FeedbackRow, IdealRow, PreferenceRow, TextOrMessages, TokenIds } from './types.ts';
import { t } from '../i18n/language.ts';

export type { RefusedLine };

export const newId = (): string => crypto.randomUUID();

/** The words of a message. What is no text (parts, calls of tools) is shown as it stands in the file. */
export function saidIn(m: { content?: unknown } | undefined): string {
  const content = m?.content;
  return typeof content === 'string' ? content : content === undefined || content === null ? '' : JSON.stringify(content);
}

export const isIds = (c: Content): c is TokenIds => typeof c === 'object' && !Array.isArray(c);

export const textOf = (t: Content): string =>
  typeof t === 'string' ? t : isIds(t) ? t.ids.join(' ') : t.map((m) => (t.length > 1 ? `${m.role}: ${saidIn(m)}` : saidIn(m))).join('\n');

const counted = new WeakMap<FeedbackRow, number>();
/** How many pairs a row gives. Rows never change: each is counted once. */
export function pairsIn(row: FeedbackRow): number {
  if (row.kind !== 'preference') return 0;
  let pairs = counted.get(row);
  if (pairs === undefined) counted.set(row, (pairs = pairCount(row.ranks, row.answers.map(textOf))));
  return pairs;
}

/** What a trainer gets, and of which feedback row each of its rows is made. */
export interface TrainingRows<Row> {
  rows: Row[];
  from: string[];
  /** Pairs or examples in all. */
  count: number;
}

/** A ranking as trainers take it. One of token ids is a pair. */
function rankingRow({ prompt, answers, ranks, weight }: PreferenceRow): DPORow {
  const more = weight === undefined ? {} : { weight };
  if (!isIds(prompt)) return { prompt, answers: answers as TextOrMessages[], ranks, ...more };
  const [chosen, rejected] = (ranks[0]! < ranks[1]! ? answers : answers.toReversed()) as [TokenIds, TokenIds];
  return { promptIds: prompt.ids, chosenIds: chosen.ids, rejectedIds: rejected.ids, ...more };
}

/** An answer that is good or not, as trainers take it. */
const unpairedRow = (prompt: Content, completion: Content, label: boolean): UnpairedRow =>
  isIds(prompt)
    ? { promptIds: prompt.ids, completionIds: (completion as TokenIds).ids, label }
    : { prompt, completion: like(prompt, completion as TextOrMessages), label };

/** Rankings as rows; typed errors where there is nothing to learn from. `tied`: rankings in chats in which nothing is better. */
async function rankingRows(feedback: FeedbackRow[], title: string, tied: number): Promise<TrainingRows<DPORow>> {
  const out: TrainingRows<DPORow> = { rows: [], from: [], count: 0 };
  let preferences = 0;
  const rest = breathe();
  for (const row of feedback) {
    if (row.kind !== 'preference') continue;
    preferences++;
    const pairs = pairsIn(row);
    if (pairs > 0) {
      out.rows.push(rankingRow(row));
      out.from.push(row.id);
      out.count += pairs;
    }
    await rest();
  }
  if (out.rows.length > 0) return out;
  const all = preferences + tied;
  if (all === 0)
    throw new PageError(
      'empty-dataset',
      t('The dataset holds no ranked answers; {title} needs at least one ranking with a better and a worse answer.', { title }),
    );
  throw new PageError(
    'no-pairs',
    all === 1
      ? t('All answers are tied in the one ranking, which gives no pair of a better and a worse answer.')
      : t('All answers are tied in each of the {n} rankings, which gives no pair of a better and a worse answer.', { n: all }),
  );
}

/** Ideal answers as rows. */
async function idealRows(feedback: FeedbackRow[]): Promise<TrainingRows<SFTRow>> {
  const out: TrainingRows<SFTRow> = { rows: [], from: [], count: 0 };
  const rest = breathe();
  for (const row of feedback) {
    if (row.kind !== 'ideal') continue;
    out.rows.push(row.row);
    out.from.push(row.id);
    out.count++;
    await rest();
  }
  if (out.rows.length === 0)
    throw new PageError(
      'empty-dataset',
      t('The dataset holds no ideal answers; SFT needs at least one answer edited into the ideal one, or imported rows.'),
    );
  return out;
}

const judgedIn = new WeakMap<FeedbackRow, UnpairedRow[]>();
/** Good and bad answers of a row: judged ones as they are, of a ranking those in the first place and those in the last one. */
export function judgementsIn(row: FeedbackRow): UnpairedRow[] {
  if (row.kind === 'ideal') return [];
  let found = judgedIn.get(row);
  if (found) return found;
  if (row.kind === 'judged') found = [unpairedRow(row.prompt, row.completion, row.label)];
  else {
    const { prompt, answers, ranks } = row;
    const placed = ranks.filter((r) => r !== null);
    const [best, worst] = [Math.min(...placed), Math.max(...placed)];
    found = answers.flatMap((completion, i) =>
      best < worst && (ranks[i] === best || ranks[i] === worst) && textOf(completion).trim() !== ''
        ? [unpairedRow(prompt, completion, ranks[i] === best)]
        : [],
    );
  }
  judgedIn.set(row, found);
  return found;
}

/** An answer to a conversation is a message. */
const like = (prompt: TextOrMessages, answer: TextOrMessages): TextOrMessages =>
  typeof prompt !== 'string' && typeof answer === 'string' ? [{ role: 'assistant', content: answer }] : answer;

/** Judgements as rows. */
async function judgedRows(feedback: FeedbackRow[], title: string): Promise<TrainingRows<UnpairedRow>> {
  const out: TrainingRows<UnpairedRow> = { rows: [], from: [], count: 0 };
  const rest = breathe();
  for (const row of feedback) {
    for (const one of judgementsIn(row)) {
      out.rows.push(one);
      out.from.push(row.id);
      out.count++;
    }
    await rest();
  }
  if (out.rows.length === 0)
    throw new PageError(
      'empty-dataset',
      t(
        'The dataset holds no judged answers; {title} needs a ranking with a better and a worse answer, or imported rows of prompt, completion, label.',
        { title },
      ),
    );
  return out;
}

/** What a method trains on, of all feedback. */
export function rowsFor(form: MethodForm, feedback: FeedbackRow[], tied = 0): Promise<TrainingRows<object>> {
  switch (form.rows) {
    case 'sft':
      return idealRows(feedback);
    case 'preference':
      return rankingRows(feedback, form.title, tied);
    case 'unpaired':
      return judgedRows(feedback, form.title);
  }
}

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

/** Rows that the engine writes at once: few enough to hold nothing up on their way to it. */
const AT_ONCE = 200;

async function written(rows: (DPORow | IdealRow['row'] | UnpairedRow)[]): Promise<string[]> {
  const parts: string[] = [];
  for (let at = 0; at < rows.length; at += AT_ONCE) parts.push(await writeRows(rows.slice(at, at + AT_ONCE)));
  return parts;
}

/** One JSONL line for each pair: prompt, chosen, rejected. */
export const exportPreferences = (feedback: FeedbackRow[]): Promise<string[]> =>
  written(feedback.flatMap((r) => (r.kind === 'preference' && pairsIn(r) > 0 ? [rankingRow(r)] : [])));

/** One JSONL line for each example: prompt, completion · messages · text · input_ids, labels. */
export const exportIdeals = (feedback: FeedbackRow[]): Promise<string[]> =>
  written(feedback.flatMap((r) => (r.kind === 'ideal' ? [r.row] : [])));

/** One JSONL line for each imported judgement: prompt, completion, label. */
export const exportJudged = (feedback: FeedbackRow[]): Promise<string[]> =>
  written(feedback.flatMap((r) => (r.kind === 'judged' ? judgementsIn(r) : [])));

export interface ImportResult {
  rows: FeedbackRow[];
  refused: RefusedLine[];
}

type Kept = Pick<FeedbackRow, 'id' | 'created' | 'source'>;

/** What the page keeps of a row. */
function rowOf(read: Exclude<Columns, { kind: 'reward' }>, kept: Kept): FeedbackRow {
  switch (read.kind) {
    case 'sft':
      return { kind: 'ideal', ...kept, row: read.row };
    case 'preference': {
      const { weight } = read.row;
      const [prompt, chosen, rejected]: Content[] =
        'prompt_ids' in read.row
          ? [{ ids: read.row.prompt_ids }, { ids: read.row.chosen_ids }, { ids: read.row.rejected_ids }]
          : [read.row.prompt, read.row.chosen, read.row.rejected];
      const ranking = { prompt: prompt!, answers: [chosen!, rejected!], ranks: [1, 2] };
      return { kind: 'preference', ...kept, ...ranking, ...(weight === undefined ? {} : { weight }) };
    }
    case 'ranking': {
      const { prompt, answers, ranks, weight } = read.row;
      const ranking = { prompt, answers: [...answers], ranks: [...ranks] };
      return { kind: 'preference', ...kept, ...ranking, ...(weight === undefined ? {} : { weight }) };
    }
    case 'unpaired':
      if ('prompt_ids' in read.row) {
        const { prompt_ids, completion_ids, label } = read.row;
        return { kind: 'judged', ...kept, prompt: { ids: prompt_ids }, completion: { ids: completion_ids }, label };
      }
      return { kind: 'judged', ...kept, ...read.row };
  }
}

/** Reads a JSONL file or a JSON array, so that a large one never holds the main thread for long. */
export async function importRows(file: File): Promise<ImportResult> {
  const result: ImportResult = { rows: [], refused: [] };
  const created = Date.now();
  const take = (one: ReadLine): void => {
    if (!('kind' in one)) return void result.refused.push(one);
    if (one.kind === 'reward') {
      const reason = t('is a comparison for a reward model, with a margin or whole sequences; the page keeps preferences and rankings');
      return void result.refused.push({ line: one.line, column: null, reason });
    }
    // Of these the page keeps the words alone: without its tools a row would say less.
    const more = one.kind !== 'sft' && ['tools', 'documents', 'chat_template_kwargs'].find((column) => column in one.row);
    if (more) return void result.refused.push({ line: one.line, column: more, reason: t('is not kept here: train on the file itself') });
    result.rows.push(rowOf(one, { id: newId(), created: created + result.rows.length, source: { from: 'file', name: file.name } }));
  };
  const rest = breathe();
  for await (const piece of readRows(file)) {
    for (const one of piece) {
      take(one);
      const pause = rest();
      if (pause) await pause;
    }
  }
  return result;
}
