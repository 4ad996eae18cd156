// Brings the bytes of a model to the engine, in order and piece by piece: from an address (with a cache, ranges and
// retries), from a File or from a Blob. The wasm heap sees one piece at a time; every byte is hashed on its way.
import { CacheEntry } from './cache.ts';
import { Download, type Fed, type Feed, type Sink } from './download.ts';
import { aborted, FledglingError, toFledglingError, why } from './errors.ts';
import type { Part } from './parts.ts';
import { isNode } from './places.ts';

export type { Fed, Feed, Sink };

/** How long a tab that downloads the same file may make no progress. */
const ASLEEP_MS = 15_000;
/** Feeds one part to the sink; undefined when it is optional and missing. */
export async function feed(part: Part, f: Feed): Promise<Fed | undefined> {
  f.progress({ status: 'initiate', file: part.name, loaded: 0, total: part.blob?.size ?? 0 });
  if (part.blob) {
    const run = new Download(part, f, undefined);
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
  const run = new Download(part, f, entry);
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
