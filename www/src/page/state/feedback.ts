import { computed, signal } from '@preact/signals';
import { breathe } from '../model/breathe.ts';
import { pairsIn } from '../model/dataset.ts';
import type { FeedbackRow } from '../model/types.ts';
import { readFile } from '../storage/opfs.ts';
import { PageError } from '../model/errors.ts';
import { save } from './saver.ts';
import { report } from './notices.ts';

export const FEEDBACK_FILE = 'feedback.jsonl';

/** The feedback dataset, oldest row first. */
export const rows = signal<FeedbackRow[]>([]);
export const counts = computed(() => {
  let rankings = 0;
  let pairs = 0;
  let ideals = 0;
  for (const row of rows.value) {
    if (row.kind === 'ideal') ideals++;
    else {
      rankings++;
      pairs += pairsIn(row);
    }
  }
  return { rankings, pairs, ideals };
});

/** Each row's line, so that saving a large dataset serialises only the rows that changed. */
const lines = new WeakMap<FeedbackRow, string>();
const lineOf = (row: FeedbackRow): string => {
  let line = lines.get(row);
  if (line === undefined) lines.set(row, (line = JSON.stringify(row) + '\n'));
  return line;
};

export async function loadFeedback(): Promise<void> {
  const file = await readFile(FEEDBACK_FILE);
  if (!file) return;
  const found: FeedbackRow[] = [];
  const damaged: number[] = [];
  const rest = breathe();
  for (const [i, line] of (await file.text()).split('\n').entries()) {
    if (line === '') continue;
    try {
      const row = JSON.parse(line) as FeedbackRow;
      if ((row.kind !== 'preference' && row.kind !== 'ideal') || typeof row.id !== 'string') throw new TypeError('not a feedback row');
      lines.set(row, line + '\n');
      found.push(row);
    } catch {
      damaged.push(i + 1);
    }
    await rest();
  }
  rows.value = found;
  if (damaged.length) report(new PageError('storage-corrupt', `${FEEDBACK_FILE}: ${damaged.length === 1 ? 'line' : 'lines'} ${damaged.slice(0, 5).join(', ')} could not be read.`));
}

const write = (): void => save(FEEDBACK_FILE, () => new Blob(rows.value.map(lineOf), { type: 'application/jsonl' }));

export function putRow(row: FeedbackRow): void {
  const at = rows.value.findIndex((r) => r.id === row.id);
  rows.value = at < 0 ? [...rows.value, row] : rows.value.with(at, { ...row, created: rows.value[at]!.created });
  write();
}

export function addRows(more: FeedbackRow[]): void {
  const ids = new Set(more.map((r) => r.id));
  rows.value = [...rows.value.filter((r) => !ids.has(r.id)), ...more].sort((a, b) => a.created - b.created);
  write();
}

/** Removes rows by id and returns them, for an undo. */
export function removeRows(ids: string[]): FeedbackRow[] {
  const gone = new Set(ids);
  const removed = rows.value.filter((r) => gone.has(r.id));
  if (removed.length === 0) return removed;
  rows.value = rows.value.filter((r) => !gone.has(r.id));
  write();
  return removed;
}
