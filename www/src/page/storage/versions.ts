// Earlier versions of an adapter: folders v1, v2 … beside its files, and a small file that says what each came of. The files in use are those of
// the version in use; it gets a folder of its own before something else takes its place.
import type { Version, Versions } from '../model/types.ts';
import { VERSIONS } from '../schema/stored.ts';
import { copyFile, readFile, removeEntry, usage, writeFile } from './opfs.ts';
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

/** Versions of an adapter whose files are there. One that was stored before there were any is its own first. */
export async function readVersions(name: string, at: number, tell: (trouble: Error) => void): Promise<Versions> {
  const { value, trouble } = await readStored(VERSIONS, `${folder(name)}/${ABOUT}`);
  if (trouble) tell(trouble);
  const first: Versions = { current: 1, versions: [{ n: 1, at }] };
  if (!value) return first;
  const versions: Version[] = [];
  for (const v of value.versions.sort((a, b) => a.n - b.n))
    if (v.n === value.current || (await complete(folder(name, v.n)))) versions.push(v);
  return versions.some((v) => v.n === value.current) ? { current: value.current, versions } : first;
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

/** Gives the version in use a folder of its own; false where there is no room for it and for `more` bytes behind it. */
export async function setApart(name: string, n: number, more: number): Promise<boolean> {
  const now = await complete(folder(name));
  if (!now || (await complete(folder(name, n)))) return true;
  const { used, quota } = await usage();
  if (quota > 0 && used + now.weights.size + more > quota) return false;
  await copy(folder(name), folder(name, n));
  return true;
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
