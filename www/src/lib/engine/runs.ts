// Trainings: step by step, with pauses and checkpoints between any two.
import { breathe } from '../breathe.ts';
import { aborted, FledglingError } from '../errors.ts';
import type { MethodName, TrainResult } from '../types.ts';
import type { WasmBatch, WasmModel, WasmTrainer } from '../wasm.ts';
import { moved, wake, type Room } from './room.ts';

export interface EngineTrain {
  method: MethodName;
  args: object;
  rows: object[];
  evalRows?: object[] | undefined;
  adapter: string;
  resumeFrom?: Uint8Array | undefined;
  saveSteps?: number | undefined;
  /** Tells now and then what the run could go on from. */
  keep?: boolean | undefined;
  /** Rules, and the names of functions: who asks them is told by events. */
  judges?: (string | { name: string; judge: number })[] | undefined;
  /** Milliseconds that a function may take. */
  rewardTimeoutMs?: number | undefined;
  /** Tells every round's rows. */
  rollouts?: boolean | undefined;
}

/** What a reward function answered. */
export type Rewarded = { values: number[] } | { error: string };

/** Milliseconds that a reward function may take where nobody says. */
const REWARD_MS = 60_000;

/** Milliseconds between two of those. */
const KEEP_MS = 20_000;

/** A training run as the facade sees it. */
interface Run {
  /** Undefined until the rows are tokenized and the first plan is made. */
  trainer: WasmTrainer | undefined;
  running: boolean;
  /** A pause was asked for … */
  paused: boolean;
  /** … and has begun: the device is free. */
  stopped: boolean;
  /** Told when it has. */
  stops: (() => void)[];
  /** Ends a pause. */
  resume: (() => void)[];
  /** Checkpoints asked for while a step was being taken. */
  wanted: { resolve: (b: Uint8Array<ArrayBuffer>) => void; reject: (e: unknown) => void }[];
}

export class Runs {
  #room: Room;
  #runs = new Map<number, Run>();
  #asks = new Map<number, (answer: Rewarded) => void>();
  #nextAsk = 1;

  constructor(room: Room) {
    this.#room = room;
  }

  /** Wakes a run that sleeps, because it was cancelled. */
  wake(job: number): void {
    wake(this.#runs.get(job)?.resume ?? []);
  }

  /** Trains `model`; `current` says whether it is still the one that is loaded. */
  async train(job: number, t: EngineTrain, model: WasmModel, current: () => boolean): Promise<TrainResult> {
    return this.#room.jobs.run(job, 'training', async (signal) => {
      // Known from now on, so that a pause can be asked for while the run is being prepared.
      const run: Run = { trainer: undefined, running: true, paused: false, stopped: false, stops: [], resume: [], wanted: [] };
      this.#runs.set(job, run);
      let release = () => {};
      const start = performance.now();
      let steps = 0;
      let taken = 0;
      let lossSum = 0;
      let reported = true;
      /** Tells the metrics that are known, with `all` those of every update so far. */
      const tell = async (trainer: WasmTrainer, all: boolean): Promise<void> => {
        let last: unknown;
        for (let metrics = await trainer.report(all); metrics; metrics = await trainer.report(all)) {
          taken += 1;
          lossSum += metrics.loss;
          last = this.#room.emit(job, { type: 'step', metrics });
        }
        for (let found = trainer.evaluation(); found; found = trainer.evaluation())
          last = this.#room.emit(job, { type: 'evaluation', metrics: found });
        reported ||= all;
        await last;
      };
      try {
        release = await this.#room.jobs.acquire('training', { signal });
        // The run before this one has nothing left to say: its moments and plans are given back first.
        this.#freeIdleRuns();
        const judges = t.judges?.map((j) =>
          typeof j === 'string'
            ? j
            : { name: j.name, call: (batch: WasmBatch) => this.#ask(job, j.judge, batch, t.rewardTimeoutMs ?? REWARD_MS, signal) },
        );
        const rollouts = t.rollouts ? (rows: object[]) => void this.#room.emit(job, { type: 'rollouts', rows }) : undefined;
        const trainer = (run.trainer = await model.trainer(t.method, t.args, t.rows, t.resumeFrom, t.evalRows, judges, rollouts));
        signal.addEventListener('abort', () => run.running && trainer.abort(), { once: true });
        for (const message of trainer.notes()) this.#room.emit(job, { type: 'warning', error: { code: 'training-note', message } });
        let kept = t.keep ? -Infinity : Infinity;
        for (;;) {
          // Metrics are reported one update late where that keeps the device busy, but not behind a checkpoint, a pause or an end. Whoever wakes this
          // run must find it asleep or not yet decided: between looking at `paused` and falling asleep nothing is awaited.
          if (!reported && (run.wanted.length > 0 || run.paused || signal.aborted)) await tell(trainer, true);
          const answer = await this.#saveWanted(run);
          if (!reported && (run.paused || signal.aborted)) {
            answer();
            continue;
          }
          if (run.paused && !signal.aborted) {
            release(); // meanwhile the model can answer
            answer();
            run.stopped = true;
            wake(run.stops);
            await new Promise<void>((resolve) => run.resume.push(resolve));
            run.stopped = false;
            release = await this.#room.jobs.acquire('training', { signal, always: true });
            continue;
          }
          answer();
          if (signal.aborted) throw aborted(`training (after ${steps} steps; the adapter keeps them)`);
          if (performance.now() - kept > KEEP_MS) {
            await tell(trainer, true);
            const bytes = await trainer.checkpoint();
            await this.#room.emit(job, moved({ type: 'kept', bytes }, bytes));
            kept = performance.now();
          }
          const submitted = await trainer.submit();
          if (submitted === undefined) {
            // A limit that was met has updates behind it that are still to be told.
            if (!reported) await tell(trainer, true);
            const message = trainer.stopped();
            if (message !== undefined) this.#room.emit(job, { type: 'warning', error: { code: 'training-note', message } });
            break;
          }
          reported = false;
          await breathe();
          // An evaluation goes on between two updates.
          const updated = submitted !== steps;
          steps = submitted;
          const save = updated && t.saveSteps !== undefined && t.saveSteps > 0 && steps % t.saveSteps === 0;
          await tell(trainer, save);
          if (save) {
            const bytes = await trainer.checkpoint();
            await this.#room.emit(job, moved({ type: 'checkpoint', bytes }, bytes));
          }
        }
        await tell(trainer, true);
        const trainLoss = taken ? lossSum / taken : Number.NaN;
        return { steps, trainLoss, seconds: (performance.now() - start) / 1000, adapter: t.adapter, ...trainer.outcome() };
      } catch (e) {
        // Updates before the one that failed are in the weights: they are reported, too.
        if (run.trainer && !reported) await tell(run.trainer, true).catch(() => {});
        throw e;
      } finally {
        run.running = false;
        // The adapter that was trained is the active one, also after an abort, unless it scores answers and writes none. Whatever fails here, the turn
        // is given back.
        try {
          if (taken > 0 && current() && model.adapters().some((a) => a.name === t.adapter && a.scores === 0)) model.set_adapter(t.adapter);
        } finally {
          const answer = await this.#saveWanted(run);
          if (!run.trainer) this.#runs.delete(job);
          release();
          answer();
          wake(run.stops);
        }
      }
    });
  }

  /** Asks a reward function of the caller's, which must answer within its time. */
  #ask(job: number, judge: number, batch: WasmBatch, ms: number, signal: AbortSignal): Promise<number[]> {
    const ask = this.#nextAsk++;
    return new Promise<number[]>((resolve, reject) => {
      const over = (e: unknown): void => {
        if (!this.#asks.delete(ask)) return;
        this.#room.emit(job, { type: 'reward-over', ask });
        reject(e);
      };
      const timer = setTimeout(() => over(new Error(`gave no answer within ${ms} ms (rewardTimeoutMs)`)), ms);
      const stop = (): void => over(aborted('training'));
      signal.addEventListener('abort', stop, { once: true });
      this.#asks.set(ask, (answer) => {
        clearTimeout(timer);
        signal.removeEventListener('abort', stop);
        this.#asks.delete(ask);
        if ('values' in answer) resolve(answer.values);
        else reject(new Error(answer.error));
      });
      this.#room.emit(job, { type: 'reward', ask, judge, batch });
    });
  }

  /** The answer of a reward function; one that came too late is nobody's. */
  async rewarded(ask: number, answer: Rewarded): Promise<void> {
    this.#asks.get(ask)?.(answer);
  }

  /** Rounds whose adapters a run keeps. */
  async keptRounds(job: number): Promise<number[]> {
    return [...(this.#run(job).trainer?.kept_rounds() ?? [])];
  }

  /** Makes the adapter of an earlier round the one that answers. */
  async takeRound(job: number, round: number): Promise<void> {
    const { trainer } = this.#run(job);
    if (!trainer) throw new FledglingError('bad-config', 'this training did not start: there are no rounds');
    await this.#alone(async () => trainer.take_round(round));
  }

  /** Resolves when the step being taken has ended and the device is free. */
  async pause(job: number): Promise<void> {
    const run = this.#run(job);
    if (!run.running) return;
    run.paused = true;
    if (!run.stopped) await new Promise<void>((resolve) => run.stops.push(resolve));
  }

  async resume(job: number): Promise<void> {
    const run = this.#run(job);
    run.paused = false;
    wake(run.stops);
    wake(run.resume);
  }

  /** Optimizer, schedule, data position and random state of a run: between two steps, or after it has ended. */
  async checkpoint(job: number): Promise<Uint8Array<ArrayBuffer>> {
    const run = this.#run(job);
    const { trainer } = run;
    const bytes = await (run.running || !trainer
      ? new Promise<Uint8Array<ArrayBuffer>>((resolve, reject) => {
          run.wanted.push({ resolve, reject });
          wake(run.resume); // a paused run looks up, saves and goes on pausing
        })
      : this.#alone(() => trainer.checkpoint()));
    return moved(bytes, bytes);
  }

  /** Gives back what an ended run still holds. */
  async releaseRun(job: number): Promise<void> {
    const run = this.#runs.get(job);
    if (!run || run.running) return;
    this.#runs.delete(job);
    run.trainer?.free();
  }

  async #alone<T>(body: () => Promise<T>): Promise<T> {
    const release = await this.#room.jobs.acquire('saving a checkpoint', {});
    try {
      return await body();
    } finally {
      release();
    }
  }

  /** Everything ends: whoever sleeps is woken, to find that it was cancelled. */
  wakeAll(): void {
    for (const run of this.#runs.values()) wake(run.resume);
  }

  clear(): void {
    for (const run of this.#runs.values()) run.trainer?.free();
    this.#runs.clear();
  }

  #run(job: number): Run {
    const run = this.#runs.get(job);
    if (!run) throw new FledglingError('bad-config', 'this trainer has not started, or a later one has taken its place');
    return run;
  }

  #freeIdleRuns(): void {
    for (const [job, run] of this.#runs) {
      if (run.running) continue;
      run.trainer?.free();
      this.#runs.delete(job);
    }
  }

  /** Takes the checkpoints that were asked for; the result hands them over (once the device is free, where that follows). */
  async #saveWanted(run: Run): Promise<() => void> {
    const answers: (() => void)[] = [];
    for (const w of run.wanted.splice(0)) {
      const bytes = run.trainer
        ? run.trainer.checkpoint()
        : Promise.reject(new FledglingError('bad-config', 'this training did not start: there is nothing to save'));
      answers.push(
        await bytes.then(
          (b) => () => w.resolve(b),
          (e: unknown) => () => w.reject(e),
        ),
      );
    }
    return () => answers.forEach((a) => a());
  }
}
