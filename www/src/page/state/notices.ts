// Messages to the person: short toasts, errors that stay until dismissed, and words for screen readers.
import { effect, signal } from '@preact/signals';
import { language } from '../i18n/language.ts';
import { cut, describe, type Described } from '../model/errors.ts';
import { byItself, navigations } from './router.ts';

export interface Action {
  label: string;
  run(): void;
}

export interface Notice {
  id: number;
  tone: 'info' | 'error';
  title: string;
  detail: string;
  code: string | null;
  /** Of the same kind only the newest is shown. */
  key: string | null;
  /** When it was shown. */
  at: number;
  actions: Action[];
}

/** Messages of the engine are no sentences; what follows them is. */
export const sentence = (text: string): string => (/[.!?…。！？]\s*$/.test(text) || text === '' ? text : `${text}.`);

export const notices = signal<Notice[]>([]);
/** Text of the page's polite live region. */
export const announcement = signal('');

let next = 1;

export function dismiss(id: number): void {
  notices.value = notices.value.filter((n) => n.id !== id);
}

/** A short message that leaves by itself (with an action it stays a little longer). */
export function toast(text: string, action?: Action): void {
  const title = cut(text, 200);
  const id = next++;
  // The same words twice are said once; three at most, and never in place of an error.
  const others = notices.value.filter((n) => n.tone !== 'info' || n.title !== title);
  const old = others.filter((n) => n.tone === 'info').slice(0, -2);
  notices.value = [
    ...others.filter((n) => !old.includes(n)),
    { id, tone: 'info', title, detail: '', code: null, key: null, at: performance.now(), actions: action ? [action] : [] },
  ];
  setTimeout(() => dismiss(id), action ? 9000 : 3500);
}

/** What was said in passing leaves with the language that it was said in; errors and what offers an action stay. */
effect(() => {
  language();
  const all = notices.peek();
  if (all.some((n) => n.tone === 'info' && n.actions.length === 0))
    notices.value = all.filter((n) => n.tone !== 'info' || n.actions.length > 0);
});

/** Shows an error until it is dismissed; the same kind twice (by default the same code) is shown once, with the newer detail. Being stopped is no error. */
export function report(error: unknown, actions: Action[] = [], kind?: string): Described {
  const said = describe(error);
  if (said.code === 'aborted') return said;
  if (said.code === 'unexpected') console.error(error);
  const key = kind ?? said.code;
  notices.value = [
    ...notices.value.filter((n) => n.key !== key),
    {
      id: next++,
      tone: 'error',
      title: said.title,
      detail: [sentence(said.detail), said.hint].filter(Boolean).join(' '),
      code: said.code,
      key,
      at: performance.now(),
      actions,
    },
  ];
  return said;
}

/** What was tried in a view and did not work: in another view it is over. Whatever else there is, such as a damaged file, stays until it is dismissed. */
const OF_A_VIEW = new Set([
  'bad-config',
  'bad-row',
  'bad-file',
  'bad-adapter',
  'busy',
  'empty-dataset',
  'empty-file',
  'no-pairs',
  'unknown-file',
]);
/** An error that has been there so long has been read. */
const READ = 1500;
navigations.subscribe(() => {
  const now = performance.now();
  const over = (n: Notice): boolean => OF_A_VIEW.has(n.code ?? '') && n.actions.length === 0 && !(byItself && now - n.at < READ);
  const left = notices.peek().filter((n) => !over(n));
  if (left.length < notices.peek().length) notices.value = left;
});

export const clearError = (kind: string): void => void (notices.value = notices.value.filter((n) => n.key !== kind));

/** Has a screen reader say something without moving the focus. */
export function announce(text: string): void {
  // The same words twice in a row would not be read again; a no-break space makes them differ.
  announcement.value = announcement.value === text ? text + '\u00a0' : text;
}
