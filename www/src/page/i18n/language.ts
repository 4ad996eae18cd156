// The page's words in the language of the person. English stands where it is used and is the key of every other catalogue; a catalogue
// is a script of its own, fetched when somebody reads that language. A text without its Chinese one is an error of the compiler.
import { signal } from '@preact/signals';
import type zh from './zh/index.ts';

export const LANGUAGES = { en: 'English', zh: '中文' } as const;
export type Language = keyof typeof LANGUAGES;

/** A text of the page, in English. `{name}` is filled in; `{n|pair|pairs}` is the word that the number asks for. */
export type Key = keyof (typeof zh)['texts'];

type Names<K extends string> = K extends `${string}{${infer Inner}}${infer Rest}`
  ? (Inner extends `${infer Name}|${string}` ? Name : Inner) | Names<Rest>
  : never;
type Values<K extends string, V> = [Names<K>] extends [never] ? [] : [values: Record<Names<K>, V>];
/** A text with nothing to fill in. */
export type Plain = { [K in Key]: [Names<K>] extends [never] ? K : never }[Key];

type Catalogue = Partial<Record<string, string>>;
interface Spoken {
  language: Language;
  /** None for English, which is its own key. */
  texts: Catalogue | null;
  /** Of what the table of methods says. */
  methods: Catalogue | null;
}
const spoken = signal<Spoken>({ language: 'en', texts: null, methods: null });

/** The language in force. */
export const language = (): Language => spoken.value.language;

/** As `Intl` names it: of English that kind which the browser speaks. */
export function locale(): string {
  const own = globalThis.navigator?.language ?? '';
  if (language() === 'zh') return own.startsWith('zh') ? own : 'zh-CN';
  return own.startsWith('en') ? own : 'en';
}

let wanted: Language = 'en';
/** Speaks another language from here on; its catalogue is fetched first. */
export async function speak(next: Language): Promise<void> {
  wanted = next;
  const catalogue = next === 'en' ? null : (await import('./zh/index.ts')).default;
  // Another one was chosen meanwhile.
  if (wanted === next && spoken.peek().language !== next)
    spoken.value = { language: next, texts: catalogue?.texts ?? null, methods: catalogue?.methods ?? null };
}

const plain = new Map<string, Intl.NumberFormat>();
/** As `Intl` writes it, ungrouped unless asked for. */
export function number(n: number, options: Intl.NumberFormatOptions = {}): string {
  const key = `${locale()} ${JSON.stringify(options)}`;
  let format = plain.get(key);
  if (!format) plain.set(key, (format = new Intl.NumberFormat(locale(), { useGrouping: false, maximumFractionDigits: 20, ...options })));
  return format.format(n);
}

const plurals = new Intl.PluralRules('en');
const PART = /\{(\w+)(?:\|([^|}]*)\|([^}]*))?\}/g;

/** The text in pieces, with what is filled in between. */
function filled<V>(key: string, values: Record<string, V> | undefined): (string | V)[] {
  const text = spoken.value.texts?.[key] ?? key;
  if (!values) return [text];
  const out: (string | V)[] = [];
  let from = 0;
  for (const m of text.matchAll(PART)) {
    out.push(text.slice(from, m.index));
    const v = values[m[1]!]!;
    out.push(m[2] === undefined ? v : plurals.select(v as number) === 'one' ? m[2] : m[3]!);
    from = m.index + m[0].length;
  }
  out.push(text.slice(from));
  return out;
}

const shown = (v: string | number): string => (typeof v === 'number' ? number(v) : v);

export function t<K extends Key>(key: K, ...[values]: Values<K, string | number>): string {
  return values ? filled<string | number>(key, values).map(shown).join('') : filled(key, undefined).join('');
}

/** A text with elements in it: a link, a name in bold. */
export function rich<K extends Key, V>(key: K, ...[values]: Values<K, V | string | number>): (V | string | number)[] {
  return filled<V | string | number>(key, values);
}

/** A sentence of the table of methods. */
export const said = (sentence: { en: string; zh: string }): string =>
  spoken.value.language === 'zh' ? sentence.zh || (spoken.value.methods?.[sentence.en] ?? sentence.en) : sentence.en;

/** What stands between two sentences. */
export const between = (): string => (language() === 'zh' ? '' : ' ');

/** a and b. */
export const listOf = (items: string[]): string => items.join(t(' and '));
