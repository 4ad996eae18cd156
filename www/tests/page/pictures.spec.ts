// The pictures of the README, taken of the page as it ships with the real model:
//   FLEDGLING_PICTURES=1 npx playwright test -c tests/page/playwright.real.config.ts pictures
// docs/page.png (1280 px, light): a question with three ranked answers, and below it what was learnt from eight pairs.
// docs/page-phone.png (380 px, light).
import { resolve } from 'node:path';
import { address, expect, go, saved, test } from './helpers.ts';

const MINUTES = 60_000;
const docs = resolve(import.meta.dirname, '../../../docs');
const QUESTION = 'Write two lines about a bird leaving its nest.';

test('pictures for the README', async ({ browser }) => {
  test.skip(process.env['FLEDGLING_PICTURES'] !== '1', 'only when asked for');
  const context = await browser.newContext({ viewport: { width: 1280, height: 820 }, colorScheme: 'light', reducedMotion: 'reduce' });
  const page = await context.newPage();
  page.setDefaultTimeout(MINUTES);
  /** The dataset as it is seen and as it is on disk: nothing may get lost on the way. */
  const rows = async (n: number): Promise<void> => {
    await expect(page.getByRole('link', { name: /^Feedback/ }).locator('.badge')).toHaveText(String(n));
    await saved(page);
    const onDisk = await page.evaluate(async () => {
      const dir = await (await navigator.storage.getDirectory()).getDirectoryHandle('fledgling-page');
      return (await (await (await dir.getFileHandle('feedback.jsonl')).getFile()).text()).trim().split('\n').length;
    });
    expect(onDisk).toBe(n);
  };
  const none = async (): Promise<void> => expect((await page.getByRole('alert').allInnerTexts()).filter(Boolean)).toEqual([]);
  await page.goto(`${address()}#/model`);
  await page.getByRole('button', { name: /^Load SmolLM2/ }).click();
  await expect(page.getByRole('textbox', { name: 'Your question' })).toBeVisible({ timeout: 20 * MINUTES });
  console.log('loaded');
  await go(page, 'Settings');
  await page.getByRole('slider', { name: 'max_new_tokens' }).fill('56');
  await page.getByRole('textbox', { name: 'Seed' }).fill(process.env['FLEDGLING_SEED'] ?? '7');
  await page.keyboard.press('Tab');

  // What is learnt is the rule of pairs.jsonl, "one plain sentence is a better answer than the model's own", from a ranking of the same taste.
  await go(page, 'Feedback');
  await page.locator('.file-input').setInputFiles(resolve(import.meta.dirname, 'pairs.jsonl'));
  await expect(page.locator('tbody tr')).toHaveCount(8);
  await rows(8);
  await go(page, 'Learn');
  await page.getByRole('combobox', { name: 'Adapter' }).fill('brief');
  await page.getByText('Advanced').first().click();
  await page.getByRole('textbox', { name: 'max_steps' }).fill('24');
  await page.getByRole('textbox', { name: 'learning_rate' }).fill('0.0001');
  await page.getByRole('textbox', { name: 'save_steps' }).fill('0');
  await page.getByRole('button', { name: 'Learn', exact: true }).click();
  await expect(page.getByText('Learnt', { exact: true }).or(page.getByRole('alert').first())).toBeVisible({ timeout: 50 * MINUTES });
  await none();
  console.log('learnt');
  await rows(8);
  const run = page.locator('.run');
  await expect(page.getByRole('img', { name: /^tokens\/s: 24 steps/ })).toBeVisible();
  await page.waitForTimeout(1000);
  const learnt = await run.screenshot();

  await go(page, 'Adapters');
  await page.getByRole('radio', { name: /^Base model/ }).check();
  await go(page, 'Chat');
  await page.getByRole('radio', { name: '3 answers' }).check({ force: true });
  await page.getByRole('textbox', { name: 'Your question' }).fill(QUESTION);
  await page.keyboard.press('Enter');
  await expect(page.locator('.order').or(page.getByRole('alert').first())).toBeVisible({ timeout: 30 * MINUTES });
  await none();
  await rows(8);
  const texts = await page.locator('.answer .text').allInnerTexts();
  console.log(texts);
  const byLength = texts.map((t, i) => ({ i, n: t.length })).sort((a, b) => a.n - b.n);
  for (const [place, { i }] of byLength.entries()) {
    await page
      .getByRole('group', { name: `helpful – answer ${i + 1}` })
      .getByRole('radio')
      .nth(4 - place)
      .check({ force: true });
    await page
      .getByRole('group', { name: `harmless – answer ${i + 1}` })
      .getByRole('radio')
      .nth(4)
      .check({ force: true });
  }
  await rows(9);
  await page.getByRole('button', { name: 'Ask again: base and tuned' }).click();
  await expect(page.getByRole('heading', { name: /^Asked again/ }).or(page.getByRole('alert').first())).toBeVisible({
    timeout: 30 * MINUTES,
  });
  await none();
  await rows(9);
  const height = await page.evaluate(() => document.querySelector('.chat')!.scrollHeight);
  await page.setViewportSize({ width: 1280, height: Math.min(1300, height) });
  await page.evaluate(() => (document.activeElement as HTMLElement | null)?.blur());
  await page.waitForTimeout(5000);
  const chat = await page.screenshot();

  // One above the other, on the page's own colour.
  const both = await context.newPage();
  await both.setViewportSize({ width: 1280, height: 200 });
  const data = (b: Buffer): string => `data:image/png;base64,${b.toString('base64')}`;
  await both.setContent(
    `<body style="margin:0;background:#f6f4ee"><img style="display:block;width:1280px" src="${data(chat)}">` +
      `<div style="padding:28px 0 32px;border-top:1px solid #e2ddd0"><img style="display:block;margin:0 auto" src="${data(learnt)}"></div></body>`,
  );
  await both
    .locator('img')
    .last()
    .evaluate((i: HTMLImageElement) => i.decode());
  await both.screenshot({ path: resolve(docs, 'page.png'), fullPage: true });

  await page.setViewportSize({ width: 380, height: 780 });
  await page.locator('.order-panel').scrollIntoViewIfNeeded();
  await page.locator('main').evaluate((m) => m.scrollBy({ top: 120, behavior: 'instant' as ScrollBehavior }));
  await page.waitForTimeout(500);
  await page.screenshot({ path: resolve(docs, 'page-phone.png') });
});
