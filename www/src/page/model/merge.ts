// Two tabs may change the same document. Against what both once read, each side's own changes are found and both are
// kept; only where both changed the very same thing does one side win, which is "mine". Pure functions.
import type { Chat, Turn } from './types.ts';

type Json = Record<string, unknown>;
const isObject = (v: unknown): v is Json => typeof v === 'object' && v !== null && !Array.isArray(v);

export function equal(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((v, i) => equal(v, b[i]));
  if (!isObject(a) || !isObject(b)) return false;
  const keys = Object.keys(a).filter((k) => a[k] !== undefined);
  return keys.length === Object.keys(b).filter((k) => b[k] !== undefined).length && keys.every((k) => equal(a[k], b[k]));
}

/** Objects key by key, everything else as a whole. */
export function merge<T>(base: T | undefined, mine: T, theirs: T): T {
  if (equal(mine, base) || equal(mine, theirs)) return theirs;
  if (equal(theirs, base) || !isObject(mine) || !isObject(theirs)) return mine;
  const from: Json = isObject(base) ? base : {};
  const out: Json = {};
  for (const key of new Set([...Object.keys(theirs), ...Object.keys(mine)])) {
    const value = merge(from[key], (mine as Json)[key], (theirs as Json)[key]);
    if (value !== undefined) out[key] = value;
  }
  return out as T;
}

interface Named {
  id: string;
}

/** Lists by id: what either side added stays, what either side removed untouched goes. Their order, then what is only mine. */
export function mergeById<T extends Named>(
  base: readonly T[],
  mine: readonly T[],
  theirs: readonly T[],
  one: (base: T | undefined, mine: T, theirs: T) => T,
): T[] {
  const was = new Map(base.map((x) => [x.id, x]));
  const own = new Map(mine.map((x) => [x.id, x]));
  const out: T[] = [];
  for (const t of theirs) {
    const m = own.get(t.id);
    const b = was.get(t.id);
    own.delete(t.id);
    if (m) out.push(one(b, m, t));
    else if (!b || !equal(b, t)) out.push(t);
  }
  for (const m of own.values()) {
    const b = was.get(m.id);
    if (!b || !equal(b, m)) out.push(m);
  }
  return out;
}

/** What was said about the answers belongs together: half of one judgement and half of another would be nobody's. */
const SAID = ['places', 'rest', 'orderBy', 'ratings'] as const;

function mergeTurn(base: Turn | undefined, mine: Turn, theirs: Turn): Turn {
  const merged = merge(base, mine, theirs);
  const said = (t: Turn | undefined): unknown[] => SAID.map((k) => t?.[k]);
  const from = equal(said(mine), said(base)) ? theirs : mine;
  const out: Turn = { ...merged, places: from.places, orderBy: from.orderBy, ratings: from.ratings };
  if (from.rest === undefined) delete out.rest;
  else out.rest = from.rest;
  // An answer that is still being written here is known better here, and the other way round.
  const written = (t: Turn): number => t.answers.reduce((n, a) => n + a.text.length, 0);
  if (out.answers.length !== out.places.length || written(theirs) > written(mine))
    out.answers = theirs.answers.length === out.places.length ? theirs.answers : mine.answers;
  return out;
}

export const mergeChat = (base: Chat | undefined, mine: Chat, theirs: Chat): Chat => ({
  ...merge(base, mine, theirs),
  updated: Math.max(mine.updated, theirs.updated),
  turns: mergeById(base?.turns ?? [], mine.turns, theirs.turns, mergeTurn),
});
