// The model in use: what the browser can do, what the server offers, loading, and what is going on.
import { computed, signal } from '@preact/signals';
import { capabilities, Model, type ModelInfo, type Progress } from '../api.ts';
import { describe, isAbort, PageError, type Described } from '../model/errors.ts';
import { covers, cleanHosts } from '../model/hosts.ts';
import { announce, report, toast } from './notices.ts';
import { change, settings } from './settings.ts';

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
}

export const capable = signal<Capabilities | null>(null);
export const offers = signal<Offer[]>([]);
export const model = signal<Model | null>(null);
export const loading = signal<Loading | null>(null);
export const loadError = signal<Described | null>(null);
export const memory = signal<{ gpuBytes: number; wasmBytes: number } | null>(null);
/** What the model is doing; the page offers only what fits. */
export const activity = signal<'idle' | 'answering' | 'learning' | 'paused'>('idle');
export const info = computed<ModelInfo | null>(() => model.value?.info ?? null);
export const canAsk = computed(() => model.value !== null && (activity.value === 'idle' || activity.value === 'paused'));

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

/** "SmolLM2-135M-Instruct.Q4_1" from a path or an address. */
export const modelName = (path: string): string => decodeURIComponent(path.split(/[?#]/)[0]!.split('/').pop() || path).replace(/\.(gguf|safetensors)$/i, '');

/** The server lists its model files at /models/ as [{file, bytes}]. */
export async function fetchOffers(): Promise<void> {
  const at = new URL('models/', document.baseURI);
  try {
    const response = await fetch(at);
    if (!response.ok || !response.headers.get('Content-Type')?.includes('json')) return;
    const list = (await response.json()) as { file: string; bytes: number }[];
    offers.value = list.filter((m) => typeof m.file === 'string').map((m) => ({ name: modelName(m.file), url: new URL(encodeURIComponent(m.file), at).href, bytes: m.bytes }));
  } catch {
    // A static host may offer nothing; an address or a local file still works.
    offers.value = [];
  }
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

/** Closes the present model. */
export async function unload(): Promise<void> {
  const old = model.value;
  model.value = null;
  memory.value = null;
  await old?.dispose().catch(() => {});
}

export const cancelLoad = (): void => controller?.abort();

function checked(source: string | File): string | File {
  if (typeof source !== 'string') return source;
  let url: URL;
  try {
    url = new URL(source, document.baseURI);
  } catch {
    throw new PageError('bad-config', `“${source}” is not an address. Expected https://… or a path on this server.`);
  }
  if (url.origin !== location.origin && !covers(hostsInForce(), url)) throw new PageError('host-not-allowed', `${url.origin} is not among the hosts this page may fetch from.`);
  return url.href;
}

/** Loads a model from an address or a file; resolves to whether it is in use now. */
export async function load(given: string | File, name: string): Promise<boolean> {
  if (loading.value) return false;
  loadError.value = null;
  controller = new AbortController();
  const { signal: stop } = controller;
  let since = performance.now();
  let before = 0;
  let rate = 0;
  try {
    const source = checked(given);
    await unload();
    loading.value = { name, status: 'initiate', loaded: 0, total: typeof given === 'string' ? 0 : given.size, fromCache: false, rate: 0 };
    announce(`Loading ${name}`);
    const loaded = await Model.load(source, {
      name,
      signal: stop,
      onWarning: (w) => report(w),
      onProgress(p) {
        const now = performance.now();
        if (now - since > 500) {
          rate = ((p.loaded - before) / (now - since)) * 1000;
          since = now;
          before = p.loaded;
        }
        if (loading.value) loading.value = { name, status: p.status, loaded: p.loaded, total: p.total || loading.value.total, fromCache: p.fromCache ?? false, rate };
      },
    });
    model.value = loaded;
    loading.value = null;
    if (typeof source === 'string') change({ lastModel: { source, name } });
    for (const fn of afterLoad) await fn(loaded).catch((e: unknown) => report(e));
    await refreshMemory();
    announce(`${loaded.info.name} is ready`);
    return true;
  } catch (e) {
    loading.value = null;
    if (isAbort(e)) toast('Loading stopped');
    else {
      loadError.value = describe(e);
      if (loadError.value.code === 'unexpected') console.error(e);
    }
    return false;
  } finally {
    controller = null;
  }
}

/** After the device is lost every handle of the old model is dead; the page stays usable and offers to load it again. */
export function noteIfLost(error: unknown): void {
  if (describe(error).code !== 'device-lost') return;
  void unload();
  const last = settings.value.lastModel;
  activity.value = 'idle';
  if (last) report(error, [{ label: 'Load again', run: () => void load(last.source, last.name) }]);
}
