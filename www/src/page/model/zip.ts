// PEFT folders as one .zip, in slices: checksums over tens of megabytes would otherwise hold up the main thread.
// (fflate's own asynchronous functions start workers from blob: addresses, which the page's policy forbids.)
import { Unzip, UnzipInflate, UnzipPassThrough, Zip, ZipPassThrough } from 'fflate';
import { breathe } from './breathe.ts';
import { PageError } from './errors.ts';

const SLICE = 1 << 19;

/** Stored, not compressed: weights do not get smaller. */
export async function zipFolder(folder: string, files: Record<string, Uint8Array>): Promise<Uint8Array<ArrayBuffer>[]> {
  const out: Uint8Array<ArrayBuffer>[] = [];
  let failure: Error | null = null;
  const zip = new Zip((error, chunk) => {
    failure ??= error;
    if (chunk) out.push(chunk as Uint8Array<ArrayBuffer>);
  });
  const rest = breathe();
  for (const [name, bytes] of Object.entries(files)) {
    const entry = new ZipPassThrough(`${folder}/${name}`);
    zip.add(entry);
    for (let at = 0; at < bytes.length || at === 0; at += SLICE) {
      // A copy: what is pushed belongs to the archive.
      entry.push(bytes.slice(at, at + SLICE), at + SLICE >= bytes.length);
      await rest();
    }
  }
  zip.end();
  if (failure) throw failure as Error;
  return out;
}

/** The entries whose file name is one of `names`, wherever in the archive they lie; more than `largest` bytes are refused. */
export async function unzipNamed(file: File, names: string[], largest: number): Promise<Map<string, Uint8Array<ArrayBuffer>>> {
  const parts = new Map<string, Uint8Array[]>();
  const sizes = new Map<string, number>();
  let failure: PageError | null = null;
  const refuse = (why: string, cause?: unknown): void => void (failure ??= new PageError('bad-adapter', `${file.name}: ${why}`, { cause }));
  const unzip = new Unzip((entry) => {
    const name = names.find((n) => entry.name === n || entry.name.endsWith(`/${n}`));
    if (!name || parts.has(name)) return;
    const list: Uint8Array[] = [];
    parts.set(name, list);
    entry.ondata = (error, chunk) => {
      if (error) return refuse(`${entry.name} cannot be unpacked: ${error.message}`, error);
      // The size in the header is only a claim; what is counted is what was unpacked.
      const size = (sizes.get(name) ?? 0) + chunk.length;
      sizes.set(name, size);
      if (size > largest) {
        entry.terminate();
        return refuse(`${entry.name} unpacks to more than ${largest} bytes`);
      }
      list.push(chunk);
    };
    try {
      entry.start();
    } catch (e) {
      refuse(`${entry.name} is packed in a way that cannot be read (${(e as Error).message})`, e);
    }
  });
  unzip.register(UnzipInflate);
  unzip.register(UnzipPassThrough);
  const rest = breathe();
  for (let at = 0; at < file.size && !failure; at += SLICE) {
    const slice = new Uint8Array(await file.slice(at, at + SLICE).arrayBuffer());
    try {
      unzip.push(slice, at + SLICE >= file.size);
    } catch (e) {
      refuse(`not a zip file that can be read (${(e as Error).message})`, e);
    }
    await rest();
  }
  if (failure) throw failure as PageError;
  const found = new Map<string, Uint8Array<ArrayBuffer>>();
  for (const [name, list] of parts) found.set(name, new Uint8Array(await new Blob(list as Uint8Array<ArrayBuffer>[]).arrayBuffer()));
  return found;
}
