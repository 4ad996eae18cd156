// Models from the person's own files, kept so that they are there after a reload: models/<sha256>/, with the files as they
// were chosen and a small JSON that is written last, so that a copy which never ended is none.
import { PageError } from '../model/errors.ts';
import { modelName } from '../model/modelFiles.ts';
import { KEPT_MODEL, type KeptModel } from '../schema/stored.ts';
import { copyFile, list, readFile, removeEntry, writeFile } from './opfs.ts';
import { fitFile, storedText } from './stored.ts';
import { t } from '../i18n/language.ts';

export type { KeptModel };

const FOLDER = 'models';
const ABOUT = 'about.json';
/** How such a model is named where others have an address. */
const SCHEME = 'kept:';

export const isKept = (source: string): boolean => source.startsWith(SCHEME);
const folderOf = (sha256: string): string => `${FOLDER}/${sha256.replace(/[^0-9a-f]/g, '')}`;
const shaOf = (source: string): string => source.slice(SCHEME.length);

export async function keptModel(source: string): Promise<KeptModel | null> {
  const folder = folderOf(shaOf(source));
  const file = await readFile(`${folder}/${ABOUT}`);
  // Without it the copy never ended.
  if (!file) return null;
  const { value } = await fitFile(KEPT_MODEL, `${folder}/${ABOUT}`, file);
  if (value && value.source === source && value.sha256 === shaOf(source)) return value;
  return madeAnew(folder, source);
}

/** What the folder itself says of its model; whether the files are still those, its hash tells when it is loaded. */
async function madeAnew(folder: string, source: string): Promise<KeptModel | null> {
  const files: KeptModel['files'] = [];
  for (const name of await list(folder)) {
    const file = name.startsWith(ABOUT) ? null : await readFile(`${folder}/${name}`).catch(() => null);
    if (file && file.size > 0) files.push({ name, bytes: file.size });
  }
  if (files.length === 0) return null;
  // As they were chosen: the weights last.
  files.sort((a, b) => a.bytes - b.bytes);
  const bytes = files.reduce((n, f) => n + f.bytes, 0);
  const about = { source, name: modelName(files.at(-1)!.name), sha256: shaOf(source), bytes, files };
  await writeFile(`${folder}/${ABOUT}`, storedText(KEPT_MODEL, about));
  return about;
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
  if (!about) throw new PageError('io', t('The model that was kept in this browser is no longer there.'));
  const files: File[] = [];
  for (const { name, bytes } of about.files) {
    const file = await readFile(`${folderOf(about.sha256)}/${name}`);
    if (file?.size !== bytes)
      throw new PageError(
        'storage-corrupt',
        t('{model}: the kept copy of {name} has {size} bytes, expected {bytes}.', {
          model: about.name,
          name,
          size: file?.size ?? 0,
          bytes,
        }),
      );
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
    await writeFile(`${folder}/${ABOUT}`, storedText(KEPT_MODEL, about));
    return about;
  } catch (e) {
    await removeEntry(folder).catch(() => {});
    throw e;
  }
}
