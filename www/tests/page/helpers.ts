import { expect, test as base, type Page } from '@playwright/test';
import type { FakeOptions } from './fake-engine.ts';

export const test = base;
export { expect };

export const address = (): string => process.env['FLEDGLING_PAGE']!;

/** Opens the page; `fake` steers the engine of the tests. */
export async function open(page: Page, hash = '', fake: FakeOptions = {}): Promise<void> {
  await page.addInitScript((o) => Object.assign(globalThis, { fledglingFake: o }), fake);
  await page.goto(address() + hash);
  await page.locator('main[aria-busy="false"]').waitFor();
}

/** Loads the model on offer and waits for the chat. */
export async function loadModel(page: Page): Promise<void> {
  await page.goto(address() + '#/model');
  await page.getByRole('button', { name: /^Load SmolLM2/ }).click();
  await expect(page.getByRole('textbox', { name: 'Your question' })).toBeVisible();
}

/** Asks and waits until every answer is complete. */
export async function ask(page: Page, question: string): Promise<void> {
  await page.getByRole('textbox', { name: 'Your question' }).fill(question);
  await page.getByRole('button', { name: 'Ask', exact: true }).click();
  await expect(page.getByRole('button', { name: 'Stop answering' })).toHaveCount(0);
  await expect(page.locator('.turn').last().locator('.order')).toBeVisible();
}

/** The order bar of the last turn as it reads: "3 > 1 = 2"; "·" stands between answers without a place of their own. */
export const orderText = async (page: Page): Promise<string> =>
  (await page.locator('.turn').last().locator('.order').innerText()).replace(/\s+/g, ' ').trim();

export const chip = (page: Page, answer: number) =>
  page
    .locator('.turn')
    .last()
    .locator(`.chip[data-answer="${answer - 1}"]`);

export const go = async (page: Page, view: string): Promise<void> => {
  await page.getByRole('navigation', { name: 'Main' }).getByRole('link', { name: view }).click();
  await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
};

/** Waits until everything is on disk. */
export const saved = async (page: Page): Promise<void> => {
  await page.waitForTimeout(250);
  await expect(page.locator('.app[data-save="saved"]')).toHaveCount(1);
};
