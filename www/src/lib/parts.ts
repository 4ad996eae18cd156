// The files that a model is made of: which there are, in which order they are read, and what must be known of them before.
import { CacheEntry } from './cache.ts';
import { aborted, FledglingError, why } from './errors.ts';
import { brief } from './options/check.ts';
import { readWithin, STALL_MS, Window } from './patience.ts';
import { violationOf } from './policy.ts';

/** One file of a model. */
export interface Part {
  /** File name, without folders. */
  name: string;
  address?: string;
  blob?: Blob;
  /** May be missing on the server. */
  optional?: boolean;
  /** The last one: that whose hash is the model's. */
  last?: boolean;
}

/** Bytes of one piece of a file's beginning. */
const HEAD = 256 << 10;
const FOLDER_FILES = ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'generation_config.json', 'chat_template.jinja'];
const INDEX = 'model.safetensors.index.json';

function basename(address: string): string {
  const last = new URL(address).pathname.split('/').pop() || address;
  try {
    return decodeURIComponent(last);
  } catch {
    return last; // a % that encodes nothing
  }
}

/** The names of all parts of a split GGUF, where `name` is that of one: `…-00002-of-00003.gguf`. */
export function splitNames(name: string): string[] | undefined {
  const found = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/.exec(name);
  if (!found) return undefined;
  const count = Number(found[3]);
  if (Number(found[2]) < 1 || Number(found[2]) > count || count > 1024) return undefined;
  return Array.from({ length: count }, (_, i) => `${found[1]}-${String(i + 1).padStart(5, '0')}-of-${found[3]}.gguf`);
}

/** Servers of one-page apps and pages about files answer so. */
export const isPage = (response: Response): boolean => response.headers.get('content-type')?.includes('html') ?? false;

export const pageInstead = (address: string): FledglingError =>
  new FledglingError('bad-file', `${brief(address)}: the server sent a web page in place of the file`);

/**
 * The beginning of a file, piece by piece until `take` says that it is enough: from the browser's storage where it is kept, else from its address,
 * whose answer is given up then.
 */
export async function beginning(part: Part, signal: AbortSignal, cache: boolean | 'refresh', take: (chunk: Uint8Array) => boolean) {
  const first = async (blob: Blob): Promise<boolean> => {
    for (let at = 0; at < blob.size; at += HEAD) {
      if (take(new Uint8Array(await blob.slice(at, at + HEAD).arrayBuffer()))) return true;
    }
    return false;
  };
  if (part.blob) return void (await first(part.blob));
  const address = part.address!;
  if (cache === true) {
    // Whatever is wrong with the storage is said when the file itself is read.
    const entry = await CacheEntry.open(address).catch(() => undefined);
    if (entry?.meta?.complete) return void (await first(await entry.data()));
  }
  let response: Response;
  const since = performance.now();
  try {
    response = await fetch(address, { signal: AbortSignal.any([signal, AbortSignal.timeout(STALL_MS)]) });
  } catch (e) {
    if (signal.aborted) throw aborted(`loading ${part.name}`);
    const forbidden = await violationOf(address, since, ['connect-src']);
    if (forbidden) throw forbidden;
    throw new FledglingError('network', `${brief(address)}: ${why(e)}`, { cause: e });
  }
  if (!response.ok || !response.body)
    throw new FledglingError('network', `${brief(address)}: HTTP ${response.status} ${response.statusText}`.trim());
  if (isPage(response)) {
    await response.body.cancel().catch(() => {});
    throw pageInstead(address);
  }
  const reader = response.body.getReader();
  const window = new Window(STALL_MS);
  try {
    for (;;) {
      const read = await readWithin(reader, window);
      if (!read) throw new FledglingError('network', `${brief(address)}: ${window.why}`);
      if (read.done || take(read.value)) return;
    }
  } finally {
    void reader.cancel().catch(() => {});
  }
}

/** The parts of a split GGUF: once their beginnings are known, one after another. */
async function* inTurn(parts: Part[], peek: (part: Part) => Promise<void>): AsyncGenerator<Part> {
  if (parts.length > 1) for (const part of parts) await peek(part);
  for (const [i, part] of parts.entries()) yield { ...part, last: i === parts.length - 1 };
}

/**
 * The files of a source, small ones first and the weights last; `read` is given what must be read to know the rest, `peek` the files whose
 * beginnings must be known before any of them is read.
 */
export async function* partsOf(
  source: string | Blob | readonly File[],
  read: (part: Part) => Promise<string | undefined>,
  peek: (part: Part) => Promise<void>,
): AsyncGenerator<Part> {
  if (source instanceof Blob) return yield { name: source instanceof File ? source.name : 'model', blob: source, last: true };
  if (typeof source !== 'string') {
    const files = [...source].sort(
      (a, b) => Number(a.name.endsWith('.safetensors')) - Number(b.name.endsWith('.safetensors')) || (a.name < b.name ? -1 : 1),
    );
    if (files.length === 0) throw new FledglingError('bad-file', 'no file was given');
    const names = files.map((f) => splitNames(f.name)).find((n) => n !== undefined);
    if (names) {
      const parts = names.map((name) => ({ name, blob: files.find((f) => f.name === name) }));
      const missing = parts.filter((p) => !p.blob).map((p) => p.name);
      if (missing.length > 0) throw new FledglingError('bad-file', `${missing.join(', ')}: missing, the model is in ${names.length} files`);
      for (const f of files) if (!names.includes(f.name) && !f.name.endsWith('.gguf')) yield { name: f.name, blob: f };
      const other = files.find((f) => f.name.endsWith('.gguf') && !names.includes(f.name));
      if (other) throw new FledglingError('bad-file', `${other.name}: is no part of ${names[0]}`);
      return yield* inTurn(parts as Part[], peek);
    }
    for (const [i, f] of files.entries()) yield { name: f.name, blob: f, last: i === files.length - 1 };
    return;
  }
  const url = new URL(source);
  // Whoever encodes a whole name encodes its slash, too.
  url.pathname = url.pathname.replace(/%2f$/i, '/');
  const [, last = ''] = /([^/]*)$/.exec(url.pathname) ?? [];
  const single = last.endsWith('.safetensors');
  const names = splitNames(basename(source));
  if (names) {
    const parts = names.map((name) => {
      const file = new URL(source);
      file.pathname = file.pathname.slice(0, file.pathname.length - last.length) + encodeURIComponent(name);
      return { name, address: file.href };
    });
    return yield* inTurn(parts, peek);
  }
  if (last !== '' && last !== 'config.json' && !single) return yield { name: basename(source), address: source, last: true };
  url.pathname = url.pathname.slice(0, url.pathname.length - last.length);
  const at = (name: string) => {
    const file = new URL(url);
    file.pathname += encodeURIComponent(name);
    return file.href;
  };
  for (const name of FOLDER_FILES) yield { name, address: at(name), optional: name !== 'config.json' };
  if (single) return yield { name: basename(source), address: source, last: true };
  // One file of weights, or several listed in an index.
  const index = await read({ name: INDEX, address: at(INDEX), optional: true });
  const weights = index === undefined ? ['model.safetensors'] : shards(index, at(INDEX));
  for (const [i, name] of weights.entries()) yield { name, address: at(name), last: i === weights.length - 1 };
}

function shards(index: string, address: string): string[] {
  let names: unknown[];
  try {
    names = Object.values((JSON.parse(index) as { weight_map: Record<string, string> }).weight_map);
  } catch {
    names = [];
  }
  const bad = names.find((n) => typeof n !== 'string' || !/^[^/\\]+\.safetensors$/.test(n));
  if (names.length === 0 || bad !== undefined) {
    throw new FledglingError(
      'bad-file',
      `${brief(address)}: expected JSON with a weight_map to names of .safetensors files${bad === undefined ? '' : `, found ${JSON.stringify(bad)}`}`,
    );
  }
  return [...new Set(names as string[])].sort();
}
