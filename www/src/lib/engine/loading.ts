// Loading: the device first, then the files, then what the first answer needs.
import { breathe } from '../breathe.ts';
import { readNote, writeNote } from '../cache.ts';
import { aborted, toFledglingError, toWire, type FledglingError } from '../errors.ts';
import { feed, REFUSED, type Fed, type Sink } from '../loader.ts';
import { beginning, partsOf, type Part } from '../parts.ts';
import type { Device, KvCacheDtype, Mask, ModelInfo, StoredType } from '../types.ts';
import type { WasmLoader, WasmModel, WasmModule } from '../wasm.ts';
import { engineFor, judgedOf, noteName, type Judged } from './device.ts';
import { orAborted, type Room } from './room.ts';

export interface EngineLoad {
  cache: boolean | 'refresh';
  stallMs?: number | undefined;
  sha256?: string | undefined;
  name?: string | undefined;
  contextLength?: number | undefined;
  kvCacheDtype?: KvCacheDtype | undefined;
  mask?: Mask | undefined;
  quantize?: StoredType | undefined;
  candidates?: number | undefined;
  kernel?: string | undefined;
  device?: Device | undefined;
  threads?: number | undefined;
}

/**
 * Records and compiles what the first answer needs, so that its first token takes as long as any other. Whatever the device has against it,
 * the request itself will say.
 */
async function warmUp(model: WasmModel, candidates: number | undefined, signal: AbortSignal): Promise<void> {
  try {
    const warming = model.warming(candidates);
    try {
      while (!signal.aborted && (await warming.step())) await breathe();
    } finally {
      warming.free();
    }
  } catch (e) {
    if (['device-lost', 'bad-config'].includes(toFledglingError(e).code)) throw e;
  }
  if (signal.aborted) throw aborted('loading');
}

/** A model on its device, and the instance of the engine that holds it. */
export interface Housed {
  module: WasmModule;
  memory: WebAssembly.Memory;
  model: WasmModel;
  info: ModelInfo;
}

/** Loads a model; from the beginning once more where a file changed while it was being downloaded. */
export async function loadModel(...a: Parameters<typeof loadOnce>): Promise<ModelInfo> {
  const [, , signal] = a;
  try {
    return await loadOnce(...a);
  } catch (e) {
    if (signal.aborted || toFledglingError(e).code !== 'file-changed') throw e;
    return loadOnce(...a);
  }
}

/** What it takes and does not hand over is given back. */
async function loadOnce(
  room: Room,
  job: number,
  signal: AbortSignal,
  source: string | Blob | readonly File[],
  o: EngineLoad,
  ready: (loaded: Housed) => void,
): Promise<ModelInfo> {
  const { module, memory, threads, adapter, missing, device: wanted } = await orAborted(engineFor(o.device, o.threads), signal, 'loading');
  if (missing) room.emit(job, { type: 'warning', error: toWire(missing) });
  const release = await room.jobs.acquire('loading', { signal });
  let rest: Promise<void> | undefined;
  // Kernels are being measured, which takes seconds and cannot be interrupted: an abort is answered at once, the device is
  // free when that has ended.
  const making = <T extends { free(): void }>(made: Promise<T>): Promise<T> =>
    orAborted(made, signal, 'loading').catch((e: unknown) => {
      rest = made.then(
        (late) => late.free(),
        () => {},
      );
      throw e;
    });
  // The device is opened first: without one, nothing should be downloaded.
  try {
    const key = wanted === 'cpu' ? undefined : await orAborted(module.tuning_key(), signal, 'loading');
    const note = (what: string) => noteName(what, key, adapter);
    const remembered = key !== undefined && !o.kernel;
    // With a forced variant the others are those that were measured; what is measured beside it is not kept.
    const tuning = key === undefined ? undefined : await readNote(note('tuning'));
    const auto = wanted === 'auto';
    const judged = remembered && auto ? judgedOf(await readNote(note(`device-${threads}`))) : undefined;
    const loader = await making(
      module.ModelLoader.open({
        name: o.name,
        context_length: o.contextLength,
        kv_cache_dtype: o.kvCacheDtype,
        mask: o.mask,
        quantize: o.quantize,
        kernels: o.kernel,
        tuning,
        device: judged?.device ?? wanted,
      }),
    );
    const fed: Fed[] = [];
    try {
      const file = await readFiles(room, job, signal, { source, o, loader, module, fed });
      if (signal.aborted) throw aborted('loading');
      const model = await making(loader.finish());
      try {
        await warmUp(model, o.candidates, signal);
      } catch (e) {
        model.free();
        throw e;
      }
      const known = model.info();
      const on = known.adapter;
      const info: ModelInfo = {
        ...known,
        adapter: {
          ...on,
          ...(judged ? { reason: judged.reason } : {}),
          ...(adapter && on.device !== 'cpu' ? { name: adapter.name, vendor: adapter.vendor, backend: adapter.backend } : {}),
        },
        fileBytes: fed.reduce((n, f) => n + f.bytes, 0),
        sha256: fed.at(-1)?.sha256 ?? '',
        wasmBytes: memory.buffer.byteLength,
      };
      ready({ module, memory, model, info });
      if (remembered) {
        const measured = model.tuning();
        if (measured) await writeNote(note('tuning'), measured);
        // A real GPU is used without asking; between a software adapter and the processor, measuring decided.
        const { device: used, reason = '' } = on;
        if (auto && used && !judged && (used === 'cpu' || on.isSoftware))
          await writeNote(note(`device-${threads}`), JSON.stringify({ device: used, reason } satisfies Judged));
      }
      await room.emit(job, { type: 'progress', progress: { status: 'ready', file, loaded: info.fileBytes, total: info.fileBytes } });
      return info;
    } catch (e) {
      if (REFUSED.has(toFledglingError(e).code)) for (const f of fed) await f.entry?.remove();
      throw e;
    } finally {
      loader.free();
    }
  } finally {
    if (rest) void rest.then(release);
    else release();
  }
}

interface Reading {
  source: string | Blob | readonly File[];
  o: EngineLoad;
  loader: WasmLoader;
  module: WasmModule;
  /** What has been read so far: whatever the engine refuses later is thrown away with it. */
  fed: Fed[];
}

/** Brings all files of a source to the engine; the name of the last one. */
async function readFiles(room: Room, job: number, signal: AbortSignal, { source, o, loader, module, fed }: Reading): Promise<string> {
  const common = {
    signal,
    cache: o.cache,
    stallMs: o.stallMs,
    hasher: () => new module.Sha256(),
    warn: (e: FledglingError) => room.emit(job, { type: 'warning', error: toWire(e) }),
  };
  let offline = false;
  const read = async (part: Part): Promise<string | undefined> => {
    const pieces: Uint8Array<ArrayBuffer>[] = [];
    const sink: Sink = { begin: () => {}, push: async (chunk) => void pieces.push(chunk.slice()) };
    const done = await feed(part, { ...common, expected: undefined, offline, sink, progress: () => {} });
    offline ||= done?.unverified ?? false;
    return done && new Blob(pieces).text();
  };
  let file = '';
  const peek = (part: Part) => beginning(part, signal, o.cache, (chunk) => loader.header(part.name, chunk));
  for await (const part of partsOf(source, read, peek)) {
    const done = await feed(part, {
      ...common,
      offline,
      // One hash names one file.
      expected: part.last ? o.sha256 : undefined,
      sink: { begin: (total) => loader.begin(part.name, total), push: async (chunk) => loader.push(chunk) },
      progress: (progress) => room.emit(job, { type: 'progress', progress }),
    });
    if (!done) continue;
    offline ||= done.unverified;
    fed.push(done);
    file = part.name;
    loader.end();
  }
  return file;
}
