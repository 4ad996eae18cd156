// A long sitting at the page as it ships, on the real engine and a tiny model: ask, rank, learn, switch adapters, lose the device, kill the tab.
// Tells at its end what memory, handles and storage did, and fails where something was lost or grew without end.
//   node tests/page/soak.mjs [--minutes 20] [--kills 20] [--root dist/page]      behind `make soak`
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { chromium } from 'playwright-core';
import { makeServer } from '../../../scripts/serve.mjs';
import { tinyGguf } from '../package/gguf.mjs';
import { askOf, killOnce, openPage, seeded } from './kills.mjs';

const option = (name, otherwise) => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? otherwise : process.argv[at + 1];
};
const minutes = Number(option('minutes', 20));
const kills = Number(option('kills', 20));
const root = resolve(import.meta.dirname, '../..', option('root', 'dist/page'));

const folder = mkdtempSync(join(tmpdir(), 'fledgling-'));
const model = join(folder, 'tiny.gguf');
writeFileSync(model, tinyGguf().bytes);
const server = makeServer({ root, models: [model] });
await new Promise((done) => server.listen(0, '127.0.0.1', done));
const address = `http://127.0.0.1:${server.address().port}/`;

const { executablePath, args } = await (async () => {
  const paths = [process.env.CHROME ?? '', '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
  const { existsSync } = await import('node:fs');
  return {
    executablePath: paths.find((p) => p !== '' && existsSync(p)),
    args: ['--no-sandbox', '--disable-quic', '--no-first-run', '--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader'],
  };
})();
const browser = await chromium.launch({ executablePath, args });
const context = await browser.newContext();
const cdp = await browser.newBrowserCDPSession();
const random = seeded(15);

const begin = Date.now();
const minute = () => (Date.now() - begin) / 60_000;
const say = (text) => console.log(`${minute().toFixed(1).padStart(5)} min  ${text}`);
const faults = [];
const fault = (what) => {
  faults.push(what);
  say(`FAULT ${what}`);
};

/** Of all processes of a kind: resident MB and open handles. */
async function processes(kind) {
  const { processInfo } = await cdp.send('SystemInfo.getProcessInfo');
  let mb = 0;
  let handles = 0;
  for (const { id, type } of processInfo) {
    if (type !== kind) continue;
    try {
      mb += Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${id}/status`, 'utf8'))?.[1] ?? 0) / 1024;
      handles += readdirSync(`/proc/${id}/fd`).length;
    } catch {
      // It has ended, or this is no Linux.
    }
  }
  return { mb: Math.round(mb), handles };
}

async function figures(page) {
  const session = await context.newCDPSession(page);
  await session.send('HeapProfiler.collectGarbage').catch(() => {});
  await session.send('Performance.enable');
  const { metrics } = await session.send('Performance.getMetrics');
  const of = (name) => metrics.find((m) => m.name === name)?.value ?? 0;
  await session.detach();
  const storage = await page.evaluate(async () => ((await navigator.storage.estimate()).usage ?? 0) / 1e6);
  const renderer = await processes('renderer');
  const gpu = await processes('GPU');
  return {
    'page heap MB': Math.round(of('JSHeapUsedSize') / 1e5) / 10,
    nodes: of('Nodes'),
    listeners: of('JSEventListeners'),
    'renderer MB': renderer.mb,
    'renderer handles': renderer.handles,
    'GPU process MB': gpu.mb,
    'GPU process handles': gpu.handles,
    'storage MB': Math.round(storage * 10) / 10,
  };
}

const modelIsThere = (page) => page.locator('.chip-model .dot.on').first().waitFor({ state: 'attached', timeout: 120_000 });
const view = (page, name) => page.goto(`${address}#/${name}`);

async function learn(page) {
  await view(page, 'learn');
  await page.getByRole('textbox', { name: 'num_train_epochs' }).fill('2');
  await page.getByRole('button', { name: 'Learn', exact: true }).click();
  const anew = page.getByRole('button', { name: 'Delete it and learn anew' });
  const learnt = page.locator('.run').getByText('Learnt', { exact: true });
  await page.waitForTimeout(300);
  if (await anew.isVisible()) await anew.click();
  const alert = page.getByRole('alert').first();
  // On a software adapter the first run compiles for half a minute.
  await learnt
    .or(alert)
    .first()
    .waitFor({ timeout: 120_000 })
    .catch(async () => {
      throw new Error(`learning does not end: ${(await page.locator('.run').innerText()).slice(0, 200)}`);
    });
  if (!(await learnt.isVisible())) throw new Error(`learning: ${await alert.innerText()}`);
}

async function switchAdapters(page) {
  await view(page, 'adapters');
  const all = page.getByRole('radio');
  for (let i = 0; i < 4; i++) await all.nth(Math.floor(random() * (await all.count()))).check({ force: true });
}

async function loseTheDevice(page) {
  await Promise.race([cdp.send('Browser.crashGpuProcess').catch(() => {}), page.waitForTimeout(500)]);
  const processor = page.getByRole('alert').getByRole('button', { name: 'Use the processor' });
  const back = page.getByText(/ is back$/);
  await processor.or(back).first().waitFor({ timeout: 120_000 });
  const chosen = await processor.isVisible();
  if (chosen) await processor.click();
  await modelIsThere(page);
  say(chosen ? 'device lost; the processor was chosen' : 'device lost, and back');
}

let page = await openPage(context, address, '#/settings');
await page.getByRole('radio', { name: 'The graphics card', exact: true }).check();
await page.getByRole('slider', { name: 'max_new_tokens' }).fill('24');
await view(page, 'model');
await page.getByRole('button', { name: 'Load tiny' }).first().click();
await page.getByRole('textbox', { name: 'Your question' }).waitFor({ timeout: 120_000 });

const counts = { asked: 0, ranked: 0, learnt: 0, switched: 0, lost: 0, killed: 0 };
const told = [];
let told_at = -1;
let lost_at = minutes / 4;
for (let round = 0; minute() < minutes; round++) {
  try {
    await view(page, 'chat');
    // Every now and then a new chat: one that goes on for ever outgrows the context of a tiny model.
    if (round % 2 === 0) await page.getByRole('button', { name: 'New chat' }).first().click();
    await askOf(page, `Question ${round}`);
    counts.asked++;
    const answers = await page.locator('.turn').last().locator('.answer').count();
    await page
      .locator('.turn')
      .last()
      .getByRole('article', { name: `Answer ${1 + (round % answers)}` })
      .focus();
    await page.keyboard.press('1');
    counts.ranked++;
    if (round % 4 === 1) {
      await learn(page);
      counts.learnt++;
      await switchAdapters(page);
      counts.switched += 4;
      // What trained grows with every round: the dataset of a sitting is emptied now and then.
      if (counts.learnt % 5 === 0) {
        await view(page, 'feedback');
        await page.getByRole('checkbox', { name: 'Choose all on this page' }).check();
        await page.getByRole('button', { name: 'Delete chosen' }).click();
      }
    }
    if (minute() > lost_at) {
      lost_at += minutes / 2;
      await view(page, 'chat');
      await loseTheDevice(page);
      counts.lost++;
    }
    if (counts.killed < kills && minute() > ((counts.killed + 0.5) * minutes) / kills) {
      const what = ['ranking', 'asking', 'learning'][counts.killed % 3];
      await view(page, 'chat');
      await page.getByRole('button', { name: 'New chat' }).first().click();
      if (what === 'learning')
        await askOf(page, 'To learn from')
          .then(() => page.locator('.answer').first().focus())
          .then(() => page.keyboard.press('1'));
      const killed = await killOnce(page, address, what, random);
      page = killed.page;
      counts.killed++;
      for (const lost of killed.lost) fault(`killed while ${what}: ${lost}`);
    }
    for (const alert of await page.getByRole('alert').all()) {
      fault(`an alert: ${(await alert.innerText()).slice(0, 300)}`);
      await alert
        .getByRole('button', { name: 'Dismiss' })
        .click({ timeout: 2000 })
        .catch(() => {});
    }
  } catch (e) {
    fault(`round ${round}: ${String(e.message).split('\n').slice(0, 6).join(' | ')}`);
    if (faults.length > 5) break;
    await page.close().catch(() => {});
    page = await openPage(context, address, '#/chat');
    await modelIsThere(page).catch(() => {});
  }
  if (minute() - told_at >= Math.max(0.5, minutes / 20)) {
    told_at = minute();
    told.push(await figures(page));
    say(`${JSON.stringify(counts)} ${JSON.stringify(told.at(-1))}`);
  }
}
told.push(await figures(page).catch(() => told.at(-1)));

// The first is of a page that has only just begun.
const first = told[Math.min(told.length - 1, Math.ceil(told.length / 5))];
const last = told.at(-1);
console.log(`\n${minute().toFixed(1)} minutes: ${JSON.stringify(counts)}`);
console.log(`${''.padEnd(22)}${'after a fifth'.padStart(14)}${'at the end'.padStart(14)}${'most'.padStart(14)}`);
for (const key of Object.keys(last)) {
  const most = Math.max(...told.map((t) => t[key]));
  console.log(`${key.padEnd(22)}${String(first[key]).padStart(14)}${String(last[key]).padStart(14)}${String(most).padStart(14)}`);
}
const grown = (key, times, more) => {
  if (last[key] > first[key] * times + more) fault(`${key} grew from ${first[key]} to ${last[key]}`);
};
grown('page heap MB', 1.5, 20);
grown('renderer MB', 1.5, 150);
grown('renderer handles', 1.5, 40);
grown('GPU process MB', 1.5, 150);
grown('GPU process handles', 1.5, 40);
grown('nodes', 2, 2000);
console.log(faults.length === 0 ? 'nothing was lost' : `${faults.length} faults:\n  ${faults.join('\n  ')}`);

await browser.close();
server.closeAllConnections();
server.close();
rmSync(folder, { recursive: true, force: true });
process.exit(faults.length === 0 ? 0 : 1);
