// The way in: what the page is and costs, what there is to do while a model loads, and numbers that say what they are.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { ask, expect, go, open, test } from './helpers.ts';

for (const width of [1440, 380])
  test(`the first screen at ${width} px: what it is, what it costs, one button`, async ({ page }) => {
    await page.setViewportSize({ width, height: 800 });
    await open(page, '', { loadMs: 300 });
    await expect(page.getByRole('heading', { name: 'A language model that learns from you, in this tab' })).toBeInViewport();
    const button = page.locator('main').getByRole('button', { name: /^Load SmolLM2-135M-Instruct · \d/ });
    await expect(button).toBeInViewport({ ratio: 1 });
    await expect(page.getByText('nothing that you write leaves it')).toBeInViewport();
    await expect(page.locator('main').locator('.button.primary')).toHaveCount(1);
    // Nothing to type into that would not be answered.
    await expect(page.getByRole('textbox', { name: 'Your question' })).toHaveCount(0);
    await button.click();
    const progress = page.getByRole('progressbar', { name: /^Loading/ });
    await expect(progress).toBeVisible();
    const example = page.getByRole('region', { name: /^Try it meanwhile/ });
    await example.getByRole('button', { name: /^Water it/ }).click();
    await expect(example.getByRole('status')).toContainText('short, as you chose');
    await expect(example.getByRole('button', { name: /^Keeping/ })).toContainText('2nd');
    await expect(page.getByRole('textbox', { name: 'Your question' })).toBeVisible();
    await ask(page, 'And now?');
  });

test('before the first bytes it says that it measures, and no zeros', async ({ page }) => {
  await open(page, '', { loadMs: 50 });
  // The file's head is on its way for a while.
  await page.route('**/models/*.gguf', async (route) => {
    await new Promise((done) => setTimeout(done, 1200));
    await route.continue();
  });
  await page
    .locator('main')
    .getByRole('button', { name: /^Load SmolLM2/ })
    .click();
  await expect(page.locator('.load-progress')).toContainText('Measuring your device…');
  await expect(page.locator('.load-progress')).not.toContainText('0 B');
  await expect(page.getByRole('link', { name: /measuring your device/ }).first()).toBeVisible();
  await expect(page.getByRole('textbox', { name: 'Your question' })).toBeVisible();
});

test('minutes before a run, a sentence for each number, and what came of it above the charts', async ({ page }) => {
  await open(page, '', { readMs: 20 });
  await page
    .locator('main')
    .getByRole('button', { name: /^Load SmolLM2/ })
    .click();
  await ask(page, 'Teach me');
  await page.getByRole('article', { name: 'Answer 3' }).focus();
  await page.keyboard.press('1');
  await go(page, 'Learn');
  const summary = page.locator('.summary');
  await expect(summary).toContainText('measuring your device…');
  // 50 tokens in a second: some thousands of them.
  await page.getByRole('textbox', { name: 'num_train_epochs' }).fill('30');
  await expect(summary).toContainText(/about \d+ min on this device/);
  await expect(summary).not.toContainText('step');
  const minutes = Number(/about (\d+) min/.exec(await summary.innerText())![1]);
  await page.getByRole('textbox', { name: 'num_train_epochs' }).fill('60');
  await expect.poll(async () => Number(/about (\d+) min/.exec(await summary.innerText())?.[1])).toBeGreaterThan(1.8 * minutes);
  await page.getByRole('textbox', { name: 'num_train_epochs' }).fill('5');
  await page.getByRole('button', { name: 'Learn', exact: true }).click();
  await expect(page.getByText('Learnt', { exact: true })).toBeVisible();
  await expect(page.locator('.headline')).toHaveText('my-first-adapter: it prefers your choice in 2 of 2 pairs.');
  // Known from the run itself.
  await expect(summary).toContainText('as the last run went');
  for (const chart of await page.locator('.chart').all()) await expect(chart.locator('.chart-says')).toHaveText(/\w.*\.$/);
  await expect(page.locator('.chart').first()).toContainText('Lower is better.');
  for (const what of await page.locator('.stats .what').all()) await expect(what).not.toBeEmpty();
  // The value at the pointer.
  const plot = page.locator('.plot').first();
  await plot.scrollIntoViewIfNeeded();
  const box = (await plot.boundingBox())!;
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  await expect(page.locator('.chart').first()).toContainText(/at step [4-7]/);
  await page.mouse.move(box.x + box.width / 2, box.y - 60);
  await expect(page.locator('.chart').first()).not.toContainText('at step');
});

for (const scheme of ['light', 'dark'] as const)
  test(`axe finds nothing on the first screen, nor while a model loads: ${scheme}`, async ({ browser }) => {
    const context = await browser.newContext({
      colorScheme: scheme,
      bypassCSP: true,
      reducedMotion: 'reduce',
      viewport: { width: 380, height: 800 },
    });
    const page = await context.newPage();
    await open(page, '', { holdLoad: 'SmolLM2-135M-Instruct.Q4_1' });
    const found = async (): Promise<string[]> => {
      await page.evaluate(readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8'));
      return page.evaluate(async () => {
        type Axe = { run(o: object): Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> };
        const { violations } = await (globalThis as unknown as { axe: Axe }).axe.run({ resultTypes: ['violations'] });
        return violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.html.slice(0, 200)).join(' | ')}`);
      });
    };
    expect(await found()).toEqual([]);
    await page
      .locator('main')
      .getByRole('button', { name: /^Load SmolLM2/ })
      .click();
    await page.getByRole('button', { name: /^Water it/ }).click();
    expect(await found()).toEqual([]);
    expect(await page.evaluate(() => document.querySelector('main')!.scrollWidth - document.querySelector('main')!.clientWidth)).toBe(0);
    await context.close();
  });
