// Datasets without a model: the engine reads, judges and writes rows, here as in training.
import { Connection } from './connection.ts';
import { columns } from './convert.ts';
import { Stream } from './stream.ts';
import type { DPORow, Message, PreferenceRow, RankingRow, ReadLine, RowsOptions, SFTRow, UnpairedRow } from './types.ts';

/** Engines for rows alone, one in a Worker and one in the page, and how many calls use each. */
const engines = new Map<boolean, { connection: Promise<Connection>; users: number; timer?: ReturnType<typeof setTimeout> | undefined }>();
/** Milliseconds that an engine without work is kept. */
const IDLE = 10_000;

async function withEngine<T>(worker: boolean, body: (connection: Connection) => Promise<T>): Promise<T> {
  let engine = engines.get(worker);
  if (!engine) engines.set(worker, (engine = { connection: Connection.open(worker), users: 0 }));
  const own = engine;
  const drop = (): void => {
    if (engines.get(worker) === own) engines.delete(worker);
    void own.connection.then((c) => c.close()).catch(() => {});
  };
  clearTimeout(own.timer);
  own.users++;
  try {
    return await body(await own.connection);
  } catch (e) {
    // A Worker that could not start or has failed answers nobody: the next call has a new one.
    if ((e as { code?: string }).code === 'worker-failed' && engines.get(worker) === own) engines.delete(worker);
    throw e;
  } finally {
    if (--own.users === 0) own.timer = setTimeout(drop, IDLE);
  }
}

/**
 * The rows of a JSONL file, or of a JSON array, in pieces: each row in TRL's columns, or why it is none (line, column, reason). Nothing is
 * dropped: a column that training would not heed makes its row a refused one. `.result` has all of them.
 */
export function readRows(source: Blob | string, o: RowsOptions = {}): Stream<ReadLine[], ReadLine[]> {
  const file = typeof source === 'string' ? new Blob([source]) : source;
  const name = o.name ?? ('name' in file && typeof file.name === 'string' ? file.name : 'the text');
  return new Stream<ReadLine[], ReadLine[]>(async (push, signal) => {
    const all: ReadLine[] = [];
    await withEngine(o.worker ?? true, (c) =>
      c.job('reading rows', (engine, job) => engine.readRows(job, file, name), {
        signal,
        onEvent: (e) => {
          if (e.type !== 'rows') return;
          for (const row of e.rows) all.push(row);
          push(e.rows);
        },
      }),
    );
    return all;
  }, o.signal);
}

/** Rows as JSONL in TRL's columns; a ranking is written as all its strict pairs. */
export function writeRows(rows: readonly (SFTRow | DPORow | UnpairedRow)[], o: Pick<RowsOptions, 'worker'> = {}): Promise<string> {
  return withEngine(o.worker ?? true, (c) => c.call((e) => e.writeRows(columns(rows))));
}

/**
 * All strict pairs of a ranking (1 is best, equal numbers are ties and give no pair, nor does an answer whose rank is null), the pairs of the
 * best answer first. Rejects with `no-pairs` when nothing is preferred to anything. `DPOTrainer.train` takes rankings as they are, and what
 * this returns with or without `await`.
 */
export function rankingToPairs(
  prompt: string | Message[],
  answers: RankingRow['answers'],
  ranks: RankingRow['ranks'],
  o: Pick<RowsOptions, 'worker'> = {},
): Promise<PreferenceRow[]> {
  return withEngine(o.worker ?? true, (c) => c.call((e) => e.rankingPairs({ prompt, answers, ranks })));
}
