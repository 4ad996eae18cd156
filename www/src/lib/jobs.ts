// Who may use the model now, and how a running job is stopped.
import { aborted, FledglingError } from './errors.ts';

interface Job {
  what: string;
  controller: AbortController;
}

/** What takes minutes: nothing waits behind it unasked. */
const LONG: ReadonlySet<string> = new Set(['training', 'loading', 'measuring']);

export interface Turn {
  signal?: AbortSignal | undefined;
  /** False: refused as `busy` where it would have to wait. */
  queue?: boolean | undefined;
  /** Waits for whatever it is. */
  always?: boolean | undefined;
}

/** One job has the device at a time; others wait in line, or are refused as `busy` where that would take long. */
export class Jobs {
  #jobs = new Map<number, Job>();
  #holder: Job | undefined;
  #line: object[] = [];
  #freed: (() => void)[] = [];

  /** Registers a job so that it can be cancelled, and runs it. */
  async run<T>(id: number, what: string, body: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const job = { what, controller: new AbortController() };
    this.#jobs.set(id, job);
    try {
      return await body(job.controller.signal);
    } finally {
      this.#jobs.delete(id);
      this.#wake();
    }
  }

  cancel(id: number): void {
    this.#jobs.get(id)?.controller.abort();
    this.#wake();
  }

  cancelAll(): void {
    for (const job of this.#jobs.values()) job.controller.abort();
    this.#wake();
  }

  /**
   * Takes the device for `what`; call the result to give it back. Who is aborted while waiting is told so at once; who is aborted when it is free
   * gets it nevertheless.
   */
  async acquire(what: string, { signal, queue = true, always = false }: Turn): Promise<() => void> {
    const ticket = {};
    this.#line.push(ticket);
    try {
      while (this.#holder || this.#line[0] !== ticket) {
        if (signal?.aborted && !always) throw aborted(what);
        const holder = this.#holder;
        if (holder && !holder.controller.signal.aborted && !always && (!queue || LONG.has(holder.what))) {
          throw new FledglingError('busy', `${holder.what} is running; ${what} can start when it has ended`);
        }
        await new Promise<void>((resolve) => this.#freed.push(resolve));
      }
    } catch (e) {
      this.#line.splice(this.#line.indexOf(ticket), 1);
      this.#wake();
      throw e;
    }
    this.#line.shift();
    return this.#take(what, signal);
  }

  #take(what: string, signal?: AbortSignal): () => void {
    const holder: Job = { what, controller: new AbortController() };
    if (signal?.aborted) holder.controller.abort();
    signal?.addEventListener('abort', () => (holder.controller.abort(), this.#wake()), { once: true });
    this.#holder = holder;
    return () => {
      if (this.#holder !== holder) return;
      this.#holder = undefined;
      this.#wake();
    };
  }

  #wake(): void {
    for (const resolve of this.#freed.splice(0)) resolve();
  }

  /** Resolves when every job has ended and nothing holds the device. */
  async idle(): Promise<void> {
    while (this.#holder || this.#jobs.size > 0) await new Promise<void>((resolve) => this.#freed.push(resolve));
  }
}
