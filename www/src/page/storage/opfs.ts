// The page's files in the origin private file system (OPFS). Every failure is a PageError with a stable code;
// a write replaces the file only when it is complete, so a full disk never costs what was there before.
import { PageError } from '../model/errors.ts';

const ROOT = 'fledgling-page';

const names = (path: string): string[] => path.split('/').filter(Boolean);

function failure(error: unknown, path: string, doing: string): PageError {
  if (error instanceof PageError) return error;
  const name = (error as { name?: string } | null)?.name ?? '';
  const message = (error as Error | null)?.message ?? String(error);
  if (name === 'QuotaExceededError') return new PageError('quota-exceeded', `No room to save ${path}: ${message || 'the browser’s quota for this page is used up'}.`, { cause: error });
  if (name === 'SecurityError' || name === 'TypeError') return new PageError('storage-unavailable', `The browser refused to ${doing} ${path}: ${message}`, { cause: error });
  return new PageError('storage-failed', `Could not ${doing} ${path}: ${message}`, { cause: error });
}

const missing = (error: unknown): boolean => (error as { name?: string } | null)?.name === 'NotFoundError';

async function directory(path: string[], create: boolean): Promise<FileSystemDirectoryHandle> {
  if (!navigator.storage?.getDirectory) throw new PageError('storage-unavailable', 'The browser has no origin private file system for this page.');
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

/** Parses a JSON file. A damaged one is set aside as `<name>.broken` and reported, never overwritten in silence. */
export async function readJson<T>(path: string): Promise<T | null> {
  const file = await readFile(path);
  if (!file) return null;
  const text = await file.text();
  // A file created by a first write that never completed is empty: there was nothing to lose.
  if (text === '') return null;
  try {
    return JSON.parse(text) as T;
  } catch (e) {
    await writeFile(`${path}.broken`, text);
    await removeEntry(path);
    throw new PageError('storage-corrupt', `${path} is not readable (${(e as Error).message}); it was kept as ${path}.broken.`, { cause: e });
  }
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
    if (!missing(e)) throw failure(e, 'all files', 'remove');
  }
}
