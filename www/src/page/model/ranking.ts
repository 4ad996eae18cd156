// Orders of answers with ties. Pure functions: no DOM, no engine.
// An *order* is a list of groups from best to worst; answers in one group are tied: [[2],[3],[1],[0,4]] is ③ > ④ > ② > ① = ⑤.
import { CRITERIA, type Places, type Ratings, type Weights } from './types.ts';

export type Order = number[][];

/** Scores closer than this are a tie; ratings are small integers, so this only absorbs rounding. */
const TIE = 1e-9;

/** Places with no gaps: best = 1, answers that were never placed share the last place. */
export function normalise(places: Places): number[] {
  const placed = [...new Set(places.filter((p): p is number => p !== null))].sort((a, b) => a - b);
  return places.map((p) => (p === null ? placed.length + 1 : placed.indexOf(p) + 1));
}

export function orderOf(places: Places): Order {
  const ranks = normalise(places);
  const groups: Order = [];
  ranks.forEach((rank, i) => (groups[rank - 1] ??= []).push(i));
  return groups.filter((g) => g.length > 0);
}

export function placesOf(order: Order): number[] {
  const places: number[] = [];
  order.forEach((group, g) => group.forEach((i) => (places[i] = g + 1)));
  return places;
}

/** True when no answer is better than another, so that the ranking teaches nothing. */
export const allTied = (places: Places): boolean => new Set(normalise(places)).size <= 1;

/** Number of strict pairs (better, worse) that an order holds. */
export function pairCount(places: Places): number {
  const ranks = normalise(places);
  let pairs = 0;
  for (let i = 0; i < ranks.length; i++) for (let j = i + 1; j < ranks.length; j++) if (ranks[i] !== ranks[j]) pairs++;
  return pairs;
}

const without = (order: Order, answer: number): Order => order.map((g) => g.filter((i) => i !== answer)).filter((g) => g.length > 0);
const groupOf = (order: Order, answer: number): number => order.findIndex((g) => g.includes(answer));

/** One step towards best (-1) or worst (+1). An answer in a tie leaves it; alone, it joins no tie but passes the next group. */
export function move(order: Order, answer: number, by: -1 | 1): Order {
  const at = groupOf(order, answer);
  const group = order[at];
  if (!group) return order;
  const rest = without(order, answer);
  if (group.length > 1) {
    // Stepping out of a tie: just before or just after the group that was left.
    rest.splice(by < 0 ? at : at + 1, 0, [answer]);
    return rest;
  }
  const to = at + by;
  if (to < 0 || to >= order.length) return order;
  rest.splice(to, 0, [answer]);
  return rest;
}

export function moveTo(order: Order, answer: number, end: 'best' | 'worst'): Order {
  const rest = without(order, answer);
  return end === 'best' ? [[answer], ...rest] : [...rest, [answer]];
}

/** Ties an answer with the group before it, or, when it already shares a group, breaks it out as the worse one. */
export function toggleTie(order: Order, answer: number): Order {
  const at = groupOf(order, answer);
  const group = order[at];
  if (!group) return order;
  if (group.length > 1) return move(order, answer, 1);
  if (at === 0) return order.length > 1 ? tieWith(order, answer, order[1]![0]!) : order;
  return tieWith(order, answer, order[at - 1]![0]!);
}

export function tieWith(order: Order, answer: number, other: number): Order {
  if (answer === other) return order;
  return without(order, answer).map((g) => (g.includes(other) ? [...g, answer].sort((a, b) => a - b) : g));
}

/** Puts an answer directly before (better than) or after (worse than) the group of another. */
export function insertBeside(order: Order, answer: number, other: number, side: 'before' | 'after'): Order {
  if (answer === other) return order;
  const rest = without(order, answer);
  const at = groupOf(rest, other);
  rest.splice(side === 'before' ? at : at + 1, 0, [answer]);
  return rest;
}

/** The separator after the k-th answer in reading order: `>` becomes `=` and the other way round. */
export function toggleSeparator(order: Order, k: number): Order {
  let seen = 0;
  for (let g = 0; g < order.length; g++) {
    const group = order[g]!;
    const inside = k - seen;
    if (inside < group.length - 1) {
      return [...order.slice(0, g), group.slice(0, inside + 1), group.slice(inside + 1), ...order.slice(g + 1)];
    }
    if (inside === group.length - 1) {
      const next = order[g + 1];
      if (!next) return order;
      return [...order.slice(0, g), [...group, ...next], ...order.slice(g + 2)];
    }
    seen += group.length;
  }
  return order;
}

/** Weighted mean of the ratings an answer has; null when it has none that counts. */
export function score(ratings: Ratings, weights: Weights, answer: number): number | null {
  let sum = 0;
  let total = 0;
  for (const c of CRITERIA) {
    const value = ratings[c][answer] ?? null;
    const weight = weights[c];
    if (value === null || !(weight > 0)) continue;
    sum += weight * value;
    total += weight;
  }
  return total > 0 ? sum / total : null;
}

/** Places that follow from the criteria; answers without a rating stay unplaced. */
export function placesFromRatings(ratings: Ratings, weights: Weights, n: number): Places {
  const scores = Array.from({ length: n }, (_, i) => score(ratings, weights, i));
  const levels = scores.filter((s): s is number => s !== null).sort((a, b) => b - a);
  const distinct = levels.filter((s, i) => i === 0 || levels[i - 1]! - s > TIE);
  return scores.map((s) => (s === null ? null : distinct.findIndex((d) => Math.abs(d - s) <= TIE) + 1));
}

export const emptyRatings = (n: number): Ratings => ({
  helpful: Array<null>(n).fill(null),
  accurate: Array<null>(n).fill(null),
  harmless: Array<null>(n).fill(null),
});

/** ①…⑳ for the n-th answer (0-based). */
export const circled = (i: number): string => String.fromCodePoint(0x2460 + i);

/** ③ > ④ > ② > ① = ⑤ */
export const formatOrder = (places: Places): string =>
  orderOf(places)
    .map((g) => g.map(circled).join(' = '))
    .join(' > ');

/** The same in words, for a screen reader. */
export const sayOrder = (places: Places): string =>
  orderOf(places)
    .map((g) => (g.length > 1 ? `answers ${g.map((i) => i + 1).join(' and ')} tied` : `answer ${g[0]! + 1}`))
    .join(', then ');
