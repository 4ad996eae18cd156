// What is kept of a training run: a small file about it, its metrics as lines that are only ever added to, and the checkpoint
// of a run that has not ended, with the rows it learns from.
import { breathe } from '../model/breathe.ts';
import type { Run } from '../model/types.ts';
import type { StepMetrics } from '../api.ts';
import { appendFile, linesOf, readFile, readJson, removeEntry, writeFile } from './opfs.ts';

export const RUN_FILE = 'run.json';
const METRICS = 'run-metrics.jsonl';
const STATE = 'checkpoint/state.bin';
const ROWS = 'checkpoint/rows.json';

export interface KeptRows {
  rows: object[];
  /** The feedback row that each of them comes from. */
  from: string[];
}

/** The run as it was saved. Steps that were taken again after a checkpoint count once, as they came out last. */
export async function readRun(): Promise<Run | null> {
  const about = await readJson<Omit<Run, 'metrics'> & { metrics?: StepMetrics[] }>(RUN_FILE);
  if (!about) return null;
  const metrics = about.metrics ?? [];
  const file = await readFile(METRICS);
  const rest = breathe();
  if (file) {
    for await (const line of linesOf(file)) {
      if (line === '') continue;
      let m: StepMetrics;
      try {
        m = JSON.parse(line) as StepMetrics;
      } catch {
        continue; // half a line, of a write that was cut off
      }
      while (metrics.length && metrics.at(-1)!.step >= m.step) metrics.pop();
      metrics.push(m);
      const pause = rest();
      if (pause) await pause;
    }
  }
  return { ...about, metrics };
}

export const aboutRun = ({ metrics: _, ...about }: Run): string => JSON.stringify(about);

export const clearMetrics = (): Promise<void> => removeEntry(METRICS);
export const addMetrics = (metrics: StepMetrics[]): Promise<void> =>
  metrics.length ? appendFile(METRICS, metrics.map((m) => JSON.stringify(m) + '\n').join('')) : Promise.resolve();

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
  const parts: string[] = ['{"rows":[\n'];
  const rest = breathe();
  for (const [i, row] of rows.entries()) {
    parts.push((i ? ',\n' : '') + JSON.stringify(row));
    const pause = rest();
    if (pause) await pause;
  }
  parts.push('],"from":', JSON.stringify(from), '}');
  await writeFile(ROWS, new Blob(parts));
}
export const readRows = (): Promise<KeptRows | null> => readJson<KeptRows>(ROWS);

export const removeCheckpoint = (): Promise<void> => removeEntry('checkpoint');
