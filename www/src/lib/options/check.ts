// Whatever a caller hands over is read here, by a table of what is known: a name that is none, a wrong type and a number out of range are told in
// the caller's words. `undefined` is the same as left out, everywhere.
import { FledglingError } from '../errors.ts';
import { meant } from './suggest.ts';

/** What a field takes. */
export interface Rule {
  /** In words, behind "expected". */
  takes: string;
  ok(value: unknown): boolean;
}

/** Known fields; a text in place of a rule says why there is none. */
export type Rules = Readonly<Record<string, Rule | string>>;

export const bad = (field: string, message: string): FledglingError => new FledglingError('bad-config', `${field}: ${message}`);

/** The end of a text that is too long to be shown. */
export const cut = (text: string, most = 60): string => (text.length > most ? `${text.slice(0, most)}…` : text);

/** An address in a message. */
export const brief = (address: string): string => cut(address, 200);

const named = (value: object): string => {
  try {
    const name = Object.prototype.toString.call(value).slice(8, -1);
    return name === 'Object' ? 'an object' : `${/^[AEIOU]/.test(name) ? 'an' : 'a'} ${name === 'Function' ? 'function' : cut(name, 30)}`;
  } catch {
    return 'an object that cannot be read';
  }
};

/** A value in a message, whatever it is. */
export function shown(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return JSON.stringify(cut(value));
    case 'number':
    case 'boolean':
    case 'undefined':
      return String(value);
    case 'bigint':
      return `the bigint ${cut(String(value))}`;
    case 'symbol':
      return 'a symbol';
    case 'function':
      return 'a function';
    default:
      if (value === null) return 'null';
      return isList(value) ? (value.length === 0 ? 'an empty array' : 'an array') : named(value as object);
  }
}

/** `Array.isArray` throws for a proxy that was revoked. */
export function isList(value: unknown): value is unknown[] {
  try {
    return Array.isArray(value);
  } catch {
    return false;
  }
}

/** `instanceof`, for what exists here, and for proxies. */
export function isA<T>(value: unknown, what: 'Blob' | 'File' | 'FileList' | 'URL'): value is T {
  const type = (globalThis as unknown as Record<string, (new () => T) | undefined>)[what];
  return type !== undefined && (holds(() => value instanceof type) ?? false);
}

/** `every`, which holes in an array do not escape. */
export function all(list: readonly unknown[], ok: (value: unknown) => boolean): boolean {
  for (let i = 0; i < list.length; i++) if (!ok(list[i])) return false;
  return true;
}

/** An object of fields: no array, no function, nothing with a meaning of its own. */
export function isPlain(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null || isList(value)) return false;
  try {
    return Object.prototype.toString.call(value) === '[object Object]';
  } catch {
    return false;
  }
}

/** What a body gives that looks at a value of anybody's: proxies throw. */
export const holds = <T>(body: () => T): T | undefined => {
  try {
    return body();
  } catch {
    return undefined;
  }
};

/** What a rule looks at may be a proxy that throws. */
const rule = (takes: string, ok: (value: unknown) => boolean): Rule => ({ takes, ok: (v) => holds(() => ok(v)) ?? false });

const words = (n: number): string => (Math.abs(n) >= 1e15 ? n.toExponential() : String(n));
export const number = (low: number, high: number): Rule =>
  rule(`a number from ${words(low)} to ${words(high)}`, (v) => typeof v === 'number' && v >= low && v <= high);
export const whole = (low: number, high: number): Rule =>
  rule(`a whole number from ${words(low)} to ${words(high)}`, (v) => Number.isInteger(v) && (v as number) >= low && (v as number) <= high);
export const flag = rule('true or false', (v) => typeof v === 'boolean');
export const text = rule('a text', (v) => typeof v === 'string');
export const name = rule('a text of 1 to 200 characters', (v) => typeof v === 'string' && v !== '' && v.length <= 200);
export const texts = rule('a list of texts, none of them empty', (v) => isList(v) && all(v, (t) => typeof t === 'string' && t !== ''));
export const wholes = rule(
  'a list of whole numbers from 0',
  (v) => isList(v) && all(v, (n) => Number.isSafeInteger(n) && (n as number) >= 0),
);
export const call = rule('a function', (v) => typeof v === 'function');
export const address = rule('an address', (v) => (typeof v === 'string' && v !== '') || isA<URL>(v, 'URL'));
export const signal = rule('an AbortSignal', (v) => v instanceof AbortSignal);
export const bytes = rule('bytes (a Uint8Array or an ArrayBuffer)', (v) => bytesOf(v) !== undefined);
export const fields = rule('an object', isPlain);
export const one = (...choices: readonly (string | boolean)[]): Rule =>
  rule(`one of ${choices.join(', ')}`, (v) => (choices as readonly unknown[]).includes(v));
export const orNull = (r: Rule): Rule => ({ takes: `${r.takes} or null`, ok: (v) => v === null || r.ok(v) });
export const either = (a: Rule, b: Rule): Rule => ({ takes: `${a.takes}, or ${b.takes}`, ok: (v) => a.ok(v) || b.ok(v) });

/** Every seed of the package. */
export const seed = whole(0, 0xffff_ffff);

/** Bytes of this realm or another, over memory that nobody shares. */
export function bytesOf(value: unknown): Uint8Array<ArrayBuffer> | undefined {
  const of = (buffer: unknown, at: number, length: number): Uint8Array<ArrayBuffer> | undefined =>
    Object.prototype.toString.call(buffer) === '[object ArrayBuffer]' ? new Uint8Array(buffer as ArrayBuffer, at, length) : undefined;
  return holds(() => {
    if (ArrayBuffer.isView(value)) {
      const kind = Object.prototype.toString.call(value);
      if (!['[object Uint8Array]', '[object Uint8ClampedArray]', '[object Int8Array]', '[object DataView]'].includes(kind))
        return undefined;
      return of(value.buffer, value.byteOffset, value.byteLength);
    }
    return of(value, 0, (value as ArrayBuffer).byteLength);
  });
}

/** A name in a message. */
export const nameOf = (key: string): string => (/^[\w.$-]{1,60}$/.test(key) ? key : shown(key));

/** The entries of an object of fields; `what` names it. */
export function entries(what: string, given: unknown): [string, unknown][] {
  if (given === undefined) return [];
  if (!isPlain(given)) throw bad(what, `expected an object, found ${shown(given)}`);
  try {
    return Object.entries(given);
  } catch (e) {
    throw bad(what, `could not be read (${cut(holds(() => String((e as Error).message)) ?? 'it threw')})`);
  }
}

/**
 * The fields of an object that the caller gives, each of which must be in the table. `what` names what takes them, `path` the object where it is
 * itself a field.
 */
export function take(what: string, given: unknown, rules: Rules, path = ''): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const [key, value] of entries(path || `the options of ${what}`, given)) {
    if (value === undefined) continue;
    const field = path ? `${path}.${nameOf(key)}` : nameOf(key);
    const known = Object.hasOwn(rules, key) ? rules[key] : undefined;
    if (known === undefined) throw unknown(what, field, key, rules);
    if (typeof known === 'string') throw bad(field, known);
    if (!holds(() => known.ok(value))) throw bad(field, `expected ${known.takes}, found ${shown(value)}`);
    out[key] = value;
  }
  return out;
}

/** Most names in a message: a trainer has some fifty, and who wants them all reads the types. */
const SHOWN = 24;

function unknown(what: string, field: string, key: string, rules: Rules): FledglingError {
  const known = Object.keys(rules).filter((k) => typeof rules[k] !== 'string');
  const near = meant(key, known);
  const named = known.slice(0, SHOWN).join(', ');
  const more = known.length > SHOWN ? ` and ${known.length - SHOWN} more` : '';
  const rest = near ? ` (did you mean ${near}?)` : `; known: ${named}${more}`;
  return bad(field, `is not an argument of ${what}${rest}`);
}
