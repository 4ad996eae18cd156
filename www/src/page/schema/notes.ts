// Reading what is stored: what fits is taken, what does not is noted with its place, and a default or nothing takes its place.
import * as v from 'valibot';
import { cut } from '../model/errors.ts';

/** A value that somebody else wrote, in a message. */
const quoted = (text: string): string => cut(text, 60);

/** What did not fit in the document being read. Reading is synchronous, so there is one list. */
let notes: string[] = [];
/** Where in the document the part lies that is being read. */
let at = '';

export const note = (what: string): void => void notes.push(at ? `${at}${/^\w[^ ]*: /.test(what) ? '.' : ': '}${what}` : what);

type Issue = v.BaseIssue<unknown>;

const wordsOf = (issue: Issue): string => {
  const path = issue.path ? v.getDotPath(issue) : null;
  // Checks of more than one field have words of their own.
  const what =
    issue.type === 'check'
      ? `expected ${issue.message}`
      : `expected ${cut(issue.expected ?? 'another value', 120)}, found ${quoted(issue.received)}`;
  return path ? `${quoted(path)}: ${what}` : what;
};

export type Schema<T> = v.GenericSchema<unknown, T>;

/** A field that takes its default where it is missing (files of older versions) or does not fit (which is noted). */
export function soft<T>(key: string, schema: Schema<T>, otherwise: () => T): v.SchemaWithFallback<Schema<T>, () => T> {
  return v.fallback(schema, ((dataset?: { issues?: Issue[] }) => {
    const first = dataset?.issues?.[0];
    if (first) note(`${key}${first.path ? '.' : ': '}${wordsOf(first)}`);
    return otherwise();
  }) as () => T);
}

/** A list without the items that do not fit; the first few of those are noted, then how many. */
export function each<T>(key: string, item: Schema<T>): Schema<T[]> {
  return v.pipe(
    v.array(v.unknown()),
    v.transform((list) => {
      const outer = at;
      let bad = 0;
      const kept = list.flatMap((x, i) => {
        at = outer ? `${outer}.${key}[${i}]` : `${key}[${i}]`;
        const read = v.safeParse(item, x);
        if (read.success) return [read.output];
        if (++bad <= 3) note(wordsOf(read.issues[0]));
        return [];
      });
      at = outer;
      if (bad > 3) note(`${key}: ${bad} of ${list.length} do not fit`);
      return kept;
    }),
  );
}

export type Json = Record<string, unknown>;
export const isObject = (x: unknown): x is Json => typeof x === 'object' && x !== null && !Array.isArray(x);

/** A kind of stored file: its version, how each earlier one becomes the next, and its schema. */
export interface Kind<T> {
  version: number;
  /** The first makes version 1 of a file without a version. */
  migrations: ((old: Json) => Json)[];
  schema: Schema<T>;
}

export interface Fitted<T> {
  /** Null where nothing of it can be used. */
  value: T | null;
  /** What did not fit. */
  notes: string[];
}

/** Fits a document of any age and shape to its kind. */
export function fit<T>(kind: Kind<T>, raw: unknown): Fitted<T> {
  notes = [];
  at = '';
  if (!isObject(raw))
    return { value: null, notes: [`expected an object, found ${Array.isArray(raw) ? 'a list' : quoted(String(JSON.stringify(raw)))}`] };
  let document = raw;
  const given = raw['version'] ?? 0;
  const version = typeof given === 'number' && Number.isInteger(given) && given >= 0 ? given : 0;
  if (version !== given) note(`version: expected a whole number, found ${quoted(String(JSON.stringify(given)))}`);
  else if (version > kind.version) note(`it has version ${version}, this page knows ${kind.version}: a newer page wrote it`);
  try {
    for (const migrate of kind.migrations.slice(version)) document = migrate(document);
    const read = v.safeParse(kind.schema, document);
    if (read.success) return { value: read.output, notes };
    note(wordsOf(read.issues[0]));
  } catch (e) {
    // Such as lists in lists without end.
    note((e as Error).message);
  }
  return { value: null, notes };
}
