// Adapters from wherever they are: two files, an address, the files of a folder, a zip.
import { FledglingError, why } from './errors.ts';
import { bad, brief, bytesOf, entries, isA, isPlain, nameOf, shown } from './options/check.ts';
import { plain } from './options/plain.ts';
import { PEFT_TYPES } from './options/tables.ts';
import { isPage, pageInstead } from './parts.ts';
import { absolute } from './places.ts';
import { violationOf } from './policy.ts';
import { filesOf, readSmall } from './sources.ts';
import type { AdapterFiles } from './types.ts';

const CONFIG = 'adapter_config.json';
const WEIGHTS = 'adapter_model.safetensors';
const MOST: Readonly<Record<string, number>> = { [CONFIG]: 1 << 20, [WEIGHTS]: 1 << 30 };
type Found = Map<string, unknown>;

/** The two files of a PEFT folder. */
export async function adapterFiles(given: unknown, signal?: AbortSignal): Promise<AdapterFiles> {
  const found = await gather(given, signal);
  for (const name of [CONFIG, WEIGHTS]) {
    if (found.get(name) !== undefined) continue;
    const has = [...found.keys()].slice(0, 5).join(', ');
    throw bad('adapter', `${name} is missing${has ? ` (found ${has})` : ''}`);
  }
  return { [CONFIG]: await configOf(found.get(CONFIG)), [WEIGHTS]: await weightsOf(found.get(WEIGHTS)) };
}

async function gather(given: unknown, signal: AbortSignal | undefined): Promise<Found> {
  if (typeof given === 'string' || isA<URL>(given, 'URL')) return fetched(absolute('adapter', given), signal);
  const blob = isA<Blob>(given, 'Blob') ? given : undefined;
  const bytes = bytesOf(given);
  if (blob || bytes) return unzipped(bytes ?? (await readSmall('adapter', blob!, MOST[WEIGHTS]! + MOST[CONFIG]!)));
  const files = filesOf('adapter', given);
  if (files) {
    if (files.length === 1 && /\.zip$/i.test(files[0]!.name)) return gather(new Blob(files), signal);
    return new Map(files.map((f) => [f.name, f]));
  }
  if (isPlain(given)) {
    const other = entries('adapter', given).find(([key]) => key !== CONFIG && key !== WEIGHTS && key !== 'README.md');
    if (other) throw bad(`adapter.${nameOf(other[0])}`, `is no file of an adapter: expected ${CONFIG} and ${WEIGHTS}`);
    return new Map(entries('adapter', given));
  }
  throw bad('adapter', `expected ${CONFIG} and ${WEIGHTS}, an address, Files or a zip, found ${shown(given)}`);
}

async function configOf(given: unknown): Promise<string> {
  if (typeof given === 'string') return json(given);
  if (isA<Blob>(given, 'Blob')) return decoded(await readSmall(CONFIG, given, MOST[CONFIG]!));
  const bytes = bytesOf(given);
  if (bytes) return decoded(bytes);
  // Whoever has parsed it need not write it again.
  if (isPlain(given)) return written(plain(CONFIG, given) as object);
  throw bad(CONFIG, `expected its text or what it says as an object, found ${shown(given)}`);
}

function decoded(bytes: Uint8Array<ArrayBuffer>): string {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new FledglingError('bad-file', `${CONFIG}: is not UTF-8 text`);
  }
  return json(text);
}

/** A configuration as the engine reads it: numbers in one form, no halves of characters, and the types that PEFT writes. */
function written(config: object): string {
  for (const [field, rule] of Object.entries(PEFT_TYPES)) {
    const value = (config as Record<string, unknown>)[field];
    if (value === undefined || value === null || rule.ok(value)) continue;
    throw new FledglingError('bad-file', `${CONFIG}: ${field}: expected ${rule.takes}, found ${shown(value)}`);
  }
  return JSON.stringify(config).replace(/\\ud[89a-f][0-9a-f]{2}/g, '\\ufffd');
}

/** Editors of Windows put a mark in front. */
function json(given: string): string {
  const text = given.replace(/^\ufeff/, '');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new FledglingError('bad-file', `${CONFIG}: expected JSON, found ${shown(text.trimStart())}`);
  }
  if (isPlain(value)) return written(value);
  throw new FledglingError('bad-file', `${CONFIG}: expected a JSON object, found ${shown(value)}`);
}

async function weightsOf(given: unknown): Promise<Uint8Array<ArrayBuffer>> {
  if (isA<Blob>(given, 'Blob')) return readSmall(WEIGHTS, given, MOST[WEIGHTS]!);
  const bytes = bytesOf(given);
  if (!bytes) throw bad(WEIGHTS, `expected its bytes (a Uint8Array, an ArrayBuffer or a Blob), found ${shown(given)}`);
  if (bytes.byteLength === 0) throw bad(WEIGHTS, 'is empty');
  return bytes;
}

/** The address of a folder, or of one of its files. */
async function fetched(address: string, signal: AbortSignal | undefined): Promise<Found> {
  const folder = new URL(address);
  if (/\.zip$/i.test(folder.pathname)) return unzipped(await download(address, MOST[WEIGHTS]!, signal));
  folder.pathname = /\.(json|safetensors)$/.test(folder.pathname)
    ? folder.pathname.replace(/[^/]*$/, '')
    : folder.pathname.replace(/\/?$/, '/');
  const at = (name: string): string => {
    const file = new URL(folder);
    file.pathname += name;
    return file.href;
  };
  const config = await download(at(CONFIG), MOST[CONFIG]!, signal);
  return new Map([
    [CONFIG, config],
    [WEIGHTS, await download(at(WEIGHTS), MOST[WEIGHTS]!, signal)],
  ]);
}

async function download(address: string, most: number, signal: AbortSignal | undefined): Promise<Uint8Array<ArrayBuffer>> {
  const since = performance.now();
  const shownAddress = brief(address);
  try {
    const response = await fetch(address, { signal: signal ?? null });
    if (!response.ok) throw new FledglingError('network', `${shownAddress}: HTTP ${response.status} ${response.statusText}`.trim());
    if (isPage(response)) throw pageInstead(address);
    if (Number(response.headers.get('content-length') ?? 0) > most) {
      throw new FledglingError('bad-file', `${shownAddress} has more than ${most} bytes`);
    }
    return await bounded(response, shownAddress, most);
  } catch (e) {
    if (e instanceof FledglingError) throw e;
    if (signal?.aborted) throw new FledglingError('aborted', `loading ${shownAddress} was aborted`, { cause: e });
    throw (await violationOf(address, since, ['connect-src'])) ?? new FledglingError('network', `${shownAddress}: ${why(e)}`, { cause: e });
  }
}

async function bounded(response: Response, address: string, most: number): Promise<Uint8Array<ArrayBuffer>> {
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  const reader = response.body?.getReader();
  while (reader) {
    const { done, value } = await reader.read();
    if (done) break;
    size += value.byteLength;
    if (size > most) {
      await reader.cancel().catch(() => {});
      throw new FledglingError('bad-file', `${address} has more than ${most} bytes`);
    }
    pieces.push(value as Uint8Array<ArrayBuffer>);
  }
  return new Uint8Array(await new Blob(pieces).arrayBuffer());
}

/** Of a zip, only the two files are unpacked, and their sizes are looked at before. */
async function unzipped(bytes: Uint8Array<ArrayBuffer>): Promise<Found> {
  if (!(bytes[0] === 0x50 && bytes[1] === 0x4b)) {
    throw new FledglingError('bad-file', `adapter: expected a zip with ${CONFIG} and ${WEIGHTS}, found bytes that are none`);
  }
  const { unzip } = await import('fflate');
  const base = (name: string): string => name.split('/').pop() ?? name;
  const files = await new Promise<Record<string, Uint8Array>>((resolve, reject) => {
    const filter = ({ name, originalSize }: { name: string; originalSize: number }): boolean => {
      const most = MOST[base(name)];
      if (most !== undefined && originalSize > most) throw new FledglingError('bad-file', `${name}: ${originalSize} bytes are too many`);
      return most !== undefined;
    };
    try {
      unzip(bytes, { filter }, (e, unpacked) => (e ? reject(zipError(e)) : resolve(unpacked)));
    } catch (e) {
      reject(zipError(e));
    }
  });
  return new Map(Object.entries(files).map(([name, data]) => [base(name), new Uint8Array(data)]));
}

const zipError = (e: unknown): FledglingError =>
  e instanceof FledglingError ? e : new FledglingError('bad-file', `adapter: the zip could not be read: ${why(e)}`, { cause: e });
