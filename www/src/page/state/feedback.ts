// The feedback dataset: one JSONL file, one row for each judgement. Several tabs may add to it.
import { signal } from '@preact/signals';
import { breathe } from '../model/breathe.ts';
import { gather, judgementsIn, pairsIn } from '../model/dataset.ts';
import { PageError } from '../model/errors.ts';
import type { FeedbackRow } from '../model/types.ts';
import { fit } from '../schema/notes.ts';
import { ROW } from '../schema/stored.ts';
import { appendFile, linesOf, readFile } from '../storage/opfs.ts';
import { alone, changed, know } from '../storage/shared.ts';
import { report } from './notices.ts';
import { dirty, onStorageCleared, save, tellOthers } from './saver.ts';
import { t } from '../i18n/language.ts';

export const FEEDBACK_FILE = 'feedback.jsonl';
const BROKEN = `${FEEDBACK_FILE}.broken`;

/** The rows, oldest first. */
export const rows = signal<FeedbackRow[]>([]);
/** `ordered`: rankings in which some answer is better than another. */
export const counts = signal({ rankings: 0, ordered: 0, pairs: 0, ideals: 0, judged: 0, judgements: 0 });
/** A row to be shown in the table, by id. */
export const inspected = signal<string | null>(null);

let counting = 0;
/** Counts in slices; whoever comes later begins anew. */
async function recount(): Promise<void> {
  const turn = ++counting;
  const found = { rankings: 0, ordered: 0, pairs: 0, ideals: 0, judged: 0, judgements: 0 };
  const rest = breathe();
  for (const row of rows.value) {
    found.judgements += judgementsIn(row).length;
    if (row.kind === 'ideal') found.ideals++;
    else if (row.kind === 'judged') found.judged++;
    else {
      found.rankings++;
      const pairs = pairsIn(row);
      found.pairs += pairs;
      if (pairs > 0) found.ordered++;
    }
    const pause = rest();
    if (pause) await pause;
    if (turn !== counting) return;
  }
  counts.value = found;
}
rows.subscribe(() => void recount());

/** Each row's line, so that saving a large dataset serialises only the rows that changed. */
const lines = new WeakMap<FeedbackRow, string>();
const lineOf = (row: FeedbackRow): string => {
  let line = lines.get(row);
  if (line === undefined) lines.set(row, (line = JSON.stringify(row) + '\n'));
  return line;
};

/** What this tab last knew to be on disk: each row's line by id. */
let base = new Map<string, string>();
/** Rows that were deleted, here or in another tab: only these stay away. What is merely missing in the file is not deleted. */
const deleted = new Set<string>();
/** Lines that cannot be read and could not be set aside either: they are written back as they are. */
let unreadable: string[] = [];

interface Read {
  rows: FeedbackRow[];
  damaged: { number: number; text: string; why: string }[];
}

/** The first line of the file: its version. */
const HEADER = `${JSON.stringify({ version: ROW.version })}\n`;
const versionOf = (raw: unknown): number | null => {
  const { version, kind } = (raw ?? {}) as { version?: unknown; kind?: unknown };
  return typeof version === 'number' && kind === undefined ? version : null;
};

/** A row of a line of some version; why not, where it is none. */
function rowOf(text: string, version: number): { row: FeedbackRow; asItIs: boolean } | { version: number } | { why: string } {
  try {
    const raw: unknown = JSON.parse(text);
    const header = versionOf(raw);
    if (header !== null) return { version: header };
    const { value, notes } = fit(ROW, typeof raw === 'object' && raw !== null ? { version, ...raw } : raw);
    return value ? { row: value, asItIs: notes.length === 0 } : { why: notes[0] ?? 'no row' };
  } catch (e) {
    return { why: (e as Error).message.slice(0, 120) };
  }
}

async function parse(file: File): Promise<Read> {
  const read: Read = { rows: [], damaged: [] };
  const rest = breathe();
  const places = new Map<string, number>();
  let number = 0;
  let version = 0;
  for await (const text of linesOf(file)) {
    number++;
    if (text === '') continue;
    const found = rowOf(text, version);
    if ('version' in found) {
      version = Math.min(found.version, ROW.version);
      if (found.version > ROW.version)
        read.damaged.push({ number, text, why: t('a newer page wrote version {version}', { version: found.version }) });
    } else if ('why' in found) read.damaged.push({ number, text, why: found.why });
    else {
      const { row, asItIs } = found;
      if (asItIs) lines.set(row, text + '\n');
      const twin = places.get(row.id);
      // The later one of two with one id was said last.
      if (twin !== undefined && lineOf(read.rows[twin]!) !== lineOf(row))
        read.damaged.push({ number, text: lineOf(read.rows[twin]!).trimEnd(), why: t('its id is that of an earlier row') });
      places.set(row.id, twin ?? read.rows.length);
      if (twin === undefined) read.rows.push(row);
      else read.rows[twin] = row;
      // What did not fit stays in the copy.
      if (!asItIs) read.damaged.push({ number, text, why: t('a part of it does not fit') });
    }
    const pause = rest();
    if (pause) await pause;
  }
  return read;
}

/** Damaged lines go into a file of their own before anything is written over them. */
async function setAside(damaged: Read['damaged']): Promise<void> {
  if (damaged.length === 0) return;
  const lines =
    damaged
      .slice(0, 5)
      .map((d) => d.number)
      .join(', ') + (damaged.length > 5 ? ' …' : '');
  try {
    await appendFile(BROKEN, damaged.map((d) => d.text + '\n').join(''));
    report(
      new PageError(
        'storage-corrupt',
        t('{file}: {n|line|lines} {lines} could not be read and {n|was|were} put into {broken} (line {number}: {why}).', {
          file: FEEDBACK_FILE,
          n: damaged.length,
          lines,
          broken: BROKEN,
          number: damaged[0]!.number,
          why: damaged[0]!.why,
        }),
      ),
      [],
      FEEDBACK_FILE,
    );
    write();
  } catch (e) {
    unreadable = damaged.map((d) => d.text + '\n');
    report(e);
  }
}

/** Takes over what another tab has written; this tab's own changes since then stay. */
async function take(file: File | null): Promise<void> {
  const { rows: theirs, damaged } = file ? await parse(file) : { rows: [], damaged: [] };
  for (;;) {
    const mine = rows.value;
    const own = new Map(mine.map((r) => [r.id, r]));
    const merged: FeedbackRow[] = [];
    const rest = breathe();
    for (const t of theirs) {
      const m = own.get(t.id);
      own.delete(t.id);
      if (m) {
        const was = base.get(t.id);
        merged.push(lineOf(m) === was && lineOf(t) !== was ? t : m);
      } else if (!deleted.has(t.id)) merged.push(t);
      const pause = rest();
      if (pause) await pause;
    }
    merged.push(...own.values());
    // Somebody judged an answer meanwhile: once more, with that.
    if (rows.value !== mine) continue;
    base = new Map(theirs.map((r) => [r.id, lineOf(r)]));
    rows.value = merged.sort((a, b) => a.created - b.created);
    break;
  }
  know(FEEDBACK_FILE, file);
  await setAside(damaged);
}

export async function loadFeedback(): Promise<void> {
  await alone(FEEDBACK_FILE, async () => take(await readFile(FEEDBACK_FILE)));
}

/** Another tab wrote the file. With changes of one's own it is merged when these are written. */
export async function feedbackChanged(): Promise<void> {
  if (dirty(FEEDBACK_FILE)) return;
  await alone(FEEDBACK_FILE, async () => {
    const file = await changed(FEEDBACK_FILE);
    if (file !== undefined) await take(file);
  });
}

function write(): void {
  let written: FeedbackRow[] = [];
  save(
    FEEDBACK_FILE,
    async () => {
      const file = await changed(FEEDBACK_FILE);
      if (file !== undefined) await take(file);
      written = rows.value;
      return new Blob([HEADER, ...unreadable, ...(await gather(written, (r) => [lineOf(r)]))], { type: 'application/jsonl' });
    },
    () => void (base = new Map(written.map((r) => [r.id, lineOf(r)]))),
  );
}

onStorageCleared(() => {
  base = new Map();
  if (rows.value.length > 0) write();
});

const DELETED = `${FEEDBACK_FILE} deleted `;
const BACK = `${FEEDBACK_FILE} back `;

/** What another tab says about rows by their ids: that they are deleted, or there again. False where it said something else. */
export function heardOfRows(message: string): boolean {
  if (message.startsWith(BACK)) for (const id of JSON.parse(message.slice(BACK.length)) as string[]) deleted.delete(id);
  else if (message.startsWith(DELETED)) dropped(JSON.parse(message.slice(DELETED.length)) as string[]);
  else return false;
  return true;
}

/** One that was changed here since then stays. */
function dropped(ids: string[]): void {
  const gone = new Set(ids);
  for (const id of ids) deleted.add(id);
  const left = rows.value.filter((r) => !gone.has(r.id) || lineOf(r) !== base.get(r.id));
  if (left.length === rows.value.length) return;
  rows.value = left;
  // The file may have been written here since then, with them.
  write();
}

function alive(ids: Iterable<string>): void {
  const back = [...ids].filter((id) => deleted.delete(id));
  if (back.length > 0) tellOthers(BACK + JSON.stringify(back));
}

export function putRow(row: FeedbackRow): void {
  alive([row.id]);
  const at = rows.value.findIndex((r) => r.id === row.id);
  rows.value = at < 0 ? [...rows.value, row] : rows.value.with(at, { ...row, created: rows.value[at]!.created });
  write();
}

export function addRows(more: FeedbackRow[]): void {
  const ids = new Set(more.map((r) => r.id));
  alive(ids);
  rows.value = [...rows.value.filter((r) => !ids.has(r.id)), ...more].sort((a, b) => a.created - b.created);
  write();
}

/** Removes rows by id and returns them, for an undo. */
export function removeRows(ids: string[]): FeedbackRow[] {
  const gone = new Set(ids);
  const removed = rows.value.filter((r) => gone.has(r.id));
  if (removed.length === 0) return removed;
  rows.value = rows.value.filter((r) => !gone.has(r.id));
  for (const r of removed) deleted.add(r.id);
  tellOthers(DELETED + JSON.stringify(removed.map((r) => r.id)));
  write();
  return removed;
}
