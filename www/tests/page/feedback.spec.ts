import { readFileSync } from 'node:fs';
import type { Page } from '@playwright/test';
import { ask, expect, go, loadModel, open, saved, test } from './helpers.ts';

const PAIRS = [
  { prompt: 'Capital of France?', chosen: 'Paris.', rejected: 'It is, I believe, Paris.' },
  {
    prompt: [{ role: 'user', content: 'Two plus two?' }],
    chosen: [{ role: 'assistant', content: 'Four.' }],
    rejected: [{ role: 'assistant', content: 'About four.' }],
    weight: 2,
  },
];
const IDEALS = [
  { prompt: 'Name a colour.', completion: ' Green.' },
  {
    messages: [
      { role: 'user', content: 'Hello' },
      { role: 'assistant', content: 'Hello to you.' },
    ],
  },
  { input_ids: [1, 2, 3], labels: [-100, 2, 3] },
];
const jsonl = (rows: object[]): string => rows.map((r) => JSON.stringify(r) + '\n').join('');

async function importText(page: Page, name: string, text: string): Promise<void> {
  await page.locator('.file-input').setInputFiles({ name, mimeType: 'application/jsonl', buffer: Buffer.from(text) });
}
async function exported(page: Page, button: string): Promise<string> {
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: button }).click()]);
  return readFileSync(await download.path(), 'utf8');
}

test('import and export give the same lines back', async ({ page }) => {
  await open(page, '#/feedback');
  await importText(page, 'mixed.jsonl', jsonl([...PAIRS, ...IDEALS]));
  await expect(page.locator('tbody tr')).toHaveCount(5);
  expect(await exported(page, 'Export pairs')).toBe(jsonl(PAIRS));
  expect(await exported(page, 'Export ideal answers')).toBe(jsonl(IDEALS));
});

test('rows without a prompt column take it from what both answers share', async ({ page }) => {
  await open(page, '#/feedback');
  const shared = { role: 'user', content: 'Hi' };
  await importText(
    page,
    'implicit.jsonl',
    jsonl([{ chosen: [shared, { role: 'assistant', content: 'Hello.' }], rejected: [shared, { role: 'assistant', content: 'What?' }] }]),
  );
  await expect(page.locator('tbody tr')).toHaveCount(1);
  expect(JSON.parse(await exported(page, 'Export pairs'))).toEqual({
    prompt: [shared],
    chosen: [{ role: 'assistant', content: 'Hello.' }],
    rejected: [{ role: 'assistant', content: 'What?' }],
  });
});

test('lines that cannot be used are named, with column and reason, and nothing is taken unasked', async ({ page }) => {
  await open(page, '#/feedback');
  const text =
    jsonl([
      PAIRS[0]!,
      { prompt: 'No answer here', chosen: 'x' },
      { prompt: 'p', completion: '' },
      { prompt_ids: [1], completion_ids: [2], label: true },
    ]) +
    '{"broken"\n' +
    jsonl([{ input_ids: [1, 2], labels: [1] }, { messages: [{ role: 'user', content: 'alone' }] }]);
  await importText(page, 'bad.jsonl', text);
  const dialog = page.getByRole('dialog');
  await expect(dialog).toContainText('5 lines of bad.jsonl cannot be used; 2 are fine');
  await expect(dialog).toContainText('line 2: rejected is missing beside prompt, chosen');
  await expect(dialog).toContainText('line 3: completion has no words: the row has no answer to learn from');
  await expect(dialog).toContainText('line 5: is not JSON');
  await expect(dialog).toContainText('line 6: labels has 1 numbers for 2 input_ids');
  await expect(dialog).toContainText('line 7: messages has no answer: expected at least one message of the role assistant');
  await dialog.getByRole('button', { name: 'Cancel' }).click();
  await expect(page.getByText('No feedback yet')).toBeVisible();
  await importText(page, 'bad.jsonl', text);
  await page.getByRole('button', { name: 'Import the 2 good rows' }).click();
  await expect(page.locator('tbody tr')).toHaveCount(2);
});

test('columns that would not be heeded, arrays of rows, rankings and texts', async ({ page }) => {
  await open(page, '#/feedback');
  const rows = [
    { prompt: 'p', completion: 'c', images: [] },
    { prompt: 'p', chosed: 'a', rejected: 'b' },
    { prompt: 'p', answers: ['good', 'bad', 'worst'], ranks: [1, 7, 9] },
    { text: 'All of it.' },
    { inputIds: [1, 2] },
    { prompt_ids: [1], chosen_ids: [2], rejected_ids: [3] },
  ];
  await importText(page, 'array.json', `\uFEFF${JSON.stringify(rows, null, 1)}`);
  const dialog = page.getByRole('dialog');
  await expect(dialog).toContainText('2 lines of array.json cannot be used; 4 are fine');
  await expect(dialog).toContainText('line 2: images is not supported: the row would be learned without it');
  await expect(dialog).toContainText('line 7: chosed is not known (did you mean chosen?)');
  await dialog.getByRole('button', { name: 'Import the 4 good rows' }).click();
  await expect(page.locator('tbody tr')).toHaveCount(4);
  await expect(page.getByText('2 rankings (4 pairs) and 2 ideal answers')).toBeVisible();
  await page.getByRole('button', { name: 'All of it.', exact: true }).click();
  await expect(dialog).toContainText('All of it.');
  await page.keyboard.press('Escape');
  const pair = (chosen: string, rejected: string) => ({ prompt: 'p', chosen, rejected });
  expect(await exported(page, 'Export pairs')).toBe(
    jsonl([pair('good', 'bad'), pair('good', 'worst'), pair('bad', 'worst'), { prompt_ids: [1], chosen_ids: [2], rejected_ids: [3] }]),
  );
  expect(await exported(page, 'Export ideal answers')).toBe(jsonl([{ text: 'All of it.' }, { input_ids: [1, 2] }]));
  // What is no text in UTF-8 is not guessed at.
  await page.locator('.file-input').setInputFiles({
    name: 'latin.jsonl',
    mimeType: 'application/jsonl',
    buffer: Buffer.from('{"prompt":"caf\u00e9","completion":"b"}', 'latin1'),
  });
  await expect(page.getByRole('alert')).toContainText('latin.jsonl is not UTF-8 text');
});

test('preferences and judgements of token ids are shown as ids, kept, learned from and exported', async ({ page }) => {
  await open(page, '#/feedback');
  const pair = { prompt_ids: [1, 2, 3], chosen_ids: [4, 5], rejected_ids: [6], weight: 2 };
  const judged = { prompt_ids: [7, 8], completion_ids: [9], label: false };
  await importText(page, 'ids.jsonl', jsonl([pair, judged]));
  await expect(page.locator('tbody tr')).toHaveCount(2);
  await saved(page);
  await page.reload();
  await page.getByRole('button', { name: '3 token ids', exact: true }).click();
  await expect(page.getByRole('dialog')).toContainText('1 2 3');
  await expect(page.getByRole('dialog')).toContainText('4 5');
  await page.keyboard.press('Escape');
  expect(await exported(page, 'Export pairs')).toBe(jsonl([pair]));
  expect(await exported(page, 'Export judged')).toBe(jsonl([judged]));
  await loadModel(page);
  await go(page, 'Learn');
  await page.getByRole('button', { name: 'Learn', exact: true }).click();
  await expect(page.locator('.run').getByText('Learnt', { exact: true })).toBeVisible();
});

test('an empty file is a typed error', async ({ page }) => {
  await open(page, '#/feedback');
  await importText(page, 'empty.jsonl', '\n\n');
  await expect(page.getByRole('alert')).toHaveAttribute('data-code', 'empty-file');
  await expect(page.getByRole('alert')).toContainText('empty.jsonl holds no rows');
});

test('an answer edited into the ideal one becomes an SFT example', async ({ page }) => {
  await open(page);
  await loadModel(page);
  await ask(page, 'What is a fledgling?');
  await page.getByRole('article', { name: 'Answer 2' }).focus();
  await page.keyboard.press('e');
  const editor = page.getByRole('textbox', { name: 'The ideal answer' });
  await expect(editor).toBeFocused();
  await editor.fill('A young bird that has just learnt to fly.');
  await page.keyboard.press('Control+Enter');
  await expect(page.getByRole('region', { name: 'Ideal answer' })).toContainText('A young bird');
  await go(page, 'Feedback');
  await expect(page.locator('tbody tr')).toHaveCount(1);
  expect(JSON.parse(await exported(page, 'Export ideal answers'))).toEqual({
    prompt: [{ role: 'user', content: 'What is a fledgling?' }],
    completion: [{ role: 'assistant', content: 'A young bird that has just learnt to fly.' }],
  });
});

test('a ranking in a chat exports all its strict pairs in messages', async ({ page }) => {
  await open(page);
  await loadModel(page);
  await ask(page, 'Q');
  await page.getByRole('article', { name: 'Answer 3' }).focus();
  await page.keyboard.press('1');
  await go(page, 'Feedback');
  const rows = (await exported(page, 'Export pairs'))
    .trim()
    .split('\n')
    .map((l) => JSON.parse(l) as { prompt: unknown; chosen: { content: string }[]; rejected: { content: string }[] });
  expect(rows).toHaveLength(2);
  for (const r of rows) {
    expect(r.prompt).toEqual([{ role: 'user', content: 'Q' }]);
    expect(r.chosen[0]!.content).toContain('Well,');
  }
  expect(rows.map((r) => r.rejected[0]!.content.split(' ')[0])).toEqual(['Certainly.', 'In']);
});

test('rows can be inspected, searched, chosen, deleted and brought back', async ({ page }) => {
  await open(page, '#/feedback');
  await importText(page, 'five.jsonl', jsonl([...PAIRS, ...IDEALS]));
  await page.getByRole('button', { name: 'Capital of France?', exact: true }).click();
  await expect(page.getByRole('dialog')).toContainText('It is, I believe, Paris.');
  await page.keyboard.press('Escape');
  await expect(page.getByRole('dialog')).toHaveCount(0);
  await page.getByRole('searchbox').fill('two plus');
  await expect(page.locator('tbody tr')).toHaveCount(1);
  await page.getByRole('searchbox').fill('');
  await page.getByRole('radio', { name: 'Ideal answers' }).check({ force: true });
  await page.getByRole('checkbox', { name: 'Choose all on this page' }).check();
  await page.getByRole('button', { name: 'Delete chosen' }).click();
  await page.getByRole('radio', { name: 'All' }).check({ force: true });
  await expect(page.locator('tbody tr')).toHaveCount(2);
  await page.getByRole('button', { name: 'Undo' }).click();
  await expect(page.locator('tbody tr')).toHaveCount(5);
});

test('ten thousand rows are read, paged and kept', async ({ page }) => {
  await open(page, '#/feedback');
  await importText(
    page,
    'many.jsonl',
    jsonl(Array.from({ length: 10_000 }, (_, i) => ({ prompt: `Question ${i}`, completion: `Answer ${i}` }))),
  );
  await expect(page.getByText('1 of 200')).toBeVisible({ timeout: 30_000 });
  await saved(page);
  await page.reload();
  await expect(page.getByText('1 of 200')).toBeVisible({ timeout: 30_000 });
});
