// A page with something in every view, and what must hold in each of them.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Page } from '@playwright/test';
import { ask, chip, expect, go, loadModel, open } from './helpers.ts';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** A page with something in every view. */
export async function furnish(page: Page): Promise<void> {
  await open(page);
  await loadModel(page);
  await ask(page, 'A question with_a_very_long_unbroken_word_that_would_like_to_push_the_page_wider_than_it_is');
  await chip(page, 2).focus();
  await page.keyboard.press('Home');
  await page.getByRole('button', { name: 'Edit into ideal' }).first().click();
  await page.getByRole('textbox', { name: 'The ideal answer' }).fill('Short.');
  await page.getByRole('button', { name: 'Save as ideal' }).click();
  await go(page, 'Learn');
  await page.getByRole('button', { name: 'Learn', exact: true }).click();
  await expect(page.getByText('Learnt', { exact: true })).toBeVisible();
  await go(page, 'Chat');
  await page.getByRole('button', { name: 'Ask again: base and tuned' }).click();
  await expect(page.getByText('the answer changed')).toBeVisible();
}

/** axe finds nothing in the view in sight, and nothing pushes it sideways. The context must bypass the policy, which forbids axe. */
export async function expectSound(page: Page, view: string): Promise<void> {
  await page.evaluate(AXE);
  const found = await page.evaluate(async () => {
    type Axe = { run(o: object): Promise<{ violations: { id: string; nodes: { html: string; failureSummary: string }[] }[] }> };
    const { violations } = await (globalThis as unknown as { axe: Axe }).axe.run({ resultTypes: ['violations'] });
    return violations.map(
      (v) =>
        `${v.id}: ${v.nodes.map((n) => `${n.html.slice(0, 160)} (${n.failureSummary.replace(/\s+/g, ' ').slice(0, 200)})`).join(' | ')}`,
    );
  });
  expect(found, view).toEqual([]);
  await expectWidth(page, view);
}

/** Nothing pushes the page sideways; only the main region scrolls, never the document, or bars would drift away. */
export async function expectWidth(page: Page, view: string): Promise<void> {
  const wide = await page.evaluate(() => [
    document.documentElement.scrollWidth - innerWidth,
    document.querySelector('main')!.scrollWidth - document.querySelector('main')!.clientWidth,
  ]);
  expect(wide, view).toEqual([0, 0]);
  expect(await page.evaluate(() => document.documentElement.scrollHeight - innerHeight), view).toBe(0);
}
