// Kills a tab of the page at random moments while somebody ranks, asks or learns, and looks what is there afterwards. For the fast tests on an
// engine without a GPU, and for the soak on the real one.

/** What a judgement may lose: those of the last half second. */
const MAY_LOSE_MS = 500;

/** A generator of numbers from 0 to 1, the same for the same seed. */
export function seeded(seed) {
  let x = seed >>> 0 || 1;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) / 2 ** 32;
  };
}

const orderOf = async (page) => (await page.locator('.turn').last().locator('.order').innerText()).replace(/\s+/g, ' ').trim();

/** Ends the tab's process, as a crash does; resolves to when. */
export async function killTab(page) {
  const died = new Promise((done) => page.once('crash', done));
  const cdp = await page.context().newCDPSession(page);
  const at = Date.now();
  void cdp.send('Page.crash').catch(() => {});
  await died;
  await page.close();
  return at;
}

export async function openPage(context, address, hash = '') {
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  await page.goto(address + hash);
  await page.locator('main[aria-busy="false"]').waitFor();
  return page;
}

const modelIsThere = (page) => page.locator('.chip-model .dot.on, .chip-model .dot.busy').first().waitFor({ state: 'attached' });

export async function askOf(page, question) {
  await page.getByRole('textbox', { name: 'Your question' }).fill(question);
  await page.getByRole('button', { name: 'Ask', exact: true }).click();
  await page.getByRole('button', { name: 'Stop answering' }).waitFor({ state: 'detached' });
  await page.locator('.turn').last().locator('.order').waitFor();
}

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** Ranks for a while; returns what was seen, and since when. */
async function rankUntil(page, random, until) {
  const seen = [];
  const answers = await page.locator('.turn').last().locator('.answer').count();
  while (Date.now() < until) {
    const one = 1 + Math.floor(random() * answers);
    await page
      .locator('.turn')
      .last()
      .getByRole('article', { name: `Answer ${one}` })
      .focus();
    await page.keyboard.press(String(1 + Math.floor(random() * answers)));
    seen.push({ at: Date.now(), order: await orderOf(page) });
    await sleep(random() * 120);
  }
  return seen;
}

/** Stored rankings of chats that their chats do not say, and the other way round. */
export const disagreements = (page) =>
  page.evaluate(async () => {
    const root = await (await navigator.storage.getDirectory()).getDirectoryHandle('fledgling-page');
    const text = async (dir, name) => (await (await dir.getFileHandle(name)).getFile()).text();
    const rows = new Map();
    for (const line of (await text(root, 'feedback.jsonl').catch(() => '')).split('\n')) {
      const row = line ? JSON.parse(line) : {};
      if (row.kind === 'preference' && row.source.from === 'chat') rows.set(row.id, row);
    }
    const wrong = [];
    const chats = await root.getDirectoryHandle('chats');
    for await (const name of chats.keys()) {
      if (!name.endsWith('.json')) continue;
      for (const turn of JSON.parse(await text(chats, name)).turns) {
        const row = rows.get(`preference-${turn.id}`);
        rows.delete(`preference-${turn.id}`);
        if (!row) continue;
        // By places alone: which of two is better must be the same.
        turn.places.forEach((p, i) =>
          turn.places.forEach((q, k) => {
            if (p !== null && q !== null && Math.sign(p - q) !== Math.sign(row.ranks[i] - row.ranks[k]))
              wrong.push(`${turn.id}: ${i} ${k}`);
          }),
        );
      }
    }
    return [...wrong, ...[...rows.keys()].map((id) => `${id} has no turn`)];
  });

/**
 * One kill: what was done, and what of it was lost (nothing: an empty list). `page` is a tab with a model in use and the chat in sight; the tab
 * that takes its place is returned.
 */
export async function killOnce(page, address, what, random) {
  const context = page.context();
  const lost = [];
  const rest = 300 + random() * 1500;
  let check = async () => {};
  if (what === 'ranking') {
    await askOf(page, `Rank these, please (${Math.floor(random() * 1e6)})`);
    const seen = await rankUntil(page, random, Date.now() + rest);
    const at = await killTab(page);
    const least = seen.findLastIndex((s) => s.at <= at - MAY_LOSE_MS);
    check = async (next) => {
      if ((await next.locator('.turn').count()) === 0)
        return void lost.push(`the question and its answers, ranked for ${Math.round(rest)} ms`);
      const order = await orderOf(next);
      if (least >= 0 && !seen.slice(least).some((s) => s.order === order))
        lost.push(`ranked ${seen[least].order} ${at - seen[least].at} ms before, found ${order}`);
    };
  } else if (what === 'asking') {
    const question = `Asked and killed (${Math.floor(random() * 1e6)})`;
    await page.getByRole('textbox', { name: 'Your question' }).fill(question);
    await page.keyboard.press('Enter');
    await sleep(150 + random() * 1200);
    await killTab(page);
    check = async (next) => {
      const waiting = await next.getByRole('textbox', { name: 'Your question' }).inputValue();
      const asked = await next.locator('.turn .prompt').allInnerTexts();
      if (waiting !== question && !asked.some((a) => a.trim() === question)) lost.push(`the question ${question}`);
      await next.getByRole('textbox', { name: 'Your question' }).fill('');
    };
  } else {
    // Whatever the ranking before ended with, there is something to learn from.
    for (const place of ['1', '2']) {
      await page
        .locator('.turn')
        .last()
        .getByRole('article', { name: `Answer ${place}` })
        .focus();
      await page.keyboard.press(place);
    }
    await page.goto(`${address}#/learn`);
    await page.getByRole('textbox', { name: 'num_train_epochs' }).fill('200');
    await page.getByRole('button', { name: 'Learn', exact: true }).click();
    const anew = page.getByRole('button', { name: 'Delete it and learn anew' });
    const stats = page.locator('.stats dd').first();
    await anew
      .or(stats.filter({ hasText: '/' }))
      .first()
      .waitFor();
    if (await anew.isVisible()) await anew.click();
    await page.waitForFunction(() => Number.parseInt(document.querySelector('.stats dd')?.textContent ?? '0', 10) >= 2);
    await sleep(rest);
    await killTab(page);
    check = async (next) => {
      await next.goto(`${address}#/learn`);
      const on = next.getByRole('button', { name: 'Go on', exact: true });
      const going = next.locator('.run').getByText('Learning', { exact: true });
      await on
        .or(going)
        .first()
        .waitFor({ timeout: 15_000 })
        .catch(() => lost.push('the run: there is no checkpoint'));
      if (lost.length > 0) return;
      await modelIsThere(next);
      // It goes on by itself, but where it was killed at the same step before.
      await going.waitFor({ timeout: 5000 }).catch(() => on.click());
      await next.waitForFunction(() => Number.parseInt(document.querySelector('.stats dd')?.textContent ?? '0', 10) >= 3);
      await next.getByRole('button', { name: 'Finish now' }).click();
      await next.locator('.run').getByText('Learnt', { exact: true }).waitFor();
      await next.goto(`${address}#/chat`);
    };
  }
  const next = await openPage(context, address, '#/chat');
  await modelIsThere(next);
  await check(next);
  const broken = await next.locator('.notice.error[data-code="storage-corrupt"]').count();
  if (broken > 0) lost.push('a stored file was damaged');
  await next.locator('.app[data-save="saved"]').waitFor();
  await sleep(400);
  lost.push(...(await disagreements(next)));
  return { page: next, lost };
}
