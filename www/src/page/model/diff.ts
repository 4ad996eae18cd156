// What two answers have in common, word by word, so that what differs can be marked.

/** A piece of a text; `own` where the other text has nothing of the kind there. */
export interface Piece {
  text: string;
  own: boolean;
}
export interface Difference {
  left: Piece[];
  right: Piece[];
  /** Words of each that the other lacks, and all words of each. */
  own: [left: number, right: number];
  words: [left: number, right: number];
}

/** Words and what stands between them. */
const split = (text: string): string[] => text.match(/\s+|[\p{L}\p{N}_'’]+|[^\s\p{L}\p{N}_'’]/gu) ?? [];
const isWord = (token: string): boolean => /[\p{L}\p{N}]/u.test(token);

/** Larger tables than this are not filled: beyond it all that lies between the common ends differs. */
const CELLS = 400_000;

/** Pairs of equal tokens, in order: a longest common subsequence. */
function common(a: string[], b: string[]): [Set<number>, Set<number>] {
  const inA = new Set<number>();
  const inB = new Set<number>();
  const both = (i: number, k: number): void => void (inA.add(i), inB.add(k));
  let from = 0;
  while (from < a.length && from < b.length && a[from] === b[from]) both(from, from++);
  let endA = a.length;
  let endB = b.length;
  while (endA > from && endB > from && a[endA - 1] === b[endB - 1]) both(--endA, --endB);
  const n = endA - from;
  const m = endB - from;
  if (n === 0 || m === 0 || n * m > CELLS) return [inA, inB];
  // length[i][k]: of what a from i on and b from k on have in common.
  const wide = m + 1;
  const length = new Uint16Array((n + 1) * wide);
  for (let i = n - 1; i >= 0; i--)
    for (let k = m - 1; k >= 0; k--)
      length[i * wide + k] =
        a[from + i] === b[from + k]
          ? length[(i + 1) * wide + k + 1]! + 1
          : Math.max(length[(i + 1) * wide + k]!, length[i * wide + k + 1]!);
  for (let i = 0, k = 0; i < n && k < m; ) {
    if (a[from + i] === b[from + k]) both(from + i++, from + k++);
    else if (length[(i + 1) * wide + k]! >= length[i * wide + k + 1]!) i++;
    else k++;
  }
  return [inA, inB];
}

function pieces(tokens: string[], shared: Set<number>): Piece[] {
  const out: Piece[] = [];
  // Blanks belong to what stands around them, so that a mark runs through.
  const own = tokens.map((t, i) => !shared.has(i) && t.trim() !== '');
  for (const [i, text] of tokens.entries()) {
    const blank = text.trim() === '';
    const mine = blank ? (own[i - 1] ?? false) && (own[i + 1] ?? false) : own[i]!;
    const last = out.at(-1);
    if (last && last.own === mine) last.text += text;
    else out.push({ text, own: mine });
  }
  return out;
}

export function difference(left: string, right: string): Difference {
  const [a, b] = [split(left), split(right)];
  const [inA, inB] = common(a, b);
  const count = (tokens: string[], shared: Set<number>): number => tokens.filter((t, i) => isWord(t) && !shared.has(i)).length;
  return {
    left: pieces(a, inA),
    right: pieces(b, inB),
    own: [count(a, inA), count(b, inB)],
    words: [a.filter(isWord).length, b.filter(isWord).length],
  };
}
