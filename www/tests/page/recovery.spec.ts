// What comes back by itself after a lost device or a crashed Worker, and what is said of failures that nobody would see.
import type { Page } from '@playwright/test';
import { address, ask, expect, go, loadModel, open, saved, test } from './helpers.ts';

const kill = (page: Page, code: string): Promise<void> =>
  page.evaluate((c) => (globalThis as unknown as { fledglingKill(code: string): void }).fledglingKill(c), code);

const chip = (page: Page) => page.getByRole('link', { name: /^Model SmolLM2/ }).last();
const loads = (page: Page): Promise<number> =>
  page.evaluate(
    () => (globalThis as unknown as { fledglingCalls: { what: string }[] }).fledglingCalls.filter((c) => c.what === 'load').length,
  );
const question = (page: Page) => page.getByRole('textbox', { name: 'Your question' });
const put = async (page: Page, text: string): Promise<void> => {
  await question(page).fill(text);
  await page.keyboard.press('Enter');
};
const status = (page: Page, text: string) => page.locator('.run').getByText(text, { exact: true });

for (const code of ['device-lost', 'worker-failed', 'internal'] as const) {
  test(`${code} in an answer: model and answer come back, and the answer goes on behind what is there`, async ({ page }) => {
    await open(page, '', { pieceMs: 60, loadMs: 60 });
    await loadModel(page);
    await put(page, `kill: ${code} 2 after 6`);
    const first = page.locator('.answer .text').first();
    await expect(page.locator('.banner')).toContainText('is being loaded again by itself');
    const there = (await first.innerText()).trim();
    expect(there.length).toBeGreaterThan(10);
    // While it is caught up with, nothing that was there goes away.
    for (let i = 0; i < 8; i++) {
      expect((await first.innerText()).trim().startsWith(there)).toBe(true);
      await page.waitForTimeout(100);
    }
    await expect(page.getByRole('button', { name: 'Stop answering' })).toHaveCount(0);
    await expect(page.locator('.answer')).toHaveCount(3);
    expect((await first.innerText()).trim().length).toBeGreaterThan(there.length);
    await expect(page.locator('.turn').last().locator('.order')).toBeVisible();
    expect(await loads(page)).toBe(3);
    await expect(page.getByRole('alert')).toHaveCount(0);
  });
}

test('three times; then there is a choice, the processor among it', async ({ page }) => {
  await open(page);
  await loadModel(page);
  await put(page, 'kill: device-lost 4');
  const alert = page.getByRole('alert');
  await expect(alert).toHaveAttribute('data-code', 'device-lost');
  expect(await loads(page)).toBe(4);
  await expect(question(page)).toHaveValue('kill: device-lost 4');
  await expect(alert.getByRole('button', { name: 'Load again' })).toBeVisible();
  await expect(alert.getByRole('button', { name: 'Another model' })).toBeVisible();
  await alert.getByRole('button', { name: 'Use the processor' }).click();
  await expect(page.getByText('It computes on the processor now')).toBeVisible();
  await ask(page, 'All well?');
  await go(page, 'Settings');
  await expect(page.getByRole('radio', { name: 'The processor' })).toBeChecked();
});

test('an engine that dies while nobody asks anything is noticed, and comes back with its adapters', async ({ page }) => {
  await open(page);
  await loadModel(page);
  await go(page, 'Adapters');
  await page.locator('.file-input').setInputFiles([
    { name: 'adapter_config.json', mimeType: 'application/json', buffer: Buffer.from('{"peft_type":"LORA","r":8}') },
    { name: 'adapter_model.safetensors', mimeType: 'application/octet-stream', buffer: Buffer.from('x') },
  ]);
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByRole('radio', { name: /^adapter/ }).check();
  await kill(page, 'worker-failed');
  await expect(page.getByText(/is back$/)).toBeVisible();
  expect(await loads(page)).toBe(2);
  await expect(page.getByRole('radio', { name: /^adapter/ })).toBeChecked();
  await go(page, 'Chat');
  await ask(page, 'Still there?');
  await expect(page.locator('.answer .text').first()).toContainText('Briefly');
});

test('with the graphics card chosen and none left it says so, and offers the processor', async ({ page }) => {
  await open(page, '#/settings', { noDevice: { device: 'gpu', from: 2 } });
  await page.getByRole('radio', { name: 'The graphics card', exact: true }).check();
  await saved(page);
  await loadModel(page);
  await kill(page, 'device-lost');
  const alert = page.getByRole('alert');
  await expect(alert).toHaveAttribute('data-code', 'webgpu-unavailable');
  await expect(alert).toContainText('no graphics adapter was found');
  // Loading again says it once more, in the view where one is.
  await alert.getByRole('button', { name: 'Load again' }).click();
  await expect(page.locator('.banner')).toContainText('no graphics adapter was found');
  await page.locator('.banner').getByRole('button', { name: 'Use the processor' }).click();
  await expect(chip(page)).toBeVisible();
  await ask(page, 'On the processor?');
});

test('the model that comes back is the one that was in use', async ({ page }) => {
  await open(page, '#/model');
  await page
    .locator('.file-input')
    .first()
    .setInputFiles({ name: 'mine.gguf', mimeType: 'application/octet-stream', buffer: Buffer.from('GGUF mine') });
  await ask(page, 'Before');
  await kill(page, 'device-lost');
  await expect(page.getByText('mine is back')).toBeVisible();
  await expect(page.getByRole('link', { name: /^Model mine/ }).last()).toBeVisible();
  await ask(page, 'After');
});

test('a run comes back from its checkpoint without a click, also before its first update', async ({ page }) => {
  await open(page, '', { failAt: 1, failCode: 'device-lost', failTimes: 2, stepMs: 150 });
  await loadModel(page);
  await ask(page, 'Teach me');
  await page.getByRole('article', { name: 'Answer 3' }).focus();
  await page.keyboard.press('1');
  await go(page, 'Learn');
  await page.getByRole('textbox', { name: 'num_train_epochs' }).fill('3');
  await page.getByRole('button', { name: 'Learn', exact: true }).click();
  await expect(status(page, 'Learnt')).toBeVisible({ timeout: 20_000 });
  await expect(page.getByRole('img', { name: /^loss: 6 steps/ })).toBeVisible();
  expect(await loads(page)).toBe(3);
});

test('a run that kills the engine again and again can still go on, on the processor', async ({ page }) => {
  await open(page, '', { failAt: 3, failCode: 'worker-failed', failTimes: 4, stepMs: 60 });
  await loadModel(page);
  await ask(page, 'Teach me');
  await page.getByRole('article', { name: 'Answer 3' }).focus();
  await page.keyboard.press('1');
  await go(page, 'Learn');
  await page.getByRole('button', { name: 'Learn', exact: true }).click();
  await expect(status(page, 'Failed')).toBeVisible({ timeout: 20_000 });
  const alert = page.getByRole('alert');
  await expect(alert).toHaveCount(1);
  await alert.getByRole('button', { name: 'Use the processor' }).click();
  await page.getByRole('button', { name: 'Go on' }).click();
  await expect(status(page, 'Learnt')).toBeVisible();
});

test('Stop ends a Worker that does not answer, and the model comes back', async ({ page }) => {
  await open(page, '', { deaf: 'answering', pieceMs: 500 });
  await loadModel(page);
  await put(page, 'A long one');
  await expect(page.locator('.answer .text').first()).toContainText('you');
  await page.getByRole('button', { name: 'Stop answering' }).click();
  await expect(page.getByText(/is back$/)).toBeVisible({ timeout: 8000 });
  await expect(page.getByRole('button', { name: 'Stop answering' })).toHaveCount(0);
  await expect(page.locator('.answer').first()).toContainText('stopped');
});

test('Cancel ends a run that does not answer; Unload is always possible', async ({ page }) => {
  await open(page, '', { deaf: 'learning', stepMs: 4000 });
  await loadModel(page);
  await ask(page, 'Teach me');
  await page.getByRole('article', { name: 'Answer 3' }).focus();
  await page.keyboard.press('1');
  await go(page, 'Learn');
  await page.getByRole('button', { name: 'Learn', exact: true }).click();
  await page.locator('.run').getByRole('button', { name: 'Cancel' }).click();
  await expect(status(page, 'Cancelled')).toBeVisible({ timeout: 9000 });
  await expect(chip(page)).toBeVisible();
  await page.getByRole('button', { name: 'Learn', exact: true }).click();
  await expect(status(page, 'Preparing')).toBeVisible();
  await go(page, 'Model');
  await page.getByRole('button', { name: 'Unload' }).click();
  await expect(page.getByRole('link', { name: /^No model/ }).last()).toBeVisible({ timeout: 4000 });
  await expect(page.getByRole('alert')).toHaveCount(0);
  await go(page, 'Learn');
  await expect(status(page, 'Failed')).toBeVisible();
  await expect(page.getByText('The model was taken away in the middle of the run.')).toBeVisible();
});

// ---- failures that nobody would see

test('a model that cannot be loaded by itself is said where the person is', async ({ page }) => {
  await open(page);
  await loadModel(page);
  await saved(page);
  let away = true;
  await page.route('**/models/*.gguf', (route) => (away ? route.abort('connectionrefused') : route.continue()));
  await page.goto(address() + '#/chat');
  await page.reload();
  const banner = page.locator('.banner');
  await expect(banner).toHaveAttribute('data-code', 'network');
  await expect(banner).toContainText('SmolLM2');
  for (const view of ['Learn', 'Feedback']) {
    await go(page, view);
    await expect(banner).toBeVisible();
  }
  await go(page, 'Model');
  await expect(page.getByRole('alert')).toHaveCount(1);
  await go(page, 'Chat');
  away = false;
  await banner.getByRole('button', { name: 'Try again' }).click();
  await expect(chip(page)).toBeVisible();
  await expect(banner).toHaveCount(0);
});

test('storage cleared under an open tab is noticed, said, and what is on screen written again', async ({ page }) => {
  await open(page);
  await loadModel(page);
  await ask(page, 'Keep me');
  await page.getByRole('article', { name: 'Answer 3' }).focus();
  await page.keyboard.press('1');
  await go(page, 'Adapters');
  await page.locator('.file-input').setInputFiles([
    { name: 'adapter_config.json', mimeType: 'application/json', buffer: Buffer.from('{"peft_type":"LORA","r":8}') },
    { name: 'adapter_model.safetensors', mimeType: 'application/octet-stream', buffer: Buffer.from('x') },
  ]);
  await page.getByRole('button', { name: 'Save' }).click();
  await saved(page);
  await page.evaluate(async () => (await navigator.storage.getDirectory()).removeEntry('fledgling-page', { recursive: true }));
  await expect(page.getByRole('alert')).toHaveAttribute('data-code', 'storage-cleared');
  await saved(page);
  await page.reload();
  await go(page, 'Chat');
  await expect(page.locator('.turn')).toHaveCount(1);
  await expect(page.locator('.verdict')).toContainText('2 pairs for DPO');
  await go(page, 'Feedback');
  await expect(page.locator('tbody tr')).toHaveCount(1);
  await go(page, 'Adapters');
  await expect(page.getByRole('radio', { name: /^adapter/ })).toBeVisible();
});

test('a question is on disk before its answer begins', async ({ page, context }) => {
  await open(page, '', { pieceMs: 5000 });
  await loadModel(page);
  await saved(page);
  await put(page, 'Asked, and then the tab died');
  await page.waitForTimeout(150);
  const cdp = await context.newCDPSession(page);
  const died = new Promise((done) => page.once('crash', done));
  void cdp.send('Page.crash').catch(() => {});
  await died;
  const other = await context.newPage();
  await open(other);
  await expect(question(other)).toHaveValue('Asked, and then the tab died');
});
