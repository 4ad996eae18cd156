// The facade's line to the engine, in a Worker or in this page: the same calls, the same events, the same errors.
import { proxy, releaseProxy, wrap, type Remote } from 'comlink';
import type { Engine, EngineEvent } from './engine.ts';
import { aborted, FledglingError, toFledglingError, why } from './errors.ts';
import { cut } from './options/check.ts';
import { wasmPlace } from './places.ts';
import { spawn } from './spawn.ts';
import type { Places } from './types.ts';
import './transfer.ts';

/** The engine's methods; all of them answer with a promise, on either side. */
export type EngineCalls = Pick<
  Engine,
  | 'connect'
  | 'cancel'
  | 'load'
  | 'generate'
  | 'train'
  | 'rewarded'
  | 'keptRounds'
  | 'takeRound'
  | 'pause'
  | 'resume'
  | 'checkpoint'
  | 'releaseRun'
  | 'countTokens'
  | 'encode'
  | 'decode'
  | 'render'
  | 'evaluate'
  | 'score'
  | 'saveAdapter'
  | 'loadAdapter'
  | 'setAdapter'
  | 'removeAdapter'
  | 'mergeAdapter'
  | 'combineAdapters'
  | 'adapters'
  | 'memory'
  | 'counters'
  | 'measure'
  | 'readRows'
  | 'writeRows'
  | 'rankingPairs'
  | 'dispose'
>;

export interface JobOptions {
  signal?: AbortSignal | undefined;
  onEvent?: ((event: EngineEvent) => unknown) | undefined;
  /** Told the job's number before it starts. */
  onJob?: ((job: number) => void) | undefined;
}

export class Connection {
  #engine: EngineCalls;
  /** Ends the Worker, where there is one. */
  #end: (() => void) | undefined;
  #listeners = new Map<number, (event: EngineEvent) => void>();
  #pending = new Set<(e: unknown) => void>();
  #broken: FledglingError | undefined;
  #nextJob = 1;

  private constructor(engine: EngineCalls, end?: () => void) {
    this.#engine = engine;
    this.#end = end;
  }

  static async open(places: Places): Promise<Connection> {
    try {
      return await Connection.#open(places);
    } catch (e) {
      throw toFledglingError(e, 'worker-failed');
    }
  }

  static async #open(places: Places): Promise<Connection> {
    const wasm = await wasmPlace(places);
    let connection: Connection;
    let emit: (job: number, event: EngineEvent) => void = (job, event) => connection.#listeners.get(job)?.(event);
    if (places.worker === false) {
      const { Engine } = await import('./inline.ts');
      connection = new Connection(new Engine());
      await connection.call((e) => e.connect(emit, wasm));
      return connection;
    }
    const spawned = await spawn(places);
    const remote: Remote<Engine> = wrap<Engine>(spawned.endpoint);
    connection = new Connection(remote as unknown as EngineCalls, () => {
      remote[releaseProxy]();
      spawned.end();
    });
    spawned.failed((e) => connection.#break(e));
    emit = proxy(emit);
    // A Worker of somebody's own may hold anything else, which answers nothing.
    const late = setTimeout(
      () => connection.#break(new FledglingError('worker-failed', `${spawned.where} does not answer: it should import 'fledgling/worker'`)),
      typeof places.worker === 'object' ? 15_000 : 60_000,
    );
    try {
      await connection.call((e) => e.connect(emit, wasm));
    } catch (e) {
      connection.#break(toFledglingError(e));
      throw e;
    } finally {
      clearTimeout(late);
    }
    return connection;
  }

  /** One short call. */
  async call<T>(body: (engine: EngineCalls) => Promise<T>): Promise<T> {
    if (this.#broken) throw this.#broken;
    let fail: (e: unknown) => void = () => {};
    const broken = new Promise<never>((_, reject) => (fail = reject));
    this.#pending.add(fail);
    try {
      return await Promise.race([body(this.#engine), broken]);
    } catch (e) {
      throw toFledglingError(e);
    } finally {
      this.#pending.delete(fail);
    }
  }

  /** A long call that can be cancelled and says what it is doing. What a callback throws ends it. */
  async job<T>(what: string, body: (engine: EngineCalls, job: number) => Promise<T>, o: JobOptions): Promise<T> {
    const job = this.#nextJob++;
    let thrown: FledglingError | undefined;
    const cancel = () => void this.#engine.cancel(job).catch(() => {});
    const fail = (e: unknown) => {
      thrown ??= toFledglingError(e, 'callback-failed');
      cancel();
    };
    const { onEvent } = o;
    if (onEvent)
      this.#listeners.set(job, (event) => {
        if (thrown) return;
        try {
          const answer: unknown = onEvent(event);
          // A callback may be an async function.
          if (answer instanceof Promise) answer.catch(fail);
        } catch (e) {
          fail(e);
        }
      });
    o.onJob?.(job);
    try {
      const answer = this.call((e) => body(e, job));
      // Messages keep their order: the engine knows the job when the cancel arrives.
      if (o.signal?.aborted) cancel();
      o.signal?.addEventListener('abort', cancel, { once: true });
      const value = await answer;
      if (thrown) throw thrown;
      return value;
    } catch (e) {
      if (thrown) throw thrown;
      const error = toFledglingError(e);
      if (error.code === 'aborted' && !error.message) throw aborted(what);
      throw error;
    } finally {
      o.signal?.removeEventListener('abort', cancel);
      this.#listeners.delete(job);
    }
  }

  /** A Worker that does not answer within `wait` milliseconds is ended all the same. */
  async close(wait = 10_000): Promise<void> {
    if (this.#broken) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = this.#end ? [new Promise<void>((done) => (timer = setTimeout(done, wait)))] : [];
    await Promise.race([this.call((e) => e.dispose()).catch(() => {}), ...late]);
    clearTimeout(timer);
    this.#break(new FledglingError('disposed', 'the model was disposed of'));
  }

  /** As `close`, for a load that failed: a Worker is ended without waiting for what it still does. */
  async abandon(): Promise<void> {
    if (this.#end) this.#break(new FledglingError('disposed', 'loading failed'));
    else await this.close();
  }

  #break(error: FledglingError): void {
    if (this.#broken) return;
    this.#broken = error;
    for (const fail of this.#pending) fail(error);
    this.#pending.clear();
    this.#end?.();
  }
}

/** Calls what the caller gave, under its name: what it throws is told as its own. */
export function tell<A extends unknown[]>(name: string, callback: ((...a: A) => unknown) | undefined, ...a: A): unknown {
  const failed = (e: unknown): never => {
    throw new FledglingError('callback-failed', `${name} threw: ${cut(why(e), 300)}`, { cause: e });
  };
  try {
    const answer = callback?.(...a);
    return answer instanceof Promise ? answer.catch(failed) : undefined;
  } catch (e) {
    return failed(e);
  }
}
