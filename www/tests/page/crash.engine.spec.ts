// The browser's GPU process is killed, for real: model, answer and run come back without a click.
import { chromium, type Browser, type Page } from '@playwright/test';
import { args, executablePath } from './chromium.ts';
import { address, expect, go, test } from './helpers.ts';
import { foundKernels, shortKernels } from './kernels.ts';

async function crash(browser: Browser): Promise<void> {
  const cdp = await browser.newBrowserCDPSession();
  // The answer may be lost with the process.
  await Promise.race([cdp.send('Browser.crashGpuProcess').catch(() => {}), new Promise((done) => setTimeout(done, 500))]);
}

const question = (page: Page) => page.getByRole('textbox', { name: 'Your question' });

test('a killed GPU process in a run: it comes back and ends; killed again while idle: noticed at once, with the processor to choose', async () => {
  const browser = await chromium.launch({ executablePath, args });
  const page = await browser.newPage();
  page.setDefaultTimeout(5 * 60_000);
  await page.goto(`${address()}#/settings`);
  await shortKernels(page);
  await page.getByRole('radio', { name: 'The graphics card', exact: true }).check();
  await page.getByRole('slider', { name: 'max_new_tokens' }).fill('8');
  await go(page, 'Model');
  await page.getByRole('button', { name: 'Load tiny' }).first().click();
  await question(page).fill('Tell me more');
  await page.keyboard.press('Enter');
  await expect(page.locator('.turn .order')).toBeVisible();
  await foundKernels(page);
  await page.getByRole('article', { name: 'Answer 2' }).focus();
  await page.keyboard.press('1');

  await go(page, 'Learn');
  await page.getByRole('textbox', { name: 'num_train_epochs' }).fill('120');
  await page.getByRole('button', { name: 'Learn', exact: true }).click();
  await expect(page.locator('.stats dd').first()).toHaveText(/^([3-9]|\d\d+) \//);
  await crash(browser);
  await expect(page.getByText('tiny is back')).toBeVisible();
  await expect(page.locator('.run').getByText('Learnt', { exact: true })).toBeVisible();
  await expect(page.locator('.stats dd').first()).toHaveText('120 / 120');
  expect(await page.getByRole('alert').count()).toBe(0);

  // The browser gives no second adapter to a page that lost two devices in a row.
  await go(page, 'Chat');
  await crash(browser);
  await expect(page.locator('.banner').or(page.getByRole('alert')).first()).toBeVisible({ timeout: 10_000 });
  const processor = page.getByRole('alert').getByRole('button', { name: 'Use the processor' });
  await expect(processor.or(page.getByText('tiny is back'))).toBeVisible();
  if (await processor.isVisible()) await processor.click();
  await expect(page.getByRole('link', { name: /^Model tiny/ }).last()).toBeVisible();
  await question(page).fill('And now?');
  await page.keyboard.press('Enter');
  await expect(page.locator('.turn')).toHaveCount(2);
  await expect(page.locator('.turn').last().locator('.order')).toBeVisible();
  await browser.close();
});
