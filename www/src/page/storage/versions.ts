// Earlier versions of an adapter: folders v1, v2 … beside its files, and a small file that says what each came of. The files in use are those of
// the version in use; it gets a folder of its own before something else takes its place.
import type { Version, Versions } from '../model/types.ts';
import { VERSIONS } from '../schema/stored.ts';
import { copyFile, list, readFile, removeEntry, usage, writeFile } from './opfs.ts';
import { readStored, storedText } from './stored.ts';

export const ADAPTERS = 'adapters';
export const CONFIG = 'adapter_config.json';
export const WEIGHTS = 'adapter_model.safetensors';
const ABOUT = 'versions.json';

const folder = (name: string, n?: number): string => `${ADAPTERS}/${name}${n === undefined ? '' : `/v${n}`}`;

async function complete(path: string): Promise<{ config: File; weights: File } | null> {
  const config = await readFile(`${path}/${CONFIG}`);
  const weights = await readFile(`${path}/${WEIGHTS}`);
  return config && weights && config.size > 0 && weights.size > 0 ? { config, weights } : null;
}

/** The earlier versions that have a folder, whatever the list says. */
async function foldersOf(name: string): Promise<Version[]> {
  const found: Version[] = [];
  for (const entry of await list(folder(name))) {
    const n = Number(/^v([1-9]\d{0,8})$/.exec(entry)?.[1] ?? 0);
    const files = n > 0 ? await complete(folder(name, n)) : null;
    if (files) found.push({ n, at: files.weights.lastModified });
  }
  return found;
}

/**
 * Versions of an adapter whose files are there. One that was stored before there were any is its own first. A folder that the list does not know
 * is a version all the same: a tab may have died between the two.
 */
export async function readVersions(name: string, at: number, tell: (trouble: Error) => void): Promise<Versions> {
  const { value, trouble } = await readStored(VERSIONS, `${folder(name)}/${ABOUT}`);
  if (trouble) tell(trouble);
  const folders = await foldersOf(name);
  const told = value?.versions.filter((v) => v.n === value.current || folders.some((f) => f.n === v.n)) ?? [];
  const all = [...told, ...folders.filter((f) => !told.some((v) => v.n === f.n))].sort((a, b) => a.n - b.n);
  if (value && told.some((v) => v.n === value.current)) return { current: value.current, versions: all };
  const current = nextVersion(all);
  return { current, versions: [...all, { n: current, at }] };
}

export const writeVersions = (name: string, versions: Versions): Promise<void> =>
  writeFile(`${folder(name)}/${ABOUT}`, storedText(VERSIONS, versions));

/** The weights first: a folder with a configuration is one that is whole. */
async function copy(from: string, to: string): Promise<void> {
  const files = await complete(from);
  if (!files) return;
  await copyFile(`${to}/${WEIGHTS}`, files.weights);
  await copyFile(`${to}/${CONFIG}`, files.config);
}

/** Hashed beside the main thread, which a comparison of many bytes would hold up. */
const hash = async (f: File): Promise<string> => String(new Uint8Array(await crypto.subtle.digest('SHA-256', await f.arrayBuffer())));
const same = async (a: File, b: File): Promise<boolean> => a.size === b.size && (await hash(a)) === (await hash(b));

/**
 * Gives the files in use a folder of their own, and returns its number: that of the version in use, or the next one where that has a folder with
 * other files already. null where there is no room for it and for `more` bytes behind it.
 */
export async function setApart(name: string, { current, versions }: Versions, more: number): Promise<number | null> {
  const now = await complete(folder(name));
  if (!now) return current;
  const there = await complete(folder(name, current));
  if (there && (await same(there.weights, now.weights)) && (await same(there.config, now.config))) return current;
  const n = there ? nextVersion(versions) : current;
  const { used, quota } = await usage();
  if (quota > 0 && used + now.weights.size + more > quota) return null;
  await copy(folder(name), folder(name, n));
  return n;
}

/** Puts the files of an earlier version in the place of those in use. */
export const putBack = (name: string, n: number): Promise<void> => copy(folder(name, n), folder(name));

export const dropVersion = (name: string, n: number): Promise<void> => removeEntry(folder(name, n));

/** Takes all earlier versions along to another name. */
export async function moveVersions(from: string, to: string, { current, versions }: Versions): Promise<void> {
  for (const v of versions) if (v.n !== current) await copy(folder(from, v.n), folder(to, v.n));
  await writeVersions(to, { current, versions });
}

export const nextVersion = (versions: readonly Version[]): number => Math.max(0, ...versions.map((v) => v.n)) + 1;
