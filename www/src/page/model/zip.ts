// PEFT folders as one .zip. Written in slices: checksums over tens of megabytes would otherwise hold up the main thread.
// (fflate's own asynchronous functions start workers from blob: addresses, which the page's policy forbids.)
import { Zip, ZipPassThrough } from 'fflate';
import { breathe } from './breathe.ts';
import { PageError } from './errors.ts';
import type { Unpacked, Wish } from './unzip.ts';
import { t } from '../i18n/language.ts';

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

/** Unpacks, in a Worker of its own, the files that are wanted, wherever in the archive they lie. */
export async function unzipNamed(file: File, wanted: Wish[]): Promise<Map<string, Uint8Array<ArrayBuffer>>> {
  const worker = new Worker(new URL('./unzip.worker.ts', import.meta.url), { type: 'module', name: 'unzip' });
  try {
    const answer = await new Promise<Unpacked>((done, fail) => {
      worker.onmessage = (e: MessageEvent<Unpacked>) => done(e.data);
      worker.onerror = (e) =>
        fail(
          new PageError(
            'bad-adapter',
            t('{name} could not be unpacked: {why}', { name: file.name, why: e.message || 'the Worker failed' }),
          ),
        );
      worker.postMessage({ file, wanted });
    });
    if ('refused' in answer) throw new PageError('bad-adapter', `${file.name}: ${answer.refused}`);
    return answer.files;
  } finally {
    worker.terminate();
  }
}
