// Where views and windows meet: drops, popovers, notices, low windows, print, and drafts that nothing may take away.
import type { Locator, Page } from '@playwright/test';
import { ask, expect, go, loadModel, open, saved, test } from './helpers.ts';
// @ts-expect-error: plain JavaScript without types
import * as kills from './kills.mjs';

const { killTab } = kills as { killTab(page: Page): Promise<number> };

const question = (page: Page): Locator => page.getByRole('textbox', { name: 'Your question' });
const learn = (page: Page): Locator => page.getByRole('button', { name: 'Learn', exact: true });

async function rank(page: Page, prompt = 'Teach me'): Promise<void> {
  await ask(page, prompt);
  const turn = page.locator('.turn').last();
  await turn.getByRole('article', { name: 'Answer 3' }).focus();
  await page.keyboard.press('1');
}

async function learnt(page: Page): Promise<void> {
  await go(page, 'Learn');
  await learn(page).click();
  await expect(page.getByText('Learnt', { exact: true })).toBeVisible();
}

/** Drops a file on the element that is topmost somewhere in the window; returns whether the page took it. */
const drop = (page: Page, where: string, name: string, text: string): Promise<boolean> =>
  page.evaluate(
    ([selector, file, content]) => {
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File([content!], file!));
      const send = (type: string): boolean =>
        !document.querySelector(selector!)!.dispatchEvent(new DragEvent(type, { bubbles: true, cancelable: true, dataTransfer }));
      return send('dragover') && send('drop');
    },
    [where, name, text],
  );

test('files dropped anywhere, in any view, are taken to where they belong', async ({ page }) => {
  await open(page, '#/settings');
  const row = JSON.stringify({ prompt: 'p', completion: 'c' });
  expect(await drop(page, '.rail', 'rows.jsonl', row)).toBe(true);
  await expect(page.getByRole('heading', { level: 1, name: 'Feedback' })).toBeVisible();
  await expect(page.locator('tbody tr')).toHaveCount(1);
  await expect(page.getByRole('status').filter({ hasText: '1 row imported from rows.jsonl' })).toBeVisible();
  await expect(page.getByRole('log')).toHaveText('1 row imported');

  await go(page, 'Learn');
  expect(await drop(page, 'body', 'mine.gguf', 'GGUF mine')).toBe(true);
  await expect(page.getByRole('link', { name: /^Model mine/ }).last()).toBeVisible();

  // The same view takes it as well, beside its content block; what is for nobody is said, and goes nowhere.
  await go(page, 'Feedback');
  expect(await drop(page, 'main', 'more.jsonl', row)).toBe(true);
  await expect(page.locator('tbody tr')).toHaveCount(2);
  await go(page, 'Settings');
  expect(await drop(page, '.app', 'holiday.jpg', 'x')).toBe(true);
  await expect(page.getByRole('alert')).toHaveAttribute('data-code', 'unknown-file');
  await expect(page.getByRole('alert')).toContainText('holiday.jpg');
  await expect(page.getByRole('heading', { level: 1, name: 'Settings' })).toBeVisible();
});

test('an empty file is called empty, beside rows that stay', async ({ page }) => {
  await open(page, '#/feedback');
  const give = (name: string, text: string): Promise<void> =>
    page.locator('.file-input').setInputFiles({ name, mimeType: 'application/jsonl', buffer: Buffer.from(text) });
  await give('nine.jsonl', Array.from({ length: 9 }, (_, i) => JSON.stringify({ prompt: `p${i}`, completion: 'c' })).join('\n'));
  await expect(page.locator('tbody tr')).toHaveCount(9);
  await give('empty.jsonl', '');
  const alert = page.getByRole('alert');
  await expect(alert).toHaveAttribute('data-code', 'empty-file');
  await expect(alert).not.toContainText('nothing to learn from');
  await expect(page.locator('tbody tr')).toHaveCount(9);
});

for (const width of [1440, 380]) {
  test(`the last steps as numbers stay in their card at ${width} px`, async ({ page }) => {
    await page.setViewportSize({ width, height: 900 });
    await open(page);
    await loadModel(page);
    await rank(page);
    await learnt(page);
    await page.getByText('The last steps as numbers').click();
    const card = (await page.locator('.run').boundingBox())!;
    for (const inside of await page.locator('.run .chart, .run .scroll-x, .run .plot canvas').all()) {
      const box = (await inside.boundingBox())!;
      expect(box.x).toBeGreaterThanOrEqual(card.x);
      expect(box.x + box.width).toBeLessThanOrEqual(card.x + card.width);
    }
  });
}

test('sampling closes by Escape, by a click elsewhere, and covers neither the question nor its button', async ({ page }) => {
  for (const size of [
    { width: 1280, height: 860 },
    { width: 380, height: 760 },
    { width: 720, height: 450 },
  ]) {
    await page.setViewportSize(size);
    await open(page);
    await loadModel(page);
    const sampling = page.getByRole('group', { name: 'Sampling' });
    const opener = page.locator('.pop summary');
    await opener.click();
    await expect(sampling).toBeVisible();
    const pop = (await sampling.boundingBox())!;
    const send = (await page.getByRole('button', { name: 'Ask', exact: true }).boundingBox())!;
    expect(pop.y + pop.height).toBeLessThanOrEqual(send.y);
    expect(pop.y).toBeGreaterThanOrEqual(0);
    await page.keyboard.press('Escape');
    await expect(sampling).toBeHidden();
    await expect(opener).toBeFocused();
    await opener.click();
    await question(page).click();
    await expect(sampling).toBeHidden();
  }
});

test('a suggestion leaves a typed draft alone', async ({ page }) => {
  await open(page);
  await loadModel(page);
  await question(page).fill('Something long that I am still writing');
  await page.getByRole('button', { name: /^Explain in one sentence/ }).click();
  await expect(page.locator('.turn').last().locator('.order')).toBeVisible();
  await expect(question(page)).toHaveValue('Something long that I am still writing');
});

test('an error does not follow into another view, and the newest is on top', async ({ page }) => {
  await open(page);
  await loadModel(page);
  await go(page, 'Learn');
  await drop(page, 'body', 'holiday.jpg', 'x');
  await expect(page.getByRole('alert')).toHaveAttribute('data-code', 'unknown-file');
  await learn(page).click();
  await expect(page.getByRole('alert').first()).toHaveAttribute('data-code', 'empty-dataset');
  await expect(page.getByRole('alert').last()).toHaveAttribute('data-code', 'unknown-file');
  await go(page, 'Adapters');
  await expect(page.getByRole('alert')).toHaveCount(0);
});

test('what is ranked keeps its order and the way to learn in sight, and nothing with the focus lies under the composer', async ({
  page,
}) => {
  await page.setViewportSize({ width: 900, height: 700 });
  await page.emulateMedia({ reducedMotion: 'reduce' });
  await open(page);
  await loadModel(page);
  await page.getByRole('radio', { name: '6 answers' }).check({ force: true });
  await rank(page);
  await page.locator('main').evaluate((m) => m.scrollTo({ top: 0, behavior: 'instant' }));
  const composer = async (): Promise<number> => (await page.locator('.composer').boundingBox())!.y;
  const key = page.getByRole('button', { name: 'Learn from this' });
  await expect(key).toHaveClass(/primary/);
  await expect(key).toBeInViewport({ ratio: 1 });
  const panel = (await page.locator('.order-panel').boundingBox())!;
  expect(panel.y + panel.height).toBeLessThanOrEqual((await composer()) + 1);
  for (const one of await page.locator('.turn .answer button, .turn .order .chip, .order-more button').all()) {
    await one.focus();
    const box = (await one.boundingBox())!;
    const over = (await one.evaluate((e) => e.closest('.answer') !== null))
      ? (await page.locator('.order-panel').boundingBox())!.y
      : await composer();
    expect(box.y + box.height).toBeLessThanOrEqual(over + 1);
  }
});

for (const [what, width, height] of [
  ['at 200 % zoom', 720, 450],
  ['in a low window', 1440, 450],
  ['in a small one', 380, 450],
] as const) {
  test(`bars leave most of the height for reading ${what}`, async ({ page }) => {
    await page.setViewportSize({ width, height });
    await open(page);
    await loadModel(page);
    await ask(page, 'How much is left to read?');
    // In the middle of a column of the transcript, from the top to the bottom: what lies there belongs to it.
    const free = await page.evaluate(() => {
      document.querySelector('main')!.scrollTo({ top: 150, behavior: 'instant' });
      const at = document.querySelector('.transcript')!.getBoundingClientRect();
      let n = 0;
      for (let y = 0; y < innerHeight; y++) n += document.elementFromPoint(at.x + at.width / 2, y)?.closest('.transcript') ? 1 : 0;
      return n;
    });
    expect(free).toBeGreaterThanOrEqual(320);
    expect(await page.evaluate(() => document.documentElement.scrollHeight - innerHeight)).toBe(0);
    expect(await page.evaluate(() => document.querySelector('main')!.scrollWidth - document.querySelector('main')!.clientWidth)).toBe(0);
    // Every view is still a click away.
    for (const view of ['Learn', 'Feedback', 'Adapters', 'Model', 'Settings', 'Chat']) await go(page, view);
  });
}

test('print gives the whole view, without bars', async ({ page }) => {
  await open(page);
  await loadModel(page);
  for (let i = 0; i < 4; i++) await ask(page, `Question ${i}`);
  await page.emulateMedia({ media: 'print' });
  const tall = await page.evaluate(() => {
    const main = document.querySelector('main')!;
    return { cropped: main.scrollHeight - main.clientHeight, hidden: getComputedStyle(main).overflowY };
  });
  expect(tall).toEqual({ cropped: 0, hidden: 'visible' });
  await expect(page.locator('.rail')).toBeHidden();
  await expect(page.locator('.composer')).toBeHidden();
  await expect(page.locator('.turn').last()).toBeVisible();
});

// ---- learning, and what comes of it

const running = (page: Page, text: string): Locator => page.locator('.run').getByText(text, { exact: true });
const steps = (page: Page): Locator => page.locator('.stats dd').first();

/** Learns from one ranking, so many epochs of two steps each. */
async function begin(page: Page, fake: Parameters<typeof open>[2], epochs: number): Promise<void> {
  await open(page, '', fake);
  await loadModel(page);
  await rank(page);
  await go(page, 'Learn');
  await page.getByRole('textbox', { name: 'num_train_epochs' }).fill(String(epochs));
  await learn(page).click();
}

test('Ask again asks at once, shows base and tuned in sight, and marks what differs', async ({ page }) => {
  await page.emulateMedia({ reducedMotion: 'reduce' });
  for (const height of [900, 560]) {
    await page.setViewportSize({ width: 1280, height });
    await open(page);
    await loadModel(page);
    await rank(page, 'Teach me');
    // A later question: what was ranked is asked again, and stays open.
    await ask(page, 'Something else');
    await learnt(page);
    await page.getByRole('button', { name: 'Ask again', exact: true }).click();
    const compared = page.getByRole('region', { name: 'Base and tuned, asked again' });
    await expect(compared.getByText('the answer changed')).toBeVisible();
    await expect(page.locator('.turn').first().locator('.compared')).toHaveCount(1);
    for (const side of ['Base model', 'Adapter my-first-adapter'])
      await expect(compared.getByRole('article', { name: side })).toBeInViewport({ ratio: 0.9 });
    const block = (await compared.boundingBox())!;
    expect(block.y + Math.min(block.height, 300)).toBeLessThanOrEqual((await page.locator('.composer').boundingBox())!.y + 1);
    await expect(
      compared
        .getByRole('article', { name: /^Adapter/ })
        .locator('mark')
        .first(),
    ).toHaveText(/^Briefly/);
    await expect(compared.getByRole('article', { name: 'Base model' }).locator('mark').first()).toHaveText(/^Certainly/);
    await expect(compared.locator('.hint')).toContainText(
      /\d+ of the \d+ words of my-first-adapter are new, \d+ of the \d+ of base are gone/,
    );
    await page.evaluate(async () => (await navigator.storage.getDirectory()).removeEntry('fledgling-page', { recursive: true }));
  }
});

test('what was learnt from a file alone is asked of the file', async ({ page }) => {
  await open(page, '#/feedback');
  const text = JSON.stringify({ prompt: 'Which bird?', chosen: 'A robin.', rejected: 'A stone.' });
  await page.locator('.file-input').setInputFiles({ name: 'p.jsonl', mimeType: 'application/jsonl', buffer: Buffer.from(text) });
  await expect(page.locator('tbody tr')).toHaveCount(1);
  await loadModel(page);
  await learnt(page);
  await page.getByRole('button', { name: 'Ask again', exact: true }).click();
  await expect(page.locator('.turn .prompt')).toHaveText('Which bird?');
  await expect(page.locator('.answer .who')).toHaveText(['base', 'my-first-adapter']);
});

test('leaving in the middle of a first, short run asks; then it goes on by itself where it stopped', async ({ page }) => {
  await begin(page, { stepMs: 600 }, 4);
  await expect(steps(page)).toHaveText(/^[2-4] \/ 8$/);
  const asked: string[] = [];
  let stay = true;
  page.on('dialog', (d) => {
    asked.push(d.type());
    void (stay ? d.dismiss() : d.accept());
  });
  const leave = (): Promise<void> => page.evaluate(() => void setTimeout(() => location.reload()));
  await leave();
  await expect.poll(() => asked).toEqual(['beforeunload']);
  // Whoever stays has it saved meanwhile; whoever leaves loses nothing of that.
  await expect(running(page, 'Learning')).toBeVisible();
  const before = Number((await steps(page).innerText()).split(' ')[0]);
  await page.waitForTimeout(700);
  stay = false;
  await Promise.all([page.waitForEvent('load'), leave()]);
  await page.locator('main[aria-busy="false"]').waitFor();
  expect(asked).toEqual(['beforeunload', 'beforeunload']);
  await expect(page.getByText('my-first-adapter goes on learning where it stopped')).toBeVisible();
  await expect(running(page, 'Learning')).toBeVisible();
  // Not from its beginning.
  expect(Number((await steps(page).innerText()).split(' ')[0])).toBeGreaterThanOrEqual(before);
  await expect(running(page, 'Learnt')).toBeVisible();
  await expect(page.getByRole('img', { name: /^loss: 8 steps/ })).toBeVisible();
  await expect(page.getByRole('alert')).toHaveCount(0);
});

test('a tab that dies in the middle of a run loses seconds of it, not all', async ({ page, context }) => {
  await begin(page, { stepMs: 1000 }, 8);
  await expect(steps(page)).toHaveText('11 / 16', { timeout: 20_000 });
  await killTab(page);
  const other = await context.newPage();
  await open(other, '#/learn', { stepMs: 1000 });
  await expect(running(other, 'Learning')).toBeVisible();
  expect(Number((await steps(other).innerText()).split(' ')[0])).toBeGreaterThanOrEqual(9);
  await expect(running(other, 'Learnt')).toBeVisible();
  await expect(other.getByRole('img', { name: /^loss: 16 steps/ })).toBeVisible();
});

test('a run that was paused waits after a reload', async ({ page }) => {
  await begin(page, { stepMs: 100 }, 20);
  await expect(steps(page)).toHaveText(/^[2-9] \/ 40$/);
  await page.getByRole('button', { name: 'Pause' }).click();
  await expect(running(page, 'Paused')).toBeVisible();
  await page.waitForTimeout(400);
  await page.reload();
  await expect(page.getByRole('link', { name: /^Model SmolLM2/ }).last()).toBeVisible();
  await page.waitForTimeout(300);
  await expect(running(page, 'Interrupted')).toBeVisible();
  await expect(page.getByRole('button', { name: 'Go on' })).toBeEnabled();
});

test('Cancel asks, and offers to keep what was learnt', async ({ page }) => {
  await begin(page, { stepMs: 60 }, 500);
  await expect(steps(page)).toHaveText(/^([2-9]|\d\d+) \/ 1000$/);
  const cancel = page.locator('.run').getByRole('button', { name: 'Cancel' });
  const dialog = page.getByRole('dialog', { name: 'Stop learning?' });
  await cancel.click();
  await dialog.getByRole('button', { name: 'Go on learning' }).click();
  await expect(running(page, 'Learning')).toBeVisible();
  await cancel.click();
  await page.keyboard.press('Escape');
  await expect(dialog).toHaveCount(0);
  await expect(running(page, 'Learning')).toBeVisible();
  await cancel.click();
  await dialog.getByRole('button', { name: 'Keep what was learnt' }).click();
  await expect(running(page, 'Learnt')).toBeVisible();
  await go(page, 'Adapters');
  await expect(page.getByRole('radio', { name: /^my-first-adapter/ })).toBeChecked();
});

test('Pause says at once that it pauses after this step', async ({ page }) => {
  await begin(page, { stepMs: 1500 }, 10);
  await expect(steps(page)).toHaveText(/^1 \/ 20$/);
  await page.getByRole('button', { name: 'Pause' }).click();
  await expect(page.getByText('It pauses after this step.')).toBeVisible({ timeout: 300 });
  await expect(page.getByRole('log')).toHaveText('Learning pauses after this step');
  await expect(running(page, 'Paused')).toBeVisible();
  await expect(page.getByText('It pauses after this step.')).toHaveCount(0);
});

// ---- versions of an adapter

test('learning again keeps what was there as a version, and there is a way back', async ({ page }) => {
  await begin(page, {}, 3);
  await expect(running(page, 'Learnt')).toBeVisible();
  await expect(page.getByText('It learns on from v1 and becomes v2; Adapters can go back to v1.')).toBeVisible();
  await page.getByRole('textbox', { name: 'num_train_epochs' }).fill('5');
  await learn(page).click();
  await expect(page.getByRole('img', { name: /^loss: 10 steps/ })).toBeVisible();
  await expect(running(page, 'Learnt')).toBeVisible();

  await go(page, 'Adapters');
  const card = page.locator('.adapter').filter({ hasText: 'my-first-adapter' });
  // Date, data, loss and effect.
  await expect(card.locator('.adapter-pick')).toContainText(
    new RegExp(`v2 · .*${new Date().getFullYear()}.* · DPO on 2 pairs · loss [\\d.]+ → [\\d.]+ · it prefers your choice in \\d of 2 pairs`),
  );
  await card.getByText('2 versions').click();
  await expect(card.getByRole('listitem')).toHaveCount(2);

  const weights = (path: string): Promise<number> =>
    page.evaluate(async (p) => {
      let dir = await (await navigator.storage.getDirectory()).getDirectoryHandle('fledgling-page');
      for (const name of p.split('/')) dir = await dir.getDirectoryHandle(name);
      const file = await (await dir.getFileHandle('adapter_model.safetensors')).getFile();
      return new Uint8Array(await file.arrayBuffer())[0]!;
    }, path);
  // The engine of the tests writes the number of its last step.
  expect(await weights('adapters/my-first-adapter')).toBe(10);
  expect(await weights('adapters/my-first-adapter/v1')).toBe(6);
  await page.getByRole('button', { name: 'Use v1 of my-first-adapter' }).click();
  await expect(card.locator('.adapter-pick')).toContainText('v1 · ');
  await expect(page.getByRole('radio', { name: /^my-first-adapter/ })).toBeChecked();
  expect(await weights('adapters/my-first-adapter')).toBe(6);
  expect(await weights('adapters/my-first-adapter/v2')).toBe(10);

  // It survives a reload and a new name; from there learning goes on as v3.
  await saved(page);
  await page.reload();
  await expect(card.locator('.adapter-pick')).toContainText('v1 · ');
  await page.getByRole('button', { name: 'Rename my-first-adapter' }).click();
  await page.getByRole('textbox', { name: 'Name' }).fill('brief');
  await page.getByRole('button', { name: 'Save' }).click();
  const renamed = page.locator('.adapter').filter({ hasText: 'brief' });
  await renamed.getByText('2 versions').click();
  await expect(page.getByRole('button', { name: 'Use v2 of brief' })).toBeEnabled();
  await page.getByRole('button', { name: 'Delete v2 of brief' }).click();
  await expect(renamed.getByText('2 versions')).toHaveCount(0);
  await expect(renamed.locator('.adapter-pick')).toContainText('v1 · ');
});

test('the adapter is switched by a switch, at every width', async ({ page }) => {
  await begin(page, {}, 1);
  await expect(running(page, 'Learnt')).toBeVisible();
  for (const width of [1280, 380]) {
    await page.setViewportSize({ width, height: 800 });
    await go(page, 'Chat');
    const adapter = page.getByRole('switch', { name: /^Adapter my-first-adapter/ });
    await expect(adapter).toBeChecked();
    await adapter.uncheck({ force: true });
    await expect(page.getByRole('link', { name: /^Model SmolLM2.*base/ }).last()).toBeVisible();
    await expect(page.getByText('off: the base model answers').filter({ visible: true })).toBeVisible();
    await ask(page, 'Who is it?');
    await expect(page.locator('.turn').last().locator('.who').first()).toHaveText('base');
    await adapter.check({ force: true });
    await ask(page, 'And now?');
    await expect(page.locator('.turn').last().locator('.who').first()).toHaveText('my-first-adapter');
  }
});
