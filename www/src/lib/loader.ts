// Brings the bytes of a model to the engine, in order and piece by piece: from an address (with a cache, ranges and
// retries), from a File or from a Blob. The wasm heap sees one piece at a time; every byte is hashed on its way.
import { CacheEntry, type CacheMeta } from './cache.ts';
import { aborted, FledglingError, toFledglingError, why } from './errors.ts';
import { brief } from './options/check.ts';
import { violationOf } from './policy.ts';
import { isPage, pageInstead, type Part } from './parts.ts';
import { isNode } from './places.ts';
import type { Progress } from './types.ts';
import type { WasmSha256 } from './wasm.ts';

/** Where the bytes go. */
export interface Sink {
  begin(total: number): void;
  push(chunk: Uint8Array): Promise<void>;
}

export interface Feed {
  sink: Sink;
  signal: AbortSignal;
  cache: boolean | 'refresh';
  expected: string | undefined;
  /** The server of the files before this one could not be reached: what is not stored is taken to be missing, if it may be. */
  offline: boolean;
  hasher: () => WasmSha256;
  progress(p: Progress): void;
  warn(e: FledglingError): void;
}

/** What came of a part. */
export interface Fed {
  bytes: number;
  sha256: string;
  /** Where it is kept, so that a file the engine refuses can be thrown away. */
  entry: CacheEntry | undefined;
  /** A stored copy, which the server could not be asked about. */
  unverified: boolean;
}

/** Bytes of one piece read from storage: 4 MiB bound the growth of the wasm heap. */
const PIECE = 4 << 20;
/** Attempts in a row that may fail without a byte of progress. */
const ATTEMPTS = 4;

/** How long a tab that downloads the same file may make no progress. */
const ASLEEP_MS = 15_000;
/** How long a server may take to say whether a stored file is still the one it has. */
const ASK_MS = 5000;

/** Feeds one part to the sink; undefined when it is optional and missing. */
export async function feed(part: Part, f: Feed): Promise<Fed | undefined> {
  f.progress({ status: 'initiate', file: part.name, loaded: 0, total: part.blob?.size ?? 0 });
  if (part.blob) {
    const run = new Run(part, f, undefined);
    await run.local(part.blob, part.blob.size, false);
    return run.finish(false);
  }
  const entry = await stored(part, f);
  if (entry && f.cache === 'refresh') await entry.remove();
  // What is there already is read by whoever wants to, at once.
  if (!entry || entry.meta?.complete) return fetched(part, f, entry);
  return alone(entry, f, async () => fetched(part, f, await stored(part, f)));
}

/** Where a file is kept; undefined where nothing is. */
async function stored(part: Part, f: Feed): Promise<CacheEntry | undefined> {
  if (f.cache === false || isNode) return undefined;
  try {
    return await CacheEntry.open(part.address!);
  } catch (e) {
    f.warn(new FledglingError('io', `the browser's storage cannot be used, nothing will be kept: ${why(e)}`));
    return undefined;
  }
}

async function fetched(part: Part, f: Feed, entry: CacheEntry | undefined): Promise<Fed | undefined> {
  const run = new Run(part, f, entry);
  try {
    return await run.address();
  } catch (e) {
    // A file the engine refuses is of no use to anyone; a broken download is continued next time.
    if (REFUSED.has(toFledglingError(e).code)) await entry?.remove();
    else await entry?.stopWriting().catch(() => {});
    throw e;
  }
}

/** One download of an address at a time, over all tabs: who comes second finds the file stored. A tab that sleeps is not waited for. */
async function alone<T>(entry: CacheEntry, f: Feed, body: () => Promise<T>): Promise<T> {
  if (typeof navigator === 'undefined' || !navigator.locks) return body();
  const waiting = new AbortController();
  const stop = (): void => waiting.abort();
  f.signal.addEventListener('abort', stop, { once: true });
  if (f.signal.aborted) stop();
  let size = -1;
  let since = performance.now();
  const watch = setInterval(async () => {
    const found = (await entry.data()).size;
    if (found !== size) since = performance.now();
    else if (performance.now() - since > ASLEEP_MS) stop();
    size = found;
  }, 500);
  let begun = false;
  try {
    return await navigator.locks.request(`fledgling ${entry.address}`, { signal: waiting.signal }, () => {
      begun = true;
      clearInterval(watch);
      return body();
    });
  } catch (e) {
    if (begun) throw e;
    if (f.signal.aborted) throw aborted('loading');
    return body();
  } finally {
    clearInterval(watch);
    f.signal.removeEventListener('abort', stop);
  }
}

/** Codes after which a stored file is thrown away. */
export const REFUSED: ReadonlySet<string> = new Set(['bad-file', 'unsupported-architecture', 'not-finite', 'bad-template', 'bad-config']);

class Run {
  #part: Part;
  #f: Feed;
  #entry: CacheEntry | undefined;
  #hash: WasmSha256;
  #loaded = 0;
  #total = 0;
  #begun = false;
  #unverified = false;
  #lastReport = -Infinity;

  constructor(part: Part, f: Feed, entry: CacheEntry | undefined) {
    this.#part = part;
    this.#f = f;
    this.#entry = entry;
    this.#hash = f.hasher();
  }

  #check(): void {
    if (this.#f.signal.aborted) throw aborted(`loading ${this.#part.name}`);
  }

  #begin(total: number, fromCache: boolean): void {
    if (this.#begun) return;
    this.#begun = true;
    this.#total = total;
    this.#f.sink.begin(total);
    this.#report('download', fromCache);
  }

  #report(status: Progress['status'], fromCache: boolean): void {
    const now = performance.now();
    if (status === 'progress' && now - this.#lastReport < 50) return;
    if (status === 'progress') this.#lastReport = now;
    this.#f.progress({
      status,
      file: this.#part.name,
      loaded: this.#loaded,
      total: this.#total || (status === 'done' ? this.#loaded : 0),
      fromCache,
    });
  }

  async #consume(chunk: Uint8Array, fromCache: boolean): Promise<void> {
    this.#check();
    this.#hash.update(chunk);
    await this.#f.sink.push(chunk);
    this.#loaded += chunk.byteLength;
    this.#report('progress', fromCache);
  }

  /** Reads a file on this machine. */
  async local(blob: Blob, total: number, fromCache: boolean): Promise<void> {
    this.#begin(total, fromCache);
    for (let at = 0; at < blob.size; at += PIECE) {
      let piece: ArrayBuffer;
      try {
        piece = await blob.slice(at, at + PIECE).arrayBuffer();
      } catch (e) {
        throw new FledglingError('io', `${this.#part.name}: reading at byte ${at} failed: ${why(e)}`, { cause: e });
      }
      await this.#consume(new Uint8Array(piece), fromCache);
    }
    this.#check();
  }

  async address(): Promise<Fed | undefined> {
    const { expected } = this.#f;
    const meta = this.#entry?.meta;
    if (meta?.complete && this.#entry) {
      const data = await this.#entry.data();
      // A file that is known by its hash need not be asked about.
      const wanted = expected ? expected.toLowerCase() === meta.sha256 : !(await this.#changed(meta));
      if (data.size === meta.total && wanted) {
        await this.local(data, data.size, true);
        const fed = this.finish(true);
        if (fed.sha256 !== meta.sha256) {
          await this.#entry.remove();
          throw new FledglingError(
            'hash-mismatch',
            `${this.#part.name}: the copy in the browser's storage has SHA-256 ${fed.sha256}, ` +
              `expected ${meta.sha256}; it was deleted, load again to download it`,
          );
        }
        return fed;
      }
      await this.#entry.remove();
    }
    if (!(await this.#download())) return undefined;
    const fed = this.finish(false);
    if (expected && fed.sha256 !== expected.toLowerCase()) {
      await this.#entry?.remove();
      throw new FledglingError('hash-mismatch', `${this.#part.name}: SHA-256 ${fed.sha256}, expected ${expected.toLowerCase()}`);
    }
    if (this.#entry?.writing) {
      try {
        await this.#entry.stopWriting();
        await this.#entry.saveMeta({ ...this.#entry.meta!, total: fed.bytes, complete: true, sha256: fed.sha256 });
      } catch (e) {
        await this.#forget(e);
      }
    }
    return fed;
  }

  finish(fromCache: boolean): Fed {
    this.#report('done', fromCache);
    return { bytes: this.#loaded, sha256: this.#hash.digest(), entry: this.#entry, unverified: this.#unverified };
  }

  /**
   * Asks the server for nothing but headers: is the stored file still the one at its address? Only a clear difference counts. A
   * server that cannot be reached, refuses or does not know leaves the stored copy in use.
   */
  async #changed(meta: CacheMeta): Promise<boolean> {
    try {
      if (this.#f.offline || navigator.onLine === false) throw new Error('offline');
      const signal = AbortSignal.any([this.#f.signal, AbortSignal.timeout(ASK_MS)]);
      const response = await fetch(meta.address, { method: 'HEAD', signal, cache: 'no-store' });
      if (!response.ok) return false;
      const validator = validatorOf(response);
      const length = lengthOf(response);
      return (validator !== '' && meta.validator !== '' && validator !== meta.validator) || (length > 0 && length !== meta.total);
    } catch {
      this.#check();
      this.#unverified = true;
      return false;
    }
  }

  /** Downloads, beginning with what a broken download left and continuing by range when the connection breaks. */
  async #download(): Promise<boolean> {
    const part = this.#part;
    const address = part.address!;
    const partial = this.#entry?.meta && !this.#entry.meta.complete && this.#entry.meta.validator ? await this.#entry.data() : undefined;
    let validator = partial?.size ? this.#entry!.meta!.validator : '';
    let stored = partial?.size ?? 0;
    let failures = 0;
    for (;;) {
      this.#check();
      const at = stored + (stored ? 0 : this.#loaded);
      let response: Response;
      const asked = performance.now();
      try {
        response = await this.#request(address, at, validator);
      } catch (e) {
        this.#check();
        const forbidden = await violationOf(address, asked, ['connect-src']);
        if (forbidden) throw forbidden;
        if (part.optional && this.#f.offline) return false;
        if (++failures >= ATTEMPTS || (this.#loaded === 0 && typeof navigator !== 'undefined' && !navigator.onLine)) {
          throw new FledglingError('network', `${brief(address)}: ${why(e)} (after ${this.#loaded} bytes, ${failures} attempts)`, {
            cause: e,
          });
        }
        await this.#pause(failures);
        continue;
      }
      if (response.status === 416 && stored) {
        // What is stored does not belong to this file: begin again.
        await this.#entry?.remove();
        stored = 0;
        validator = '';
        continue;
      }
      if (!response.ok) {
        await response.body?.cancel().catch(() => {});
        if (part.optional && (response.status === 404 || response.status === 403)) return false;
        if ((response.status >= 500 || response.status === 429) && ++failures < ATTEMPTS) {
          await this.#pause(failures);
          continue;
        }
        throw new FledglingError('network', `${brief(address)}: HTTP ${response.status} ${response.statusText}`.trim());
      }
      if (isPage(response)) {
        await response.body?.cancel().catch(() => {});
        if (part.optional) return false; // what servers of one-page apps answer in place of 404
        throw pageInstead(address);
      }
      const same = !validator || validatorOf(response) === '' || validatorOf(response) === validator;
      const encoded = isEncoded(response);
      const length = lengthOf(response);
      const known = this.#total || this.#entry?.meta?.total || 0;
      // Foreign hosts may hide Content-Range; then the length must say that this is the rest of the file.
      const start = rangeStart(response) ?? (length > 0 && at + length === known ? at : undefined);
      const partialContent = response.status === 206 && start === at && same;
      const total = partialContent ? rangeTotal(response) || at + length : length;
      if (response.status === 206 && !partialContent && !this.#begun) {
        // A part of something else: begin again, without a range.
        await response.body?.cancel().catch(() => {});
        await this.#entry?.remove();
        stored = 0;
        validator = '';
        continue;
      }
      if (this.#begun) {
        // The same load goes on: the file must be the same, and a server without ranges sends its beginning again.
        if (!same || (response.status === 206 && !partialContent) || (total && this.#total && total !== this.#total)) {
          await response.body?.cancel().catch(() => {});
          await this.#entry?.remove();
          throw new FledglingError('network', `${brief(address)} changed while it was being downloaded; load it again`);
        }
      } else {
        if (!partialContent) stored = 0;
        if (stored) {
          this.#begin(total, false);
          await this.local(partial!, total, true);
          stored = 0;
        } else {
          this.#begin(total, false);
        }
        validator = encoded ? '' : validatorOf(response);
        await this.#startKeeping(address, total, validator);
      }
      if (!response.body) throw new FledglingError('network', `${brief(address)}: the answer has no body`);
      const before = this.#loaded;
      const broken = await this.#body(response.body, partialContent ? 0 : this.#loaded);
      if (!broken && (!this.#total || this.#loaded >= this.#total)) return true;
      failures = this.#loaded > before ? 1 : failures + 1;
      if (failures >= ATTEMPTS || encoded) {
        throw new FledglingError(
          'network',
          `${brief(address)}: ${broken ?? 'the connection ended'} at byte ${this.#loaded} of ${this.#total || 'an unknown number'}`,
        );
      }
      await this.#pause(failures);
    }
  }

  #request(address: string, at: number, validator: string): Promise<Response> {
    const headers: Record<string, string> = {};
    if (at > 0) {
      headers['Range'] = `bytes=${at}-`;
      // If-Range is not a header that every foreign host allows; there the answer's own validator is compared instead.
      if (validator && new URL(address).origin === globalThis.location?.origin) headers['If-Range'] = validator;
    }
    return fetch(address, { signal: this.#f.signal, headers, cache: 'no-store' });
  }

  /** Passes a body on, leaving out its first `skip` bytes. Returns why it broke, if it did. */
  async #body(body: ReadableStream<Uint8Array>, skip: number): Promise<string | undefined> {
    const reader = body.getReader();
    try {
      for (;;) {
        let r: ReadableStreamReadResult<Uint8Array>;
        try {
          r = await reader.read();
        } catch (e) {
          this.#check();
          return why(e);
        }
        if (r.done) return undefined;
        let chunk = r.value;
        if (skip >= chunk.byteLength) {
          skip -= chunk.byteLength;
          continue;
        }
        if (skip > 0) {
          chunk = chunk.subarray(skip);
          skip = 0;
        }
        if (this.#entry?.writing) {
          try {
            await this.#entry.write(chunk, this.#loaded);
          } catch (e) {
            await this.#forget(e);
          }
        }
        await this.#consume(chunk, false);
      }
    } finally {
      await reader.cancel().catch(() => {});
    }
  }

  /** Prepares the file in the cache; a full disk or another tab writing it only cost the cache, not the model. */
  async #startKeeping(address: string, total: number, validator: string): Promise<void> {
    const entry = this.#entry;
    if (!entry) return;
    try {
      const { quota, usage } = await navigator.storage.estimate();
      if (total && quota !== undefined && usage !== undefined && quota - usage < total - this.#loaded) {
        throw new DOMException(`${total - this.#loaded} bytes needed, ${Math.max(0, quota - usage)} left`, 'QuotaExceededError');
      }
      await entry.saveMeta({ address, total, complete: false, validator, sha256: '' });
      await entry.startWriting(this.#loaded);
    } catch (e) {
      await this.#forget(e);
    }
  }

  async #forget(e: unknown): Promise<void> {
    const code = toFledglingError(e, 'io').code;
    const busy = e instanceof DOMException && e.name === 'NoModificationAllowedError';
    if (busy) await this.#entry?.stopWriting().catch(() => {});
    else await this.#entry?.remove();
    this.#entry = undefined;
    this.#f.warn(
      new FledglingError(
        code,
        busy
          ? `${this.#part.name} is being stored by another tab; this one does not keep it`
          : `${this.#part.name} cannot be kept in the browser's storage: ${why(e)}`,
      ),
    );
  }

  /** 0.4 s, 0.8 s, 1.6 s …, cut short by an abort. */
  #pause(failures: number): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#f.signal.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, 200 * 2 ** failures);
      this.#f.signal.addEventListener('abort', done);
    });
  }
}

const validatorOf = (r: Response) => {
  const etag = r.headers.get('etag') ?? '';
  return etag && !etag.startsWith('W/') ? etag : (r.headers.get('last-modified') ?? '');
};
const isEncoded = (r: Response) => (r.headers.get('content-encoding') ?? 'identity') !== 'identity';
/** Bytes of the body; 0 where they are not known. */
const lengthOf = (r: Response) => (isEncoded(r) ? 0 : Number(r.headers.get('content-length') ?? 0) || 0);
const rangeStart = (r: Response) => {
  const found = /^bytes (\d+)-/.exec(r.headers.get('content-range') ?? '')?.[1];
  return found === undefined ? undefined : Number(found);
};
const rangeTotal = (r: Response) => Number(/\/(\d+)$/.exec(r.headers.get('content-range') ?? '')?.[1] ?? 0);
