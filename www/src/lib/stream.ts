// An answer while it is being made: iterate it for the pieces, await `.result` for the whole. Leaving the loop
// early ends the generation.
import { toFledglingError } from './errors.ts';

interface Waiting<T> {
  resolve: (r: IteratorResult<T, undefined>) => void;
  reject: (e: unknown) => void;
}

/** Pieces of type `T` now, a result of type `R` at the end. */
export class Stream<T, R> implements AsyncIterableIterator<T, undefined> {
  /** The whole. Resolves also when the generation was aborted (see `finishReason`); rejects on an error. */
  readonly result: Promise<R>;
  #queue: T[] = [];
  #waiting: Waiting<T>[] = [];
  #ended = false;
  #error: unknown;
  #controller = new AbortController();

  /** `start` begins at once, calls `push` for every piece and resolves with the result. */
  constructor(start: (push: (piece: T) => void, signal: AbortSignal) => Promise<R>, signal?: AbortSignal | undefined) {
    const stop = () => this.#controller.abort();
    if (signal?.aborted) stop();
    signal?.addEventListener('abort', stop, { once: true });
    this.result = start((piece) => this.#push(piece), this.#controller.signal).then(
      (r) => {
        this.#end();
        return r;
      },
      (e: unknown) => {
        const error = toFledglingError(e);
        this.#end(error);
        throw error;
      },
    );
    // Whoever only iterates sees the error there; it must not be reported a second time as unhandled.
    this.result.catch(() => {}).finally(() => signal?.removeEventListener('abort', stop));
  }

  /** Ends the generation within one token; pieces already made are still delivered. */
  cancel(): void {
    this.#controller.abort();
  }

  next(): Promise<IteratorResult<T, undefined>> {
    if (this.#queue.length > 0) return Promise.resolve({ done: false, value: this.#queue.shift() as T });
    if (this.#error !== undefined) {
      const error = this.#error;
      this.#error = undefined;
      return Promise.reject(error);
    }
    if (this.#ended) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  return(): Promise<IteratorResult<T, undefined>> {
    this.#queue = [];
    this.cancel();
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  #push(piece: T): void {
    const w = this.#waiting.shift();
    if (w) w.resolve({ done: false, value: piece });
    else this.#queue.push(piece);
  }

  #end(error?: unknown): void {
    this.#ended = true;
    const waiting = this.#waiting.splice(0);
    const first = error === undefined ? undefined : waiting.shift();
    if (first) first.reject(error);
    else this.#error = error;
    for (const w of waiting) w.resolve({ done: true, value: undefined });
  }
}
