// The page as it ships: the production build, the headers of scripts/serve.mjs, the real engine, a tiny model. The whole way once,
// and everything that can go wrong on it: each ends in words a person understands, with the page usable and nothing lost.
import { existsSync } from 'node:fs';
import { chromium, type CDPSession, type Page } from '@playwright/test';
// @ts-expect-error: plain JavaScript without types
import { brokenGgufs } from '../package/gguf.mjs';
import { args, executablePath } from './chromium.ts';
import { address, chip, expect, go, orderText, saved, test } from './helpers.ts';
import { foundKernels, shortKernels } from './kernels.ts';
import { heavyTasks } from './longtasks.ts';
import { tiny, tinyFolder, upload } from './tiny.ts';

interface Watch {
  foreign: string[];
  faults: string[];
  violations: string[];
}

/** Notes requests to anybody else, uncaught errors and whatever runs into the policy. */
async function watch(page: Page): Promise<Watch> {
  const seen: Watch = { foreign: [], faults: [], violations: [] };
  page.on('pageerror', (e) => seen.faults.push(e.message));
  page.on('console', (m) => /Content.Security.Policy|Refused to/.test(m.text()) && seen.violations.push(m.text()));
  page.context().on('request', (r) => !r.url().startsWith(address()) && !/^(blob|data):/.test(r.url()) && seen.foreign.push(r.url()));
  await page.exposeFunction('violated', (what: string) => seen.violations.push(what));
  await page.addInitScript(() =>
    addEventListener('securitypolicyviolation', (e) =>
      (globalThis as unknown as { violated(w: string): void }).violated(`${e.violatedDirective}: ${e.blockedURI}`),
    ),
  );
  return seen;
}
const clean = (seen: Watch): void => expect(seen).toEqual({ foreign: [], faults: [], violations: [] });

const chipOf = (page: Page, name: string | RegExp) =>
  page.getByRole('link', { name: typeof name === 'string' ? new RegExp(`^Model ${name}`) : name }).last();
const errors = async (page: Page): Promise<string> => (await page.getByRole('alert').allInnerTexts()).filter(Boolean).join(' | ');

async function open(page: Page, hash = '#/model'): Promise<void> {
  await page.goto(address() + hash);
  await page.locator('main[aria-busy="false"]').waitFor();
}

/** What is not about the device does not wait until a software adapter is opened and measured. */
async function onProcessor(page: Page): Promise<void> {
  await go(page, 'Settings');
  await page.getByRole('radio', { name: 'The processor', exact: true }).check({ force: true });
  await go(page, 'Model');
}

async function openOnProcessor(page: Page): Promise<void> {
  await open(page);
  await onProcessor(page);
}

/** Loads the model on offer. */
async function load(page: Page): Promise<void> {
  await go(page, 'Model');
  await page.getByRole('button', { name: 'Load tiny' }).first().click();
  await expect(page.getByRole('textbox', { name: 'Your question' }).or(page.getByRole('alert').first())).toBeVisible();
  expect(await errors(page)).toBe('');
}

/** Short answers, two of them. */
async function brief(page: Page): Promise<void> {
  await go(page, 'Settings');
  await page.getByRole('slider', { name: 'max_new_tokens' }).fill('8');
  await go(page, 'Chat');
  await page.getByRole('radio', { name: '2 answers' }).check({ force: true });
}

async function ask(page: Page, question: string): Promise<void> {
  await page.getByRole('textbox', { name: 'Your question' }).fill(question);
  await page.keyboard.press('Enter');
  await expect(page.locator('.turn', { hasText: question }).locator('.order').or(page.getByRole('alert').first())).toBeVisible();
  expect(await errors(page)).toBe('');
}

async function learn(page: Page, set: Record<string, string> = {}): Promise<void> {
  await go(page, 'Learn');
  await page.locator('.advanced').evaluate((d: HTMLDetailsElement) => (d.open = true));
  for (const [name, value] of Object.entries(set)) await page.getByRole('textbox', { name, exact: true }).fill(value);
  await page.getByRole('button', { name: 'Learn', exact: true }).click();
}

async function learnt(page: Page, steps: number): Promise<void> {
  await expect(page.locator('.run').getByText('Learnt', { exact: true }).or(page.getByRole('alert').first())).toBeVisible();
  expect(await errors(page)).toBe('');
  // The charts draw one after another.
  await expect(page.getByRole('img', { name: new RegExp(`^loss: ${steps} steps`) })).toBeVisible();
}

async function quota(page: Page, size?: number): Promise<void> {
  const cdp: CDPSession = await page.context().newCDPSession(page);
  await cdp.send('Storage.overrideQuotaForOrigin', {
    origin: new URL(address()).origin,
    ...(size === undefined ? {} : { quotaSize: size }),
  });
}

for (const device of ['graphics card', 'processor'] as const)
  test(`load, ask, rank, learn, ask again, reload: all of it on the page that ships, on the ${device}`, async ({ page }) => {
    const seen = await watch(page);
    const response = await page.goto(`${address()}#/model`);
    // The policy and the isolation, as the server of `make demo` sends them.
    expect(response!.headers()['content-security-policy']).toContain("connect-src 'self';");
    expect(response!.headers()['content-security-policy']).not.toMatch(/unsafe-inline|'unsafe-eval'/);
    await page.locator('main[aria-busy="false"]').waitFor();
    expect(await page.evaluate(() => crossOriginIsolated)).toBe(true);
    await expect(page.getByRole('button', { name: 'Load tiny' })).toBeEnabled();

    if (device === 'graphics card') await shortKernels(page);
    await go(page, 'Settings');
    await page.getByRole('radio', { name: `The ${device}`, exact: true }).check({ force: true });
    await load(page);
    if (device === 'graphics card') await foundKernels(page);
    await go(page, 'Model');
    await expect(page.locator('.facts')).toContainText(device === 'processor' ? 'Model memory' : /swiftshader.*Graphics memory/i);
    // The page is isolated: as many threads as cores, where they were built.
    const built = existsSync(new URL('../../pkg/threads/fledgling_bg.wasm', import.meta.url));
    const threads = built ? await page.evaluate(() => Math.min(navigator.hardwareConcurrency, 8)) : 1;
    if (device === 'processor') await expect(page.locator('.facts')).toContainText(`, ${threads} thread${threads === 1 ? '' : 's'})`);
    await expect(chipOf(page, 'tiny')).toBeVisible();
    await brief(page);
    await ask(page, 'Hello there');
    const answers = await page.locator('.answer .text').allInnerTexts();
    expect(answers).toHaveLength(2);
    await expect(page.locator('.verdict')).toHaveText('Which is best?');
    await chip(page, 2).focus();
    await page.keyboard.press('Home');
    expect(await orderText(page)).toBe('2 > 1');

    await learn(page, { max_steps: '2', save_steps: '1', learning_rate: '0.02' });
    await learnt(page, 2);
    await expect(page.locator('.stats dd').first()).toHaveText('2 / 2');
    await page.getByText('The last steps as numbers').click();
    const first = Number(await page.locator('.numbers-table tbody tr').last().locator('td').first().innerText());
    expect(Math.abs(first - Math.LN2)).toBeLessThan(1e-3);

    await page.getByRole('button', { name: 'Ask again', exact: true }).click();
    await expect(page.getByRole('heading', { name: /^Asked again/ }).or(page.getByRole('alert').first())).toBeVisible();
    expect(await errors(page)).toBe('');
    const tuned = await page
      .getByRole('article', { name: /^Adapter my-first-adapter/ })
      .locator('.text')
      .innerText();
    await go(page, 'Feedback');
    await expect(page.locator('tbody tr')).toHaveCount(1);

    await saved(page);
    await page.reload();
    await expect(chipOf(page, /^Model tiny.*my-first-adapter/)).toBeVisible();
    await go(page, 'Chat');
    expect(await page.locator('.answer .text').allInnerTexts()).toEqual(answers);
    expect(await orderText(page)).toBe('2 > 1');
    await expect(page.getByRole('article', { name: /^Adapter my-first-adapter/ }).locator('.text')).toHaveText(tuned);
    await go(page, 'Learn');
    await expect(page.locator('.run').getByText('Learnt', { exact: true })).toBeVisible();
    await expect(page.getByRole('img', { name: /^loss: 2 steps/ })).toBeVisible();
    await go(page, 'Feedback');
    await expect(page.locator('tbody tr')).toHaveCount(1);
    await go(page, 'Chat');
    await page.getByRole('switch', { name: 'Compare with base' }).check({ force: true });
    await ask(page, 'Both, please');
    await expect(page.locator('.turn').last().locator('.answer .who')).toHaveText(['base', 'my-first-adapter']);
    clean(seen);
  });

test('the main thread is never held up for more than 50 ms: in loading, answering, learning', async ({ browser }) => {
  // The engine computes on the same two cores, so the clock would prove nothing: what counts is the main thread's own work.
  let page!: Page;
  const found = {
    loading: await heavyTasks(
      browser,
      async () => {
        await page?.close();
        page = await browser.newPage();
        await page.goto(`${address()}#/settings`, { waitUntil: 'networkidle' });
        await page.locator('main[aria-busy="false"]').waitFor();
        await onProcessor(page);
      },
      () => load(page),
      3,
    ),
    answering: [] as string[],
    learning: [] as string[],
  };
  await brief(page);
  // Each attempt is distinguished from the one before.
  let attempt = 0;
  found.answering = await heavyTasks(
    browser,
    async () => {},
    () => ask(page, `Two answers, please (${++attempt})`),
    3,
  );
  await page.getByRole('radio', { name: '6 answers' }).check({ force: true });
  found.answering.push(
    ...(await heavyTasks(
      browser,
      async () => {},
      () => ask(page, `Six of them (${++attempt})`),
      3,
    )),
  );
  await chip(page, 2).focus();
  await page.keyboard.press('Home');
  let steps = 5;
  found.learning = await heavyTasks(
    browser,
    async () => {},
    async () => {
      await learn(page, { max_steps: String(++steps), save_steps: '2' });
      await learnt(page, steps);
    },
    3,
  );
  expect(found).toEqual({ loading: [], answering: [], learning: [] });
  await page.close();
});

test('files that are no model: each is named, nothing is lost, and a good one loads afterwards', async ({ page }) => {
  const seen = await watch(page);
  await openOnProcessor(page);
  await load(page);
  await brief(page);
  await ask(page, 'Keep this');
  await chip(page, 1).focus();
  await page.keyboard.press('Home');
  await go(page, 'Model');
  const picker = page.locator('.file-input').first();
  const broken = brokenGgufs() as { name: string; bytes: Buffer; codes: string[] }[];
  expect(broken.length).toBeGreaterThan(8);
  for (const file of broken) {
    await picker.setInputFiles(upload(`${file.name}.gguf`, file.bytes));
    const alert = page.getByRole('alert').filter({ hasText: file.name });
    await expect(alert, file.name).toBeVisible();
    expect(file.codes, `${file.name}: ${await alert.innerText()}`).toContain(await alert.getAttribute('data-code'));
    // A title in words, what was wrong, and what to do.
    await expect(alert, file.name).not.toContainText('Something went wrong');
    expect((await alert.locator('p').first().innerText()).length, file.name).toBeGreaterThan(15);
    // The model that was in use still is.
    await expect(page.getByRole('region', { name: 'Model in use' })).toContainText('tiny');
  }
  await go(page, 'Chat');
  expect(await orderText(page)).toBe('1 > 2');
  await ask(page, 'Still here?');
  await go(page, 'Feedback');
  await expect(page.locator('tbody tr')).toHaveCount(1);
  await go(page, 'Model');
  await picker.setInputFiles(upload('good.gguf', tiny({ ff: 160 }).bytes));
  await expect(chipOf(page, 'good')).toBeVisible();
  await ask(page, 'And now?');
  // The good one, and none of the broken ones, is there after a reload.
  await saved(page);
  await page.reload();
  await expect(chipOf(page, 'good')).toBeVisible();
  await go(page, 'Model');
  await expect(page.getByRole('region', { name: 'Kept in this browser' }).getByRole('listitem')).toHaveCount(1);
  clean(seen);
});

test('a folder of safetensors', async ({ page }) => {
  const seen = await watch(page);
  await openOnProcessor(page);
  await page
    .locator('.file-input')
    .first()
    .setInputFiles(tinyFolder().filter((f) => f.name !== 'config.json'));
  await expect(page.getByRole('alert')).toContainText('model.safetensors comes without config.json');
  await page.locator('.file-input').first().setInputFiles(tinyFolder());
  await expect(chipOf(page, 'model')).toBeVisible();
  await brief(page);
  await ask(page, 'From a folder');
  await saved(page);
  await page.reload();
  await expect(chipOf(page, 'model')).toBeVisible();
  await ask(page, 'And again');
  clean(seen);
});

test('nothing to learn from, rows that cannot be used, prompts that are too long', async ({ page }) => {
  const seen = await watch(page);
  await openOnProcessor(page);
  await load(page);
  await brief(page);
  const alert = page.getByRole('alert');
  const dismiss = () => alert.first().getByRole('button', { name: 'Dismiss' }).click();

  await learn(page);
  await expect(alert).toHaveAttribute('data-code', 'empty-dataset');
  await dismiss();

  // A ranking of all ties.
  await go(page, 'Chat');
  await ask(page, 'All the same');
  for (const a of [1, 2]) {
    await page.getByRole('article', { name: `Answer ${a}` }).focus();
    await page.keyboard.press('1');
  }
  await learn(page);
  await expect(alert).toHaveAttribute('data-code', 'no-pairs');
  await dismiss();

  // A prompt longer than the context comes back.
  await go(page, 'Chat');
  const long = 'word '.repeat(400).trim();
  await page.getByRole('textbox', { name: 'Your question' }).fill(long);
  await page.keyboard.press('Enter');
  await expect(alert).toHaveAttribute('data-code', 'context-overflow');
  await expect(alert).toContainText(/\d+ tokens/);
  await expect(page.getByRole('textbox', { name: 'Your question' })).toHaveValue(long);
  await page.getByRole('textbox', { name: 'Your question' }).fill('');
  await dismiss();
  await expect(page.locator('.turn')).toHaveCount(1);

  // Rows without an answer are refused at the door; one that only the engine can judge is named as a row of the feedback.
  await go(page, 'Feedback');
  await page
    .locator('.file-input')
    .setInputFiles(
      upload(
        'rows.jsonl',
        [{ prompt: 'No answer' }, { prompt: 'p', completion: '' }, { prompt: 'p', chosen: 'x' }].map((r) => JSON.stringify(r)).join('\n'),
      ),
    );
  await expect(page.getByRole('dialog')).toContainText('3 lines of rows.jsonl cannot be used');
  await expect(page.getByRole('dialog')).toContainText('line 1: completion is missing beside prompt');
  await page.getByRole('button', { name: 'Cancel' }).click();
  await page
    .locator('.file-input')
    .setInputFiles(
      upload('ids.jsonl', [{ prompt: 'a', completion: 'b' }, { input_ids: [1, 2, 99_999_999] }].map((r) => JSON.stringify(r)).join('\n')),
    );
  await expect(page.locator('tbody tr')).toHaveCount(2);
  await go(page, 'Learn');
  await page.getByRole('radio', { name: /^SFT/ }).check({ force: true });
  await learn(page, { max_steps: '1' });
  await expect(alert).toHaveAttribute('data-code', 'bad-row');
  await expect(alert).toContainText('Row 2 of the feedback (an ideal answer from ids.jsonl)');
  await alert.getByRole('button', { name: 'Show the row' }).click();
  await expect(page.getByRole('dialog')).toContainText('99999999');
  await page.getByRole('button', { name: 'Delete this row' }).click();
  await learn(page, { max_steps: '1' });
  await expect(page.locator('.run').getByText('Learnt', { exact: true })).toBeVisible();
  await expect(page.getByRole('img', { name: /^loss: 1 steps/ })).toBeVisible();
  clean(seen);
});

test('a full disk: the model, its copy, the adapter and the feedback are used all the same, and saved when there is room', async ({
  page,
}) => {
  const seen = await watch(page);
  await openOnProcessor(page);
  const alert = page.getByRole('alert');
  await load(page);
  await brief(page);
  await ask(page, 'Before the disk was full');
  await saved(page);

  await quota(page, 1000);
  // A file of one's own.
  await go(page, 'Model');
  await page
    .locator('.file-input')
    .first()
    .setInputFiles(upload('own.gguf', tiny({ ff: 160 }).bytes));
  await expect(alert.filter({ hasText: 'own is in use, but cannot be kept' })).toHaveAttribute('data-code', 'quota-exceeded');
  await expect(chipOf(page, 'own')).toBeVisible();
  // Feedback.
  await go(page, 'Chat');
  await chip(page, 2).focus();
  await page.keyboard.press('Home');
  await expect(page.locator('.rail-foot .save.failed')).toBeVisible();
  await expect(alert.filter({ hasText: 'No room to save' }).first()).toHaveAttribute('data-code', 'quota-exceeded');
  // An adapter.
  await learn(page, { max_steps: '2', save_steps: '0' });
  await expect(page.locator('.run').getByText('Learnt, not saved', { exact: true })).toBeVisible();
  await go(page, 'Adapters');
  await expect(page.getByRole('radio', { name: /^my-first-adapter/ })).toBeChecked();
  await go(page, 'Chat');
  await ask(page, 'With a full disk').catch(() => {});
  await expect(page.locator('.turn').last().locator('.answer .text').first()).not.toBeEmpty();

  await quota(page);
  await page.locator('.rail-foot').getByRole('button', { name: 'not saved' }).click();
  await saved(page);
  await alert.getByRole('button', { name: 'Try again' }).click();
  await expect(alert).toHaveCount(0);
  await go(page, 'Model');
  await expect(page.getByText('your own file').first()).toBeVisible();
  await saved(page);
  await page.reload();
  await expect(chipOf(page, /^Model own.*my-first-adapter/)).toBeVisible();
  await go(page, 'Feedback');
  await expect(page.locator('tbody tr')).toHaveCount(1);
  await go(page, 'Chat');
  await expect(page.locator('.turn')).toHaveCount(2);

  // A download that finds no room is used as well.
  await quota(page, 1000);
  await go(page, 'Model');
  await page.getByRole('textbox', { name: 'Address of a model file' }).fill(`${address()}models/tiny.gguf?another`);
  await page.getByRole('button', { name: 'Load', exact: true }).click();
  await expect(chipOf(page, 'tiny')).toBeVisible();
  await expect(alert.first()).toHaveAttribute('data-code', 'quota-exceeded');
  await quota(page);
  clean(seen);
});

test('a fetch that is cancelled, and one that finds nothing, leave the page as it was', async ({ page }) => {
  const seen = await watch(page);
  await openOnProcessor(page);
  const from = async (path: string): Promise<void> => {
    await page.getByRole('textbox', { name: 'Address of a model file' }).fill(address() + path);
    await page.getByRole('button', { name: 'Load', exact: true }).click();
  };
  await from('slow/tiny.gguf');
  await expect(page.getByText(/kB of \d+ kB \(\d+ %\)/)).toBeVisible();
  await page.getByRole('button', { name: 'Cancel' }).click();
  await expect(page.getByText('Loading stopped')).toBeVisible();
  await expect(page.getByRole('progressbar')).toHaveCount(0);
  await from('models/absent.gguf');
  await expect(page.getByRole('alert')).toHaveAttribute('data-code', 'network');
  await expect(page.getByRole('alert')).toContainText('404');
  await load(page);
  // With a model in use, a cancelled load leaves it there.
  await go(page, 'Model');
  await from('slow/tiny.gguf');
  await expect(page.getByRole('progressbar')).toBeVisible();
  await page.getByRole('button', { name: 'Cancel' }).click();
  await expect(page.getByRole('region', { name: 'Model in use' })).toContainText('tiny');
  await brief(page);
  await ask(page, 'Still here?');
  expect(seen.foreign).toEqual([]);
  expect(seen.violations).toEqual([]);
});

test('without WebGPU the page says so, and computes on the processor', async () => {
  // The same browser without the switches that give it an adapter.
  const browser = await chromium.launch({
    executablePath,
    args: [...args.filter((a) => !a.includes('webgpu')), '--disable-features=WebGPU', '--disable-gpu'],
  });
  const page = await browser.newPage();
  const seen = await watch(page);
  await open(page, '');
  const alert = page.getByRole('alert');
  await expect(alert).toHaveAttribute('data-code', 'webgpu-unavailable');
  await expect(alert).toContainText('This browser offers no WebGPU');
  await go(page, 'Model');
  await expect(alert).toHaveAttribute('data-code', 'webgpu-unavailable');
  await page.getByRole('button', { name: 'Load tiny' }).first().click();
  await expect(page.getByRole('textbox', { name: 'Your question' })).toBeVisible();
  await expect(alert).toHaveCount(0);
  await brief(page);
  await ask(page, 'Without a graphics card?');
  await chip(page, 1).focus();
  await page.keyboard.press('Home');
  await learn(page, { max_steps: '2' });
  await learnt(page, 2);
  clean(seen);
  await browser.close();
});
