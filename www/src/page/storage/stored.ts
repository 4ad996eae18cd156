// Documents of the page: read through their schema, written with their version. What does not fit is set aside, never overwritten in silence.
import { t } from '../i18n/language.ts';
import { PageError } from '../model/errors.ts';
import { fit, type Kind } from '../schema/notes.ts';
import { readFile, writeFile } from './opfs.ts';

/** Most copies of one file that are set aside; what comes after takes the place of the last. */
const COPIES = 20;

/** Keeps a text under another name beside its file, once; returns the name. */
export async function setAside(path: string, text: string): Promise<string> {
  for (let i = 1; ; i++) {
    const name = `${path}.broken${i > 1 ? `-${i}` : ''}`;
    const there = await readFile(name);
    if (there && i < COPIES) {
      if (there.size !== new Blob([text]).size || (await there.text()) !== text) continue;
      return name;
    }
    await writeFile(name, text);
    return name;
  }
}

export interface Stored<T> {
  /** Null where there is no document, or none that can be used. */
  value: T | null;
  /** What was wrong with it and where the original was put: to be told, and the file to be written anew. */
  trouble: PageError | null;
}

/** At most so many places are named. */
const NAMED = 4;
export const listed = (notes: string[]): string =>
  notes.slice(0, NAMED).join('; ') + (notes.length > NAMED ? t('; and {n} more', { n: notes.length - NAMED }) : '');

/** Fits the text of a file to its kind; the original is set aside where something does not fit. */
export async function fitText<T>(kind: Kind<T>, path: string, text: string): Promise<Stored<T>> {
  // A file created by a first write that never completed is empty: there was nothing to lose.
  if (text === '') return { value: null, trouble: null };
  let raw: unknown;
  let value: T | null = null;
  let notes: string[];
  try {
    raw = JSON.parse(text);
    ({ value, notes } = fit(kind, raw));
  } catch (e) {
    notes = [(e as Error).message.slice(0, 200)];
  }
  if (notes.length === 0) return { value, trouble: null };
  const aside = await setAside(path, text);
  const at = { path, notes: listed(notes), aside };
  const what =
    value === null
      ? t('{path} is not readable ({notes}); the original was kept as {aside}.', at)
      : t('{path} was read in part ({notes}); the original was kept as {aside}.', at);
  return { value, trouble: new PageError('storage-corrupt', what) };
}

export async function fitFile<T>(kind: Kind<T>, path: string, file: File | null): Promise<Stored<T>> {
  return file ? fitText(kind, path, await file.text()) : { value: null, trouble: null };
}

export const readStored = async <T>(kind: Kind<T>, path: string): Promise<Stored<T>> => fitFile(kind, path, await readFile(path));

/** A document as it is written. */
export const storedText = <T extends object>(kind: Kind<T>, value: object, indent?: number): string =>
  JSON.stringify({ version: kind.version, ...value }, null, indent);
