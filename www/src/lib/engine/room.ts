// What the rooms of the engine share: events, whose turn it is, and how a promise is given up.
import { transfer } from 'comlink';
import { aborted, type WireError } from '../errors.ts';
import type { Jobs } from '../jobs.ts';
import type { WasmBatch } from '../wasm.ts';
import type { CandidateEvent, DeviceFigures, EvalMetrics, Progress, ReadLine, StepMetrics } from '../types.ts';

/** What a running job reports to the facade. */
export type EngineEvent =
  | { type: 'progress'; progress: Progress }
  | { type: 'warning'; error: WireError }
  | { type: 'token'; event: CandidateEvent }
  | { type: 'step'; metrics: StepMetrics }
  | { type: 'evaluation'; metrics: EvalMetrics }
  | { type: 'checkpoint'; bytes: Uint8Array<ArrayBuffer> }
  /** What a run goes on from after a loss of the device. */
  | { type: 'kept'; bytes: Uint8Array<ArrayBuffer> }
  /** A batch of completions for the reward function of a place in the list; the answer comes by `rewarded`. */
  | { type: 'reward'; ask: number; judge: number; batch: WasmBatch }
  /** It is not waited for any more. */
  | { type: 'reward-over'; ask: number }
  | { type: 'rollouts'; rows: object[] }
  | { type: 'figure'; figures: Partial<DeviceFigures> }
  | { type: 'rows'; rows: ReadLine[] };

export type Emit = (job: number, event: EngineEvent) => unknown;

/** Of one engine. */
export interface Room {
  jobs: Jobs;
  emit: Emit;
}

export const wake = (waiting: (() => void)[]): void => waiting.splice(0).forEach((w) => w());

/** Settles as the promise does, or rejects as soon as the signal aborts. */
export function orAborted<T>(promise: Promise<T>, signal: AbortSignal, what: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = () => reject(aborted(what));
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
  });
}

/**
 * Bytes that the wasm heap has just handed out: they move to the page instead of being copied. (What comes the other way is
 * copied once: it stays the caller's.)
 */
export const moved = <T>(value: T, ...arrays: (Uint8Array | Float32Array)[]): T =>
  transfer(
    value,
    arrays.map((a) => a.buffer as ArrayBuffer),
  );
