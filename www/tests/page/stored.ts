// Files of the page as somebody might find them: of an older version, half written, edited, of wrong types, huge.
export type Json = Record<string, unknown>;

const answer = (text: string): Json => ({ text, adapter: null, finishReason: 'stop', tokens: 3, seconds: 0.5 });
export const turn = (id: string, prompt: string): Json => ({
  id,
  prompt,
  answers: [answer('One'), answer('Two'), answer('Three')],
  places: [2, 1, null],
  rest: 2,
  orderBy: 'hand',
  ratings: { helpful: [null, null, null], accurate: [null, null, null], harmless: [null, null, null] },
  ideal: null,
  picked: null,
  continued: null,
  comparisons: [],
});
export const chat = (id: string, title: string): Json => ({
  version: 1,
  id,
  title,
  created: 1,
  updated: 2,
  system: '',
  turns: [turn(`${id}-a`, `First of ${title}`), turn(`${id}-b`, `Second of ${title}`)],
});
export const row = (id: string): Json => ({
  kind: 'preference',
  id,
  created: 5,
  prompt: 'Which?',
  answers: ['This', 'That'],
  ranks: [1, 2],
  source: { from: 'file', name: 'pairs.jsonl' },
});
export const ideal = (id: string): Json => ({
  kind: 'ideal',
  id,
  created: 5,
  row: { prompt: 'Why?', completion: 'So.' },
  source: { from: 'file', name: 'x.jsonl' },
});
export const judged = (id: string): Json => ({
  kind: 'judged',
  id,
  created: 5,
  prompt: 'Well?',
  completion: 'Yes',
  label: true,
  source: { from: 'file', name: 'x.jsonl' },
});
export const settings = (): Json => ({
  version: 1,
  theme: 'dark',
  n: 4,
  temperature: 0.5,
  system: 'Be brief',
  weights: { helpful: 1, accurate: 2, harmless: 3 },
});
export const run = (): Json => ({
  version: 1,
  id: 'run',
  method: 'dpo',
  adapterName: 'mine',
  args: {},
  rows: 2,
  model: 'tiny',
  status: 'done',
  started: 1,
  ended: 2,
  error: null,
});

/** What a field may turn into. `__proto__` is an own key, as JSON makes it. */
const WRONG: [string, unknown][] = [
  ['null', null],
  ['a number', -7.5],
  ['a text', 'x'],
  ['an empty list', []],
  ['a list of null', [null]],
  ['an object', {}],
  ['true', true],
  ['a huge number', 1e300],
  ['__proto__', JSON.parse('{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}')],
];

export interface Variant {
  name: string;
  text: string;
}

/** Every field of a document made each of those, taken away, and the text itself cut and bent. */
export function variants(document: Json): Variant[] {
  const out: Variant[] = [];
  const whole = JSON.stringify(document);
  for (const key of Object.keys(document)) {
    const { [key]: _, ...without } = document;
    out.push({ name: `${key} missing`, text: JSON.stringify(without) });
    for (const [name, value] of WRONG)
      if (JSON.stringify(value) !== JSON.stringify(document[key]))
        out.push({ name: `${key}: ${name}`, text: JSON.stringify({ ...document, [key]: value }) });
  }
  for (const share of [0.1, 0.5, 0.9]) out.push({ name: `cut at ${share}`, text: whole.slice(0, Math.floor(whole.length * share)) });
  for (const [name, value] of WRONG) out.push({ name: `the whole is ${name}`, text: JSON.stringify(value) });
  out.push({ name: 'of a newer version', text: JSON.stringify({ ...document, version: 99, invention: { deep: [1] } }) });
  out.push({ name: 'of no version', text: JSON.stringify({ ...document, version: undefined }) });
  out.push({ name: 'with __proto__', text: `{"__proto__":{"polluted":1},${whole.slice(1)}` });
  out.push({ name: 'NULs', text: '\0'.repeat(64) });
  out.push({ name: 'lists without end', text: '['.repeat(50_000) });
  out.push({ name: 'deep inside', text: `{"more":${'['.repeat(3000)}${']'.repeat(3000)},${whole.slice(1)}` });
  out.push({ name: 'a field of 2 MB', text: JSON.stringify({ ...document, more: 'x'.repeat(2e6) }) });
  out.push({ name: 'twice', text: whole + whole });
  return out;
}
