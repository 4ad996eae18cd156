// The facade's line to the engine, in a Worker or in this page: the same calls, the same events, the same errors.
import { proxy, releaseProxy, wrap, type Remote } from 'comlink';
import type { Engine, EngineEvent } from './engine.ts';
import { aborted, FledglingError, toFledglingError } from './errors.ts';
import './transfer.ts';

/** The engine's methods; all of them answer with a promise, on either side. */
export type EngineCalls = Pick<
  Engine,
  | 'connect'
  | 'cancel'
  | 'load'
  | 'generate'
  | 'train'
  | 'pause'
  | 'resume'
  | 'checkpoint'
  | 'releaseRun'
  | 'countTokens'
  | 'score'
  | 'saveAdapter'
  | 'loadAdapter'
  | 'setAdapter'
  | 'removeAdapter'
  | 'mergeAdapter'
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
  onEvent?: ((event: EngineEvent) => void) | undefined;
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

  static async open(inWorker: boolean): Promise<Connection> {
    let connection: Connection;
    let emit: (job: number, event: EngineEvent) => void = (job, event) => connection.#listeners.get(job)?.(event);
    if (inWorker) {
      const worker = new Worker(new URL('./worker.js', import.meta.url), { type: 'module', name: 'fledgling' });
      const remote: Remote<Engine> = wrap<Engine>(worker);
      connection = new Connection(remote as unknown as EngineCalls, () => {
        remote[releaseProxy]();
        worker.terminate();
      });
      worker.addEventListener('error', (e) => {
        // Vite 7 and older copy dependencies elsewhere in development, and leave the files beside them behind.
        const moved = import.meta.url.includes('/.vite/deps/')
          ? "; Vite before version 8 needs optimizeDeps: { exclude: ['fledgling'] } in its configuration"
          : '';
        const where = e.message ? `: ${e.message}` : ` (its script could not be loaded${moved})`;
        connection.#break(new FledglingError('worker-failed', `the Worker failed${where}`));
      });
      emit = proxy(emit);
    } else {
      const { Engine } = await import('./engine.ts');
      connection = new Connection(new Engine());
    }
    await connection.call((e) => e.connect(emit));
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

  /** A long call that can be cancelled and says what it is doing. */
  async job<T>(what: string, body: (engine: EngineCalls, job: number) => Promise<T>, o: JobOptions): Promise<T> {
    const job = this.#nextJob++;
    if (o.onEvent) this.#listeners.set(job, o.onEvent);
    o.onJob?.(job);
    const cancel = () => void this.#engine.cancel(job).catch(() => {});
    try {
      const answer = this.call((e) => body(e, job));
      // Messages keep their order: the engine knows the job when the cancel arrives.
      if (o.signal?.aborted) cancel();
      o.signal?.addEventListener('abort', cancel, { once: true });
      return await answer;
    } catch (e) {
      const error = toFledglingError(e);
      if (error.code === 'aborted' && !error.message) throw aborted(what);
      throw error;
    } finally {
      o.signal?.removeEventListener('abort', cancel);
      this.#listeners.delete(job);
    }
  }

  async close(): Promise<void> {
    if (this.#broken) return;
    await this.call((e) => e.dispose()).catch(() => {});
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
