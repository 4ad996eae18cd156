// Who may use the model now, and how a running job is stopped.
import { FledglingError } from './errors.ts';

interface Job {
  what: string;
  controller: AbortController;
}

/** One job has the device at a time; a second is refused as `busy`, unless the first is already on its way out. */
export class Jobs {
  #jobs = new Map<number, Job>();
  #holder: Job | undefined;
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
  }

  cancelAll(): void {
    for (const job of this.#jobs.values()) job.controller.abort();
  }

  /** Takes the device for `what`; call the result to give it back. */
  async acquire(what: string, signal?: AbortSignal): Promise<() => void> {
    while (this.#holder) {
      if (!this.#holder.controller.signal.aborted) {
        throw new FledglingError('busy', `${this.#holder.what} is running; ${what} can start when it has ended`);
      }
      await new Promise<void>((resolve) => this.#freed.push(resolve));
    }
    return this.#take(what, signal);
  }

  /** As `acquire`, but waits for its turn. */
  async wait(what: string, signal?: AbortSignal): Promise<() => void> {
    while (this.#holder) await new Promise<void>((resolve) => this.#freed.push(resolve));
    return this.#take(what, signal);
  }

  #take(what: string, signal?: AbortSignal): () => void {
    const holder: Job = { what, controller: new AbortController() };
    if (signal?.aborted) holder.controller.abort();
    signal?.addEventListener('abort', () => holder.controller.abort(), { once: true });
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
