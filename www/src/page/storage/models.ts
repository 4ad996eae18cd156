// Models from the person's own files, kept so that they are there after a reload: models/<sha256>/, with the files as they
// were chosen and a small JSON that is written last, so that a copy which never ended is none.
import { copyFile, list, readFile, readJson, removeEntry, writeFile } from './opfs.ts';
import { PageError } from '../model/errors.ts';

const FOLDER = 'models';
const ABOUT = 'about.json';
/** How such a model is named where others have an address. */
const SCHEME = 'kept:';

export interface KeptModel {
  /** kept:<sha256> */
  source: string;
  name: string;
  sha256: string;
  bytes: number;
  files: { name: string; bytes: number }[];
}

export const isKept = (source: string): boolean => source.startsWith(SCHEME);
const folderOf = (sha256: string): string => `${FOLDER}/${sha256.replace(/[^0-9a-f]/g, '')}`;
const shaOf = (source: string): string => source.slice(SCHEME.length);

export async function keptModel(source: string): Promise<KeptModel | null> {
  return readJson<KeptModel>(`${folderOf(shaOf(source))}/${ABOUT}`);
}

export async function keptModels(): Promise<KeptModel[]> {
  const found: KeptModel[] = [];
  for (const name of await list(FOLDER)) {
    const about = await keptModel(SCHEME + name).catch(() => null);
    if (about) found.push(about);
  }
  return found;
}

/** Its files, checked for being there and whole; the engine's hash says whether they are still the same. */
export async function keptFiles(source: string): Promise<{ about: KeptModel; files: File[] }> {
  const about = await keptModel(source);
  if (!about) throw new PageError('io', 'The model that was kept in this browser is no longer there.');
  const files: File[] = [];
  for (const { name, bytes } of about.files) {
    const file = await readFile(`${folderOf(about.sha256)}/${name}`);
    if (file?.size !== bytes)
      throw new PageError('storage-corrupt', `${about.name}: the kept copy of ${name} has ${file?.size ?? 0} bytes, expected ${bytes}.`);
    files.push(file);
  }
  return { about, files };
}

export const removeKept = (source: string): Promise<void> => removeEntry(folderOf(shaOf(source)));

/** Copies a model's files; without room for all of them nothing is kept. */
export async function keepModel(
  name: string,
  sha256: string,
  files: readonly File[],
  o: { signal?: AbortSignal; onProgress?(bytes: number, total: number): void },
): Promise<KeptModel> {
  const about: KeptModel = {
    source: SCHEME + sha256,
    name,
    sha256,
    bytes: files.reduce((n, f) => n + f.size, 0),
    files: files.map((f) => ({ name: f.name, bytes: f.size })),
  };
  const folder = folderOf(sha256);
  const there = await keptModel(about.source).catch(() => null);
  if (there?.files.length === about.files.length && there.bytes === about.bytes) return there;
  let done = 0;
  try {
    for (const file of files) {
      await copyFile(`${folder}/${file.name}`, file, { ...o, onProgress: (bytes) => o.onProgress?.(done + bytes, about.bytes) });
      done += file.size;
    }
    await writeFile(`${folder}/${ABOUT}`, JSON.stringify(about));
    return about;
  } catch (e) {
    await removeEntry(folder).catch(() => {});
    throw e;
  }
}
