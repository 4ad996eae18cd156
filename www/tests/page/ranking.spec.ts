// Orders with ties, as pure functions.
import { allTied, emptyRatings, formatOrder, insertBeside, move, moveTo, normalise, orderOf, pairCount, placesFromRatings, placesOf, tieWith, toggleSeparator, toggleTie } from '../../src/page/model/ranking.ts';
import { expect, test } from './helpers.ts';

test('places with gaps and unplaced answers read as an order', () => {
  expect(normalise([4, null, 1, 4])).toEqual([2, 3, 1, 2]);
  expect(formatOrder([4, 3, 1, 2, 4])).toBe('③ > ④ > ② > ① = ⑤');
  expect(orderOf([null, null])).toEqual([[0, 1]]);
  expect(placesOf([[2], [0, 1]])).toEqual([2, 2, 1]);
});

test('a tie gives no pair, everything else does', () => {
  expect(pairCount([4, 3, 1, 2, 4])).toBe(9);
  expect(pairCount([1, 1, 1])).toBe(0);
  expect(allTied([null, null, null])).toBe(true);
  expect(pairCount([1, null, null])).toBe(2);
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
