// A file of rows in pieces of whole lines, so that a large one is never in memory at once.
import { FledglingError } from './errors.ts';

/** Characters of a piece: read, judged and handed over in a few milliseconds. */
const PIECE = 1 << 18;
/** A line this long is no row; the engine says so of shorter ones. */
const LONGEST_LINE = 1 << 26;

export interface Piece {
  text: string;
  /** Number of its first line in the file, from 1. */
  first: number;
}

/** What begins with a bracket is one JSON array, and the cells of a table may hold line breaks: only whole can they be read. */
const isWhole = async (file: Blob, name: string): Promise<boolean> =>
  /\.[ct]sv$/i.test(name) || (await file.slice(0, 4096).text()).trimStart().startsWith('[');

/** The pieces of a file. */
export async function* pieces(file: Blob, name: string): AsyncGenerator<Piece> {
  const broken = (e: unknown): FledglingError =>
    e instanceof TypeError ? new FledglingError('bad-file', `${name} is not UTF-8 text`, { cause: e }) : (e as FledglingError);
  if (await isWhole(file, name)) {
    const bytes = await file.arrayBuffer();
    try {
      yield { text: new TextDecoder('utf-8', { fatal: true }).decode(bytes), first: 1 };
    } catch (e) {
      throw broken(e);
    }
    return;
  }
  const decoder = new TextDecoderStream('utf-8', { fatal: true }) as unknown as ReadableWritablePair<string, Uint8Array<ArrayBuffer>>;
  const reader = file.stream().pipeThrough(decoder).getReader();
  let open: string[] = [];
  let size = 0;
  let first = 1;
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((e: unknown) => Promise.reject(broken(e)));
      if (done) break;
      open.push(value);
      size += value.length;
      if (size < PIECE) continue;
      // A stream may hand over more than a piece at a time.
      let text = open.join('');
      while (text.length >= PIECE) {
        const end = text.lastIndexOf('\n', PIECE) + 1 || text.indexOf('\n', PIECE) + 1;
        if (end === 0) break;
        const whole = text.slice(0, end);
        yield { text: whole, first };
        for (let at = whole.indexOf('\n'); at >= 0; at = whole.indexOf('\n', at + 1)) first++;
        text = text.slice(end);
      }
      open = [text];
      size = text.length;
      if (size > LONGEST_LINE) throw new FledglingError('bad-file', `${name}: line ${first} has more than ${size} characters`);
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
  if (size > 0) yield { text: open.join(''), first };
}
