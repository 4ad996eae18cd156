import { readFileSync } from 'node:fs';
import { unzipSync, zipSync } from 'fflate';
import { ask, expect, go, loadModel, open, saved, test } from './helpers.ts';
import type { Page } from '@playwright/test';

const rank = async (page: Page): Promise<void> => {
  await ask(page, 'Teach me');
  await page.getByRole('article', { name: 'Answer 3' }).focus();
  await page.keyboard.press('1');
};
const learn = (page: Page) => page.getByRole('button', { name: 'Learn', exact: true });

test('rank, learn by DPO, ask again: base and tuned differ', async ({ page }) => {
  await open(page);
  await loadModel(page);
  await rank(page);
  await go(page, 'Learn');
  await expect(page.getByText('2 pairs from 1 ranking')).toBeVisible();
  await learn(page).click();
  await expect(page.getByText('Learnt', { exact: true })).toBeVisible();
  for (const title of ['loss', 'rewards/margins', 'rewards/accuracies', 'KL to the base', 'tokens/s'])
    await expect(page.getByRole('img', { name: new RegExp(`^${title}: 6 steps`) })).toBeVisible();
  await page.getByText('The last steps as numbers').click();
  await expect(page.getByRole('columnheader', { name: 'rewards/accuracies' })).toBeVisible();
  await page.getByRole('button', { name: 'Ask again' }).click();
  await expect(page.getByText('the answer changed')).toBeVisible();
  await expect(page.getByRole('article', { name: 'Base model' })).toContainText('Certainly.');
  await expect(page.getByRole('article', { name: 'Adapter my-first-adapter' })).toContainText('Briefly');
  // The next question is asked of both, side by side, and can be ranked as well.
  await ask(page, 'And now?');
  await expect(page.locator('.turn').last().locator('.answer .who')).toHaveText(['base', 'my-first-adapter']);
});

test('learning from ideal answers', async ({ page }) => {
  await open(page);
  await loadModel(page);
  await ask(page, 'Teach me');
  await page.getByRole('button', { name: 'Edit into ideal' }).first().click();
  await page.getByRole('textbox', { name: 'The ideal answer' }).fill('Done.');
  await page.getByRole('button', { name: 'Save as ideal' }).click();
  await go(page, 'Learn');
  await page.getByRole('radio', { name: /^SFT/ }).check({ force: true });
  await expect(page.getByText('1 ideal answer · SFT')).toBeVisible();
  await learn(page).click();
  await expect(page.getByText('Learnt', { exact: true })).toBeVisible();
  await expect(page.getByRole('img', { name: /^grad_norm: 3 steps/ })).toBeVisible();
});

test('good and bad answers train KTO: those of a ranking and imported ones', async ({ page }) => {
  await open(page);
  await loadModel(page);
  await rank(page);
  await go(page, 'Feedback');
  const rows = [
    { prompt: 'p', completion: 'good', label: true },
    { prompt: 'p', completion: 'bad', label: false },
  ];
  const buffer = Buffer.from(rows.map((r) => JSON.stringify(r)).join('\n'));
  await page.locator('.file-input').setInputFiles({ name: 'judged.jsonl', mimeType: 'application/jsonl', buffer });
  await expect(page.getByText('2 judged one by one')).toBeVisible();
  await go(page, 'Learn');
  await page.getByRole('radio', { name: /^KTO/ }).check({ force: true });
  // One answer in the first place, two in the last one, and two judged ones.
  await expect(page.getByText('5 good or bad answers')).toBeVisible();
  await page.getByText('Advanced').first().click();
  for (const name of ['desirable_weight', 'undesirable_weight'])
    await expect(page.getByRole('textbox', { name, exact: true })).toHaveValue('1');
  await expect(page.getByRole('combobox', { name: 'loss_type' })).toHaveValue('kto');
  await expect(page.getByRole('textbox', { name: 'per_device_train_batch_size' })).toHaveValue('4');
  await learn(page).click();
  await expect(page.getByText('Learnt', { exact: true })).toBeVisible();
  for (const title of ['loss', 'kl', 'rewards/margins'])
    await expect(page.getByRole('img', { name: new RegExp(`^${title}: `) })).toBeVisible();
});

test('pause, ask meanwhile, resume, finish early', async ({ page }) => {
  await open(page, '', { stepMs: 60 });
  await loadModel(page);
  await rank(page);
  await go(page, 'Learn');
  await page.getByRole('textbox', { name: 'num_train_epochs' }).fill('500');
  await learn(page).click();
  await expect(page.locator('.stats')).toContainText('/ 1000');
  await go(page, 'Chat');
  await expect(page.getByPlaceholder('The model is learning; pause it to ask something')).toBeVisible();
  await expect(page.getByRole('button', { name: 'Ask', exact: true })).toBeDisabled();
  await go(page, 'Learn');
  await page.getByRole('button', { name: 'Pause' }).click();
  await expect(page.getByText('Paused', { exact: true })).toBeVisible();
  await page.waitForTimeout(200);
  const at = await page.locator('.stats dd').first().innerText();
  await page.waitForTimeout(300);
  expect(await page.locator('.stats dd').first().innerText()).toBe(at);
  await go(page, 'Chat');
  await ask(page, 'Are you there?');
  await go(page, 'Learn');
  await page.getByRole('button', { name: 'Resume' }).click();
  await expect(page.locator('.stats dd').first()).not.toHaveText(at);
  await page.getByRole('button', { name: 'Finish now' }).click();
  await expect(page.getByText('Learnt', { exact: true })).toBeVisible();
  await go(page, 'Adapters');
  await expect(page.getByRole('radio', { name: /^my-first-adapter/ })).toBeChecked();
});

test('cancelling puts everything back', async ({ page }) => {
  await open(page, '', { stepMs: 60 });
  await loadModel(page);
  await rank(page);
  await go(page, 'Learn');
  await page.getByRole('textbox', { name: 'num_train_epochs' }).fill('500');
  await learn(page).click();
  await expect(page.locator('.stats')).toContainText('/ 1000');
  await page.getByRole('button', { name: 'Cancel' }).click();
  await page.getByRole('dialog', { name: 'Stop learning?' }).getByRole('button', { name: 'Throw it away' }).click();
  await expect(page.getByText('Cancelled', { exact: true })).toBeVisible();
  await go(page, 'Adapters');
  await expect(page.getByText('No adapter yet')).toBeVisible();
  await go(page, 'Learn');
  await expect(learn(page)).toBeEnabled();
});

test('a run interrupted by a reload goes on from its checkpoint, by itself', async ({ page }) => {
  await open(page, '', { stepMs: 150 });
  await loadModel(page);
  await rank(page);
  await go(page, 'Learn');
  await page.getByRole('textbox', { name: 'num_train_epochs' }).fill('15');
  await page.getByText('Advanced', { exact: false }).first().click();
  await page.getByRole('textbox', { name: 'save_steps' }).fill('4');
  await learn(page).click();
  await expect(page.locator('.stats dd').first()).toHaveText(/^(9|1\d) \/ 30$/);
  await page.waitForTimeout(300);
  await page.reload();
  await page.locator('main[aria-busy="false"]').waitFor();
  await expect(page.getByText('Learnt', { exact: true })).toBeVisible();
  // Every step once, in order: what was logged after the checkpoint was taken again.
  await expect(page.getByRole('img', { name: /^loss: 30 steps/ })).toBeVisible();
});

test('advanced settings carry the names of TRL and PEFT, and refuse what is out of range', async ({ page }) => {
  await open(page, '#/learn');
  await page.getByText('Advanced').first().click();
  for (const name of [
    'beta',
    'max_steps',
    'per_device_train_batch_size',
    'gradient_accumulation_steps',
    'max_length',
    'warmup_steps',
    'weight_decay',
    'max_grad_norm',
    'r',
    'lora_alpha',
    'lora_dropout',
    'target_modules',
  ]) {
    await expect(page.getByRole('textbox', { name, exact: true })).toBeVisible();
  }
  await expect(page.getByRole('combobox', { name: 'lr_scheduler_type' })).toHaveValue('linear');
  await loadModel(page);
  await rank(page);
  await go(page, 'Learn');
  await page.getByText('Advanced').first().click();
  await page.getByRole('textbox', { name: 'r', exact: true }).fill('0.5');
  await expect(page.getByText('expected a whole number from 1 to 4096, found 0.5')).toBeVisible();
  await learn(page).click();
  await expect(page.getByRole('alert').filter({ hasText: 'r: expected a whole number' })).toHaveAttribute('data-code', 'bad-config');
});

test('adapters: switch off, rename, download, load again, delete', async ({ page }) => {
  await open(page);
  await loadModel(page);
  await rank(page);
  await go(page, 'Learn');
  await learn(page).click();
  await expect(page.getByText('Learnt', { exact: true })).toBeVisible();
  await go(page, 'Adapters');
  await page.getByRole('radio', { name: /^Base model/ }).check();
  await expect(page.getByRole('link', { name: /^Model SmolLM2.*base/ }).last()).toBeVisible();
  await page.getByRole('button', { name: 'Rename my-first-adapter' }).click();
  await page.getByRole('textbox', { name: 'Name' }).fill('not a name!');
  await page.getByRole('button', { name: 'Save' }).click();
  await expect(page.getByRole('dialog').getByRole('alert')).toContainText('cannot name an adapter');
  await page.getByRole('textbox', { name: 'Name' }).fill('brief');
  await page.getByRole('button', { name: 'Save' }).click();
  await expect(page.getByRole('radio', { name: /^brief/ })).toBeVisible();
  await expect(page.getByRole('radio', { name: /^my-first-adapter/ })).toHaveCount(0);

  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Download brief' }).click()]);
  const zip = readFileSync(await download.path());
  const files = unzipSync(zip);
  expect(Object.keys(files).filter((f) => !f.endsWith('/'))).toEqual(['brief/adapter_config.json', 'brief/adapter_model.safetensors']);

  await page.locator('.file-input').setInputFiles({ name: 'brief.zip', mimeType: 'application/zip', buffer: zip });
  await expect(page.getByRole('textbox', { name: 'Name' })).toHaveValue('brief-2');
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByRole('radio', { name: /^brief-2/ }).check();
  await saved(page);
  await page.reload();
  await expect(page.getByRole('radio', { name: /^brief-2/ })).toBeChecked();

  await page.getByRole('button', { name: 'Delete brief-2' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await expect(page.getByRole('radio', { name: /^brief-2/ })).toHaveCount(0);
  await expect(page.getByRole('radio', { name: /^Base model/ })).toBeChecked();

  await page.locator('.file-input').setInputFiles([
    { name: 'adapter_config.json', mimeType: 'application/json', buffer: Buffer.from('{"peft_type":"PREFIX_TUNING"}') },
    { name: 'adapter_model.safetensors', mimeType: 'application/octet-stream', buffer: Buffer.from('x') },
  ]);
  await page.getByRole('button', { name: 'Save' }).click();
  await expect(page.getByRole('dialog').getByRole('alert')).toContainText('expected "LORA"');
  await page.getByRole('button', { name: 'Cancel' }).click();
  for (const [name, buffer, why] of [
    ['noise.zip', Buffer.from('this is no zip file'), 'it is no zip file, or its end is missing'],
    ['half.zip', Buffer.from(zipSync({ 'x/adapter_config.json': Buffer.from('{}') })), 'found only adapter_config.json'],
    [
      'packed.zip',
      Buffer.from(
        zipSync({ 'adapter_config.json': Buffer.from('{}'), 'adapter_model.safetensors': new Uint8Array(300_000) }, { level: 6 }),
      ),
      null,
    ],
  ] as const) {
    await page.locator('.file-input').setInputFiles({ name, mimeType: 'application/zip', buffer });
    if (why) await expect(page.getByRole('alert').filter({ hasText: why })).toHaveAttribute('data-code', 'bad-adapter');
  }
  await expect(page.getByRole('textbox', { name: 'Name' })).toHaveValue('packed');
  await page.getByRole('button', { name: 'Cancel' }).click();
  await page
    .locator('.file-input')
    .setInputFiles([{ name: 'adapter_config.json', mimeType: 'application/json', buffer: Buffer.from('{}') }]);
  await expect(page.getByRole('alert').filter({ hasText: 'Expected both' })).toHaveAttribute('data-code', 'bad-adapter');
});
