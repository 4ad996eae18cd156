// What may be lost, and is not: runs that fail, engines that die, models that are replaced, tabs side by side, full disks.
import type { Page } from '@playwright/test';
import { address, ask, chip, expect, go, loadModel, open, orderText, saved, test } from './helpers.ts';

const learn = (page: Page) => page.getByRole('button', { name: 'Learn', exact: true });
const status = (page: Page, text: string) => page.locator('.run').getByText(text, { exact: true });

/** A model, a ranking, and the Learn view with so many epochs (two pairs: two steps each) and a checkpoint every 4 steps. */
async function readyToLearn(page: Page, fake: Parameters<typeof open>[2], epochs: number): Promise<void> {
  await open(page, '', fake);
  await loadModel(page);
  await ask(page, 'Teach me');
  await page.getByRole('article', { name: 'Answer 3' }).focus();
  await page.keyboard.press('1');
  await go(page, 'Learn');
  await page.getByRole('textbox', { name: 'num_train_epochs' }).fill(String(epochs));
  await page.getByText('Advanced').first().click();
  await page.getByRole('textbox', { name: 'save_steps' }).fill('4');
}

const inPage = <T>(page: Page, path: string): Promise<T | null> =>
  page.evaluate(async (p) => {
    let dir = await (await navigator.storage.getDirectory()).getDirectoryHandle('fledgling-page');
    const parts = p.split('/');
    for (const name of parts.slice(0, -1)) dir = await dir.getDirectoryHandle(name).catch(() => dir);
    const file = await dir.getFileHandle(parts.at(-1)!).catch(() => null);
    return file ? ((await (await file.getFile()).text()) as T) : null;
  }, path);

// ---- runs that fail

test('a run ended by an error goes on from its checkpoint', async ({ page }) => {
  await readyToLearn(page, { failAt: 11, failCode: 'not-finite', stepMs: 20 }, 10);
  await learn(page).click();
  await expect(status(page, 'Failed')).toBeVisible();
  await expect(page.getByText('It failed after step 10')).toBeVisible();
  await expect(page.getByRole('alert')).toHaveAttribute('data-code', 'not-finite');
  // It survives a reload as well.
  await saved(page);
  await page.reload();
  await expect(page.getByRole('link', { name: /^Model SmolLM2/ }).last()).toBeVisible();
  await expect(page.getByText('It failed after step 10')).toBeVisible();
  await page.getByRole('button', { name: 'Go on' }).click();
  await expect(status(page, 'Learnt')).toBeVisible();
  await expect(page.getByRole('img', { name: /^loss: 20 steps/ })).toBeVisible();
  await saved(page);
  expect(await inPage(page, 'checkpoint/state.bin')).toBeNull();
});

test('learning anew asks before it deletes the checkpoint of a run that can go on', async ({ page }) => {
  await readyToLearn(page, { failAt: 6, failCode: 'not-finite' }, 10);
  await learn(page).click();
  await expect(status(page, 'Failed')).toBeVisible();
  await page.getByRole('button', { name: 'Dismiss' }).click();
  await learn(page).click();
  const dialog = page.getByRole('dialog', { name: 'An earlier run can still go on' });
  await expect(dialog).toContainText('my-first-adapter stopped at step 5 of 20');
  await dialog.getByRole('button', { name: 'Cancel' }).click();
  expect(await inPage(page, 'checkpoint/state.bin')).not.toBeNull();
  await learn(page).click();
  await dialog.getByRole('button', { name: 'Go on with it' }).click();
  await expect(status(page, 'Learnt')).toBeVisible();
  // Nothing is left to lose: no question.
  await learn(page).click();
  await expect(dialog).toHaveCount(0);
  await expect(status(page, 'Failed')).toBeVisible();
  await learn(page).click();
  await dialog.getByRole('button', { name: 'Delete it and learn anew' }).click();
  await expect(page.getByText(/It failed after step 5/)).toBeVisible();
});

test('a checkpoint goes on with the model it was made with, and with no other', async ({ page }) => {
  await readyToLearn(page, { failAt: 6, failCode: 'not-finite' }, 10);
  await learn(page).click();
  await expect(status(page, 'Failed')).toBeVisible();
  await go(page, 'Model');
  await page
    .locator('.file-input')
    .first()
    .setInputFiles({ name: 'other.gguf', mimeType: 'application/octet-stream', buffer: Buffer.from('GGUF other') });
  await expect(page.getByRole('link', { name: /^Model other/ }).last()).toBeVisible();
  await go(page, 'Learn');
  await expect(page.getByText('This run learns on SmolLM2-135M-Instruct.Q4_1; other is loaded.')).toBeVisible();
  await expect(page.getByRole('button', { name: 'Go on' })).toBeDisabled();
  await loadModel(page);
  await go(page, 'Learn');
  await page.getByRole('button', { name: 'Go on' }).click();
  await expect(status(page, 'Learnt')).toBeVisible();
});

test('a row that the engine refuses is named as a row of the feedback, and shown', async ({ page }) => {
  await open(page, '', { failAt: 1, failCode: 'bad-row' });
  await loadModel(page);
  for (const question of ['One ranking of two pairs', 'The other ranking']) {
    await ask(page, question);
    await page.locator('.turn').last().getByRole('article', { name: 'Answer 1' }).focus();
    await page.keyboard.press('1');
  }
  await go(page, 'Learn');
  await learn(page).click();
  // The engine counts rows from 0: its row 1 is the second ranking.
  const alert = page.getByRole('alert');
  await expect(alert).toHaveAttribute('data-code', 'bad-row');
  await expect(alert).toContainText('Row 2 of the feedback (a ranking from a chat): the chosen answer is empty');
  await alert.getByRole('button', { name: 'Show the row' }).click();
  await expect(page.getByRole('dialog', { name: 'Ranking' })).toContainText('The other ranking');
});

test('answers without words are in no pair, and not imported', async ({ page }) => {
  await open(page, '#/feedback');
  await page.locator('.file-input').setInputFiles({
    name: 'empty.jsonl',
    mimeType: 'application/jsonl',
    buffer: Buffer.from(
      [
        { prompt: 'p', completion: '  ' },
        { prompt: 'p', chosen: [{ role: 'assistant', content: '' }], rejected: 'x' },
        {
          messages: [
            { role: 'user', content: 'u' },
            { role: 'assistant', content: ' ' },
          ],
        },
      ]
        .map((r) => JSON.stringify(r))
        .join('\n'),
    ),
  });
  await expect(page.getByRole('dialog')).toContainText('3 lines of empty.jsonl cannot be used');
  await expect(page.getByRole('dialog')).toContainText('line 1: completion has no words: the row has no answer to learn from');
});

// ---- replacing a model

test('a load that fails or is cancelled leaves the model in use', async ({ page }) => {
  await open(page, '', { holdLoad: 'other' });
  await loadModel(page);
  await go(page, 'Model');
  await page
    .locator('.file-input')
    .first()
    .setInputFiles({ name: 'broken.gguf', mimeType: 'application/octet-stream', buffer: Buffer.from('JPEG') });
  await expect(page.getByRole('alert')).toHaveAttribute('data-code', 'bad-file');
  await expect(page.getByRole('region', { name: 'Model in use' })).toContainText('SmolLM2');
  await page
    .locator('.file-input')
    .first()
    .setInputFiles({ name: 'other.gguf', mimeType: 'application/octet-stream', buffer: Buffer.from('GGUF') });
  await page.getByRole('button', { name: 'Cancel' }).click();
  await expect(page.getByRole('region', { name: 'Model in use' })).toContainText('SmolLM2');
  await go(page, 'Chat');
  await ask(page, 'Still there?');
});

test('the model in use cannot be taken away from a run', async ({ page }) => {
  await readyToLearn(page, { stepMs: 60 }, 200);
  await learn(page).click();
  await expect(page.locator('.stats')).toContainText('/ 400');
  await go(page, 'Model');
  await expect(page.getByRole('button', { name: /^Load SmolLM2/ })).toBeDisabled();
  await expect(page.getByText('The model is learning: another can be loaded when that has ended.')).toBeVisible();
  const data = await page.evaluateHandle(() => {
    const d = new DataTransfer();
    d.items.add(new File(['GGUF'], 'dropped.gguf'));
    return d;
  });
  await page.locator('.page').dispatchEvent('drop', { dataTransfer: data });
  await expect(page.getByRole('alert')).toHaveAttribute('data-code', 'busy');
  await go(page, 'Learn');
  await expect(status(page, 'Learning')).toBeVisible();
  await page.getByRole('button', { name: 'Cancel' }).click();
  await page.getByRole('button', { name: 'Throw it away' }).click();
  await expect(status(page, 'Cancelled')).toBeVisible();
});

// ---- own files

const FOLDER = (weights: string) =>
  ['config.json', 'tokenizer.json', 'README.md', 'model.safetensors'].map((name) => ({
    name,
    mimeType: 'application/octet-stream',
    buffer: Buffer.from(name === 'model.safetensors' ? weights : '{}'),
  }));

test('a file of one’s own is there after a reload, from the browser’s storage', async ({ page }) => {
  await open(page, '#/model');
  await page
    .locator('.file-input')
    .first()
    .setInputFiles({ name: 'mine.gguf', mimeType: 'application/octet-stream', buffer: Buffer.from('GGUF and more') });
  await expect(page.getByRole('link', { name: /^Model mine/ }).last()).toBeVisible();
  await saved(page);
  await page.reload();
  await expect(page.getByRole('link', { name: /^Model mine/ }).last()).toBeVisible();
  await go(page, 'Model');
  await expect(page.getByText('your own file').first()).toBeVisible();
  await loadModel(page);
  await go(page, 'Model');
  await page.getByRole('button', { name: 'Load mine' }).click();
  await expect(page.getByRole('link', { name: /^Model mine/ }).last()).toBeVisible();
  await go(page, 'Settings');
  await page.getByRole('button', { name: 'Delete the copy of mine' }).click();
  await expect(page.getByText('your own file')).toHaveCount(0);
  await saved(page);
  await page.reload();
  await go(page, 'Model');
  await expect(page.getByRole('alert')).toContainText('no longer there');
});

test('several files of a folder are one model; what is missing is named', async ({ page }) => {
  await open(page, '#/model');
  await page
    .locator('.file-input')
    .first()
    .setInputFiles(FOLDER('weights').filter((f) => f.name !== 'tokenizer.json'));
  await expect(page.getByRole('alert')).toHaveAttribute('data-code', 'bad-file');
  await expect(page.getByRole('alert')).toContainText('model.safetensors comes without tokenizer.json');
  await page.locator('.file-input').first().setInputFiles(FOLDER('weights'));
  await expect(page.getByRole('link', { name: /^Model model/ }).last()).toBeVisible();
  await saved(page);
  await page.reload();
  await expect(page.getByRole('link', { name: /^Model model/ }).last()).toBeVisible();
  await go(page, 'Model');
  await expect(page.getByText('your own folder, 3 files')).toBeVisible();
});

test('a dropped folder', async ({ page }) => {
  await open(page, '#/model');
  // What the browser gives for a folder that is dropped cannot be made by a script: an entry that behaves as one.
  await page.evaluate(() => {
    const files = ['config.json', 'tokenizer.json', 'model.safetensors', 'notes.txt'].map((n) => new File([n], n));
    let read = false;
    const entry = {
      isDirectory: true,
      isFile: false,
      name: 'my-folder',
      createReader: () => ({
        readEntries: (done: (e: unknown[]) => void) => (
          done(read ? [] : files.map((f) => ({ isFile: true, isDirectory: false, name: f.name, file: (ok: (f: File) => void) => ok(f) }))),
          (read = true)
        ),
      }),
    };
    const event = new Event('drop', { bubbles: true, cancelable: true });
    Object.assign(event, {
      dataTransfer: { types: ['Files'], files: [new File([], 'my-folder')], items: [{ webkitGetAsEntry: () => entry }] },
    });
    document.querySelector('.page')!.dispatchEvent(event);
  });
  await expect(page.getByRole('link', { name: /^Model my-folder/ }).last()).toBeVisible();
});

test('without room the model is used but not kept, and the page says so', async ({ page, context }) => {
  await open(page, '#/model');
  const cdp = await context.newCDPSession(page);
  const origin = new URL(address()).origin;
  await cdp.send('Storage.overrideQuotaForOrigin', { origin, quotaSize: 200_000 });
  await page
    .locator('.file-input')
    .first()
    .setInputFiles({ name: 'large.gguf', mimeType: 'application/octet-stream', buffer: Buffer.from('GGUF'.padEnd(400_000, '.')) });
  // Not the only notice, on a busy machine: the settings may find no room either before there is some again.
  const alert = page.getByRole('alert').filter({ hasText: 'large is in use, but cannot be kept' });
  await expect(alert).toHaveAttribute('data-code', 'quota-exceeded');
  await ask(page, 'All the same?');
  await cdp.send('Storage.overrideQuotaForOrigin', { origin });
  await alert.getByRole('button', { name: 'Try again' }).click();
  await go(page, 'Model');
  await expect(page.getByText('your own file').first()).toBeVisible();
});

// ---- a full disk at the end of a run

test('an adapter that finds no room keeps its checkpoint, and the tab, until it is saved', async ({ page, context }) => {
  await readyToLearn(page, { stepMs: 250 }, 10);
  await learn(page).click();
  await expect(page.locator('.stats dd').first()).toHaveText(/^([5-9]|1\d) \/ 20$/);
  await page.waitForTimeout(200);
  const cdp = await context.newCDPSession(page);
  const origin = new URL(address()).origin;
  await cdp.send('Storage.overrideQuotaForOrigin', { origin, quotaSize: 1 });
  await expect(status(page, 'Learnt, not saved')).toBeVisible();
  await expect(page.locator('.rail-foot .save.failed')).toBeVisible();
  await expect(page.getByRole('alert').first()).toHaveAttribute('data-code', 'quota-exceeded');
  expect(await inPage(page, 'checkpoint/state.bin')).not.toBeNull();
  // It answers all the same, and the page does not close without a word.
  await go(page, 'Adapters');
  await expect(page.getByRole('radio', { name: /^my-first-adapter/ })).toBeChecked();
  await expect(page.getByText('not saved: it found no room on disk')).toBeVisible();
  const asked = new Promise<string>((done) => page.once('dialog', (d) => (done(d.type()), void d.dismiss())));
  await page.evaluate(() => location.reload());
  expect(await asked).toBe('beforeunload');
  await cdp.send('Storage.overrideQuotaForOrigin', { origin });
  await go(page, 'Learn');
  await page.locator('.done-line').getByRole('button', { name: 'Save again' }).click();
  await expect(status(page, 'Learnt')).toBeVisible();
  await saved(page);
  await expect.poll(() => inPage(page, 'checkpoint/state.bin')).toBeNull();
  await page.reload();
  await expect(page.getByRole('link', { name: /^Model SmolLM2.*my-first-adapter/ }).last()).toBeVisible();
});

test('without saving it, a reload finds the checkpoint', async ({ page, context }) => {
  await readyToLearn(page, { stepMs: 250 }, 10);
  await learn(page).click();
  await expect(page.locator('.stats dd').first()).toHaveText(/^([5-9]|1\d) \/ 20$/);
  await page.waitForTimeout(200);
  const cdp = await context.newCDPSession(page);
  const origin = new URL(address()).origin;
  await cdp.send('Storage.overrideQuotaForOrigin', { origin, quotaSize: 1 });
  await expect(status(page, 'Learnt, not saved')).toBeVisible();
  await cdp.send('Storage.overrideQuotaForOrigin', { origin });
  await page.reload();
  await expect(status(page, 'Learnt')).toBeVisible();
  await expect(page.getByRole('img', { name: /^loss: 20 steps/ })).toBeVisible();
});

// ---- adapters that do not fit, seeds

test('an adapter that does not fit the model is not asked for', async ({ page }) => {
  await open(page, '', {});
  await loadModel(page);
  await go(page, 'Adapters');
  await page.locator('.file-input').setInputFiles([
    {
      name: 'adapter_config.json',
      mimeType: 'application/json',
      buffer: Buffer.from('{"peft_type":"LORA","base_model_name_or_path":"only-mine","r":8}'),
    },
    { name: 'adapter_model.safetensors', mimeType: 'application/octet-stream', buffer: Buffer.from('x') },
  ]);
  await page.getByRole('button', { name: 'Save' }).click();
  await expect(page.getByRole('dialog').getByRole('alert')).toContainText('was made for only-mine');
  await page.getByRole('button', { name: 'Cancel' }).click();
  await go(page, 'Model');
  await page
    .locator('.file-input')
    .first()
    .setInputFiles({ name: 'only-mine.gguf', mimeType: 'application/octet-stream', buffer: Buffer.from('GGUF') });
  await expect(page.getByRole('link', { name: /^Model only-mine/ }).last()).toBeVisible();
  await go(page, 'Adapters');
  await page.locator('.file-input').setInputFiles([
    {
      name: 'adapter_config.json',
      mimeType: 'application/json',
      buffer: Buffer.from('{"peft_type":"LORA","base_model_name_or_path":"only-mine","r":8}'),
    },
    { name: 'adapter_model.safetensors', mimeType: 'application/octet-stream', buffer: Buffer.from('x') },
  ]);
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByRole('radio', { name: /^adapter/ }).check();
  // With the other model it stays behind; the base answers.
  await loadModel(page);
  await expect(page.getByText('adapter does not fit this model: the base model answers')).toBeVisible();
  await ask(page, 'Who answers?');
  await expect(page.locator('.turn').last().locator('.answer .who').first()).toHaveText('base');
  await expect(page.getByRole('alert')).toHaveCount(0);
});

test('base and tuned are asked with one seed', async ({ page }) => {
  await readyToLearn(page, {}, 1);
  await learn(page).click();
  await expect(status(page, 'Learnt')).toBeVisible();
  await page.getByRole('button', { name: 'Ask again' }).click();
  await ask(page, 'Side by side?');
  const calls = await page.evaluate(() =>
    (globalThis as unknown as { fledglingCalls: { what: string; seed: number; adapter: string | null }[] }).fledglingCalls
      .filter((c) => c.what === 'answer')
      .slice(-2),
  );
  expect(calls.map((c) => c.adapter)).toEqual([null, 'my-first-adapter']);
  expect(calls[0]!.seed).toBe(calls[1]!.seed);
});

// ---- files of the page

test('damaged lines of the feedback are set aside before anything is written over them', async ({ page }) => {
  await open(page, '#/feedback');
  await page.locator('.file-input').setInputFiles({
    name: 'two.jsonl',
    mimeType: 'application/jsonl',
    buffer: Buffer.from('{"prompt":"One","completion":"1"}\n{"prompt":"Two","completion":"2"}'),
  });
  await expect(page.locator('tbody tr')).toHaveCount(2);
  await saved(page);
  await page.evaluate(async () => {
    const dir = await (await navigator.storage.getDirectory()).getDirectoryHandle('fledgling-page');
    const handle = await dir.getFileHandle('feedback.jsonl');
    const text = await (await handle.getFile()).text();
    const stream = await handle.createWritable();
    const [version, one, two] = text.split('\n');
    await stream.write([version, one, '{"kind":"preference","id":"half', two, ''].join('\n'));
    await stream.close();
  });
  await page.reload();
  const alert = page.getByRole('alert');
  await expect(alert).toHaveAttribute('data-code', 'storage-corrupt');
  await expect(alert).toContainText('line 3 could not be read and was put into feedback.jsonl.broken');
  await expect(page.locator('tbody tr')).toHaveCount(2);
  await saved(page);
  expect(await inPage(page, 'feedback.jsonl.broken')).toBe('{"kind":"preference","id":"half\n');
  expect((await inPage<string>(page, 'feedback.jsonl'))!.trim().split('\n')).toHaveLength(3);
  await page.reload();
  await expect(page.locator('tbody tr')).toHaveCount(2);
  await expect(page.getByRole('alert')).toHaveCount(0);
});

test('a reload in the middle of an answer keeps what was written', async ({ page }) => {
  await open(page, '', { pieceMs: 400 });
  await loadModel(page);
  await page.getByRole('textbox', { name: 'Your question' }).fill('Slowly, please');
  await page.keyboard.press('Enter');
  await expect(page.locator('.answer .text').first()).toContainText('you asked');
  await page.waitForTimeout(3600);
  await page.reload();
  await expect(page.locator('.answer')).toHaveCount(3);
  await expect(page.locator('.answer').first()).toContainText('stopped');
  await expect(page.locator('.answer .text').first()).toContainText('you asked');
});

test('a question that was never answered returns to the composer', async ({ page }) => {
  await open(page);
  await loadModel(page);
  await ask(page, 'Answered');
  await saved(page);
  await page.evaluate(async () => {
    const dir = await (await (await navigator.storage.getDirectory()).getDirectoryHandle('fledgling-page')).getDirectoryHandle('chats');
    for await (const name of dir.keys()) {
      const handle = await dir.getFileHandle(name);
      const chat = JSON.parse(await (await handle.getFile()).text()) as {
        turns: { id: string; prompt: string; answers: { text: string; finishReason: string }[] }[];
      };
      chat.turns.push({
        ...chat.turns[0]!,
        id: 'waiting',
        prompt: 'Never answered',
        answers: chat.turns[0]!.answers.map((a) => ({ ...a, text: '', finishReason: 'abort' })),
      });
      const stream = await handle.createWritable();
      await stream.write(JSON.stringify(chat));
      await stream.close();
    }
  });
  await page.reload();
  await expect(page.locator('.turn')).toHaveCount(1);
  await expect(page.getByRole('textbox', { name: 'Your question' })).toHaveValue('Never answered');
  await saved(page);
  await page.reload();
  await expect(page.locator('.turn')).toHaveCount(1);
  await expect(page.getByRole('textbox', { name: 'Your question' })).toHaveValue('');
});

test('on a narrow page, too, it is seen that something is not saved', async ({ page, context }) => {
  await page.setViewportSize({ width: 380, height: 800 });
  await open(page, '#/feedback');
  const cdp = await context.newCDPSession(page);
  const origin = new URL(address()).origin;
  await cdp.send('Storage.overrideQuotaForOrigin', { origin, quotaSize: 1 });
  await page.locator('.file-input').setInputFiles({
    name: 'rows.jsonl',
    mimeType: 'application/jsonl',
    buffer: Buffer.from(JSON.stringify({ prompt: 'Q', completion: 'A'.repeat(100_000) })),
  });
  const note = page.locator('.brand').getByRole('button', { name: 'not saved' });
  await expect(note).toBeVisible();
  const asked = new Promise<string>((done) => page.once('dialog', (d) => (done(d.type()), void d.dismiss())));
  await page.evaluate(() => location.reload());
  expect(await asked).toBe('beforeunload');
  await cdp.send('Storage.overrideQuotaForOrigin', { origin });
  // By hand, unless it was tried again meanwhile.
  await note.click({ timeout: 3000 }).catch(() => undefined);
  await saved(page);
  await expect(note).toHaveCount(0);
});

// ---- two tabs

test('two tabs keep what each of them adds, also in the same chat', async ({ page, context }) => {
  await open(page);
  await loadModel(page);
  await ask(page, 'Shared');
  await saved(page);
  const other = await context.newPage();
  await open(other);
  await expect(other.getByRole('heading', { name: 'Shared' })).toBeVisible();
  await expect(other.getByRole('link', { name: /^Model SmolLM2/ }).last()).toBeVisible();
  // At the same moment: a ranking here, a new question and an import there, before either has written.
  await chip(page, 2).focus();
  await Promise.all([
    page.keyboard.press('Home'),
    (async () => {
      await go(other, 'Feedback');
      await other.locator('.file-input').setInputFiles({
        name: 'one.jsonl',
        mimeType: 'application/jsonl',
        buffer: Buffer.from('{"prompt":"From the other tab","completion":"Hi"}'),
      });
      await go(other, 'Chat');
    })(),
  ]);
  await ask(other, 'Asked in the other tab');
  await saved(page);
  await saved(other);
  for (const tab of [page, other]) {
    await expect(tab.locator('.turn')).toHaveCount(2);
    await go(tab, 'Feedback');
    await expect(tab.locator('tbody tr')).toHaveCount(2);
    await go(tab, 'Chat');
  }
  await page.reload();
  await expect(page.locator('.turn')).toHaveCount(2);
  await page.getByRole('button', { name: 'Show all 3 answers' }).click();
  expect((await page.locator('.turn').first().locator('.order').innerText()).replace(/\s+/g, ' ')).toContain('2 > 1 · 3');
  await go(page, 'Feedback');
  await expect(page.locator('tbody tr')).toHaveCount(2);
});

test('while one tab writes, the other does not lose its own unsaved edits', async ({ page, context }) => {
  await open(page, '#/feedback');
  const other = await context.newPage();
  await open(other, '#/feedback');
  const rows = (name: string) => ({
    name: `${name}.jsonl`,
    mimeType: 'application/jsonl',
    buffer: Buffer.from(Array.from({ length: 40 }, (_, i) => JSON.stringify({ prompt: `${name} ${i}`, completion: 'x' })).join('\n')),
  });
  await Promise.all([page.locator('.file-input').setInputFiles(rows('here')), other.locator('.file-input').setInputFiles(rows('there'))]);
  await saved(page);
  await saved(other);
  for (const tab of [page, other]) await expect(tab.getByText('80 ideal answers')).toBeVisible();
  // What is deleted in one tab does not come back from the other.
  await page.getByRole('checkbox', { name: 'Choose all on this page' }).check();
  await page.getByRole('button', { name: 'Delete chosen' }).click();
  await other.locator('.file-input').setInputFiles(rows('more'));
  await saved(page);
  await saved(other);
  for (const tab of [page, other]) await expect(tab.getByText('70 ideal answers')).toBeVisible();
  // And what is brought back comes back in both.
  await page.getByRole('button', { name: 'Undo' }).click();
  await saved(page);
  for (const tab of [page, other]) await expect(tab.getByText('120 ideal answers')).toBeVisible();
  await other
    .getByRole('button', { name: /^Delete: / })
    .first()
    .click();
  await saved(other);
  for (const tab of [page, other]) await expect(tab.getByText('119 ideal answers')).toBeVisible();
});

test('a second tab leaves a run alone, watches it, and may learn when it has ended', async ({ page, context }) => {
  await readyToLearn(page, { stepMs: 60 }, 500);
  await learn(page).click();
  await expect(page.locator('.stats')).toContainText('/ 1000');
  await expect(page.locator('.stats dd').first()).toHaveText(/^([5-9]|\d\d+) \/ 1000$/);
  const other = await context.newPage();
  await open(other, '#/learn');
  await expect(other.getByText('This run goes on in another tab')).toBeVisible();
  await expect(other.locator('.run').getByText('Learning', { exact: true })).toBeVisible();
  await expect(other.getByText('Interrupted', { exact: true })).toHaveCount(0);
  await expect(other.getByRole('link', { name: /^Model SmolLM2/ }).last()).toBeVisible();
  await expect(learn(other)).toBeDisabled();
  await page.getByRole('button', { name: 'Finish now' }).click();
  await expect(status(page, 'Learnt')).toBeVisible();
  await expect(status(other, 'Learnt')).toBeVisible();
  await expect(learn(other)).toBeEnabled();
  // What was learnt there can be used here.
  await go(other, 'Adapters');
  await expect(other.getByRole('radio', { name: /^my-first-adapter/ })).toBeEnabled();
});

test('a tab that is closed in the middle of a run leaves it to the other', async ({ page, context }) => {
  await readyToLearn(page, { stepMs: 60 }, 500);
  await learn(page).click();
  await expect(page.locator('.stats dd').first()).toHaveText(/^([5-9]|\d\d+) \/ 1000$/);
  await page.waitForTimeout(300);
  const other = await context.newPage();
  await open(other, '#/learn');
  await expect(other.getByText('This run goes on in another tab')).toBeVisible();
  await page.close();
  await expect(other.getByText('Interrupted', { exact: true })).toBeVisible();
  await expect(other.getByRole('button', { name: 'Go on' })).toBeEnabled();
});

test('the order that is seen after a reload is the one that was given', async ({ page }) => {
  await open(page);
  await loadModel(page);
  await ask(page, 'Q');
  await page.getByRole('article', { name: 'Answer 3' }).focus();
  await page.keyboard.press('3');
  await saved(page);
  await page.reload();
  expect(await orderText(page)).toBe('1 · 2 > 3');
});
