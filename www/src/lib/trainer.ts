// A training as the package shows it: TRL's names, one class for each method (generated/trainers.ts).
import type { Connection } from './connection.ts';
import { columns, trainArgs, type AnyArgs } from './convert.ts';
import { FledglingError } from './errors.ts';
import type { MethodName } from './generated/methods.ts';
import { connectionOf, type Model } from './model.ts';
import type { TrainOptions, TrainResult } from './types.ts';

/** What all trainers share; their classes are made from the table of methods. */
export abstract class Trainer<Row extends object, Args extends AnyArgs> {
  readonly args: Args;
  abstract readonly method: MethodName;
  #connection: Connection;
  #job: number | undefined;
  /** Rows that are not there yet: the run begins behind them. */
  #awaited: PromiseLike<unknown> | undefined;
  #training = false;

  constructor(model: Model, args: Args) {
    this.#connection = connectionOf(model);
    this.args = args;
  }

  /**
   * Trains the adapter `adapterName`; it is active afterwards. Aborting keeps the steps taken and rejects with
   * `aborted`; `saveCheckpoint()` then saves what is needed to go on exactly there.
   */
  async train(rows: readonly Row[] | PromiseLike<readonly Row[]>, o: TrainOptions = {}): Promise<TrainResult> {
    if (this.#training) throw new FledglingError('busy', 'this trainer is already training');
    if (o.signal?.aborted) throw new FledglingError('aborted', 'training was aborted before it began');
    const { method, args } = this;
    this.#training = true;
    try {
      // Rows that are there begin at once: whoever pauses in the same breath finds a run.
      if ('then' in rows) this.#awaited = rows;
      const there = 'then' in rows ? await rows : rows;
      this.#awaited = undefined;
      const request = {
        method,
        args: trainArgs(method, args),
        rows: columns(there),
        adapter: args.adapterName ?? 'default',
        resumeFrom: args.resumeFrom,
        saveSteps: o.saveSteps,
      };
      return await this.#connection.job('training', (engine, job) => engine.train(job, request), {
        signal: o.signal,
        onJob: (job) => (this.#job = job),
        onEvent: (e) => {
          if (e.type === 'step') o.onStep?.(e.metrics);
          else if (e.type === 'checkpoint') o.onCheckpoint?.(e.bytes);
        },
      });
    } finally {
      this.#awaited = undefined;
      this.#training = false;
    }
  }

  /** Stops after the current step; resolves when it has ended: from then on the model can answer. */
  pause(): Promise<void> {
    return this.#withJob((job) => this.#connection.call((e) => e.pause(job)));
  }

  resume(): Promise<void> {
    return this.#withJob((job) => this.#connection.call((e) => e.resume(job)));
  }

  /** Adapter, optimizer, schedule, data position and random state, for `resumeFrom`. */
  saveCheckpoint(): Promise<Uint8Array> {
    return this.#withJob((job) => this.#connection.call((e) => e.checkpoint(job)));
  }

  /** Gives back the memory an ended run still holds for `saveCheckpoint()`. The next training does the same. */
  async dispose(): Promise<void> {
    const job = this.#job;
    if (job !== undefined) await this.#connection.call((e) => e.releaseRun(job));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  #withJob<T>(call: (job: number) => Promise<T>): Promise<T> {
    if (this.#awaited === undefined) return call(this.#needJob());
    return Promise.resolve(this.#awaited).then(() => call(this.#needJob()));
  }

  #needJob(): number {
    if (this.#job === undefined) throw new FledglingError('bad-config', 'this trainer has not started yet');
    return this.#job;
  }
}
