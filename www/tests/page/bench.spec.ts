// The page that measures this device: figures in the table, and the table as text, Markdown and JSON.
import { expect, loadModel, open, test } from './helpers.ts';

test.use({ permissions: ['clipboard-read', 'clipboard-write'] });

test('measures all devices and copies the table', async ({ page }) => {
  await open(page, '#/settings');
  await page.getByRole('link', { name: 'Measure this device' }).click();
  await expect(page.getByRole('heading', { level: 1, name: 'Measure' })).toBeFocused();
  await page.getByRole('button', { name: 'Run' }).click();
  await expect(page.getByRole('button', { name: 'Copy as text' })).toBeVisible();
  const table = page.getByRole('region', { name: 'Figures of this device' });
  for (const name of ['Auto', 'Graphics', 'Processor']) await expect(table.getByRole('row', { name })).toContainText('12.5');
  await expect(page.getByRole('region', { name: 'Figures of the model' })).toHaveCount(0);

  const copied = async (what: string): Promise<string> => {
    await page.getByRole('button', { name: `Copy as ${what}` }).click();
    await expect(page.getByText(`Copied as ${what}`).last()).toBeVisible();
    return page.evaluate(() => navigator.clipboard.readText());
  };
  const text = await copied('text');
  expect(text).toMatch(/Matmul 512³ \(GFLOP\/s\)/);
  expect(text).toMatch(/^Processor +12\.5/m);
  expect(await copied('Markdown')).toMatch(/^\| Graphics \| 12\.5 \| 1234 \| /m);
  const json = JSON.parse(await copied('JSON')) as { about: string; rows: { name: string; figures: { gptStepMs: number } }[] };
  expect(json.rows.map((r) => [r.name, r.figures.gptStepMs])).toEqual([
    ['Auto', 1234],
    ['Graphics', 1234],
    ['Processor', 1234],
  ]);
});

test('measures the model in use and leaves it as it was', async ({ page }) => {
  await open(page);
  await loadModel(page);
  await page.goto(`${page.url().split('#')[0]}#/bench`);
  await page.getByRole('button', { name: 'Run' }).click();
  const table = page.getByRole('region', { name: 'Figures of the model' });
  await expect(table.getByRole('row', { name: /SmolLM2/ })).toContainText(/\d/);
  await expect(page.getByRole('button', { name: 'Copy as JSON' })).toBeVisible();
  // Free again, with no adapter left behind.
  await expect(page.getByRole('button', { name: 'Run' })).toBeEnabled();
  await page.goto(`${page.url().split('#')[0]}#/adapters`);
  await expect(page.getByText('measurement')).toHaveCount(0);
});

test('can be stopped, and runs without WebGPU', async ({ page }) => {
  await open(page, '#/bench', { webgpu: false, stepMs: 400 });
  await page.getByRole('button', { name: 'Run' }).click();
  await page.getByRole('button', { name: 'Stop' }).click();
  await expect(page.getByRole('button', { name: 'Run' })).toBeVisible();
  await page.getByRole('button', { name: 'Run' }).click();
  await expect(page.getByRole('button', { name: 'Copy as text' })).toBeVisible();
  await expect(page.getByRole('row', { name: 'Graphics' })).toHaveCount(0);
});

for (const scheme of ['light', 'dark'] as const) {
  test(`fits a phone, ${scheme}`, async ({ page }) => {
    await page.setViewportSize({ width: 380, height: 800 });
    await page.emulateMedia({ colorScheme: scheme });
    await open(page, '#/bench');
    await page.getByRole('button', { name: 'Run' }).click();
    await expect(page.getByRole('button', { name: 'Copy as text' })).toBeVisible();
    const wide = await page.evaluate(() => [
      document.documentElement.scrollWidth - innerWidth,
      document.querySelector('main')!.scrollWidth - document.querySelector('main')!.clientWidth,
    ]);
    expect(wide).toEqual([0, 0]);
  });
}
