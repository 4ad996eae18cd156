// What goes wrong is said with a code, what and where; the page stays usable and nothing is lost.
import { address, ask, expect, go, loadModel, open, saved, test } from './helpers.ts';

test('without WebGPU every view says so, and saved work can still be read', async ({ page }) => {
  await open(page, '', { webgpu: false });
  const alert = page.getByRole('alert');
  for (const view of ['Chat', 'Learn', 'Feedback', 'Adapters', 'Settings', 'Model']) {
    await go(page, view);
    await expect(alert).toHaveAttribute('data-code', 'webgpu-unavailable');
    await expect(alert).toContainText('Navigator.gpu is missing');
    await expect(alert).toBeInViewport();
  }
  // The processor can do it as well; then there is nothing more to say.
  await loadModel(page);
  await expect(alert).toHaveCount(0);
  await go(page, 'Feedback');
  await expect(page.getByRole('button', { name: 'Import' })).toBeEnabled();
});

test('a file that is no model', async ({ page }) => {
  await open(page, '#/model');
  await page
    .locator('.file-input')
    .first()
    .setInputFiles({ name: 'holiday.gguf', mimeType: 'application/octet-stream', buffer: Buffer.from('JPEG....') });
  const alert = page.getByRole('alert');
  await expect(alert).toHaveAttribute('data-code', 'bad-file');
  await expect(alert).toContainText('holiday: expected the magic bytes "GGUF" at byte 0, found "JPEG"');
  await page
    .locator('.file-input')
    .first()
    .setInputFiles({ name: 'good.gguf', mimeType: 'application/octet-stream', buffer: Buffer.from('GGUF....') });
  await expect(page.getByRole('textbox', { name: 'Your question' })).toBeVisible();
});

test('a dropped file loads', async ({ page }) => {
  await open(page, '#/model');
  const data = await page.evaluateHandle(() => {
    const d = new DataTransfer();
    d.items.add(new File(['GGUF'], 'dropped.gguf'));
    return d;
  });
  await page.locator('.page').dispatchEvent('drop', { dataTransfer: data });
  await expect(page.getByRole('textbox', { name: 'Your question' })).toBeVisible();
  await expect(page.getByText('dropped').last()).toBeVisible();
});

test('an architecture that is not supported, and an address that is not there', async ({ page }) => {
  await open(page, '#/model');
  const from = async (path: string): Promise<void> => {
    await page.getByRole('textbox', { name: 'Address of a model file' }).fill(address() + path);
    await page.getByRole('button', { name: 'Load', exact: true }).click();
  };
  await from('models/wrong-architecture.gguf');
  await expect(page.getByRole('alert')).toHaveAttribute('data-code', 'unsupported-architecture');
  await from('models/absent.gguf');
  await expect(page.getByRole('alert')).toHaveAttribute('data-code', 'network');
  await expect(page.getByRole('alert')).toContainText('answered 404');
});

test('a cancelled load leaves the page as it was', async ({ page }) => {
  await open(page, '#/model', { loadMs: 2000 });
  await page.getByRole('button', { name: /^Load SmolLM2/ }).click();
  const progress = page.getByRole('progressbar', { name: /^Loading/ });
  await expect(progress).toBeVisible();
  await expect(page.getByText(/MB of 98\.0 MB \(\d+ %\)/)).toBeVisible();
  await page.getByRole('button', { name: 'Cancel' }).click();
  await expect(progress).toHaveCount(0);
  await expect(page.getByText('Loading stopped')).toBeVisible();
  await expect(page.getByRole('button', { name: /^Load SmolLM2/ })).toBeEnabled();
});

test('a prompt longer than the context comes back to the composer', async ({ page }) => {
  await open(page, '', { contextChars: 100 });
  await loadModel(page);
  const long = 'bird '.repeat(40).trim();
  await page.getByRole('textbox', { name: 'Your question' }).fill(long);
  await page.keyboard.press('Enter');
  const alert = page.getByRole('alert');
  await expect(alert).toHaveAttribute('data-code', 'context-overflow');
  await expect(alert).toContainText('the prompt has 199 tokens, the context holds 100');
  await expect(page.getByRole('textbox', { name: 'Your question' })).toHaveValue(long);
  await expect(page.locator('.turn')).toHaveCount(0);
  await ask(page, 'Short enough');
});

test('an empty dataset and a dataset of ties', async ({ page }) => {
  await open(page);
  await loadModel(page);
  await go(page, 'Learn');
  await page.getByRole('button', { name: 'Learn', exact: true }).click();
  await expect(page.getByRole('alert')).toHaveAttribute('data-code', 'empty-dataset');
  await page.getByRole('button', { name: 'Dismiss' }).click();
  await go(page, 'Chat');
  await ask(page, 'All the same');
  for (const a of [1, 2, 3]) {
    await page.getByRole('article', { name: `Answer ${a}` }).focus();
    await page.keyboard.press('1');
  }
  await expect(page.locator('.verdict')).toHaveText('All equal: nothing to learn from');
  await go(page, 'Learn');
  await page.getByRole('button', { name: 'Learn', exact: true }).click();
  await expect(page.getByRole('alert')).toHaveAttribute('data-code', 'no-pairs');
  await expect(page.getByRole('button', { name: 'Learn', exact: true })).toBeEnabled();
});

test('a run that fails keeps its metrics, its message and the page', async ({ page }) => {
  await open(page);
  await loadModel(page);
  await ask(page, 'Q');
  await page.getByRole('article', { name: 'Answer 1' }).focus();
  await page.keyboard.press('1');
  await go(page, 'Learn');
  await page.getByRole('textbox', { name: 'learning_rate' }).fill('0.666');
  await page.getByRole('button', { name: 'Learn', exact: true }).click();
  await expect(page.getByRole('alert')).toHaveAttribute('data-code', 'not-finite');
  await expect(page.getByText('Failed', { exact: true })).toBeVisible();
  await expect(page.locator('.run .field-error')).toContainText('the loss is NaN');
  await expect(page.getByRole('button', { name: 'Learn', exact: true })).toBeEnabled();
});

test('a full quota is said, nothing is lost, and saving again works', async ({ page, context }) => {
  await open(page, '#/feedback');
  const cdp = await context.newCDPSession(page);
  const origin = new URL(address()).origin;
  await cdp.send('Storage.overrideQuotaForOrigin', { origin, quotaSize: 1 });
  await page.locator('.file-input').setInputFiles({
    name: 'rows.jsonl',
    mimeType: 'application/jsonl',
    buffer: Buffer.from(Array.from({ length: 500 }, (_, i) => JSON.stringify({ prompt: `Q${i}`, completion: 'A'.repeat(200) })).join('\n')),
  });
  const alert = page.getByRole('alert');
  await expect(alert).toHaveAttribute('data-code', 'quota-exceeded');
  await expect(alert).toContainText('feedback.jsonl');
  await expect(page.getByText('1 of 10')).toBeVisible();
  await expect(page.locator('.rail-foot .save.failed')).toHaveText('not saved');
  await cdp.send('Storage.overrideQuotaForOrigin', { origin });
  await alert.getByRole('button', { name: 'Save again' }).click();
  await saved(page);
  await expect(page.getByRole('alert')).toHaveCount(0);
  await page.reload();
  await expect(page.getByText('1 of 10')).toBeVisible();
});

test('a damaged file is set aside and the rest is read', async ({ page }) => {
  await open(page);
  await loadModel(page);
  await ask(page, 'Keep me');
  await saved(page);
  await page.evaluate(async () => {
    const dir = await (await navigator.storage.getDirectory()).getDirectoryHandle('fledgling-page');
    const stream = await (await dir.getFileHandle('settings.json')).createWritable();
    await stream.write('{"theme": "da');
    await stream.close();
  });
  await page.reload();
  await expect(page.getByRole('alert')).toHaveAttribute('data-code', 'storage-corrupt');
  await expect(page.getByRole('alert')).toContainText('settings.json.broken');
  await go(page, 'Chat');
  await expect(page.getByRole('heading', { name: 'Keep me' })).toBeVisible();
});
