// A training as the package shows it: TRL's names, one class for each method (generated/trainers.ts).
import { tell } from './connection.ts';
import { columns, trainArgs, type AnyArgs } from './convert.ts';
import { FledglingError, toFledglingError, why } from './errors.ts';
import type { MethodName, StepMetrics } from './generated/methods.ts';
import type { Line } from './line.ts';
import { lineOf, warned, type Model } from './model.ts';
import { bytesOf, cut, holds, shown, take } from './options/check.ts';
import { EVALUATE, inCallersWords, TRAIN } from './options/tables.ts';
import type { Rewarded } from './engine/runs.ts';
import type { EvalMetrics, EvaluateOptions, Evaluation, RewardFunction, TrainOptions, TrainResult } from './types.ts';
import type { WasmBatch } from './wasm.ts';

/** Rows that are there, or will be. */
export type Rows<Row> = readonly Row[] | PromiseLike<readonly Row[]>;

function isAwaited(rows: unknown): rows is PromiseLike<unknown> {
  return holds(() => typeof (rows as PromiseLike<unknown>).then === 'function') ?? false;
}

/** An error of the engine in the names of the caller. */
function inWords(e: unknown): FledglingError {
  const error = toFledglingError(e);
  const message = error.code === 'bad-config' ? inCallersWords(error.message) : error.message;
  return message === error.message ? error : new FledglingError(error.code, message, { cause: error });
}

/** The judges of a run, in a list. */
function judgesOf(given: TrainOptions['rewards']): (string | RewardFunction)[] | undefined {
  if (given === undefined) return undefined;
  return typeof given === 'string' || typeof given === 'function' ? [given] : [...given];
}

/** What all trainers share; their classes are made from the table of methods. */
export abstract class Trainer<Row extends object, Args extends AnyArgs> {
  readonly args: Args;
  readonly method: MethodName;
  #line: Line;
  #job: number | undefined;
  /** Rows that are not there yet: the run begins behind them. */
  #awaited: PromiseLike<unknown> | undefined;
  #training = false;
  /** Reward functions that are being asked. */
  #asked = new Map<number, AbortController>();

  protected constructor(model: Model, method: MethodName, args: Args) {
    this.#line = lineOf(model);
    this.method = method;
    trainArgs(method, args);
    this.args = args;
  }

  /**
   * Trains the adapter `adapterName`; it is active afterwards. Aborting keeps the steps taken and rejects with
   * `aborted`; `saveCheckpoint()` then saves what is needed to go on exactly there.
   */
  async train(rows: Rows<Row>, o: TrainOptions = {}): Promise<TrainResult> {
    if (this.#training) throw new FledglingError('busy', 'this trainer is already training');
    const given = take('train()', o, TRAIN) as TrainOptions;
    if (given.signal?.aborted) throw new FledglingError('aborted', 'training was aborted before it began');
    const { args, engine } = trainArgs(this.method, this.args);
    this.#training = true;
    try {
      // Rows that are there begin at once: whoever pauses in the same breath finds a run.
      const awaited = isAwaited(rows);
      if (awaited) this.#awaited = rows;
      const there: unknown = awaited ? await rows : rows;
      this.#awaited = undefined;
      return await this.#run(columns(there), args, engine, given);
    } catch (e) {
      throw inWords(e);
    } finally {
      this.#awaited = undefined;
      this.#training = false;
    }
  }

  async #run(rows: object[], args: AnyArgs, engine: object, o: TrainOptions): Promise<TrainResult> {
    const adapter = args.adapterName ?? 'default';
    const judges = judgesOf(o.rewards);
    const given = args.resumeFrom === undefined ? undefined : bytesOf(args.resumeFrom);
    /** Where the run goes on if the device is lost. */
    let kept: Uint8Array | undefined;
    let last = 0;
    let judged = -1;
    const evalRows = o.evalDataset === undefined ? undefined : columns(o.evalDataset);
    const onEvaluate = (metrics: EvalMetrics): unknown => {
      if (metrics.step <= judged) return undefined;
      judged = metrics.step;
      return tell('onEvaluate', o.onEvaluate, metrics);
    };
    const onStep = (metrics: StepMetrics): unknown => {
      // Steps that a loss of the device made the run take again were told.
      if (metrics.step <= last) return undefined;
      last = metrics.step;
      return tell('onStep', o.onStep, metrics);
    };
    try {
      return await this.#line.job(
        'training',
        (e, job) => {
          this.#job = job;
          const resumeFrom = kept ?? given;
          return e.train(job, {
            method: this.method,
            args: engine,
            rows,
            evalRows,
            adapter,
            resumeFrom,
            saveSteps: o.saveSteps,
            keep: this.#line.recovers,
            judges: judges?.map((j, judge) => (typeof j === 'string' ? j : { name: j.name || 'reward', judge })),
            rewardTimeoutMs: o.rewardTimeoutMs,
            rollouts: o.onRollouts !== undefined,
          });
        },
        {
          signal: o.signal,
          onJob: (job) => (this.#job = job),
          onEvent: (e) => {
            if (e.type === 'step') return onStep(e.metrics);
            if (e.type === 'evaluation') return onEvaluate(e.metrics);
            if (e.type === 'reward') return void this.#reward(judges?.[e.judge], e.ask, e.batch);
            if (e.type === 'reward-over') return this.#asked.get(e.ask)?.abort();
            if (e.type === 'rollouts') return tell('onRollouts', o.onRollouts, e.rows);
            if (e.type === 'kept') kept = e.bytes;
            // A run that goes on after a loss of the device has said so before.
            if (e.type === 'warning') return kept === undefined ? warned(e.error, o.onWarning) : undefined;
            return e.type === 'checkpoint' ? tell('onCheckpoint', o.onCheckpoint, e.bytes) : undefined;
          },
        },
      );
    } finally {
      if (last > 0) await this.#line.keepTrained(adapter);
    }
  }

  /**
   * What held-out rows say of the adapter, without an update: what a training reports (`eval_loss`, …), against the base model where the method has a
   * reference.
   */
  async evaluate(rows: Rows<Row>, o: EvaluateOptions = {}): Promise<Evaluation> {
    const { adapter, signal } = take('evaluate()', o, EVALUATE) as EvaluateOptions;
    const { args, engine } = trainArgs(this.method, this.args);
    const there = columns(isAwaited(rows) ? await rows : rows);
    try {
      const by = adapter === undefined ? (args.adapterName ?? 'default') : adapter;
      return await this.#line.job('evaluation', (e, job) => e.evaluate(job, this.method, engine, there, by), { signal });
    } catch (e) {
      throw inWords(e);
    }
  }

  /** Asks a reward function and hands its answer to the engine, whatever it is. */
  async #reward(judge: string | RewardFunction | undefined, ask: number, batch: WasmBatch): Promise<void> {
    const controller = new AbortController();
    this.#asked.set(ask, controller);
    const { prompts, completions, completion_ids: completionIds, columns } = batch;
    let answer: Rewarded;
    try {
      if (typeof judge !== 'function') throw new Error('there is no such function');
      const values = await judge({ prompts, completions, completionIds, columns, signal: controller.signal });
      const list = values as ArrayLike<number> | undefined;
      if (list === undefined || list === null || typeof list !== 'object' || typeof list.length !== 'number')
        answer = { error: `gave ${shown(values)}, expected a list of numbers` };
      else answer = { values: Array.from(list, (v) => (typeof v === 'number' ? v : Number.NaN)) };
    } catch (e) {
      answer = { error: `threw: ${cut(why(e), 300)}` };
    }
    this.#asked.delete(ask);
    // A run that ended meanwhile waits for nobody.
    await this.#line.connection.call((e) => e.rewarded(ask, answer)).catch(() => {});
  }

  /** Rounds whose adapters are kept until this trainer is disposed of, by number from 0 (methods that learn in rounds). */
  keptRounds(): Promise<number[]> {
    return this.#withJob((job) => this.#line.connection.call((e) => e.keptRounds(job)));
  }

  /** Makes the adapter of an earlier round the one that answers, under this trainer's name. Not while it trains. */
  takeRound(round: number): Promise<void> {
    if (this.#training) throw new FledglingError('busy', 'this trainer is training: take a round when it has ended');
    return this.#withJob((job) => this.#line.connection.call((e) => e.takeRound(job, round)));
  }

  /** Stops after the current step; resolves when it has ended: from then on the model can answer. */
  pause(): Promise<void> {
    return this.#withJob((job) => this.#line.connection.call((e) => e.pause(job)));
  }

  resume(): Promise<void> {
    return this.#withJob((job) => this.#line.connection.call((e) => e.resume(job)));
  }

  /** Adapter, optimizer, schedule, data position and random state, for `resumeFrom`. */
  saveCheckpoint(): Promise<Uint8Array<ArrayBuffer>> {
    return this.#withJob((job) => this.#line.connection.call((e) => e.checkpoint(job)));
  }

  /** Gives back the memory an ended run still holds for `saveCheckpoint()`. The next training does the same. */
  async dispose(): Promise<void> {
    const job = this.#job;
    if (job !== undefined) await this.#line.connection.call((e) => e.releaseRun(job));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  async #withJob<T>(call: (job: number) => Promise<T>): Promise<T> {
    if (this.#awaited !== undefined) await this.#awaited;
    if (this.#job === undefined) throw new FledglingError('bad-config', 'this trainer has not started yet: train() starts it');
    return call(this.#job);
  }
}
