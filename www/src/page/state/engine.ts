// The model in use: what the browser can do, what the server offers, loading, and what is going on.
import { computed, signal } from '@preact/signals';
import { capabilities, Model, type ModelInfo, type Progress } from '../api.ts';
import { codeOf, describe, isAbort, PageError, type Described } from '../model/errors.ts';
import { covers, cleanHosts, neededFor } from '../model/hosts.ts';
import { modelName } from '../model/modelFiles.ts';
import { isKept, keepModel, keptFiles, keptModels, removeKept, type KeptModel } from '../storage/models.ts';
import { announce, clearError, report, toast } from './notices.ts';
import { onStorageCleared } from './saver.ts';
import { change, settings } from './settings.ts';
import { between, t, type Plain } from '../i18n/language.ts';

export type Capabilities = Awaited<ReturnType<typeof capabilities>>;

/** A model file that the server of this page offers. */
export interface Offer {
  name: string;
  url: string;
  bytes: number;
}

export interface Loading {
  name: string;
  status: Progress['status'];
  loaded: number;
  total: number;
  fromCache: boolean;
  /** Bytes per second over the last seconds. */
  rate: number;
  /** Why nothing comes at the moment. */
  note?: string | undefined;
}

/** An address, a model kept in this browser (kept:…), or the files of a model. */
export type Source = string | readonly File[];

export const capable = signal<Capabilities | null>(null);
export const offers = signal<Offer[]>([]);
/** Models from the person's own files. */
export const kept = signal<KeptModel[]>([]);
export const model = signal<Model | null>(null);
export const loading = signal<Loading | null>(null);
export const loadError = signal<Described | null>(null);
/** What could not be loaded, so that it can be tried again from wherever the person is. */
export const unloaded = signal<InUse | null>(null);
export const memory = signal<{ gpuBytes: number; wasmBytes: number } | null>(null);
/** A copy of the person's file that is being made, 0 to 1. */
export const keeping = signal<{ name: string; share: number } | null>(null);
/** What the model is doing; the page offers only what fits. */
export const activity = signal<'idle' | 'answering' | 'learning' | 'paused'>('idle');
export const info = computed<ModelInfo | null>(() => model.value?.info ?? null);
export const canAsk = computed(
  () => model.value !== null && loading.value === null && (activity.value === 'idle' || activity.value === 'paused'),
);
/** Whether the model may be changed for another. */
export const canLoad = computed(() => loading.value === null && activity.value === 'idle');

export interface InUse {
  source: Source;
  name: string;
}
/** Where the present model came from, so that it can be loaded again. */
let inUse: InUse | null = null;
let controller: AbortController | null = null;
const afterLoad: ((m: Model) => Promise<void>)[] = [];
/** Work that follows every load, such as handing the saved adapters over. */
export const onLoaded = (fn: (m: Model) => Promise<void>): void => void afterLoad.push(fn);

export async function probe(): Promise<void> {
  try {
    capable.value = await capabilities();
  } catch (e) {
    capable.value = { webgpu: false, reason: describe(e).detail };
  }
}

/** The server lists its model files at /models/ as [{file, bytes}]. */
export async function fetchOffers(): Promise<void> {
  const at = new URL('models/', document.baseURI);
  try {
    const response = await fetch(at);
    if (!response.ok || !response.headers.get('Content-Type')?.includes('json')) return;
    const list = (await response.json()) as { file: string; bytes: number }[];
    offers.value = list
      .filter((m) => typeof m.file === 'string')
      .map((m) => ({ name: modelName(m.file), url: new URL(encodeURIComponent(m.file), at).href, bytes: m.bytes }));
  } catch {
    // A static host may offer nothing; an address or a local file still works.
    offers.value = [];
  }
}

export async function refreshKept(): Promise<void> {
  kept.value = await keptModels().catch((e: unknown) => (report(e), []));
}

/** Hosts that the policy of this very document allows (a changed setting counts only after a reload). */
export function hostsInForce(): string[] {
  const meta = document.querySelector<HTMLMetaElement>('meta[http-equiv="Content-Security-Policy"]')?.content ?? '';
  const connect = meta.split(';').find((d) => d.trim().startsWith('connect-src')) ?? '';
  return cleanHosts(connect.trim().split(/\s+/).slice(1));
}

export async function refreshMemory(): Promise<void> {
  if (model.value) memory.value = await model.value.memory().catch(() => null);
}

const DOING = { answering: 'is answering', learning: 'is learning', paused: 'is learning (the run is paused)' } as const satisfies Record<
  string,
  Plain
>;
const free = (wish: Plain): void => {
  if (activity.value !== 'idle')
    throw new PageError('busy', t('The model {doing}: {wish} when that has ended.', { doing: t(DOING[activity.value]), wish: t(wish) }));
};

const beforeUnload: (() => Promise<void>)[] = [];
/** What is to be saved of the work under way before the model is taken away. */
export const onUnload = (fn: () => Promise<void>): void => void beforeUnload.push(fn);

/** Milliseconds that something may take to answer before its Worker is ended. */
export const PATIENCE = 2000;
const patiently = (work: Promise<unknown>): Promise<unknown> =>
  Promise.race([work.catch(() => {}), new Promise((done) => setTimeout(done, PATIENCE))]);

/** Closes the present model, whatever it is doing: an answer ends where it is, a run can go on from its checkpoint. */
export async function unload(): Promise<void> {
  if (activity.value !== 'idle') await patiently(Promise.all(beforeUnload.map((fn) => fn())));
  inUse = null;
  died = true;
  await letGo(activity.value === 'idle' ? undefined : 0);
}

/** Ends the Worker of a model that does not answer, and brings the model back. */
export function endHung(doing: 'answering' | 'learning'): void {
  gone(new PageError('not-answering', t('The model did not stop {doing} within {n} seconds.', { doing: t(doing), n: PATIENCE / 1000 })));
}

async function letGo(wait?: number): Promise<void> {
  const old = model.value;
  model.value = null;
  memory.value = null;
  await old?.dispose(wait).catch(() => {});
}

export const cancelLoad = (): void => controller?.abort();

interface Opened {
  /** What Model.load takes. */
  source: string | File | File[];
  bytes: number;
  sha256: string | null;
}

async function open(given: Source): Promise<Opened> {
  const ofFiles = (files: readonly File[], sha256: string | null): Opened => ({
    source: files.length === 1 ? files[0]! : [...files],
    bytes: files.reduce((n, f) => n + f.size, 0),
    sha256,
  });
  if (typeof given !== 'string') return ofFiles(given, null);
  if (isKept(given)) {
    const { about, files } = await keptFiles(given);
    return ofFiles(files, about.sha256);
  }
  let url: URL;
  try {
    url = new URL(given, document.baseURI);
  } catch {
    throw new PageError('bad-config', t('“{given}” is not an address. Expected https://… or a path on this server.', { given }));
  }
  if (url.origin !== location.origin && !covers(hostsInForce(), url))
    throw new PageError('host-not-allowed', t('{origin} is not among the hosts this page may fetch from.', { origin: url.origin }));
  return { source: url.href, bytes: 0, sha256: null };
}

/** When the policy of this document last refused a connection. */
let refused = -Infinity;
document.addEventListener('securitypolicyviolation', (e) => {
  if (e.effectiveDirective === 'connect-src') refused = performance.now();
});

/**
 * What is refused by the policy at an address that it allows is the host that the address hands on to. Which one, browsers keep to themselves;
 * of hosts that are known to do so the page knows it.
 */
async function handedOn(error: unknown, source: Opened['source'], since: number): Promise<unknown> {
  if (typeof source !== 'string' || !['content-security-policy', 'network'].includes(codeOf(error))) return error;
  const url = new URL(source);
  if (url.origin === location.origin) return error;
  // The event may come a moment after the failure.
  if (codeOf(error) === 'network' && refused < since) await new Promise((done) => setTimeout(done, 60));
  if (codeOf(error) === 'network' && refused < since) return error;
  const more = neededFor(url.origin).filter((h) => !hostsInForce().includes(h));
  return new PageError(
    'redirect-not-allowed',
    more.length > 0
      ? t('{host} hands this download on to {hosts}, which the page may not fetch from.', { host: url.host, hosts: more.join(', ') })
      : t('{host} hands this download on to another host, which the page may not fetch from.', { host: url.host }) +
          between() +
          t('The browser does not say to which: the address at which the file ends up in a tab of its own names it.'),
    { cause: error },
  );
}

/** Loads without touching the model in use; shows how far it is. */
async function fetchModel({ source, name }: InUse, stop?: AbortSignal): Promise<Model> {
  const opened = await open(source);
  let mine: Model | null = null;
  let since = performance.now();
  let before = 0;
  let rate = 0;
  loading.value = { name, status: 'initiate', loaded: 0, total: opened.bytes, fromCache: false, rate: 0 };
  const begun = performance.now();
  const loaded = await Model.load(opened.source, {
    name,
    // Here the page brings everything back, and shows it: also after what is no loss of the device.
    recover: false,
    onDeviceLost: ({ error }) => void (mine && mine === model.value && gone(error)),
    device: settings.value.device,
    candidates: settings.value.n,
    ...(stop ? { signal: stop } : {}),
    onWarning: (w) => report(w),
    onProgress(p) {
      if (p.note && p.note !== loading.value?.note) announce(p.note);
      const now = performance.now();
      if (now - since > 500) {
        rate = Math.max(0, ((p.loaded - before) / (now - since)) * 1000);
        since = now;
        before = p.loaded;
      }
      if (loading.value)
        loading.value = {
          name,
          status: p.status,
          loaded: p.loaded,
          total: p.total || loading.value.total,
          fromCache: p.fromCache ?? false,
          rate,
          note: p.note,
        };
    },
  }).catch(async (e: unknown) => {
    throw await handedOn(e, opened.source, begun);
  });
  mine = loaded;
  if (opened.sha256 && loaded.info.sha256 && loaded.info.sha256 !== opened.sha256) {
    await loaded.dispose().catch(() => {});
    await removeKept(source as string).catch(() => {});
    void refreshKept();
    throw new PageError(
      'hash-mismatch',
      t('{name}: the copy kept in this browser has SHA-256 {sha256}, expected {expected}. It was deleted; choose your own file again.', {
        name,
        sha256: loaded.info.sha256,
        expected: opened.sha256,
      }),
    );
  }
  return loaded;
}

/** Puts a loaded model in the place of the present one. It answers only when the adapters have been handed over. */
async function use(loaded: Model, from: InUse): Promise<void> {
  const old = model.value;
  for (const fn of afterLoad) await fn(loaded).catch((e: unknown) => report(e));
  model.value = loaded;
  inUse = from;
  loading.value = null;
  loadError.value = null;
  unloaded.value = null;
  clearGone();
  await old?.dispose().catch(() => {});
  await refreshMemory();
}

/** Two models may be more than the adapter has room for: then the one in use must go first. */
const NO_ROOM = new Set(['out-of-memory', 'gpu', 'device-lost']);

/** Loads a model from an address or files; resolves to whether it is in use now. Otherwise the one before still is. */
export async function load(given: Source, name: string): Promise<boolean> {
  if (loading.value) return false;
  try {
    free('another can be loaded');
  } catch (e) {
    report(e);
    return false;
  }
  loadError.value = null;
  unloaded.value = null;
  controller = new AbortController();
  const { signal: stop } = controller;
  const source =
    typeof given === 'string' && !isKept(given) && URL.canParse(given, document.baseURI) ? new URL(given, document.baseURI).href : given;
  const wanted: InUse = { source, name };
  const before = model.value ? inUse : null;
  loading.value = { name, status: 'initiate', loaded: 0, total: 0, fromCache: false, rate: 0 };
  announce(t('Loading {name}', { name }));
  try {
    let loaded: Model;
    try {
      loaded = await fetchModel(wanted, stop);
    } catch (e) {
      if (!before || !NO_ROOM.has(codeOf(e))) throw e;
      await letGo();
      loaded = await fetchModel(wanted, stop);
    }
    await use(loaded, wanted);
    if (typeof source === 'string') change({ lastModel: { source, name } });
    else void keep(source, name, loaded.info.sha256);
    announce(t('{name} is ready', { name: loaded.info.name }));
    return true;
  } catch (e) {
    if (isAbort(e)) toast(t('Loading stopped'));
    else {
      const said = describe(e);
      // What was wrong, and with what.
      loadError.value = said.detail.includes(name) ? said : { ...said, detail: `${name}: ${said.detail}` };
      if (said.code === 'unexpected') console.error(e);
      unloaded.value = wanted;
    }
    // It had to make room, for nothing: back it comes.
    if (before && !model.value) {
      await fetchModel(before)
        .then((m) => use(m, before))
        .catch((again: unknown) => report(again));
    }
    return false;
  } finally {
    loading.value = null;
    controller = null;
  }
}

/** Keeps the person's own file in this browser, so that it is there after a reload; the model is in use meanwhile. */
async function keep(files: readonly File[], name: string, sha256: string): Promise<void> {
  // Until then a reload must not bring some other model in its place.
  change({ lastModel: null });
  if (!sha256) return;
  keeping.value = { name, share: 0 };
  try {
    const about = await keepModel(name, sha256, files, {
      onProgress: (done, total) => void (keeping.value = { name, share: total > 0 ? done / total : 1 }),
    });
    clearError('keep-model');
    await refreshKept();
    if (inUse?.source === files) {
      inUse = { source: about.source, name };
      change({ lastModel: { source: about.source, name } });
    }
  } catch (e) {
    const { code, detail } = describe(e);
    report(
      new PageError(code, t('{name} is in use, but cannot be kept: {detail} After a reload it has to be chosen again.', { name, detail }), {
        cause: e,
      }),
      [{ label: t('Try again'), run: () => void keep(files, name, sha256) }],
      'keep-model',
    );
  } finally {
    keeping.value = null;
  }
}

/** Loads again what was in use when the engine died; throws where that fails. */
export async function reopen(was: InUse): Promise<void> {
  controller = new AbortController();
  try {
    await use(await fetchModel(was, controller.signal), was);
  } finally {
    loading.value = null;
    controller = null;
  }
}

// What was only on disk is gone with it: a copy of the person's own file.
onStorageCleared(() => {
  kept.value = [];
  if (inUse && typeof inUse.source === 'string' && isKept(inUse.source)) change({ lastModel: null });
});

// ---- when the engine is gone ----

/** Codes after which every handle of the model is dead: a lost device, a Worker that ended or had to be, a trap in the wasm. */
const GONE = new Set(['device-lost', 'worker-failed', 'internal', 'not-answering']);
let died = false;
let afterDeath: (error: unknown, was: InUse | null) => void = (e) => void report(e, [], 'gone');
/** Who brings the model back. */
export const whenGone = (fn: typeof afterDeath): void => void (afterDeath = fn);

function clearGone(): void {
  died = false;
  clearError('gone');
}

/**
 * The one way out when the engine has died: the model is let go, the page stays usable, and the model is brought back (state/recovery.ts).
 * Resolves everything that came of that death to true, so that nothing else needs to be said about it.
 */
export function gone(error: unknown, of?: Model): boolean {
  const code = codeOf(error);
  // What a model before the present one still says is no reason to give this one up.
  if (of && model.value && of !== model.value) return code === 'disposed' || GONE.has(code);
  if (!model.value) return died && (code === 'disposed' || GONE.has(code));
  if (!GONE.has(code)) return false;
  const was = inUse;
  died = true;
  void letGo(0);
  afterDeath(error, was);
  return true;
}

/** Reports an error of the engine, whatever it is. */
export function complain(error: unknown): void {
  if (!gone(error)) report(error);
}

export { modelName };
