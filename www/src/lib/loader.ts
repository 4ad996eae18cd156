// Brings the bytes of a model to the engine, in order and piece by piece: from an address (with a cache, ranges and
// retries), from a File or from a Blob. The wasm heap sees one piece at a time; every byte is hashed on its way.
import { CacheEntry, type CacheMeta } from './cache.ts';
import { aborted, FledglingError, toFledglingError } from './errors.ts';
import { cut } from './options/check.ts';
import type { Progress } from './types.ts';
import type { WasmSha256 } from './wasm.ts';

/** One file of a model. */
export interface Part {
  /** File name, without folders. */
  name: string;
  address?: string;
  blob?: Blob;
  /** May be missing on the server. */
  optional?: boolean;
  /** The last one: that whose hash is the model's. */
  last?: boolean;
}

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
/** Bytes of one piece of a file's beginning. */
const HEAD = 256 << 10;
/** Attempts in a row that may fail without a byte of progress. */
const ATTEMPTS = 4;

/** How long a server may take to say whether a stored file is still the one it has. */
const ASK_MS = 5000;

const FOLDER_FILES = ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'generation_config.json', 'chat_template.jinja'];
const INDEX = 'model.safetensors.index.json';

function basename(address: string): string {
  const last = new URL(address).pathname.split('/').pop() || address;
  try {
    return decodeURIComponent(last);
  } catch {
    return last; // a % that encodes nothing
  }
}

/** The names of all parts of a split GGUF, where `name` is that of one: `…-00002-of-00003.gguf`. */
export function splitNames(name: string): string[] | undefined {
  const found = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/.exec(name);
  if (!found) return undefined;
  const count = Number(found[3]);
  if (Number(found[2]) < 1 || Number(found[2]) > count || count > 1024) return undefined;
  return Array.from({ length: count }, (_, i) => `${found[1]}-${String(i + 1).padStart(5, '0')}-of-${found[3]}.gguf`);
}

/**
 * The beginning of a file, piece by piece until `take` says that it is enough: from the browser's storage where it is kept, else from its address,
 * whose answer is given up then.
 */
export async function beginning(part: Part, signal: AbortSignal, cache: boolean | 'refresh', take: (chunk: Uint8Array) => boolean) {
  const first = async (blob: Blob): Promise<boolean> => {
    for (let at = 0; at < blob.size; at += HEAD) {
      if (take(new Uint8Array(await blob.slice(at, at + HEAD).arrayBuffer()))) return true;
    }
    return false;
  };
  if (part.blob) return void (await first(part.blob));
  const address = part.address!;
  if (cache === true) {
    // Whatever is wrong with the storage is said when the file itself is read.
    const entry = await CacheEntry.open(address).catch(() => undefined);
    if (entry?.meta?.complete) return void (await first(await entry.data()));
  }
  let response: Response;
  try {
    response = await fetch(address, { signal });
  } catch (e) {
    if (signal.aborted) throw aborted(`loading ${part.name}`);
    throw new FledglingError('network', `${brief(address)}: ${message(e)}`, { cause: e });
  }
  if (!response.ok || !response.body)
    throw new FledglingError('network', `${brief(address)}: HTTP ${response.status} ${response.statusText}`.trim());
  const reader = response.body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done || take(value)) return;
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

/** The parts of a split GGUF: once their beginnings are known, one after another. */
async function* inTurn(parts: Part[], peek: (part: Part) => Promise<void>): AsyncGenerator<Part> {
  if (parts.length > 1) for (const part of parts) await peek(part);
  for (const [i, part] of parts.entries()) yield { ...part, last: i === parts.length - 1 };
}

/**
 * The files of a source, small ones first and the weights last; `read` is given what must be read to know the rest, `peek` the files whose
 * beginnings must be known before any of them is read.
 */
export async function* partsOf(
  source: string | Blob | readonly File[],
  read: (part: Part) => Promise<string | undefined>,
  peek: (part: Part) => Promise<void>,
): AsyncGenerator<Part> {
  if (source instanceof Blob) return yield { name: source instanceof File ? source.name : 'model', blob: source, last: true };
  if (typeof source !== 'string') {
    const files = [...source].sort(
      (a, b) => Number(a.name.endsWith('.safetensors')) - Number(b.name.endsWith('.safetensors')) || (a.name < b.name ? -1 : 1),
    );
    if (files.length === 0) throw new FledglingError('bad-file', 'no file was given');
    const names = files.map((f) => splitNames(f.name)).find((n) => n !== undefined);
    if (names) {
      const parts = names.map((name) => ({ name, blob: files.find((f) => f.name === name) }));
      const missing = parts.filter((p) => !p.blob).map((p) => p.name);
      if (missing.length > 0) throw new FledglingError('bad-file', `${missing.join(', ')}: missing, the model is in ${names.length} files`);
      for (const f of files) if (!names.includes(f.name) && !f.name.endsWith('.gguf')) yield { name: f.name, blob: f };
      const other = files.find((f) => f.name.endsWith('.gguf') && !names.includes(f.name));
      if (other) throw new FledglingError('bad-file', `${other.name}: is no part of ${names[0]}`);
      return yield* inTurn(parts as Part[], peek);
    }
    for (const [i, f] of files.entries()) yield { name: f.name, blob: f, last: i === files.length - 1 };
    return;
  }
  const url = new URL(source);
  // Whoever encodes a whole name encodes its slash, too.
  url.pathname = url.pathname.replace(/%2f$/i, '/');
  const [, last = ''] = /([^/]*)$/.exec(url.pathname) ?? [];
  const single = last.endsWith('.safetensors');
  const names = splitNames(basename(source));
  if (names) {
    const parts = names.map((name) => {
      const file = new URL(source);
      file.pathname = file.pathname.slice(0, file.pathname.length - last.length) + encodeURIComponent(name);
      return { name, address: file.href };
    });
    return yield* inTurn(parts, peek);
  }
  if (last !== '' && last !== 'config.json' && !single) return yield { name: basename(source), address: source, last: true };
  url.pathname = url.pathname.slice(0, url.pathname.length - last.length);
  const at = (name: string) => {
    const file = new URL(url);
    file.pathname += encodeURIComponent(name);
    return file.href;
  };
  for (const name of FOLDER_FILES) yield { name, address: at(name), optional: name !== 'config.json' };
  if (single) return yield { name: basename(source), address: source, last: true };
  // One file of weights, or several listed in an index.
  const index = await read({ name: INDEX, address: at(INDEX), optional: true });
  const weights = index === undefined ? ['model.safetensors'] : shards(index, at(INDEX));
  for (const [i, name] of weights.entries()) yield { name, address: at(name), last: i === weights.length - 1 };
}

function shards(index: string, address: string): string[] {
  let names: unknown[];
  try {
    names = Object.values((JSON.parse(index) as { weight_map: Record<string, string> }).weight_map);
  } catch {
    names = [];
  }
  const bad = names.find((n) => typeof n !== 'string' || !/^[^/\\]+\.safetensors$/.test(n));
  if (names.length === 0 || bad !== undefined) {
    throw new FledglingError(
      'bad-file',
      `${brief(address)}: expected JSON with a weight_map to names of .safetensors files${bad === undefined ? '' : `, found ${JSON.stringify(bad)}`}`,
    );
  }
  return [...new Set(names as string[])].sort();
}

/** Feeds one part to the sink; undefined when it is optional and missing. */
export async function feed(part: Part, f: Feed): Promise<Fed | undefined> {
  f.progress({ status: 'initiate', file: part.name, loaded: 0, total: part.blob?.size ?? 0 });
  if (part.blob) {
    const run = new Run(part, f, undefined);
    await run.local(part.blob, part.blob.size, false);
    return run.finish(false);
  }
  let entry: CacheEntry | undefined;
  if (f.cache !== false) {
    try {
      entry = await CacheEntry.open(part.address!);
    } catch (e) {
      f.warn(new FledglingError('io', `the browser's storage cannot be used, nothing will be kept: ${message(e)}`));
    }
  }
  if (entry && f.cache === 'refresh') await entry.remove();
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

/** Codes after which a stored file is thrown away. */
export const REFUSED: ReadonlySet<string> = new Set(['bad-file', 'unsupported-architecture', 'not-finite', 'bad-template', 'bad-config']);

/** An address in a message. */
const brief = (address: string): string => cut(address, 300);
const message = (e: unknown) => (e instanceof Error ? e.message : String(e));

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
        throw new FledglingError('io', `${this.#part.name}: reading at byte ${at} failed: ${message(e)}`, { cause: e });
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
      try {
        response = await this.#request(address, at, validator);
      } catch (e) {
        this.#check();
        if (part.optional && this.#f.offline) return false;
        if (++failures >= ATTEMPTS || (this.#loaded === 0 && typeof navigator !== 'undefined' && !navigator.onLine)) {
          throw new FledglingError('network', `${brief(address)}: ${message(e)} (after ${this.#loaded} bytes, ${failures} attempts)`, {
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
      if (part.optional && response.headers.get('content-type')?.includes('html')) {
        await response.body?.cancel().catch(() => {});
        return false; // what servers of one-page apps answer in place of 404
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
          return message(e);
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
          : `${this.#part.name} cannot be kept in the browser's storage: ${message(e)}`,
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
