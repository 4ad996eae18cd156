// What a caller hands over as files: looked at before anything crosses to the Worker, and made into what every browser can send.
import { FledglingError, why } from './errors.ts';
import { bad, bytesOf, isA, isList, shown } from './options/check.ts';
import { absolute } from './places.ts';

const EXPECTED = 'an address, a File or Blob, its bytes, or the files of a folder';

/** The files of a `FileList` or of an array; undefined where it is neither. */
export function filesOf(what: string, given: unknown): File[] | undefined {
  const list = isA<FileList>(given, 'FileList') ? Array.from(given) : isList(given) ? given : undefined;
  if (!list) return undefined;
  if (list.length === 0) throw bad(what, 'expected at least one file, found none');
  for (let i = 0; i < list.length; i++) {
    const f: unknown = list[i];
    if (!isA<File>(f, 'File')) throw bad(`${what}[${i}]`, `expected a File, found ${shown(f)}`);
  }
  return list.slice() as File[];
}

/** What a model is loaded from, as the engine takes it. */
export function sourceOf(given: unknown): string | Blob | File[] {
  if (typeof given === 'string' || isA<URL>(given, 'URL')) return addressOf(given);
  if (isA<Blob>(given, 'Blob')) return given;
  const bytes = bytesOf(given);
  if (bytes) return new Blob([bytes]);
  const files = filesOf('source', given);
  if (files) return files;
  throw bad('source', `expected ${EXPECTED}, found ${shown(given)}`);
}

function addressOf(given: string | URL): string {
  if (given === '') throw bad('source', `expected ${EXPECTED}, found an empty text`);
  const text = String(given);
  if (/^[\w-][\w.-]*\/[\w.-]+$/.test(text) && !/\.(gguf|safetensors|json)$/i.test(text)) {
    throw bad(
      'source',
      `${shown(text)} looks like the name of a repository on a hub, which is no address: give the address of its GGUF file ` +
        `(https://…/${text}/resolve/main/….gguf) or of its folder (https://…/${text}/resolve/main/); a folder beside this page is ./${text}/`,
    );
  }
  const address = absolute('source', given);
  if (!/^(https?|blob|data|file|chrome-extension|moz-extension|safari-web-extension|capacitor|app):/.test(address)) {
    throw bad('source', `${shown(text)}: expected an address that begins with https:, found ${shown(new URL(address).protocol)}`);
  }
  return address;
}

/** The bytes of something small that was handed over as a file; `most` bounds what a wrong one may take. */
export async function readSmall(what: string, given: Blob, most: number): Promise<Uint8Array<ArrayBuffer>> {
  if (given.size > most) throw new FledglingError('bad-file', `${what} has ${given.size} bytes, expected at most ${most}`);
  try {
    return new Uint8Array(await given.arrayBuffer());
  } catch (e) {
    throw new FledglingError('io', `${what} could not be read: ${why(e)}`, { cause: e });
  }
}
