// Downloads one file for the engine: with a cache, by ranges, again where a server is silent or busy, and never half of one file and half of another.
import type { CacheEntry, CacheMeta } from './cache.ts';
import { aborted, FledglingError, toFledglingError, why } from './errors.ts';
import { brief } from './options/check.ts';
import { isPage, pageInstead, type Part } from './parts.ts';
import { readWithin, retryAfter, STALL_MS, tooLong, Window } from './patience.ts';
import { violationOf } from './policy.ts';
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
  /** Milliseconds without progress after which a server is asked anew. */
  stallMs?: number | undefined;
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
/** Attempts in a row that may fail without progress. */
const ATTEMPTS = 4;
/** Bytes that are asked for once more when a download goes on, and must be the same: the validators of some servers do not change with the file. */
const OVERLAP = 16 << 10;
/** What an attempt that fell silent must have brought to count as progress. */
const ENOUGH = 64 << 10;

/** How long a server may take to say whether a stored file is still the one it has. */
const ASK_MS = 5000;

export class Download {
  #part: Part;
  #f: Feed;
  #entry: CacheEntry | undefined;
  #hash: WasmSha256;
  #loaded = 0;
  #total = 0;
  #begun = false;
  #unverified = false;
  #lastReport = -Infinity;
  /** The last bytes that were taken, up to `OVERLAP`. */
  #tail: Uint8Array<ArrayBuffer> = new Uint8Array();
  /** Of the whole file as the server sent it again from its beginning: what was taken before must be its beginning. */
  #anew: WasmSha256 | undefined;
  /** What the server says of the whole file. */
  #linked = '';

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

  #report(status: Progress['status'], fromCache: boolean, note?: string): void {
    const now = performance.now();
    if (status === 'progress' && note === undefined && now - this.#lastReport < 50) return;
    if (status === 'progress') this.#lastReport = now;
    this.#f.progress({
      status,
      file: this.#part.name,
      loaded: this.#loaded,
      total: this.#total || (status === 'done' ? this.#loaded : 0),
      fromCache,
      ...(note === undefined ? {} : { note }),
    });
  }

  async #consume(chunk: Uint8Array, fromCache: boolean): Promise<void> {
    this.#check();
    this.#hash.update(chunk);
    this.#anew?.update(chunk);
    this.#tail = tailOf(this.#tail, chunk);
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
    const anew = this.#anew?.digest();
    const fed = this.finish(false);
    if (anew !== undefined && anew !== fed.sha256) await this.#different();
    const wanted = expected?.toLowerCase() ?? this.#linked;
    if (wanted && fed.sha256 !== wanted) {
      await this.#entry?.remove();
      throw new FledglingError('hash-mismatch', `${this.#part.name}: SHA-256 ${fed.sha256}, expected ${wanted}`);
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

  /** Nothing of it can be used: a file that is half of one and half of another is worse than none. */
  async #different(): Promise<never> {
    await this.#entry?.remove();
    throw new FledglingError('file-changed', `${brief(this.#part.address!)} changed while it was being downloaded; load it again`);
  }

  /** Downloads, beginning with what a broken download left and continuing by range when the connection breaks. */
  async #download(): Promise<boolean> {
    const part = this.#part;
    const address = part.address!;
    const stallMs = this.#f.stallMs ?? STALL_MS;
    const partial = this.#entry?.meta && !this.#entry.meta.complete && this.#entry.meta.validator ? await this.#entry.data() : undefined;
    let validator = partial?.size ? this.#entry!.meta!.validator : '';
    let stored = partial?.size ?? 0;
    if (partial && stored) this.#tail = new Uint8Array(await partial.slice(Math.max(0, stored - OVERLAP)).arrayBuffer());
    let failures = 0;
    let keeping = false;
    for (;;) {
      this.#check();
      const before = this.#loaded;
      const at = stored || this.#loaded;
      // Without a validator only the whole file tells whether it is still the same.
      const from = at > 0 && validator ? at - Math.min(this.#tail.byteLength, at >> 1) : 0;
      let response: Response;
      const since = performance.now();
      try {
        response = await this.#request(address, from, validator, stallMs);
      } catch (e) {
        this.#check();
        const forbidden = await violationOf(address, since, ['connect-src']);
        if (forbidden) throw forbidden;
        if (part.optional && this.#f.offline) return false;
        if (++failures >= ATTEMPTS || (this.#loaded === 0 && typeof navigator !== 'undefined' && navigator.onLine === false)) {
          throw new FledglingError('network', `${brief(address)}: ${why(e)} (after ${this.#loaded} bytes, ${failures} attempts)`, {
            cause: e,
          });
        }
        await this.#pause(failures, why(e));
        continue;
      }
      if (response.status === 416 && at) {
        await response.body?.cancel().catch(() => {});
        // What there is does not belong to this file.
        if (!stored) await this.#different();
        await this.#entry?.remove();
        stored = 0;
        validator = '';
        this.#tail = new Uint8Array();
        continue;
      }
      if (!response.ok) {
        await response.body?.cancel().catch(() => {});
        if (part.optional && (response.status === 404 || response.status === 403)) return false;
        const asked = retryAfter(response);
        const said = `HTTP ${response.status} ${response.statusText}`.trim();
        if (asked !== undefined && tooLong(asked))
          throw new FledglingError('network', `${brief(address)}: ${said}; the server asks to come back in ${asked} s`);
        if ((response.status >= 500 || [408, 425, 429].includes(response.status)) && ++failures < ATTEMPTS) {
          await this.#pause(failures, said, asked);
          continue;
        }
        throw new FledglingError('network', `${brief(address)}: ${said}`);
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
      const start = rangeStart(response) ?? (length > 0 && from + length === known ? from : undefined);
      const partialContent = response.status === 206 && start === from && same;
      const total = partialContent ? rangeTotal(response) || from + length : length;
      const linkedSize = Number(response.headers.get('x-linked-size') ?? 0);
      if (linkedSize > 0 && total > 0 && linkedSize !== total) {
        await response.body?.cancel().catch(() => {});
        throw new FledglingError('network', `${brief(address)}: the server sends ${total} bytes and says that the file has ${linkedSize}`);
      }
      if (response.status === 206 && !partialContent && !this.#begun) {
        // A part of something else: begin again, without a range.
        await response.body?.cancel().catch(() => {});
        await this.#entry?.remove();
        stored = 0;
        validator = '';
        this.#tail = new Uint8Array();
        continue;
      }
      if (this.#begun) {
        // The same load goes on: the file must be the same, and a server without ranges sends its beginning again.
        if (!same || (response.status === 206 && !partialContent) || (total && this.#total && total !== this.#total)) {
          await response.body?.cancel().catch(() => {});
          await this.#different();
        }
      } else if (stored && partialContent) {
        // Its end is compared before anything is made of it.
        this.#total = total;
      } else {
        stored = 0;
        validator = '';
        this.#tail = new Uint8Array();
        this.#begin(total, false);
      }
      if (!response.body) throw new FledglingError('network', `${brief(address)}: the answer has no body`);
      this.#linked ||= linkedHash(response);
      const body = response.body.getReader();
      const window = new Window(stallMs);
      let broken: string | undefined;
      try {
        const upTo = stored || this.#loaded;
        const again = await this.#compare(body, window, partialContent ? from : 0, upTo, !partialContent && this.#loaded > 0);
        if (again.different) {
          if (this.#begun) await this.#different();
          await this.#entry?.remove();
          stored = 0;
          validator = '';
          this.#total = 0;
          this.#tail = new Uint8Array();
          continue;
        }
        broken = again.broken;
        if (broken === undefined) {
          if (stored) {
            this.#begin(total, false);
            await this.local(partial!, total, true);
            stored = 0;
          }
          if (!keeping) {
            keeping = true;
            validator ||= encoded ? '' : validatorOf(response);
            await this.#startKeeping(address, total, validator);
          }
          broken = await this.#body(body, window, again.rest);
        }
      } finally {
        void body.cancel().catch(() => {});
      }
      if (this.#total && this.#loaded > this.#total) {
        await this.#entry?.remove();
        throw new FledglingError('network', `${brief(address)}: more bytes came than the ${this.#total} that the file has`);
      }
      if (!broken && (!this.#total || this.#loaded >= this.#total)) return true;
      // A few bytes at a time are no progress.
      const more = this.#loaded - before;
      failures = more >= ENOUGH || (more > 0 && window.left > 0) ? 1 : failures + 1;
      if (failures >= ATTEMPTS || encoded) {
        throw new FledglingError(
          'network',
          `${brief(address)}: ${broken ?? 'the connection ended'} at byte ${this.#loaded} of ${this.#total || 'an unknown number'}`,
        );
      }
      await this.#pause(failures, broken ?? 'the connection ended');
    }
  }

  async #request(address: string, from: number, validator: string, stallMs: number): Promise<Response> {
    const headers: Record<string, string> = {};
    if (from > 0) {
      headers['Range'] = `bytes=${from}-`;
      // If-Range is not a header that every foreign host allows; there the answer's own validator is compared instead.
      if (validator && new URL(address).origin === globalThis.location?.origin) headers['If-Range'] = validator;
    }
    // Given up when nothing is answered; once something is, the body has its own time.
    const patience = new AbortController();
    const late = new FledglingError('network', `no answer for ${stallMs / 1000} s`);
    const timer = setTimeout(() => patience.abort(late), stallMs);
    try {
      return await fetch(address, { signal: AbortSignal.any([this.#f.signal, patience.signal]), headers, cache: 'no-store' });
    } catch (e) {
      throw patience.signal.aborted && !this.#f.signal.aborted ? late : e;
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Reads what was there before, from `from` up to `to`: its end must be the same. Where the file came anew from its beginning (`whole`), what
   * it is as a whole is worked out beside, for its beginning must be the same as well.
   */
  async #compare(
    body: ReadableStreamDefaultReader<Uint8Array>,
    window: Window,
    from: number,
    to: number,
    whole: boolean,
  ): Promise<{ different: boolean; broken?: string; rest?: Uint8Array }> {
    if (whole) {
      this.#anew?.digest();
      this.#anew = this.#f.hasher();
    }
    const tail = this.#tail;
    const begin = to - tail.byteLength;
    for (let at = from; at < to; ) {
      const read = await this.#read(body, window);
      if (typeof read === 'string') {
        // What it is as a whole is not known now.
        this.#anew = undefined;
        return { different: false, broken: read };
      }
      if (!read) return { different: true };
      const before = read.subarray(0, to - at);
      if (whole) this.#anew!.update(before);
      for (let i = Math.max(0, begin - at); i < before.byteLength; i++) if (before[i] !== tail[at + i - begin]) return { different: true };
      at += before.byteLength;
      if (before.byteLength < read.byteLength) return { different: false, rest: read.subarray(before.byteLength) };
    }
    return { different: false };
  }

  /** The next piece; undefined at the end, and in words why it broke. */
  async #read(body: ReadableStreamDefaultReader<Uint8Array>, window: Window): Promise<Uint8Array | string | undefined> {
    try {
      const r = await readWithin(body, window);
      if (!r) return window.why;
      return r.done ? undefined : r.value;
    } catch (e) {
      this.#check();
      return why(e);
    }
  }

  /** Passes a body on. Returns why it broke, if it did. */
  async #body(body: ReadableStreamDefaultReader<Uint8Array>, window: Window, first?: Uint8Array): Promise<string | undefined> {
    let piece: Uint8Array | string | undefined = first ?? (await this.#read(body, window));
    for (; piece !== undefined; piece = await this.#read(body, window)) {
      if (typeof piece === 'string') return piece;
      if (this.#total && this.#loaded + piece.byteLength > this.#total) {
        // Bytes behind the end: nothing of them is passed on.
        this.#loaded += piece.byteLength;
        return undefined;
      }
      if (this.#entry?.writing) {
        try {
          await this.#entry.write(piece, this.#loaded);
        } catch (e) {
          await this.#forget(e);
        }
      }
      await this.#consume(piece, false);
    }
    return undefined;
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

  /** 0.4 s, 0.8 s, 1.6 s …, or what the server asks; said, and cut short by an abort. */
  #pause(failures: number, why: string, asked = 0): Promise<void> {
    const ms = Math.max(200 * 2 ** failures, asked * 1000);
    const when = ms < 2000 ? '' : ` in ${Math.round(ms / 1000)} s`;
    this.#report('progress', false, `${why}; trying again${when} (attempt ${failures + 1} of ${ATTEMPTS})`);
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#f.signal.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      this.#f.signal.addEventListener('abort', done);
    });
  }
}

/** The last bytes of both together. */
function tailOf(tail: Uint8Array, chunk: Uint8Array): Uint8Array<ArrayBuffer> {
  if (chunk.byteLength >= OVERLAP) return chunk.slice(chunk.byteLength - OVERLAP);
  const kept = tail.subarray(Math.max(0, tail.byteLength + chunk.byteLength - OVERLAP));
  const both = new Uint8Array(kept.byteLength + chunk.byteLength);
  both.set(kept);
  both.set(chunk, kept.byteLength);
  return both;
}

/** What a hub says of the file itself: its SHA-256. */
const linkedHash = (r: Response): string => /^"?([0-9a-f]{64})"?$/.exec(r.headers.get('x-linked-etag') ?? '')?.[1] ?? '';
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
