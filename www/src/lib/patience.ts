// How long a server may be silent, or nearly so.

/** Milliseconds without progress after which a server is asked anew. */
export const STALL_MS = 30_000;
/** Fewer bytes than this in the time allowed are no progress: a model at that pace would take days. */
const PROGRESS = 64 << 10;

/** Time that was spent waiting for bytes since the last progress; what the engine does with them does not count. */
export class Window {
  readonly ms: number;
  #waited = 0;
  #bytes = 0;

  constructor(ms: number) {
    this.ms = ms;
  }

  get left(): number {
    return Math.max(0, this.ms - this.#waited);
  }

  /** So many bytes, after so many milliseconds. */
  got(bytes: number, after: number): void {
    this.#waited += after;
    this.#bytes += bytes;
    if (this.#bytes < PROGRESS) return;
    this.#bytes = 0;
    this.#waited = 0;
  }

  /** In words, why it is over. */
  get why(): string {
    return this.#bytes > 0 ? `only ${this.#bytes} bytes in ${seconds(this.ms)}` : `nothing came for ${seconds(this.ms)}`;
  }
}

const seconds = (ms: number): string => (ms % 1000 === 0 ? `${ms / 1000} s` : `${ms} ms`);

/** The next piece; undefined where the time allowed is over. */
export async function readWithin(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  window: Window,
): Promise<ReadableStreamReadResult<Uint8Array> | undefined> {
  const begin = performance.now();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<undefined>((done) => (timer = setTimeout(() => done(undefined), window.left)));
  try {
    const read = await Promise.race([reader.read(), late]);
    if (read) window.got(read.value?.byteLength ?? 0, performance.now() - begin);
    return read;
  } finally {
    clearTimeout(timer);
  }
}

/** Longest wait that a server may ask for. */
const LONGEST_WAIT_S = 120;

/** Seconds that an answer asks to wait (`Retry-After`: a number, or a date); undefined where it asks nothing. */
export function retryAfter(response: Response): number | undefined {
  const header = response.headers.get('retry-after')?.trim();
  if (!header) return undefined;
  const seconds = /^\d+$/.test(header) ? Number(header) : (Date.parse(header) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.max(0, Math.ceil(seconds)) : undefined;
}

export const tooLong = (seconds: number): boolean => seconds > LONGEST_WAIT_S;
