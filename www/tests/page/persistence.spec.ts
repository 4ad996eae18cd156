import { ask, expect, go, loadModel, open, orderText, saved, test } from './helpers.ts';

test('chats, judgements, settings and the model come back after a reload', async ({ page }) => {
  await open(page);
  await loadModel(page);
  await page.getByRole('radio', { name: '4 answers' }).check({ force: true });
  await ask(page, 'Remember me');
  await page.getByRole('article', { name: 'Answer 3' }).focus();
  await page.keyboard.press('1');
  await page.getByRole('group', { name: 'accurate – answer 2' }).getByRole('radio').nth(3).check({ force: true });
  await page.getByRole('button', { name: /^Switch to the dark theme/ }).click();
  await saved(page);
  await page.reload();
  await expect(page.getByRole('heading', { name: 'Remember me' })).toBeVisible();
  expect(await orderText(page)).toBe('3 > 1 · 2 · 4');
  await expect(page.getByRole('group', { name: 'accurate – answer 2' }).getByRole('radio').nth(3)).toBeChecked();
  await expect(page.getByRole('radio', { name: '4 answers' })).toBeChecked();
  await expect(page.locator('html')).toHaveAttribute('data-theme', 'dark');
  await expect(page.getByRole('link', { name: /^Model SmolLM2/ }).last()).toBeVisible();
  await go(page, 'Feedback');
  await expect(page.locator('tbody tr')).toHaveCount(1);
});

test('several chats: begin, switch, rename, delete, undo', async ({ page }) => {
  await open(page);
  await loadModel(page);
  await ask(page, 'One');
  await page.getByRole('button', { name: 'New chat' }).first().click();
  await ask(page, 'Two');
  const chats = page.getByRole('region', { name: 'Chats' });
  await chats.getByRole('button', { name: 'One', exact: true }).click();
  await expect(page.getByRole('heading', { name: 'One' })).toBeVisible();
  await page.getByRole('button', { name: 'Rename this chat' }).click();
  await page.getByRole('textbox', { name: 'Name' }).fill('First of all');
  await page.keyboard.press('Enter');
  await expect(page.getByRole('heading', { name: 'First of all' })).toBeVisible();
  await chats.getByRole('button', { name: 'Delete the chat First of all' }).click();
  await expect(page.getByRole('heading', { level: 1, name: 'Two' })).toBeVisible();
  await page.getByRole('button', { name: 'Undo' }).click();
  await saved(page);
  await page.reload();
  await expect(chats.getByRole('button', { name: 'First of all', exact: true })).toBeVisible();
});

test('a second tab sees feedback given in the first', async ({ page, context }) => {
  await open(page, '#/feedback');
  const other = await context.newPage();
  await open(other, '#/feedback');
  await page.locator('.file-input').setInputFiles({
    name: 'one.jsonl',
    mimeType: 'application/jsonl',
    buffer: Buffer.from('{"prompt":"Hello from a tab","completion":"Hi"}'),
  });
  await expect(other.getByRole('button', { name: 'Hello from a tab', exact: true })).toBeVisible();
});

test('deleting everything leaves a fresh page', async ({ page }) => {
  await open(page);
  await loadModel(page);
  await ask(page, 'Soon gone');
  await saved(page);
  await go(page, 'Settings');
  await page.getByRole('button', { name: 'Delete everything' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Delete everything' }).click();
  await expect(page.getByText('No chats yet').first()).toBeVisible();
});

test('deleting everything in one tab is not undone by another', async ({ page, context }) => {
  await open(page, '#/feedback');
  await page
    .locator('.file-input')
    .setInputFiles({ name: 'one.jsonl', mimeType: 'application/jsonl', buffer: Buffer.from('{"prompt":"Soon gone","completion":"Hi"}') });
  await saved(page);
  const other = await context.newPage();
  await open(other, '#/settings');
  await other.getByRole('button', { name: 'Delete everything' }).click();
  await other.getByRole('dialog').getByRole('button', { name: 'Delete everything' }).click();
  await expect(page.getByText('No feedback yet')).toBeVisible();
});

test('when the browser clears its storage under an open tab, what the tab holds is written anew', async ({ page }) => {
  await open(page, '#/feedback');
  const row = (prompt: string) => ({
    name: `${prompt}.jsonl`,
    mimeType: 'application/jsonl',
    buffer: Buffer.from(JSON.stringify({ prompt, completion: 'Hi' })),
  });
  await page.locator('.file-input').setInputFiles(row('Before'));
  await expect(page.locator('tbody tr')).toHaveCount(1);
  await saved(page);
  await page.evaluate(async () => (await navigator.storage.getDirectory()).removeEntry('fledgling-page', { recursive: true }));
  await page.locator('.file-input').setInputFiles(row('After'));
  await expect(page.locator('tbody tr')).toHaveCount(2);
  await saved(page);
  await page.reload();
  await expect(page.locator('tbody tr')).toHaveCount(2);
});
