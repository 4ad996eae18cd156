// Orders with ties and with answers that have no place yet, as pure functions.
import { readFileSync } from 'node:fs';
import {
  allTied,
  emptyRatings,
  formatOrder,
  inferRest,
  insertBeside,
  move,
  moveTo,
  orderOf,
  pairCount,
  placesFromRatings,
  ranksOf,
  sayStanding,
  standing,
  step,
  tieWith,
  toggleSeparator,
  toggleSign,
  toggleTie,
  type Judgement,
} from '../../src/page/model/ranking.ts';
import type { Places } from '../../src/page/model/types.ts';
import { expect, test } from './helpers.ts';

const by = (places: Places): Judgement => ({ places, rest: inferRest(places) });
const ranks = (places: Places): Places => ranksOf(by(places));

test('places with gaps read as an order', () => {
  expect(ranks([4, 3, 1, 2, 4])).toEqual([4, 3, 1, 2, 4]);
  expect(ranks([9, 3, 1, 3])).toEqual([3, 2, 1, 2]);
  expect(formatOrder(ranks([4, 3, 1, 2, 4]))).toBe('③ > ④ > ② > ① = ⑤');
  expect(orderOf([null, null])).toEqual([]);
});

test('an answer that was not placed is not last: a place says how many are better, no more', () => {
  // "3" on a bad answer of three: both others are better. It used to become the best.
  expect(ranks([null, null, 3])).toEqual([1, 1, 2]);
  // "1": none is better.
  expect(ranks([null, 1, null])).toEqual([2, 1, 2]);
  // "2" alone: nobody knows which one is better.
  expect(ranks([null, 2, null])).toEqual([null, 1, null]);
  expect(pairCount(ranks([null, 2, null]))).toBe(0);
  // First and last: the rest is in between. Second of four with the first: the rest is below.
  expect(ranks([1, null, 3])).toEqual([1, 2, 3]);
  expect(ranks([2, 1, null, null])).toEqual([2, 1, 3, 3]);
  // First and third of four: one of the others is in between, but which?
  expect(ranks([1, 3, null, null])).toEqual([1, 2, null, null]);
  expect(pairCount(ranks([1, 3, null, null]))).toBe(1);
  // The two worst of four.
  expect(ranks([null, 4, 3, null])).toEqual([1, 3, 2, 1]);
  // A tie for first, then "2" as people count: the number does not say how many are above.
  expect(ranks([1, 1, 2, null])).toEqual([1, 1, 2, null]);
  expect(ranks([3, 3, null])).toEqual([2, 2, 1]);
  expect(ranks([null, null])).toEqual([null, null]);
});

test('ratings rank what is rated, and nothing else', () => {
  const rated = (helpful: (number | null)[]): Places =>
    ranksOf({ places: placesFromRatings({ ...emptyRatings(3), helpful }, { helpful: 5, accurate: 5, harmless: 5 }, 3), rest: null });
  // One poor answer of three was trained as the best.
  expect(rated([null, 1, null])).toEqual([null, 1, null]);
  expect(pairCount(rated([null, 1, null]))).toBe(0);
  expect(rated([5, null, 2])).toEqual([1, null, 2]);
  expect(pairCount(rated([5, null, 2]))).toBe(1);
});

test('pairs are counted as the engine makes them', () => {
  const table = new URL('../../../tests/fixtures/data/rankings.json', import.meta.url);
  const cases = JSON.parse(readFileSync(table, 'utf8')) as { ranks: Places; answers: string[]; pairs: unknown[] }[];
  expect(cases.length).toBeGreaterThan(10);
  for (const { ranks, answers, pairs } of cases) expect(pairCount(ranks, answers)).toBe(pairs.length);
});

test('a tie gives no pair, everything else does', () => {
  expect(pairCount([4, 3, 1, 2, 4])).toBe(9);
  expect(pairCount([1, 1, 1])).toBe(0);
  expect(allTied([1, 1, 1])).toBe(true);
  expect(allTied([null, null, null])).toBe(false);
  expect(allTied([1, null])).toBe(false);
});

test('steps in the order separate what has a place from what has none', () => {
  const none = by([null, null, null]);
  const best = step(none, 2, 'best')!;
  expect(best).toEqual({ places: [null, null, 1], rest: 1 });
  expect(standing(best)).toEqual({ groups: [[2], [0, 1]], free: [0, 1], aside: [] });
  const second = step(best, 1, 'better')!;
  expect(ranksOf(second)).toEqual([3, 2, 1]);
  expect(standing(second).free).toEqual([0]);
  expect(step(none, 0, 'worst')).toEqual({ places: [3, null, null], rest: 0 });
  expect(step(none, 0, 'worse')).toEqual({ places: [3, null, null], rest: 0 });
  // The last one without a place takes the one that is seen, by any key.
  expect(step(second, 0, 'worse')).toEqual({ places: [3, 2, 1], rest: null });
  // "=" on what nobody has placed says that all are equal.
  expect(ranksOf(step(none, 1, 'tie')!)).toEqual([1, 1, 1]);
  // Two are equal: that says nothing of the third.
  expect(standing(step(none, 1, { with: 2 })!)).toEqual({ groups: [[1, 2]], free: [0], aside: [0] });
  // Taking a place back.
  expect(step(second, 1, 'unplace')).toEqual({ places: [null, null, 1], rest: 1 });
  expect(step(best, 2, 'unplace')).toEqual({ places: [null, null, null], rest: null });
  expect(step(best, 0, 'unplace')).toBeNull();
});

test('what stands aside is placed by a key and by nothing else', () => {
  const open: Judgement = { places: [1, null, 2], rest: null };
  expect(standing(open).aside).toEqual([1]);
  expect(ranksOf(step(open, 0, 'worse')!)).toEqual([2, null, 1]);
  expect(ranksOf(step(open, 1, 'better')!)).toEqual([1, 3, 2]);
  expect(ranksOf(step(open, 1, 'best')!)).toEqual([2, 1, 3]);
  expect(ranksOf(step(open, 1, { with: 0 })!)).toEqual([1, 1, 2]);
  expect(step(open, 1, 'worse')).toBeNull();
  expect(sayStanding(standing(open))).toBe('answer 1, then answer 3; answer 2 not placed');
  expect(sayStanding(standing(by([null, null, 1])))).toBe('answer 3, then answers 1 and 2 without a place of their own');
});

test('signs make equal and better, and place what they speak of', () => {
  expect(ranksOf(toggleSign(by([null, null, 1]), 0))).toEqual([1, 1, 1]);
  expect(standing(toggleSign(by([null, null, 1]), 0)).free).toEqual([]);
  expect(ranksOf(toggleSign(by([1, 1, 3]), 0))).toEqual([1, 2, 3]);
});

test('moving steps over groups, out of ties, and stops at the ends', () => {
  expect(move([[0], [1], [2]], 2, -1)).toEqual([[0], [2], [1]]);
  expect(move([[0], [1, 2]], 2, -1)).toEqual([[0], [2], [1]]);
  expect(move([[0], [1, 2]], 1, 1)).toEqual([[0], [2], [1]]);
  expect(move([[0], [1]], 0, -1)).toEqual([[0], [1]]);
  expect(moveTo([[0], [1, 2]], 2, 'best')).toEqual([[2], [0], [1]]);
  expect(moveTo([[0], [1, 2]], 0, 'worst')).toEqual([[1, 2], [0]]);
});

test('ties are made and broken', () => {
  expect(toggleTie([[0], [1]], 1)).toEqual([[0, 1]]);
  expect(toggleTie([[0], [1]], 0)).toEqual([[0, 1]]);
  expect(toggleTie([[0, 1]], 0)).toEqual([[1], [0]]);
  expect(tieWith([[0], [1], [2]], 2, 0)).toEqual([[0, 2], [1]]);
  expect(insertBeside([[0, 1], [2]], 2, 0, 'before')).toEqual([[2], [0, 1]]);
  expect(toggleSeparator([[0], [1], [2]], 1)).toEqual([[0], [1, 2]]);
  expect(toggleSeparator([[0, 1, 2]], 0)).toEqual([[0], [1, 2]]);
});

test('criteria weigh as set; an unrated answer stays unplaced', () => {
  const ratings = { ...emptyRatings(3), helpful: [5, 1, null], harmless: [1, 5, null] };
  expect(placesFromRatings(ratings, { helpful: 5, accurate: 5, harmless: 5 }, 3)).toEqual([1, 1, null]);
  expect(placesFromRatings(ratings, { helpful: 9, accurate: 5, harmless: 1 }, 3)).toEqual([1, 2, null]);
  expect(placesFromRatings(ratings, { helpful: 0, accurate: 5, harmless: 1 }, 3)).toEqual([2, 1, null]);
  expect(placesFromRatings(ratings, { helpful: 0, accurate: 0, harmless: 0 }, 3)).toEqual([null, null, null]);
});
