// Downloaded models in the origin's private file system: one data file and one small JSON beside it, keyed by the
// SHA-256 of the address. While a download is incomplete its JSON says so, and what is there can be continued.
import type { CachedModel } from './types.ts';

const FOLDER = ['fledgling', 'models'] as const;

export interface CacheMeta {
  address: string;
  /** Bytes of the whole file; 0 where the server did not say. */
  total: number;
  complete: boolean;
  /** ETag or Last-Modified: what a range request must still match. */
  validator: string;
  /** Of the whole file once it is complete. */
  sha256: string;
}

/** What the JSON beside a file says; undefined where it is not what was written. */
function metaOf(text: string): CacheMeta | undefined {
  const m = JSON.parse(text) as Partial<Record<keyof CacheMeta, unknown>> | null;
  const texts = [m?.address, m?.validator, m?.sha256];
  const fits =
    texts.every((t) => typeof t === 'string') && typeof m?.complete === 'boolean' && Number.isInteger(m.total) && (m.total as number) >= 0;
  return fits ? (m as CacheMeta) : undefined;
}

async function folder(create: boolean): Promise<FileSystemDirectoryHandle> {
  let dir = await navigator.storage.getDirectory();
  for (const name of FOLDER) dir = await dir.getDirectoryHandle(name, { create });
  return dir;
}

async function keyOf(address: string): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(address));
  return Array.from(new Uint8Array(digest), (b) => b.toString(16).padStart(2, '0')).join('');
}

/** Appends to a file, in place where the browser can (a Worker), else through its swap file. */
interface Writer {
  write(chunk: Uint8Array, at: number): void | Promise<void>;
  flush(): void;
  close(): void | Promise<void>;
}

interface SyncHandle {
  write(b: Uint8Array, o: { at: number }): number;
  truncate(n: number): void;
  flush(): void;
  close(): void;
}

async function openWriter(handle: FileSystemFileHandle, size: number): Promise<Writer> {
  const sync = (handle as unknown as { createSyncAccessHandle?: () => Promise<SyncHandle> }).createSyncAccessHandle;
  if (sync && typeof WorkerGlobalScope !== 'undefined' && globalThis instanceof WorkerGlobalScope) {
    const access = await sync.call(handle);
    access.truncate(size);
    return {
      write(chunk, at) {
        const n = access.write(chunk, { at });
        if (n !== chunk.byteLength) throw new DOMException(`only ${n} of ${chunk.byteLength} bytes could be written`, 'QuotaExceededError');
      },
      flush: () => access.flush(),
      close: () => access.close(),
    };
  }
  const stream = await handle.createWritable({ keepExistingData: true });
  await stream.truncate(size);
  return {
    write: (chunk, at) => stream.write({ type: 'write', position: at, data: chunk as Uint8Array<ArrayBuffer> }),
    flush: () => {},
    close: () => stream.close(),
  };
}

declare const WorkerGlobalScope: { new (): object } | undefined;

/** One address in the cache. */
export class CacheEntry {
  readonly address: string;
  meta: CacheMeta | undefined;
  #dir: FileSystemDirectoryHandle;
  #key: string;
  #writer: Writer | undefined;

  private constructor(dir: FileSystemDirectoryHandle, key: string, address: string) {
    this.#dir = dir;
    this.#key = key;
    this.address = address;
  }

  /** Opens the entry of an address; throws where the browser has no such storage. */
  static async open(address: string): Promise<CacheEntry> {
    const entry = new CacheEntry(await folder(true), await keyOf(address), address);
    try {
      const file = await (await entry.#dir.getFileHandle(`${entry.#key}.json`)).getFile();
      entry.meta = metaOf(await file.text());
    } catch {
      entry.meta = undefined; // nothing there yet, or not readable: a fresh download
    }
    return entry;
  }

  /** What is stored so far. */
  async data(): Promise<Blob> {
    try {
      return await (await this.#dir.getFileHandle(`${this.#key}.bin`)).getFile();
    } catch {
      return new Blob([]);
    }
  }

  async saveMeta(meta: CacheMeta): Promise<void> {
    this.meta = meta;
    const text = new TextEncoder().encode(JSON.stringify(meta));
    const handle = await this.#dir.getFileHandle(`${this.#key}.json`, { create: true });
    const w = await openWriter(handle, 0);
    try {
      await w.write(text, 0);
      w.flush();
    } finally {
      await w.close();
    }
  }

  /** Begins writing after the first `size` bytes. Throws when another tab is writing this very file. */
  async startWriting(size: number): Promise<void> {
    const handle = await this.#dir.getFileHandle(`${this.#key}.bin`, { create: true });
    this.#writer = await openWriter(handle, size);
  }

  get writing(): boolean {
    return this.#writer !== undefined;
  }

  async write(chunk: Uint8Array, at: number): Promise<void> {
    await this.#writer?.write(chunk, at);
  }

  /** Ends writing; what was written stays. */
  async stopWriting(): Promise<void> {
    const w = this.#writer;
    this.#writer = undefined;
    if (!w) return;
    try {
      w.flush();
    } finally {
      await w.close();
    }
  }

  async remove(): Promise<void> {
    await this.stopWriting().catch(() => {});
    this.meta = undefined;
    for (const ext of ['bin', 'json']) await this.#dir.removeEntry(`${this.#key}.${ext}`).catch(() => {});
  }
}

/** The models in this origin's storage. */
export async function cachedModels(): Promise<CachedModel[]> {
  const found: CachedModel[] = [];
  let dir: FileSystemDirectoryHandle;
  try {
    dir = await folder(false);
  } catch {
    return found;
  }
  for await (const [name, handle] of dir.entries()) {
    if (!name.endsWith('.json') || handle.kind !== 'file') continue;
    try {
      const meta = metaOf(await (await (handle as FileSystemFileHandle).getFile()).text());
      if (!meta) continue;
      const data = await (await dir.getFileHandle(name.replace(/json$/, 'bin'))).getFile();
      found.push({ address: meta.address, bytes: data.size, sha256: meta.sha256, complete: meta.complete });
    } catch {
      // half-deleted: not a model
    }
  }
  return found;
}

/** Deletes a downloaded model from this origin's storage. */
export async function deleteCachedModel(address: string | URL): Promise<void> {
  const base = typeof document === 'undefined' ? undefined : document.baseURI;
  await (await CacheEntry.open(new URL(address, base).href)).remove();
}

/** A small text kept beside the models (the measured kernel choices of an adapter). Never throws: it is only a shortcut. */
export async function readNote(name: string): Promise<string | undefined> {
  try {
    const dir = await folder(false);
    return await (await (await dir.getFileHandle(name)).getFile()).text();
  } catch {
    return undefined;
  }
}

export async function writeNote(name: string, text: string): Promise<void> {
  try {
    const dir = await folder(true);
    const w = await openWriter(await dir.getFileHandle(name, { create: true }), 0);
    await w.write(new TextEncoder().encode(text), 0);
    w.flush();
    await w.close();
  } catch {
    // without it the next load measures again
  }
}
