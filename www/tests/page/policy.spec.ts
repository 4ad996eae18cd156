// Nothing leaves the page's own origin but to hosts that a setting allows, and it is the browser that sees to it.
import type { Page } from '@playwright/test';
import { address, ask, expect, go, loadModel, open, test } from './helpers.ts';
import { serveForeign } from './server.ts';

/** What becomes of a request in the page and in a worker made from a script of the page's own origin. */
async function reaches(page: Page, url: string): Promise<{ page: boolean; image: boolean; beacon: boolean }> {
  return page.evaluate(async (u) => {
    const attempt = await fetch(u + 'page').then(
      () => true,
      () => false,
    );
    const image = await new Promise<boolean>((done) => {
      const i = new Image();
      i.onload = () => done(true);
      i.onerror = () => done(false);
      i.src = u + 'image';
    });
    return { page: attempt, image, beacon: navigator.sendBeacon(u + 'beacon', 'x') };
  }, url);
}

test('a whole visit makes no request to anybody else', async ({ page, context }) => {
  const foreign: string[] = [];
  const origin = new URL(address()).origin;
  context.on('request', (r) => {
    const url = new URL(r.url());
    if (url.origin !== origin && url.protocol !== 'blob:' && url.protocol !== 'data:') foreign.push(r.url());
  });
  const violations: string[] = [];
  page.on('console', (m) => m.text().includes('Content Security Policy') && violations.push(m.text()));
  await open(page);
  await loadModel(page);
  await ask(page, 'Do you phone home?');
  await page.getByRole('article', { name: 'Answer 1' }).focus();
  await page.keyboard.press('1');
  await go(page, 'Learn');
  await page.getByRole('button', { name: 'Learn', exact: true }).click();
  await expect(page.getByText('Learnt', { exact: true })).toBeVisible();
  for (const view of ['Feedback', 'Adapters', 'Model', 'Settings']) await go(page, view);
  expect(foreign).toEqual([]);
  // Not even a harmless thing of the page's own runs into the policy.
  expect(violations).toEqual([]);
});

test('the policy is strict, in a header and in the document', async ({ page, request }) => {
  for (const path of ['', 'sw.js', 'models/']) {
    const policy = (await request.get(address() + path)).headers()['content-security-policy'] ?? '';
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("connect-src 'self';");
    expect(policy).toContain("frame-ancestors 'none'");
    expect(policy).not.toMatch(/unsafe-inline|'unsafe-eval'|https?:|\*/);
  }
  await open(page);
  expect(await page.locator('meta[http-equiv="Content-Security-Policy"]').getAttribute('content')).toContain("connect-src 'self';");
  expect(await page.evaluate(() => crossOriginIsolated)).toBe(true);
  // Inline scripts and eval are off.
  expect(
    await page.evaluate(async () => {
      const s = document.createElement('script');
      s.textContent = 'globalThis.injected = true';
      document.body.append(s);
      // The debugger lifts the ban on eval for its own call; a timer runs outside it.
      await new Promise((done) => setTimeout(done, 0));
      try {
        // biome-ignore lint/security/noGlobalEval: the test sees that the policy refuses it
        (0, eval)('1');
        return 'eval ran';
      } catch {
        return (globalThis as { injected?: boolean }).injected ? 'inline ran' : 'blocked';
      }
    }),
  ).toBe('blocked');
});

test('foreign hosts are out of reach until they are allowed, one by one, and again afterwards', async ({ page }) => {
  const [ours, theirs] = [await serveForeign(), await serveForeign()];
  try {
    await open(page);
    await page.evaluate(async () => void (await navigator.serviceWorker.ready));
    expect(await reaches(page, ours.url)).toMatchObject({ page: false, image: false });
    expect(ours.asked).toEqual([]);

    await go(page, 'Settings');
    const box = page.getByRole('textbox', { name: 'Host to allow' });
    await box.fill('http://example.org');
    await page.getByRole('button', { name: 'Allow', exact: true }).click();
    await expect(page.getByText('is not a host that can be allowed')).toBeVisible();
    await box.fill(ours.url);
    await Promise.all([page.waitForEvent('load'), page.getByRole('button', { name: 'Allow', exact: true }).click()]);
    await expect(page.getByRole('button', { name: /^No longer allow/ })).toHaveCount(1);
    await expect(page.getByText('not in force yet')).toHaveCount(0);

    expect(await reaches(page, ours.url)).toMatchObject({ page: true, image: false });
    expect(await reaches(page, theirs.url)).toMatchObject({ page: false, image: false });
    expect(theirs.asked).toEqual([]);

    await Promise.all([page.waitForEvent('load'), page.getByRole('button', { name: /^No longer allow/ }).click()]);
    await expect(page.getByText('none: this server only')).toBeVisible();
    ours.asked.length = 0;
    expect(await reaches(page, ours.url)).toMatchObject({ page: false });
    expect(ours.asked).toEqual([]);
  } finally {
    ours.close();
    theirs.close();
  }
});

test('a worker is held to the same list', async ({ page }) => {
  const foreign = await serveForeign();
  const inWorker = (): Promise<boolean> =>
    page.evaluate(async (u) => {
      // The page's own service-worker script doubles as a worker script of this origin; the policy is on its response.
      const policy = (await fetch('sw.js')).headers.get('Content-Security-Policy') ?? '';
      return new Promise<boolean>((done) => {
        const w = new Worker(new URL(`probe-worker.js?${encodeURIComponent(u)}`, document.baseURI));
        w.onmessage = (e: MessageEvent<boolean>) => done(e.data);
        w.onerror = () => done(policy === '');
      });
    }, foreign.url);
  try {
    // A worker script beside the page, as the engine's own is, with the server's headers.
    const headers = await (await page.request.get(address())).headers();
    await page.context().route('**/probe-worker.js*', (route) =>
      route.fulfill({
        contentType: 'text/javascript',
        headers: { 'content-security-policy': headers['content-security-policy']!, 'cross-origin-embedder-policy': 'require-corp' },
        body: 'fetch(decodeURIComponent(location.search.slice(1))).then(() => postMessage(true), () => postMessage(false))',
      }),
    );
    await open(page);
    await page.evaluate(async () => void (await navigator.serviceWorker.ready));
    expect(await inWorker()).toBe(false);
    expect(foreign.asked).toEqual([]);
    await go(page, 'Settings');
    await page.getByRole('textbox', { name: 'Host to allow' }).fill(foreign.url);
    await Promise.all([page.waitForEvent('load'), page.getByRole('button', { name: 'Allow', exact: true }).click()]);
    await page.locator('main[aria-busy="false"]').waitFor();
    expect(await inWorker()).toBe(true);
  } finally {
    foreign.close();
  }
});

test('an address on a host that is not allowed offers to allow it, and loads after the reload', async ({ page }) => {
  const foreign = await serveForeign();
  try {
    await open(page, '#/model');
    await page.evaluate(async () => void (await navigator.serviceWorker.ready));
    await page.getByRole('textbox', { name: 'Address of a model file' }).fill(`${foreign.url}tiny.gguf`);
    await page.getByRole('button', { name: 'Load', exact: true }).click();
    await expect(page.getByRole('alert')).toHaveAttribute('data-code', 'host-not-allowed');
    expect(foreign.asked).toEqual([]);
    await page.getByRole('button', { name: /^Allow http:/ }).click();
    await expect(page.getByRole('link', { name: /^Model tiny/ }).last()).toBeVisible();
    expect(foreign.asked).toContain('/tiny.gguf');
  } finally {
    foreign.close();
  }
});

test('a host that hands downloads on is allowed together with the one that has the files', async ({ page, context }) => {
  // Both in place of the network; the driver answers no second request of a redirect, so the way on is tried by itself.
  await context.route(/^https:\/\/(huggingface\.co|cdn\.hf\.co)\//, (route) =>
    route.fulfill({ headers: { 'access-control-allow-origin': '*', 'cross-origin-resource-policy': 'cross-origin' }, body: 'GGUF' }),
  );
  await open(page, '#/model');
  await page.evaluate(async () => void (await navigator.serviceWorker.ready));
  await page.getByRole('textbox', { name: 'Address of a model file' }).fill('https://huggingface.co/somebody/tiny/resolve/main/tiny.gguf');
  await page.getByRole('button', { name: 'Load', exact: true }).click();
  await expect(page.getByRole('alert')).toContainText('https://huggingface.co is not among the hosts');
  await page.getByRole('button', { name: 'Allow https://huggingface.co and https://*.hf.co and reload' }).click();
  await expect(page.getByRole('link', { name: /^Model tiny/ }).last()).toBeVisible();
  expect(await page.evaluate(() => fetch('https://cdn.hf.co/a').then((r) => r.text()))).toBe('GGUF');
  expect(await reaches(page, 'https://example.org/')).toMatchObject({ page: false });
});

test('a download that is handed on to a refused host is named as that, and the last model comes back', async ({ page }) => {
  const files = await serveForeign();
  const front = await serveForeign(`${files.url}tiny.gguf`);
  try {
    await open(page);
    await loadModel(page);
    await page.evaluate(async () => void (await navigator.serviceWorker.ready));
    await go(page, 'Model');
    await page.getByRole('textbox', { name: 'Address of a model file' }).fill(`${front.url}tiny.gguf`);
    await page.getByRole('button', { name: 'Load', exact: true }).click();
    const alert = page.getByRole('alert');
    await expect(alert).toHaveAttribute('data-code', 'host-not-allowed');
    await page.getByRole('button', { name: /^Allow http:/ }).click();
    await expect(alert).toHaveAttribute('data-code', 'redirect-not-allowed');
    await expect(alert).toContainText(`${new URL(front.url).host} hands this download on to another host`);
    expect(files.asked).toEqual([]);
    // Nothing is lost by it: the model of before answers.
    await expect(page.getByRole('link', { name: /^Model SmolLM2/ }).last()).toBeVisible();
    await expect(page.getByRole('region', { name: 'Model in use' })).toContainText('SmolLM2');
    await expect(alert).toBeVisible();
    await page.getByRole('button', { name: 'Hosts in Settings' }).click();
    await page.getByRole('textbox', { name: 'Host to allow' }).fill(files.url);
    await Promise.all([page.waitForEvent('load'), page.getByRole('button', { name: 'Allow', exact: true }).click()]);
    await go(page, 'Model');
    await page.getByRole('textbox', { name: 'Address of a model file' }).fill(`${front.url}tiny.gguf`);
    await page.getByRole('button', { name: 'Load', exact: true }).click();
    await expect(page.getByRole('link', { name: /^Model tiny/ }).last()).toBeVisible();
  } finally {
    front.close();
    files.close();
  }
});
