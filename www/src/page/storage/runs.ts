// What is kept of a training run: a small file about it, its metrics as lines that are only ever added to, and the checkpoint
// of a run that has not ended, with the rows it learns from.
import { breathe } from '../model/breathe.ts';
import type { Run } from '../model/types.ts';
import type { StepMetrics } from '../api.ts';
import { fit } from '../schema/notes.ts';
import { METRICS, RUN, RUN_ROWS, type KeptRows } from '../schema/stored.ts';
import { appendFile, linesOf, readFile, removeEntry, writeFile } from './opfs.ts';
import { readStored, setAside, storedText, type Stored } from './stored.ts';

export type { KeptRows };

export const RUN_FILE = 'run.json';
const METRICS_FILE = 'run-metrics.jsonl';
const STATE = 'checkpoint/state.bin';
const ROWS = 'checkpoint/rows.json';

/** The run as it was saved. Steps that were taken again after a checkpoint count once, as they came out last. */
export async function readRun(): Promise<Stored<Run>> {
  const { value: about, trouble } = await readStored(RUN, RUN_FILE);
  if (!about) return { value: null, trouble };
  const { metrics } = about;
  const file = await readFile(METRICS_FILE);
  const good: string[] = [];
  let bad = 0;
  const rest = breathe();
  if (file) {
    let last = '';
    for await (const line of linesOf(file)) {
      last = line;
      if (line === '') continue;
      const m = metricOf(line);
      if (m) {
        good.push(line);
        while (metrics.length && metrics.at(-1)!.step >= m.step) metrics.pop();
        metrics.push(m);
      } else bad++;
      const pause = rest();
      if (pause) await pause;
    }
    // Half a line at the end is a write that was cut off; the next one begins behind it. Any other was changed.
    if (bad > 0) {
      if (bad > 1 || metricOf(last) || last === '') await setAside(METRICS_FILE, await file.text());
      await writeFile(METRICS_FILE, good.map((l) => l + '\n').join(''));
    }
  }
  return { value: { ...about, metrics }, trouble };
}

function metricOf(line: string): StepMetrics | null {
  try {
    return fit(METRICS, JSON.parse(line)).value;
  } catch {
    return null;
  }
}

export const aboutRun = ({ metrics: _, ...about }: Run): string => storedText(RUN, about);

export const clearMetrics = (): Promise<void> => removeEntry(METRICS_FILE);
export const addMetrics = (metrics: StepMetrics[]): Promise<void> =>
  metrics.length ? appendFile(METRICS_FILE, metrics.map((m) => JSON.stringify(m) + '\n').join('')) : Promise.resolve();

export const writeState = (bytes: Uint8Array): Promise<void> => writeFile(STATE, bytes as Uint8Array<ArrayBuffer>);
export async function hasState(): Promise<boolean> {
  const file = await readFile(STATE);
  return file !== null && file.size > 0;
}
export async function readState(): Promise<Uint8Array | null> {
  const file = await readFile(STATE);
  return file && file.size > 0 ? new Uint8Array(await file.arrayBuffer()) : null;
}

/** Row by row, so that a large dataset holds nothing up. */
export async function writeRows({ rows, from }: KeptRows): Promise<void> {
  const parts: string[] = [`{"version":${RUN_ROWS.version},"rows":[\n`];
  const rest = breathe();
  for (const [i, row] of rows.entries()) {
    parts.push((i ? ',\n' : '') + JSON.stringify(row));
    const pause = rest();
    if (pause) await pause;
  }
  parts.push('],"from":', JSON.stringify(from), '}');
  await writeFile(ROWS, new Blob(parts));
}
export const readRows = async (): Promise<KeptRows | null> => (await readStored(RUN_ROWS, ROWS)).value;

export const removeCheckpoint = (): Promise<void> => removeEntry('checkpoint');
