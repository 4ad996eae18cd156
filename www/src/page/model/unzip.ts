// Reads a zip from its directory at the end: names, counts and sizes are judged before anything is unpacked, and only what is wanted is.

export interface Wish {
  /** File name, in whatever folder of the archive. */
  name: string;
  /** Most bytes it may unpack to. */
  largest: number;
}

export type Unpacked = { files: Map<string, Uint8Array<ArrayBuffer>> } | { refused: string };

/** Most entries: a PEFT folder has a dozen, with all checkpoints of a run some hundreds. */
const ENTRIES = 10_000;
/** Most bytes of the directory. */
const DIRECTORY = 8 << 20;
/** What unpacks to more than this must not be more than so many times its size: weights are noise, and do not get much smaller. */
const SMALL = 64 << 20;
const TIMES = 20;
const SHOWN = 80;

class Refused extends Error {}

const END = 0x06054b50;
const END_BYTES = 22;
const DIRECTORY_ENTRY = 0x02014b50;
const DIRECTORY_BYTES = 46;
const LOCAL = 0x04034b50;
const LOCAL_BYTES = 30;
/** Stands for a number that did not fit, which is in a record of Zip64. */
const ELSEWHERE = 0xffff_ffff;

const view = async (blob: Blob): Promise<DataView> => new DataView(await blob.arrayBuffer());

interface Entry {
  name: string;
  method: number;
  encrypted: boolean;
  crc: number;
  packed: number;
  unpacked: number;
  at: number;
}

/** Where the directory is, and how many entries it has. */
async function directoryOf(file: Blob): Promise<{ at: number; bytes: number; entries: number }> {
  // Behind the record there may be a comment of up to 65,535 bytes.
  const from = Math.max(0, file.size - END_BYTES - 0xffff);
  const tail = await view(file.slice(from));
  for (let i = tail.byteLength - END_BYTES; i >= 0; i--) {
    if (tail.getUint32(i, true) !== END) continue;
    const [entries, bytes, at] = [tail.getUint16(i + 10, true), tail.getUint32(i + 12, true), tail.getUint32(i + 16, true)];
    if (at === ELSEWHERE || bytes === ELSEWHERE || entries === 0xffff)
      throw new Refused(`it is a Zip64 archive of more than 65,534 entries or 4 GB; at most ${ENTRIES} entries are read`);
    if (at + bytes > from + i) throw new Refused('its directory does not lie within the file: it is damaged, or a part is missing');
    return { at, bytes, entries };
  }
  throw new Refused('it is no zip file, or its end is missing');
}

async function* entriesOf(file: Blob): AsyncGenerator<Entry> {
  const { at, bytes, entries } = await directoryOf(file);
  if (entries > ENTRIES) throw new Refused(`it has ${entries} entries; at most ${ENTRIES} are read`);
  if (bytes > DIRECTORY) throw new Refused(`its directory has ${bytes} bytes; at most ${DIRECTORY} are read`);
  const d = await view(file.slice(at, at + bytes));
  const decoder = new TextDecoder();
  let i = 0;
  for (let n = 0; n < entries; n++) {
    if (i + DIRECTORY_BYTES > d.byteLength || d.getUint32(i, true) !== DIRECTORY_ENTRY)
      throw new Refused(`entry ${n + 1} of its directory is damaged`);
    const name = d.getUint16(i + 28, true);
    const next = i + DIRECTORY_BYTES + name + d.getUint16(i + 30, true) + d.getUint16(i + 32, true);
    if (next > d.byteLength) throw new Refused(`entry ${n + 1} of its directory is damaged`);
    yield {
      name: decoder.decode(new Uint8Array(d.buffer, i + DIRECTORY_BYTES, name)),
      encrypted: (d.getUint16(i + 8, true) & 1) === 1,
      method: d.getUint16(i + 10, true),
      crc: d.getUint32(i + 16, true),
      packed: d.getUint32(i + 20, true),
      unpacked: d.getUint32(i + 24, true),
      at: d.getUint32(i + 42, true),
    };
    i = next;
  }
}

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

function check(entry: Entry, most: number): void {
  const shown = entry.name.slice(-SHOWN);
  if (entry.encrypted) throw new Refused(`${shown} is encrypted`);
  if (entry.method !== 0 && entry.method !== 8)
    throw new Refused(`${shown} is packed by method ${entry.method}; deflate and plain storage can be read`);
  if (entry.packed === ELSEWHERE || entry.unpacked === ELSEWHERE || entry.at === ELSEWHERE) throw new Refused(`${shown} has 4 GB or more`);
  if (entry.unpacked > most) throw new Refused(`${shown} unpacks to ${entry.unpacked} bytes; at most ${most} are read`);
  if (entry.unpacked > SMALL && entry.unpacked > TIMES * entry.packed)
    throw new Refused(`${shown} unpacks to ${entry.unpacked} bytes from ${entry.packed}: weights never get that small`);
}

async function read(file: Blob, entry: Entry): Promise<Uint8Array<ArrayBuffer>> {
  const shown = entry.name.slice(-SHOWN);
  const head = await view(file.slice(entry.at, entry.at + LOCAL_BYTES));
  if (head.byteLength < LOCAL_BYTES || head.getUint32(0, true) !== LOCAL) throw new Refused(`${shown} is not where the directory says`);
  const from = entry.at + LOCAL_BYTES + head.getUint16(26, true) + head.getUint16(28, true);
  if (from + entry.packed > file.size) throw new Refused(`${shown} does not lie within the file: a part is missing`);
  const packed = file.slice(from, from + entry.packed).stream();
  const stream = entry.method === 8 ? packed.pipeThrough(new DecompressionStream('deflate-raw')) : packed;
  const out = new Uint8Array(entry.unpacked);
  const reader = (stream as ReadableStream<Uint8Array>).getReader();
  let done = 0;
  let crc = 0xffff_ffff;
  try {
    for (;;) {
      const piece = await reader.read();
      if (piece.done) break;
      // The size in the directory is a claim.
      if (done + piece.value.length > out.length)
        throw new Refused(`${shown} unpacks to more than the ${out.length} bytes that the archive says`);
      out.set(piece.value, done);
      done += piece.value.length;
      for (const byte of piece.value) crc = TABLE[(crc ^ byte) & 0xff]! ^ (crc >>> 8);
    }
  } catch (e) {
    if (e instanceof Refused) throw e;
    throw new Refused(`${shown} cannot be unpacked: ${(e as Error).message}`);
  } finally {
    await reader.cancel().catch(() => {});
  }
  if (done !== out.length) throw new Refused(`${shown} unpacks to ${done} bytes, expected ${out.length}`);
  if ((crc ^ 0xffff_ffff) >>> 0 !== entry.crc) throw new Refused(`${shown} is damaged: its checksum differs`);
  return out;
}

/** The files that are wanted, as far as the archive has them; of two with one name the first. */
export async function unzip(file: Blob, wanted: Wish[]): Promise<Unpacked> {
  try {
    const chosen = new Map<string, Entry>();
    for await (const entry of entriesOf(file)) {
      const wish = wanted.find((w) => entry.name === w.name || entry.name.endsWith(`/${w.name}`));
      if (!wish || chosen.has(wish.name)) continue;
      check(entry, wish.largest);
      chosen.set(wish.name, entry);
    }
    const files = new Map<string, Uint8Array<ArrayBuffer>>();
    for (const [name, entry] of chosen) files.set(name, await read(file, entry));
    return { files };
  } catch (e) {
    return { refused: e instanceof Refused ? e.message : `it cannot be unpacked: ${(e as Error).message}` };
  }
}
