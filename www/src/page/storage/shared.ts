// Files that several tabs may write. A tab remembers which version of a file it has seen, and looks again before it writes.
import { readFile } from './opfs.ts';

const seen = new Map<string, string>();
const stamp = (file: File | null): string => (file ? `${file.size}:${file.lastModified}` : 'none');

/** The file where it is not the version this tab knows (null: it is gone); undefined where nothing has changed. */
export async function changed(path: string): Promise<File | null | undefined> {
  const file = await readFile(path);
  return stamp(file) === (seen.get(path) ?? 'none') ? undefined : file;
}

/** From now on this version is the known one. */
export const know = (path: string, file: File | null): void => void seen.set(path, stamp(file));

/** After a write of one's own. */
export const knowPresent = async (path: string): Promise<void> => know(path, await readFile(path));

/** Runs alone among all tabs of the page, for one name. */
export const alone = <T>(name: string, work: () => Promise<T>): Promise<T> =>
  navigator.locks ? (navigator.locks.request(`fledgling:${name}`, work) as Promise<T>) : work();

/** Whether this tab knows of files, and none of them is there any more. */
export async function allGone(): Promise<boolean> {
  const known = [...seen].filter(([, stamp]) => stamp !== 'none');
  if (known.length === 0) return false;
  for (const [path] of known) if (await readFile(path)) return false;
  return true;
}

/** Nothing is known any more: what is written next is written anew. */
export const forgetSeen = (): void => seen.clear();
