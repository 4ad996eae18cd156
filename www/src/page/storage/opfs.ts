// The page's files in the origin private file system (OPFS). Every failure is a PageError with a stable code;
// a write replaces the file only when it is complete, so a full disk never costs what was there before.
import { PageError } from '../model/errors.ts';
import { t } from '../i18n/language.ts';

const ROOT = 'fledgling-page';

const names = (path: string): string[] => path.split('/').filter(Boolean);

function failure(error: unknown, path: string, doing: 'read' | 'write' | 'list' | 'remove'): PageError {
  if (error instanceof PageError) return error;
  const name = (error as { name?: string } | null)?.name ?? '';
  const message = (error as Error | null)?.message ?? String(error);
  if (name === 'QuotaExceededError')
    return new PageError(
      'quota-exceeded',
      message
        ? t('No room to save {path}: {why}.', { path, why: message })
        : t('No room to save {path}: the browser’s quota for this page is used up.', { path }),
      {
        cause: error,
      },
    );
  if (name === 'SecurityError' || name === 'TypeError')
    return new PageError('storage-unavailable', t('The browser refused to {doing} {path}: {message}', { doing: t(doing), path, message }), {
      cause: error,
    });
  return new PageError('storage-failed', t('Could not {doing} {path}: {message}', { doing: t(doing), path, message }), { cause: error });
}

const missing = (error: unknown): boolean => (error as { name?: string } | null)?.name === 'NotFoundError';

async function directory(path: string[], create: boolean): Promise<FileSystemDirectoryHandle> {
  if (!navigator.storage?.getDirectory)
    throw new PageError('storage-unavailable', t('The browser has no origin private file system for this page.'));
  let dir = await navigator.storage.getDirectory();
  for (const name of [ROOT, ...path]) dir = await dir.getDirectoryHandle(name, { create });
  return dir;
}

/** The file, or null when there is none. */
export async function readFile(path: string): Promise<File | null> {
  const parts = names(path);
  try {
    const dir = await directory(parts.slice(0, -1), false);
    return await (await dir.getFileHandle(parts.at(-1)!)).getFile();
  } catch (e) {
    if (missing(e)) return null;
    throw failure(e, path, 'read');
  }
}

export type Bytes = string | Blob | Uint8Array<ArrayBuffer>;

/** Writes a whole file: it appears complete under its name or not at all. */
export async function writeFile(path: string, data: Bytes): Promise<void> {
  const parts = names(path);
  let stream: FileSystemWritableFileStream | undefined;
  try {
    const dir = await directory(parts.slice(0, -1), true);
    const handle = await dir.getFileHandle(parts.at(-1)!, { create: true });
    // Data goes to a swap file that takes the name's place on close().
    stream = await handle.createWritable();
    await stream.write(data);
    await stream.close();
  } catch (e) {
    await stream?.abort().catch(() => {});
    throw failure(e, path, 'write');
  }
}

/** Adds to the end of a file, which keeps what it holds if that fails. */
export async function appendFile(path: string, data: string): Promise<void> {
  const parts = names(path);
  let stream: FileSystemWritableFileStream | undefined;
  try {
    const dir = await directory(parts.slice(0, -1), true);
    const handle = await dir.getFileHandle(parts.at(-1)!, { create: true });
    const { size } = await handle.getFile();
    stream = await handle.createWritable({ keepExistingData: true });
    await stream.write({ type: 'write', position: size, data });
    await stream.close();
  } catch (e) {
    await stream?.abort().catch(() => {});
    throw failure(e, path, 'write');
  }
}

/** Bytes handed to the browser at once when a large file is copied: they never pass through the page's own memory. */
const PIECE = 16 << 20;

/** Copies a file of the person's into the page's storage: whole under its name, or not at all. */
export async function copyFile(
  path: string,
  from: Blob,
  o: { signal?: AbortSignal; onProgress?(bytes: number): void } = {},
): Promise<void> {
  const parts = names(path);
  let stream: FileSystemWritableFileStream | undefined;
  try {
    const { used, quota } = await usage();
    if (quota > 0 && used + from.size > quota)
      throw new PageError(
        'quota-exceeded',
        t('No room to save {path}: it needs {size} bytes, {left} are left.', { path, size: from.size, left: Math.max(0, quota - used) }),
      );
    const dir = await directory(parts.slice(0, -1), true);
    stream = await (await dir.getFileHandle(parts.at(-1)!, { create: true })).createWritable();
    for (let at = 0; at < from.size; at += PIECE) {
      o.signal?.throwIfAborted();
      await stream.write(from.slice(at, at + PIECE));
      o.onProgress?.(Math.min(at + PIECE, from.size));
    }
    await stream.close();
  } catch (e) {
    await stream?.abort().catch(() => {});
    throw o.signal?.aborted ? e : failure(e, path, 'write');
  }
}

export async function removeEntry(path: string): Promise<void> {
  const parts = names(path);
  try {
    const dir = await directory(parts.slice(0, -1), false);
    await dir.removeEntry(parts.at(-1)!, { recursive: true });
  } catch (e) {
    if (!missing(e)) throw failure(e, path, 'remove');
  }
}

/** Names in a folder, sorted; an absent folder is empty. */
export async function list(path: string): Promise<string[]> {
  try {
    const dir = await directory(names(path), false);
    const found: string[] = [];
    for await (const name of dir.keys()) found.push(name);
    return found.sort();
  } catch (e) {
    if (missing(e)) return [];
    throw failure(e, path, 'list');
  }
}

/** The lines of a text file, read piece by piece and without their ends; nothing is held up, however large the file. */
export async function* linesOf(file: Blob): AsyncGenerator<string> {
  const reader = file
    .stream()
    .pipeThrough(new TextDecoderStream() as unknown as ReadableWritablePair<string, Uint8Array<ArrayBuffer>>)
    .getReader();
  // Pieces of a line that is not complete: joined once, so that one endless line costs no more than its length.
  let open: string[] = [];
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    let from = 0;
    for (let to = value.indexOf('\n'); to >= 0; to = value.indexOf('\n', from)) {
      open.push(value.slice(from, to));
      yield open.join('');
      open = [];
      from = to + 1;
    }
    if (from < value.length) open.push(value.slice(from));
  }
  yield open.join('');
}

export interface Usage {
  /** Bytes in use by this origin and bytes it may use at most. */
  used: number;
  quota: number;
  persistent: boolean;
}

export async function usage(): Promise<Usage> {
  const estimate = (await navigator.storage?.estimate?.()) ?? {};
  const persistent = (await navigator.storage?.persisted?.()) ?? false;
  return { used: estimate.usage ?? 0, quota: estimate.quota ?? 0, persistent };
}

/** Asks the browser not to evict this page's files when it runs short of space. */
export const persist = async (): Promise<boolean> => (await navigator.storage?.persist?.()) ?? false;

/** Removes every file of the page (models cached by the engine are not among them). */
export async function removeAll(): Promise<void> {
  try {
    const root = await navigator.storage.getDirectory();
    await root.removeEntry(ROOT, { recursive: true });
  } catch (e) {
    if (!missing(e)) throw failure(e, t('all files'), 'remove');
  }
}
