// Datasets without a model: the engine reads, judges and writes rows, here as in training.
import { Connection } from './connection.ts';
import { columns } from './convert.ts';
import { toFledglingError } from './errors.ts';
import { bad, isA, shown, take } from './options/check.ts';
import { ROWS, WRITE_ROWS } from './options/tables.ts';
import { isNode } from './places.ts';
import { Stream } from './stream.ts';
import type { DPORow, Places, PreferenceRow, RankingRow, Read, ReadLine, RewardRow, RowsOptions, SFTRow, UnpairedRow } from './types.ts';

interface Kept {
  connection: Promise<Connection>;
  users: number;
  timer?: ReturnType<typeof setTimeout> | undefined;
}

/** Engines for rows alone, one for each place where they run, and how many calls use each. */
const engines = new Map<string, Kept>();
/** Milliseconds that an engine without work is kept; Node could not end meanwhile. */
const IDLE = isNode ? 0 : 10_000;

async function withEngine<T>(places: Places, body: (connection: Connection) => Promise<T>): Promise<T> {
  // A Worker of the caller's own serves one call and is the caller's to end.
  const key = typeof places.worker === 'object' ? `own ${ownWorker++}` : JSON.stringify([places.worker, places.workerUrl, places.wasmUrl]);
  let engine = engines.get(key);
  if (!engine) engines.set(key, (engine = { connection: Connection.open(places), users: 0 }));
  const own = engine;
  const drop = (): void => {
    if (engines.get(key) === own) engines.delete(key);
    void own.connection.then((c) => c.close()).catch(() => {});
  };
  clearTimeout(own.timer);
  own.users++;
  try {
    return await body(await own.connection);
  } catch (e) {
    // A Worker that could not start or has failed answers nobody: the next call has a new one.
    if ((e as { code?: string }).code === 'worker-failed' && engines.get(key) === own) engines.delete(key);
    throw toFledglingError(e);
  } finally {
    if (--own.users === 0) own.timer = setTimeout(drop, IDLE);
  }
}
let ownWorker = 0;

/**
 * The rows of a JSONL file, of a JSON array, or of a table (`.csv`, `.tsv`), in pieces: each row in TRL's columns, or why it is none (line, column,
 * reason). Nothing is dropped: a column that training would not heed makes its row a refused one. `.result` has all of them.
 */
export function readRows(source: Blob | string, o: RowsOptions = {}): Stream<ReadLine[], ReadLine[]> {
  let signal: AbortSignal | undefined;
  let start: () => Promise<ReadLine[]>;
  let emit: (rows: ReadLine[]) => void;
  let stop: AbortSignal;
  try {
    const given = take('readRows()', o, ROWS) as RowsOptions;
    if (typeof source !== 'string' && !isA<Blob>(source, 'Blob'))
      throw bad('source', `expected a File, a Blob or a text, found ${shown(source)}`);
    const file = typeof source === 'string' ? new Blob([source]) : source;
    const name = given.name ?? ('name' in file && typeof file.name === 'string' ? file.name : 'the text');
    signal = given.signal;
    start = async () => {
      const all: ReadLine[] = [];
      await withEngine(given, (c) =>
        c.job('reading rows', (engine, job) => engine.readRows(job, file, name, given.columns), {
          signal: stop,
          onEvent: (e) => {
            if (e.type !== 'rows') return;
            for (const row of e.rows) all.push(row);
            emit(e.rows);
          },
        }),
      );
      return all;
    };
  } catch (e) {
    start = () => Promise.reject(e);
  }
  return new Stream<ReadLine[], ReadLine[]>((push, aborted) => {
    emit = push;
    stop = aborted;
    return start();
  }, signal);
}

/** Rows as JSONL in TRL's columns; a ranking is written as all its strict pairs. */
export async function writeRows(rows: readonly (SFTRow | DPORow | UnpairedRow | RewardRow)[], o: Places = {}): Promise<string> {
  const places = take('writeRows()', o, WRITE_ROWS) as Places;
  const given = columns(rows);
  return withEngine(places, (c) => c.call((e) => e.writeRows(given)));
}

/**
 * All strict pairs of a ranking (1 is best, equal numbers are ties and give no pair, nor does an answer whose rank is null), the pairs of the
 * best answer first. Rejects with `no-pairs` when nothing is preferred to anything. `DPOTrainer.train` takes rankings as they are, and what
 * this returns with or without `await`.
 */
export async function rankingToPairs(
  prompt: RankingRow['prompt'],
  answers: RankingRow['answers'],
  ranks: RankingRow['ranks'],
  o: Places = {},
): Promise<PreferenceRow<Read>[]> {
  const places = take('rankingToPairs()', o, WRITE_ROWS) as Places;
  const [ranking] = columns([{ prompt, answers, ranks }]);
  return withEngine(places, (c) => c.call((e) => e.rankingPairs(ranking!)));
}
