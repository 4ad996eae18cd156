// A model's line to its engine, which survives the loss of the GPU: model and adapters are loaded again, and what ran goes on.
import { tell, type Connection, type EngineCalls, type JobOptions } from './connection.ts';
import type { EngineLoad, Source } from './engine.ts';
import { toFledglingError, type FledglingError } from './errors.ts';
import type { AdapterFiles, DeviceLoss, ModelInfo } from './types.ts';

/** How the model was loaded. */
export interface Origin {
  source: Source;
  load: EngineLoad;
  recover: boolean;
  onDeviceLost: ((loss: DeviceLoss) => void) | undefined;
}

const MOST = 3;
const WITHIN_MS = 600_000;

export class Line {
  readonly connection: Connection;
  /** Whether the device can be lost, and is brought back. */
  readonly recovers: boolean;
  #origin: Origin;
  /** The adapters as they were last known: those on the device are gone with it. */
  #adapters = new Map<string, AdapterFiles>();
  #merged: AdapterFiles[] = [];
  #active: string | undefined;
  #losses: number[] = [];
  #recovering: Promise<void> | undefined;
  #told = new WeakSet<object>();

  constructor(connection: Connection, origin: Origin, info: ModelInfo) {
    this.connection = connection;
    this.#origin = origin;
    this.recovers = origin.recover && info.adapter.device !== 'cpu';
  }

  /** One short call; once more where the device was lost. */
  async call<T>(body: (engine: EngineCalls) => Promise<T>): Promise<T> {
    return this.#surviving(() => this.connection.call(body));
  }

  /** A long call; `body` begins anew where the device was lost. */
  async job<T>(what: string, body: (engine: EngineCalls, job: number) => Promise<T>, o: JobOptions): Promise<T> {
    return this.#surviving(() => this.connection.job(what, body, o), o.signal);
  }

  async #surviving<T>(body: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    for (;;) {
      // Nothing is awaited for nothing: whoever pauses in the same breath finds a run.
      if (this.#recovering) await this.#recovering;
      try {
        return await body();
      } catch (e) {
        const error = toFledglingError(e);
        if (error.code !== 'device-lost') throw e;
        if (!(await this.#recover(error)) || signal?.aborted) throw e;
      }
    }
  }

  /** Brings the model back; false where it is to stay lost. */
  async #recover(error: FledglingError): Promise<boolean> {
    // All that ran is told of the same loss: the first one sees to it.
    if (!this.#recovering) {
      const now = Date.now();
      this.#losses = this.#losses.filter((at) => now - at < WITHIN_MS);
      this.#losses.push(now);
      const attempt = this.#losses.length;
      const recovering = this.recovers && attempt <= MOST;
      if (!this.#told.has(error)) tell('onDeviceLost', this.#origin.onDeviceLost, { error, recovering, attempt });
      this.#told.add(error);
      if (!recovering) return false;
      this.#recovering = this.#again().finally(() => (this.#recovering = undefined));
      // Whoever waits for it tries, and says what is wrong.
      this.#recovering.catch(() => {});
    }
    await this.#recovering;
    return true;
  }

  async #again(): Promise<void> {
    const { source, load } = this.#origin;
    // What is stored is the file that was loaded: nothing is downloaded for this.
    const cache = load.cache === 'refresh' ? true : load.cache;
    await this.connection.job('loading', (e, job) => e.load(job, source, { ...load, cache }), {});
    for (const files of this.#merged) {
      await this.connection.call((e) => e.loadAdapter(files, ' merged'));
      await this.connection.call((e) => e.mergeAdapter(' merged'));
    }
    for (const [name, files] of this.#adapters) await this.connection.call((e) => e.loadAdapter(files, name));
    const active = this.#active;
    if (active !== undefined && this.#adapters.has(active)) await this.connection.call((e) => e.setAdapter(active));
  }

  /** What is needed to bring an adapter back. */
  keep(name: string, files: AdapterFiles): void {
    if (this.recovers) this.#adapters.set(name, files);
  }

  /** The same of one that was trained, which lies on the device alone. */
  async keepTrained(name: string): Promise<void> {
    if (!this.recovers) return;
    const there = await this.connection.call((e) => e.adapters()).catch(() => []);
    if (there.some((a) => a.name === name && a.scores === 0)) this.#active = name;
    // Saving fails where nothing was trained; then there is nothing to keep.
    const files = await this.connection.call((e) => e.saveAdapter(name)).catch(() => undefined);
    if (files) this.#adapters.set(name, files);
  }

  active(name: string | undefined): void {
    this.#active = name;
  }

  forget(name: string, merged = false): void {
    const files = this.#adapters.get(name);
    if (merged && files) this.#merged.push(files);
    this.#adapters.delete(name);
    if (this.#active === name) this.#active = undefined;
  }
}
