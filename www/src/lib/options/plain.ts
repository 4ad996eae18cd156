// Data for the engine: what JSON has, lists of numbers as typed arrays, and nothing else. What is not is named by its place.
import { all, bad, cut, entries, isList, isPlain, nameOf, shown } from './check.ts';

/** Deeper than this is no data of anybody. */
const DEEPEST = 64;

function numbers(value: ArrayBufferView): number[] {
  return Array.from(value as unknown as ArrayLike<number | bigint>, Number);
}

/** A copy of `value` that can be sent and read. */
export function plain(path: string, value: unknown, depth = 0): unknown {
  switch (typeof value) {
    case 'string':
    case 'boolean':
    case 'undefined':
      return value;
    case 'number':
      if (Number.isFinite(value)) return value;
      throw bad(path, `expected a finite number, found ${String(value)}`);
    case 'object':
      break;
    default:
      throw bad(path, `expected plain data, found ${shown(value)}`);
  }
  if (value === null) return value;
  if (depth >= DEEPEST) throw bad(cut(path, 120), `is nested more than ${DEEPEST} deep`);
  if (isList(value)) {
    // Token ids: no path is made for each.
    if (all(value, Number.isFinite)) return [...value];
    const out: unknown[] = [];
    for (let i = 0; i < value.length; i++) out.push(plain(`${path}[${i}]`, item(path, value, i), depth + 1));
    return out;
  }
  if (ArrayBuffer.isView(value) && !(value instanceof DataView)) return numbers(value);
  if (!isPlain(value)) throw bad(path, `expected plain data, found ${shown(value)}`);
  const out: Record<string, unknown> = {};
  for (const [key, v] of entries(path, value)) {
    // Set as a property of its own: `__proto__` is a name like any other.
    const inner = plain(`${path}.${nameOf(key)}`, v, depth + 1);
    if (inner !== undefined) Object.defineProperty(out, key, { value: inner, enumerable: true, configurable: true, writable: true });
  }
  return out;
}

function item(path: string, list: readonly unknown[], i: number): unknown {
  try {
    return list[i];
  } catch {
    throw bad(`${path}[${i}]`, 'could not be read');
  }
}
