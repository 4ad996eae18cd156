// Tabs that are killed at random moments, three tabs at once, and a disk that is full: short versions of what `make soak` does for longer.
import type { Page } from '@playwright/test';
import { address, ask, expect, go, loadModel, open, saved, test } from './helpers.ts';
// @ts-expect-error: plain JavaScript without types
import * as kills from './kills.mjs';

interface Kills {
  seeded(seed: number): () => number;
  killTab(page: Page): Promise<number>;
  disagreements(page: Page): Promise<string[]>;
  killOnce(page: Page, address: string, what: string, random: () => number): Promise<{ page: Page; lost: string[] }>;
}
const { seeded, killTab, disagreements, killOnce } = kills as Kills;

test('tabs killed while ranking, asking and learning lose at most the last half second of judgements', { tag: '@clock' }, async ({
  page,
  context,
}) => {
  test.setTimeout(180_000);
  await context.addInitScript(() => Object.assign(globalThis, { fledglingFake: { pieceMs: 15, stepMs: 15 } }));
  const random = seeded(20);
  let now = page;
  await open(now, '', { pieceMs: 15, stepMs: 15 });
  await loadModel(now);
  for (const what of ['ranking', 'asking', 'learning', 'ranking', 'asking', 'ranking']) {
    const { page: next, lost } = await killOnce(now, address(), what, random);
    expect(lost, what).toEqual([]);
    now = next;
  }
});

test('three tabs: what each adds is in all of them, also when one is killed', async ({ page, context }) => {
  test.setTimeout(120_000);
  await open(page);
  await loadModel(page);
  await ask(page, 'From the first');
  await saved(page);
  const tabs = [page, await context.newPage(), await context.newPage()];
  for (const tab of tabs.slice(1)) await open(tab);
  for (const [i, tab] of tabs.entries()) {
    await expect(tab.getByRole('heading', { level: 1, name: 'From the first' })).toBeVisible();
    await tab.getByRole('article', { name: `Answer ${i + 1}` }).focus();
  }
  // All at once.
  await Promise.all(
    tabs.map(async (tab, i) => {
      // Whichever is the last: one that is best gives pairs.
      await tab.keyboard.press('1');
      await go(tab, 'Feedback');
      await tab.locator('.file-input').setInputFiles({
        name: `tab-${i}.jsonl`,
        mimeType: 'application/jsonl',
        buffer: Buffer.from(
          Array.from({ length: 30 }, (_, k) => JSON.stringify({ prompt: `Tab ${i} row ${k}`, completion: 'x' })).join('\n'),
        ),
      });
    }),
  );
  for (const tab of tabs) await expect(tab.getByText('90 ideal answers')).toBeVisible();
  for (const tab of tabs) await saved(tab);
  await killTab(tabs[2]!);
  await saved(tabs[0]!);
  await expect.poll(() => disagreements(tabs[0]!)).toEqual([]);
  await tabs[1]!.reload();
  await expect(tabs[1]!.getByText('90 ideal answers')).toBeVisible();
  await expect(tabs[1]!.getByText(/^1 ranking/)).toBeVisible();
});
