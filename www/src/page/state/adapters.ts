// Adapters: PEFT folders kept in OPFS and handed to the model; at most one is active, none means the base model.
import { computed, effect, signal } from '@preact/signals';
import type { AdapterFiles, Model } from '../api.ts';
import { describe, PageError } from '../model/errors.ts';
import { fit } from '../schema/notes.ts';
import { ADAPTER_CONFIG } from '../schema/stored.ts';
import type { Made, Version } from '../model/types.ts';
import { list, readFile, removeEntry, usage, writeFile } from '../storage/opfs.ts';
import { listed } from '../storage/stored.ts';
import {
  ADAPTERS,
  CONFIG,
  dropVersion,
  moveVersions,
  nextVersion,
  putBack,
  readVersions,
  setApart,
  WEIGHTS,
  writeVersions,
} from '../storage/versions.ts';
import { activity, complain, gone, model, onLoaded, refreshMemory } from './engine.ts';
import { announce, report, toast } from './notices.ts';
import { hold, onStorageCleared, release, reportUnsaved, tellOthers, tracked } from './saver.ts';
import { change, settings } from './settings.ts';
import { t } from '../i18n/language.ts';

const FOLDER = ADAPTERS;

export interface StoredAdapter {
  name: string;
  r: number;
  loraAlpha: number;
  targetModules: string[];
  base: string;
  bytes: number;
  /** When its weights were written. */
  at: number;
  /** Number of the version that it is now, and all that there are, the first one first. */
  version: number;
  versions: Version[];
  /** Handed to the present model; `error` says why not when that failed. */
  loaded: boolean;
  error: string | null;
}

export const adapters = signal<StoredAdapter[]>([]);
/** Name of the active adapter of the present model; null = base. */
export const active = computed(() => {
  const name = settings.value.activeAdapter;
  return adapters.value.some((a) => a.name === name && a.loaded) ? name : null;
});

/** The one that was used last, here or before. */
const lastUsed = signal<string | null>(null);
effect(() => {
  if (active.value !== null) lastUsed.value = active.value;
});
/** What there is to switch on and off. */
export const offered = computed(() => {
  const usable = adapters.value.filter((a) => a.loaded).map((a) => a.name);
  return [active.value, lastUsed.value, settings.value.adapterName].find((n) => n !== null && usable.includes(n)) ?? usable[0] ?? null;
});

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
/** Names become folder names here and in PEFT, so they keep to letters that are safe everywhere. */
export function checkName(name: string): string {
  if (!NAME.test(name))
    throw new PageError(
      'bad-config',
      t(
        '“{name}” cannot name an adapter: expected 1 to 64 letters (a–z), digits, dots, hyphens or underscores, beginning with a letter or digit.',
        { name },
      ),
    );
  return name;
}

/** A free name like the given one. */
export function freeName(like: string): string {
  const base = (like.replace(/[^A-Za-z0-9._-]+/g, '-').replace(/^[^A-Za-z0-9]+/, '') || 'adapter').slice(0, 56);
  let name = base;
  for (let i = 2; adapters.value.some((a) => a.name === name); i++) name = `${base}-${i}`;
  return name;
}

function summary(name: string, config: string, bytes: number, at: number): StoredAdapter {
  const entry: StoredAdapter = {
    name,
    r: 0,
    loraAlpha: 0,
    targetModules: [],
    base: '',
    bytes,
    at,
    version: 1,
    versions: [{ n: 1, at }],
    loaded: false,
    error: null,
  };
  let raw: unknown;
  try {
    raw = JSON.parse(config);
  } catch {
    return { ...entry, error: t('{CONFIG} is not JSON.', { CONFIG }) };
  }
  const { value, notes } = fit(ADAPTER_CONFIG, raw);
  // What the fields may be is for the engine to say: here they are shown.
  return value ? { ...entry, ...value } : { ...entry, error: `${CONFIG}: ${listed(notes)}.` };
}

/** Other tabs hear under this name that adapters were added or removed. */
export const ADAPTERS_CHANGED = FOLDER;

const set = (name: string, part: Partial<StoredAdapter>): void =>
  void (adapters.value = adapters.value.map((a) => (a.name === name ? { ...a, ...part } : a)));

export async function loadAdapters(): Promise<void> {
  const found: StoredAdapter[] = [];
  for (const name of await list(FOLDER)) {
    try {
      const config = await readFile(`${FOLDER}/${name}/${CONFIG}`);
      const weights = await readFile(`${FOLDER}/${name}/${WEIGHTS}`);
      // A folder without both files is one whose writing never ended.
      if (!config || !weights) continue;
      const { current, versions } = await readVersions(name, weights.lastModified, (e) => void report(e, [], `${FOLDER}/${name}`));
      found.push({ ...summary(name, await config.text(), weights.size, weights.lastModified), version: current, versions });
    } catch (e) {
      // One that cannot be read hides no other.
      report(e, [], `${FOLDER}/${name}`);
    }
  }
  adapters.value = found;
}

/** Another tab stored or removed adapters: the model here gets what is new, and loses what is gone. */
export async function adaptersChanged(): Promise<void> {
  const before = adapters.value;
  const wasActive = active.value;
  await loadAdapters();
  // Not on disk, but here.
  const only = before.filter((a) => unsaved.has(a.name) && !adapters.value.some((b) => b.name === a.name));
  adapters.value = [...adapters.value, ...only].sort((a, b) => a.name.localeCompare(b.name));
  for (const a of adapters.value) {
    const was = before.find((b) => b.name === a.name);
    if (was && was.bytes === a.bytes && was.at === a.at) set(a.name, { loaded: was.loaded, error: was.error });
  }
  await idle();
  const engine = model.value;
  if (!engine) return;
  for (const b of before) {
    const now = adapters.value.find((a) => a.name === b.name);
    if (b.loaded && !now?.loaded) await engine.removeAdapter(b.name).catch((e: unknown) => void gone(e));
  }
  for (const a of adapters.value) if (!a.loaded && !a.error) await hand(engine, a.name);
  if (wasActive !== active.value || wasActive !== null)
    await (active.value === null ? engine.disableAdapter() : engine.setAdapter(active.value)).catch((e: unknown) => complain(e));
  await refreshMemory();
}

/** Resolves when the model has nothing to do. */
const idle = (): Promise<void> =>
  new Promise((done) => {
    const stop = effect(() => {
      if (activity.value !== 'idle') return;
      done();
      queueMicrotask(() => stop());
    });
  });

export async function filesOf(name: string): Promise<AdapterFiles> {
  const config = await readFile(`${FOLDER}/${name}/${CONFIG}`);
  const weights = await readFile(`${FOLDER}/${name}/${WEIGHTS}`);
  if (!config || !weights)
    throw new PageError(
      'bad-adapter',
      t('The adapter {name} is not complete: expected {CONFIG} and {WEIGHTS}.', { name, CONFIG, WEIGHTS }),
    );
  return { [CONFIG]: await config.text(), [WEIGHTS]: new Uint8Array(await weights.arrayBuffer()) };
}

/** Writes an adapter. What was there under this name stays as its version before, where there is room for both. */
async function store(name: string, files: AdapterFiles, made: Made = {}): Promise<void> {
  const weights = files[WEIGHTS] as Uint8Array<ArrayBuffer>;
  // Asked beforehand, so that an adapter is never half replaced for want of room.
  const { used, quota } = await usage();
  if (quota > 0 && used + weights.byteLength > quota)
    throw new PageError(
      'quota-exceeded',
      t('No room to save the adapter {name}: it needs {size} bytes, {left} are left.', {
        name,
        size: weights.byteLength,
        left: Math.max(0, quota - used),
      }),
    );
  const before = await readFile(`${FOLDER}/${name}/${WEIGHTS}`);
  const known = before ? await readVersions(name, before.lastModified, report) : { current: 0, versions: [] };
  let { versions } = known;
  let version = nextVersion(versions);
  await tracked(
    (async () => {
      const apart = before ? await setApart(name, known, weights.byteLength) : known.current;
      if (apart === null) {
        versions = versions.filter((v) => v.n !== known.current);
        toast(t('There was no room to keep v{current} of {name}', { current: known.current, name }));
      } else if (before && apart !== known.current) versions = [...versions, { n: apart, at: before.lastModified }];
      version = Math.max(version, nextVersion(versions));
      versions = [...versions, { n: version, at: Date.now(), ...made }];
      await writeFile(`${FOLDER}/${name}/${WEIGHTS}`, weights);
      await writeFile(`${FOLDER}/${name}/${CONFIG}`, files[CONFIG]);
      await writeVersions(name, { current: version, versions });
    })(),
  );
  tellOthers(ADAPTERS_CHANGED);
  const written = await readFile(`${FOLDER}/${name}/${WEIGHTS}`);
  const entry = { ...summary(name, files[CONFIG], weights.byteLength, written?.lastModified ?? 0), version, versions };
  adapters.value = [...adapters.value.filter((a) => a.name !== name), entry].sort((a, b) => a.name.localeCompare(b.name));
}

async function hand(engine: Model, name: string): Promise<void> {
  try {
    await engine.loadAdapter(await exportFiles(name), name);
    set(name, { loaded: true, error: null });
  } catch (e) {
    // A model that is only just being put in place is no reason to give up the one in use.
    if (engine !== model.value || !gone(e)) set(name, { loaded: false, error: describe(e).detail });
  }
}

onLoaded(async (engine) => {
  for (const a of adapters.value) await hand(engine, a.name);
  const wanted = settings.value.activeAdapter;
  if (active.value !== null) await engine.setAdapter(active.value);
  else if (wanted !== null && adapters.value.some((a) => a.name === wanted))
    toast(t('{name} does not fit this model: the base model answers', { name: wanted }));
});

/** Switches to an adapter, or to the base model. */
export async function activate(name: string | null): Promise<void> {
  const engine = model.value;
  try {
    if (engine) await (name === null ? engine.disableAdapter() : engine.setAdapter(name));
    change({ activeAdapter: name });
    announce(name === null ? t('The base model answers now') : t('The adapter {name} answers now', { name }));
  } catch (e) {
    complain(e);
  }
}

/** Trained adapters that found no room on disk, by name. */
const unsaved = new Map<string, AdapterFiles>();

/**
 * Saves what the model has learnt under a name, and uses it. False where it found no room on disk: then it stays in the model
 * and in memory, the page says so and asks before it is closed, and `stored` is called when it is saved after all.
 */
export async function keepTrained(name: string, made: Made, stored: () => Promise<void>): Promise<boolean> {
  const engine = model.value;
  if (!engine)
    throw new PageError('disposed', t('The model is gone, and what {name} has learnt since its last checkpoint with it.', { name }));
  const files = await engine.saveAdapter(name);
  let kept = true;
  try {
    await store(name, files, made);
    unsaved.delete(name);
    release(`adapter ${name}`);
  } catch (e) {
    kept = false;
    const info = summary(name, files[CONFIG], files[WEIGHTS].byteLength, 0);
    adapters.value = [...adapters.value.filter((a) => a.name !== name), info];
    unsaved.set(name, files);
    hold(`adapter ${name}`, async () => {
      await store(name, files, made);
      unsaved.delete(name);
      set(name, { loaded: model.value !== null });
      await stored();
    });
    reportUnsaved(e);
  }
  set(name, { loaded: true });
  await activate(name);
  await refreshMemory();
  return kept;
}

/** The files of an adapter for a download, from disk or, where there was no room, from memory. */
export const exportFiles = (name: string): Promise<AdapterFiles> =>
  unsaved.has(name) ? Promise.resolve(unsaved.get(name)!) : filesOf(name);

/** Undoes a training run that was given up: the adapter is as it was before, or gone. */
export async function restoreBefore(name: string): Promise<void> {
  const engine = model.value;
  if (!engine) return;
  const known = (await engine.adapters()).some((a) => a.name === name);
  if (known) await engine.removeAdapter(name);
  if (adapters.value.some((a) => a.name === name)) await hand(engine, name);
  const now = active.value;
  await (now === null ? engine.disableAdapter() : engine.setAdapter(now));
}

/** Goes back to an earlier version, or forward again: nothing is lost by it. */
export async function useVersion(name: string, n: number): Promise<void> {
  const was = adapters.value.find((a) => a.name === name);
  if (!was || was.version === n) return;
  if (activity.value !== 'idle') throw new PageError('busy', t('The model is at work: versions can be changed when that has ended.'));
  const next = was.versions.find((v) => v.n === n);
  if (!next) throw new PageError('bad-adapter', t('{name} has no version {n}.', { name, n }));
  let { versions } = was;
  await tracked(
    (async () => {
      const apart = await setApart(name, { current: was.version, versions }, 0);
      if (apart === null)
        throw new PageError('quota-exceeded', t('No room to keep v{version} of {name} beside v{n}.', { version: was.version, name, n }));
      if (apart !== was.version) versions = [...versions, { n: apart, at: Date.now() }];
      await putBack(name, n);
      await writeVersions(name, { current: n, versions });
    })(),
  );
  const files = await filesOf(name);
  const written = await readFile(`${FOLDER}/${name}/${WEIGHTS}`);
  const entry = summary(name, files[CONFIG], files[WEIGHTS].byteLength, written?.lastModified ?? 0);
  set(name, { ...entry, version: n, versions });
  tellOthers(ADAPTERS_CHANGED);
  await restoreBefore(name);
  await refreshMemory();
  announce(t('{name} is what it was as version {n}', { name, n }));
}

export async function removeVersion(name: string, n: number): Promise<void> {
  const was = adapters.value.find((a) => a.name === name);
  if (!was || was.version === n) return;
  const versions = was.versions.filter((v) => v.n !== n);
  // The folder first: one that the list does not know would come back.
  await dropVersion(name, n);
  await writeVersions(name, { current: was.version, versions });
  set(name, { versions });
  tellOthers(ADAPTERS_CHANGED);
}

/** Takes in a PEFT folder. The model checks it first: what it refuses is not kept. */
export async function addAdapter(name: string, files: AdapterFiles): Promise<void> {
  checkName(name);
  try {
    JSON.parse(files[CONFIG]);
  } catch (e) {
    throw new PageError('bad-adapter', t('{CONFIG} is not JSON: {message}', { CONFIG, message: (e as Error).message }), { cause: e });
  }
  const engine = model.value;
  if (engine) await engine.loadAdapter(files, name);
  await store(name, files);
  set(name, { loaded: engine !== null });
  await refreshMemory();
}

export async function removeAdapter(name: string): Promise<void> {
  const was = adapters.value.find((a) => a.name === name);
  if (!was) return;
  if (settings.value.activeAdapter === name) await activate(null);
  if (was.loaded) await model.value?.removeAdapter(name);
  unsaved.delete(name);
  release(`adapter ${name}`);
  adapters.value = adapters.value.filter((a) => a.name !== name);
  await removeEntry(`${FOLDER}/${name}`);
  tellOthers(ADAPTERS_CHANGED);
  await refreshMemory();
}

export async function renameAdapter(from: string, to: string): Promise<void> {
  checkName(to);
  if (from === to) return;
  if (adapters.value.some((a) => a.name === to))
    throw new PageError('bad-config', t('There is already an adapter called {name}.', { name: to }));
  if (activity.value === 'learning') throw new PageError('busy', t('An adapter cannot be renamed while the model is learning.'));
  const files = await exportFiles(from);
  const wasActive = settings.value.activeAdapter === from;
  const was = adapters.value.find((a) => a.name === from)!;
  await addAdapter(to, files);
  await moveVersions(from, to, { current: was.version, versions: was.versions });
  set(to, { version: was.version, versions: was.versions });
  if (wasActive) await activate(to);
  await removeAdapter(from);
}

/** What the model holds is written again; what it does not is gone. */
onStorageCleared(() => {
  const engine = model.value;
  const before = adapters.value;
  void (async () => {
    for (const { name, loaded, version, versions } of before) {
      if (!loaded || !engine) adapters.value = adapters.value.filter((a) => a.name !== name);
      else if (!unsaved.has(name)) {
        const { n: _, at: __, ...made } = versions.find((v) => v.n === version) ?? { n: 1, at: 0 };
        await store(name, await engine.saveAdapter(name), made);
        set(name, { loaded: true });
      }
    }
  })().catch((e: unknown) => complain(e));
});
