// Orders of answers with ties, and of answers that have no place yet. Pure functions: no DOM, no engine.
// An *order* is a list of groups from best to worst; answers in one group are tied: [[2],[3],[1],[0,4]] is ③ > ④ > ② > ① = ⑤.
import { listOf, t } from '../i18n/language.ts';
import { CRITERIA, type Places, type Ratings, type Weights } from './types.ts';

export type Order = number[][];

/** Scores closer than this are a tie; ratings are small integers, so this only absorbs rounding. */
const TIE = 1e-9;

/** What a person has said about the answers to one question. */
export interface Judgement {
  /** A place p says that p − 1 answers are better; null = not placed. */
  places: Places;
  /** How many of the placed answers are better than those without a place; null = nobody knows. */
  rest: number | null;
}

/** How the answers stand. Those without a place of their own (`free`) form one of the groups, or are left `aside`, unranked. */
export interface Standing {
  groups: Order;
  free: number[];
  aside: number[];
}

/**
 * Where the answers without a place must be, given that a place p has p − 1 answers above it: in first place nothing is above,
 * in last place everything is. Null where the places leave it open: a lone 2nd of three may be above either of the others.
 */
export function inferRest(places: Places): number | null {
  const placed = places.filter((p): p is number => p !== null).sort((a, b) => a - b);
  const free = places.length - placed.length;
  if (free === 0 || placed.length === 0) return null;
  let better = 0;
  let passed = false;
  for (const p of placed) {
    const unknownAbove = p - 1 - placed.filter((q) => q < p).length;
    if (unknownAbove >= free) passed = true;
    else if (unknownAbove === 0 && !passed) better++;
    else return null;
  }
  return better;
}

export function standing({ places, rest }: Judgement): Standing {
  const groups: Order = [];
  const free: number[] = [];
  const levels = [...new Set(places.filter((p): p is number => p !== null))].sort((a, b) => a - b);
  places.forEach((p, i) => (p === null ? free.push(i) : (groups[levels.indexOf(p)] ??= []).push(i)));
  if (free.length === 0) return { groups, free, aside: [] };
  if (groups.length === 0) return { groups: [free], free, aside: [] };
  let better = 0;
  let at = 0;
  while (rest !== null && better < rest && at < groups.length) better += groups[at++]!.length;
  if (better !== rest) return { groups, free, aside: free };
  return { groups: groups.toSpliced(at, 0, free), free, aside: [] };
}

/** A rank for each answer: 1 = best, equal = tie, no gaps; null for what is not ranked. */
export function ranksOf(j: Judgement): Places {
  const { groups, aside } = standing(j);
  const ranks: Places = j.places.map(() => null);
  // Where nothing is placed, nothing is ranked.
  if (j.places.every((p) => p === null) || aside.length === j.places.length) return ranks;
  groups.forEach((g, rank) => g.forEach((i) => (ranks[i] = rank + 1)));
  return ranks;
}

export function orderOf(ranks: Places): Order {
  const groups: Order = [];
  ranks.forEach((rank, i) => rank !== null && (groups[rank - 1] ??= []).push(i));
  return groups.filter((g) => g.length > 0);
}

/** True when every answer has its place and none is better than another, so that the ranking teaches nothing. */
export const allTied = (ranks: Places): boolean => ranks.every((r) => r !== null && r === ranks[0]);

/**
 * Number of strict pairs (better, worse) among the ranked answers, to be shown; the pairs themselves are the engine's. With their texts, two
 * answers of the same words and answers without any count as they train: not at all. (One table of cases tests both.)
 */
export function pairCount(ranks: Places, texts?: readonly string[]): number {
  let pairs = 0;
  const teach = (i: number, j: number): boolean => !texts || (texts[i] !== texts[j] && texts[i]!.trim() !== '' && texts[j]!.trim() !== '');
  for (let i = 0; i < ranks.length; i++)
    for (let j = i + 1; j < ranks.length; j++) if (ranks[i] !== null && ranks[j] !== null && ranks[i] !== ranks[j] && teach(i, j)) pairs++;
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

/** What can be done to one answer in an order. */
export type Step =
  | 'better'
  | 'worse'
  | 'best'
  | 'worst'
  | 'tie'
  | 'unplace'
  | { beside: number; side: 'before' | 'after' }
  | { with: number };

/** Places by counting who is better, so that they say again what is seen. */
function judgement(groups: Order, free: ReadonlySet<number>, n: number): Judgement {
  const places: Places = Array<null>(n).fill(null);
  let rest: number | null = null;
  let above = 0;
  let placed = 0;
  for (const group of groups) {
    if (free.has(group[0]!)) rest = placed;
    else {
      for (const i of group) places[i] = above + 1;
      placed += group.length;
    }
    above += group.length;
  }
  return placed === 0 ? { places, rest: null } : { places, rest };
}

/** The judgement after a step of one answer, which thereby has a place of its own; null where nothing changes. */
export function step(j: Judgement, answer: number, how: Step): Judgement | null {
  const n = j.places.length;
  const { groups, free, aside } = standing(j);
  const loose = new Set(free);
  if (how === 'unplace') {
    if (loose.has(answer)) return null;
    const places = j.places.with(answer, null);
    return { places, rest: aside.length ? null : inferRest(places) };
  }
  const outside = aside.includes(answer);
  if (outside && how === 'worse') return null;
  // From aside it joins as the last of those that are placed.
  const order = outside ? [...groups, [answer]] : groups;
  const wasFree = loose.delete(answer);
  let next: Order;
  if (typeof how === 'object' && 'with' in how) {
    if (how.with === answer) return null;
    if (loose.delete(how.with)) {
      // Two without a place are equal: that says nothing about the others without one.
      const at = groupOf(groups, how.with);
      const kept = groups.map((g) => g.filter((i) => i !== answer && i !== how.with && !loose.has(i)));
      const pair = [answer, how.with].sort((a, b) => a - b);
      return judgement(
        kept.toSpliced(at < 0 ? kept.length : at, 0, pair).filter((g) => g.length > 0),
        loose,
        n,
      );
    }
    next = tieWith(order, answer, how.with);
  } else if (typeof how === 'object') {
    next = aside.includes(how.beside) ? order : insertBeside(order, answer, how.beside, how.side);
  } else if (how === 'best' || how === 'worst') next = moveTo(order, answer, how);
  else if (how === 'tie') {
    const group = order[groupOf(order, answer)] ?? [];
    if (wasFree && group.length > 1) next = order;
    else next = toggleTie(order, answer);
    // Whoever is tied with a placed answer has its place.
    for (const i of next[groupOf(next, answer)] ?? []) loose.delete(i);
  } else next = outside ? order : move(order, answer, how === 'better' ? -1 : 1);
  const after = { ...judgement(next, loose, n), ...(aside.length ? { rest: null } : {}) };
  return after.rest === j.rest && after.places.join() === j.places.join() ? null : after;
}

/** The sign after the k-th answer of the order changes from `>` to `=` or back; answers without a place get theirs. */
export function toggleSign(j: Judgement, k: number): Judgement {
  const { groups, free, aside } = standing(j);
  const next = toggleSeparator(groups, k);
  const loose = new Set(free);
  // Two groups that became one, or one that became two: their answers have been spoken of.
  for (const g of next) if (!groups.some((old) => old.join() === g.join())) for (const i of g) loose.delete(i);
  return { ...judgement(next, loose, j.places.length), ...(aside.length ? { rest: null } : {}) };
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

/** ③ > ④ > ② > ① = ⑤ of ranks; what is not ranked is left out. */
export const formatOrder = (ranks: Places): string =>
  orderOf(ranks)
    .map((g) => g.map(circled).join(' = '))
    .join(' > ');

const say = (answers: number[]): string =>
  answers.length > 1 ? t('answers {list}', { list: listOf(answers.map((i) => String(i + 1))) }) : t('answer {n}', { n: answers[0]! + 1 });

/** How the answers stand in words, for a screen reader. */
export function sayStanding({ groups, free, aside }: Standing): string {
  const said = groups.map((g) =>
    free.includes(g[0]!)
      ? g.length > 1
        ? t('{answers} without a place of their own', { answers: say(g) })
        : t('{answers} without a place of its own', { answers: say(g) })
      : g.length > 1
        ? t('{answers} tied', { answers: say(g) })
        : say(g),
  );
  return [said.join(t(', then ')), aside.length ? t('{answers} not placed', { answers: say(aside) }) : ''].filter(Boolean).join('; ');
}
