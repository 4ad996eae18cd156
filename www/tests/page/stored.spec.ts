// Stored files of another shape: what fits is there, what does not is set aside and told, and nothing hides anything else.
import type { Page } from '@playwright/test';
import { fit, type Kind } from '../../src/page/schema/notes.ts';
import { CHAT, KEPT_MODEL, ROW, RUN, SETTINGS, VERSIONS } from '../../src/page/schema/stored.ts';
import { ask, expect, go, loadModel, open, saved, test } from './helpers.ts';
import { chat, ideal, judged, row, run, settings, turn, variants, type Json } from './stored.ts';

// ---- the schemas, in Node

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
};

const KINDS: [string, Kind<unknown>, Json][] = [
  ['a chat', CHAT, chat('c', 'Chat')],
  ['a ranking', ROW, row('r')],
  ['an ideal answer', ROW, ideal('i')],
  ['a judged answer', ROW, judged('j')],
  ['the settings', SETTINGS, settings()],
  ['a run', RUN, run()],
  [
    'versions of an adapter',
    VERSIONS,
    {
      current: 2,
      versions: [
        { n: 1, at: 5 },
        { n: 2, at: 6, method: 'dpo', rows: 3, loss: [0.7, 0.2], accuracy: 1 },
      ],
    },
  ],
  ['a kept model', KEPT_MODEL, { source: 'kept:ab', name: 'm', sha256: 'ab', bytes: 4, files: [{ name: 'm.gguf', bytes: 4 }] }],
];

test('hundreds of variants of every stored file: a document of the right shape or a note, never a throw', () => {
  let tried = 0;
  for (const [name, kind, document] of KINDS) {
    expect(fit(kind, document), name).toMatchObject({ notes: [] });
    for (const v of variants(document)) {
      const raw = parsed(v.text);
      if (raw === undefined) continue;
      tried++;
      const { value, notes } = fit(kind, raw);
      expect(value !== null || notes.length > 0, `${name}, ${v.name}`).toBe(true);
      for (const n of notes) expect(n.length, `${name}, ${v.name}: ${n.slice(0, 100)}`).toBeLessThan(400);
      // Read once, it fits as it is written.
      if (value) expect(fit(kind, parsed(JSON.stringify({ version: 1, ...(value as object) }))).notes, `${name}, ${v.name}`).toEqual([]);
    }
  }
  expect(tried).toBeGreaterThan(400);
  expect(({} as Json)['polluted']).toBeUndefined();
});

test('one bad question leaves the others of its chat', () => {
  const one = chat('c', 'Chat');
  const { value, notes } = fit(CHAT, { ...one, turns: [null, ...(one['turns'] as Json[]), { ...turn('x', 'X'), answers: [null] }] });
  expect(value?.turns.map((t) => t.id)).toEqual(['c-a', 'c-b']);
  expect(notes).toEqual(['turns[0]: expected Object, found null', 'turns[3].answers.0: expected Object, found null']);
});

test('a chat of the first version: where the answers without a place stand is worked out', () => {
  const { rest: _, ...old } = turn('a', 'Old');
  const { value, notes } = fit(CHAT, { ...chat('c', 'Old'), version: undefined, turns: [old] });
  expect(notes).toEqual([]);
  expect(value?.turns[0]).toMatchObject({ places: [2, 1, null], rest: 2 });
});

test('places and ratings that do not fit the answers are cut to them', () => {
  const t = { ...turn('a', 'A'), places: [1, 9, 2, 3], picked: 7 };
  const { value, notes } = fit(CHAT, { ...chat('c', 'C'), turns: [t] });
  expect(value?.turns[0]).toMatchObject({ places: [1, null, 2], picked: null });
  expect(notes.length).toBeGreaterThan(0);
});

// ---- the page

/** Puts files into the page's storage as they are. */
const put = (page: Page, files: Record<string, string>): Promise<void> =>
  page.evaluate(async (all) => {
    const root = await (await navigator.storage.getDirectory()).getDirectoryHandle('fledgling-page', { create: true });
    for (const [path, text] of Object.entries(all)) {
      const parts = path.split('/');
      let dir = root;
      for (const name of parts.slice(0, -1)) dir = await dir.getDirectoryHandle(name, { create: true });
      const stream = await (await dir.getFileHandle(parts.at(-1)!, { create: true })).createWritable();
      await stream.write(text);
      await stream.close();
    }
  }, files);

const names = (page: Page, folder = ''): Promise<string[]> =>
  page.evaluate(async (f) => {
    let dir = await (await navigator.storage.getDirectory()).getDirectoryHandle('fledgling-page');
    if (f) dir = await dir.getDirectoryHandle(f);
    const found: string[] = [];
    for await (const name of (dir as unknown as { keys(): AsyncIterable<string> }).keys()) found.push(name);
    return found;
  }, folder);

const reload = async (page: Page): Promise<void> => {
  await page.reload();
  await page.locator('main[aria-busy="false"]').waitFor();
};

const all = (page: Page) => page.locator('.rail-chats li');

test('every variant of a chat beside a good one: the good one and all that can be read are there', async ({ page }) => {
  await open(page);
  const files: Record<string, string> = { 'chats/good.json': JSON.stringify(chat('good', 'The good one')) };
  const many = variants(chat('bad', 'Variant'));
  for (const [i, v] of many.entries()) files[`chats/v${i}.json`] = v.text;
  await put(page, files);
  await reload(page);
  await expect(page.getByRole('button', { name: 'The good one', exact: true })).toBeVisible();
  const readable = many.filter((v) => (fit(CHAT, parsed(v.text)).value?.turns.length ?? 0) > 0).length;
  expect(readable).toBeGreaterThan(50);
  await expect(all(page)).toHaveCount(readable + 1);
  // One notice for all of them.
  await expect(page.getByRole('alert')).toHaveCount(1);
  await expect(page.getByRole('alert')).toContainText(/\d+ chats do not fit: chats\/v\d+\.json/);
  await saved(page);
  expect((await names(page, 'chats')).filter((n) => n.endsWith('.broken')).length).toBeGreaterThan(20);
  // Set aside once, told once.
  await reload(page);
  await expect(all(page)).toHaveCount(readable + 1);
  await expect(page.getByRole('alert')).toHaveCount(0);
});

test('every variant of a row among good ones: all others are there', async ({ page }) => {
  await open(page);
  const lines = [
    JSON.stringify(row('good-1')),
    ...variants(row('a')).map((v) => v.text),
    ...variants(ideal('b')).map((v) => v.text),
    ...variants(judged('c')).map((v) => v.text),
    JSON.stringify(judged('good-2')),
  ].filter((l) => !l.includes('\n'));
  await put(page, { 'feedback.jsonl': lines.join('\n') + '\n' });
  await reload(page);
  await go(page, 'Feedback');
  await expect(page.getByRole('alert')).toHaveAttribute('data-code', 'storage-corrupt');
  await page.getByRole('searchbox').fill('Which?');
  await expect(page.locator('tbody tr').first()).toContainText('Which?');
  await saved(page);
  expect(await names(page)).toContain('feedback.jsonl.broken');
  await reload(page);
  await expect(page.getByRole('alert')).toHaveCount(0);
  await expect(page.locator('tbody tr').first()).toBeVisible();
});

for (const [name, text] of [
  ['null', 'null'],
  ['a list', '[]'],
  ['wrong types', JSON.stringify({ ...settings(), theme: 7, weights: 'x', learn: { dpo: { beta: 'much' } }, modelHosts: {} })],
  ['half', JSON.stringify(settings()).slice(0, 40)],
  ['newer', JSON.stringify({ ...settings(), version: 12 })],
] as const) {
  test(`settings that are ${name}: what fits holds, the rest is set aside and told`, async ({ page }) => {
    await open(page);
    await put(page, { 'settings.json': text, 'chats/good.json': JSON.stringify(chat('good', 'The good one')) });
    await reload(page);
    await expect(page.getByRole('alert')).toHaveAttribute('data-code', 'storage-corrupt');
    await expect(page.getByRole('alert')).toContainText('settings.json.broken');
    await expect(page.getByRole('button', { name: 'The good one', exact: true })).toBeVisible();
    if (name === 'wrong types' || name === 'newer') {
      await go(page, 'Settings');
      await expect(page.getByLabel('System prompt of new chats')).toHaveValue('Be brief');
    }
    await saved(page);
    await reload(page);
    await expect(page.getByRole('alert')).toHaveCount(0);
  });
}

test('runs, rows of a run, adapters and kept models of another shape', async ({ page }) => {
  await open(page);
  const sha = 'ab'.repeat(32);
  await put(page, {
    'run.json': JSON.stringify({ ...run(), status: 'running', args: null, error: 7 }),
    'run-metrics.jsonl': '{"step":1,"totalSteps":4,"loss":0.5}\nnull\n{"step":"x"}\n{"step":2,"totalSteps":4,"loss":null}\n{"step":3,',
    'checkpoint/state.bin': 'x',
    'checkpoint/rows.json': '{"rows":null}',
    'adapters/nothing/adapter_config.json': 'null',
    'adapters/nothing/adapter_model.safetensors': 'x',
    'adapters/odd/adapter_config.json': '{"r":{},"target_modules":7,"lora_alpha":"x"}',
    'adapters/odd/adapter_model.safetensors': 'x',
    'adapters/good/adapter_config.json': '{"peft_type":"LORA","r":4,"lora_alpha":8,"target_modules":["q_proj"]}',
    'adapters/good/adapter_model.safetensors': 'x',
    [`models/${sha}/about.json`]: '{"files":null}',
    [`models/${sha}/mine.gguf`]: 'GGUF of mine',
  });
  await reload(page);
  await expect(page.getByRole('alert')).toContainText('run.json was read in part');
  await go(page, 'Learn');
  await expect(page.getByText('Interrupted', { exact: true })).toBeVisible();
  await expect(page.locator('.stats dd').first()).toHaveText('2 / 4');
  await go(page, 'Adapters');
  await expect(page.getByRole('radio')).toHaveCount(4);
  await expect(page.getByText('adapter_config.json: expected an object, found null.')).toBeVisible();
  await go(page, 'Model');
  await expect(page.getByRole('button', { name: 'Load mine' })).toBeVisible();
});

// ---- a chat's ranking and its row

const rowsOf = (page: Page): Promise<Json[]> =>
  page.evaluate(async () => {
    const dir = await (await navigator.storage.getDirectory()).getDirectoryHandle('fledgling-page');
    const text = await (await (await dir.getFileHandle('feedback.jsonl')).getFile()).text();
    return text
      .split('\n')
      .filter(Boolean)
      .map((l) => JSON.parse(l) as Json)
      .filter((r) => 'kind' in r);
  });

const readFirst = (page: Page, folder: string): Promise<[string, Json]> =>
  page.evaluate(async (f) => {
    const dir = await (await (await navigator.storage.getDirectory()).getDirectoryHandle('fledgling-page')).getDirectoryHandle(f);
    for await (const name of (dir as unknown as { keys(): AsyncIterable<string> }).keys())
      return [name, JSON.parse(await (await (await dir.getFileHandle(name)).getFile()).text())] as [string, Json];
    throw new Error('no file');
  }, folder);

test('a ranking and its row are made to agree when they are read', async ({ page }) => {
  await open(page);
  await loadModel(page);
  await ask(page, 'Which of these?');
  await page.getByRole('article', { name: 'Answer 2' }).focus();
  await page.keyboard.press('1');
  await saved(page);
  const [before] = await rowsOf(page);
  // The dataset was lost: the chat knows.
  await put(page, { 'feedback.jsonl': '' });
  await reload(page);
  await expect(page.getByText('One judgement of chats and dataset did not agree: put right')).toBeVisible();
  await saved(page);
  expect(await rowsOf(page)).toMatchObject([{ id: before!['id'], ranks: before!['ranks'] }]);
  // The row says another order: the chat is what a person sees.
  await put(page, { 'feedback.jsonl': JSON.stringify({ ...before, ranks: [1, 2, 3] }) + '\n' });
  await reload(page);
  await saved(page);
  expect(await rowsOf(page)).toMatchObject([{ ranks: before!['ranks'] }]);
  // The chat lost its order: the row knows.
  const [name, text] = await readFirst(page, 'chats');
  const bare = (text['turns'] as Json[]).map((t) => ({ ...t, places: [null, null, null], rest: null }));
  await put(page, { [`chats/${name}`]: JSON.stringify({ ...text, turns: bare }) });
  await reload(page);
  await expect(page.locator('.verdict')).toContainText('2 pairs for DPO');
  await saved(page);
  // What was taken out of the dataset by hand stays out, until something new is said.
  await go(page, 'Feedback');
  await page.getByRole('button', { name: /^Delete: / }).click();
  await saved(page);
  await reload(page);
  await expect(page.getByText('No feedback yet')).toBeVisible();
  await go(page, 'Chat');
  await page.getByRole('article', { name: 'Answer 1' }).focus();
  await page.keyboard.press('1');
  await saved(page);
  expect(await rowsOf(page)).toHaveLength(1);
});
