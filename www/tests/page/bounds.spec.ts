// What somebody hands over is bounded before it is taken: archives, rows of megabytes, values in messages.
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { deflateRawSync } from 'node:zlib';
import { unzipSync, zipSync } from 'fflate';
import { unzip, type Wish } from '../../src/page/model/unzip.ts';
import { expect, go, open, test } from './helpers.ts';
import { heavyTasks } from './longtasks.ts';

const CONFIG = 'adapter_config.json';
const WEIGHTS = 'adapter_model.safetensors';
const WISHES: Wish[] = [
  { name: CONFIG, largest: 1 << 20 },
  { name: WEIGHTS, largest: 2 ** 31 },
];

/** A zip whose directory says what one likes. */
function archive(
  entries: { name: string; data: Buffer; packed?: Buffer; unpacked?: number; flags?: number; method?: number; crc?: number }[],
): Buffer {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let at = 0;
  for (const e of entries) {
    const packed = e.packed ?? deflateRawSync(e.data);
    const crc = e.crc ?? crcOf(e.data);
    const name = Buffer.from(e.name);
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50, 0);
    local.writeUInt16LE(name.length, 26);
    const entry = Buffer.alloc(46);
    entry.writeUInt32LE(0x02014b50, 0);
    entry.writeUInt16LE(e.flags ?? 0, 8);
    entry.writeUInt16LE(e.method ?? 8, 10);
    entry.writeUInt32LE(crc, 16);
    entry.writeUInt32LE(packed.length, 20);
    entry.writeUInt32LE(e.unpacked ?? e.data.length, 24);
    entry.writeUInt16LE(name.length, 28);
    entry.writeUInt32LE(at, 42);
    parts.push(local, name, packed);
    directory.push(entry, name);
    at += 30 + name.length + packed.length;
  }
  const bytes = directory.reduce((n, b) => n + b.length, 0);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(entries.length, 8);
  end.writeUInt16LE(entries.length, 10);
  end.writeUInt32LE(bytes, 12);
  end.writeUInt32LE(at, 16);
  return Buffer.concat([...parts, ...directory, end]);
}

function crcOf(data: Buffer): number {
  // What fflate writes into the directory.
  const zip = Buffer.from(zipSync({ x: data }, { level: 0 }));
  return zip.readUInt32LE(zip.lastIndexOf(Buffer.from([0x50, 0x4b, 1, 2])) + 16);
}

const weights = Buffer.from('some weights');
const good = { name: `mine/${WEIGHTS}`, data: weights };

const refusedBy = async (zip: Buffer): Promise<string> => {
  const answer = await unzip(new Blob([new Uint8Array(zip)]), WISHES);
  return 'refused' in answer ? answer.refused : [...answer.files.keys()].join();
};

test('a zip is judged by its directory before anything is unpacked', async () => {
  const fine = await unzip(new Blob([new Uint8Array(archive([{ name: CONFIG, data: Buffer.from('{}') }, good]))]), WISHES);
  expect('files' in fine && Buffer.from(fine.files.get(WEIGHTS)!).toString()).toBe('some weights');
  const zeros = Buffer.alloc(1000);
  const cases: [string, Buffer, RegExp][] = [
    ['not a zip', Buffer.from('no zip'), /no zip file/],
    ['empty', Buffer.alloc(0), /no zip file/],
    [
      '60,000 entries',
      archive(Array.from({ length: 60_000 }, (_, i) => ({ name: `e${i}`, data: zeros, packed: Buffer.alloc(0), crc: 0 }))),
      /has 60000 entries; at most 10000/,
    ],
    ['1.5 GB of zeros', archive([{ ...good, packed: Buffer.alloc(1_500_000), unpacked: 1.5e9, crc: 0 }]), /weights never get that small/],
    ['more than allowed', archive([{ name: CONFIG, data: zeros, unpacked: 5e6 }]), /unpacks to 5000000 bytes; at most 1048576/],
    ['more than it says', archive([{ ...good, data: zeros, unpacked: 10 }]), /unpacks to more than the 10 bytes/],
    ['less than it says', archive([{ ...good, data: zeros, unpacked: 2000 }]), /unpacks to 1000 bytes, expected 2000/],
    ['a flipped byte', archive([{ ...good, crc: 7 }]), /its checksum differs/],
    ['encrypted', archive([{ ...good, flags: 1 }]), /is encrypted/],
    ['another method', archive([{ ...good, method: 14 }]), /packed by method 14/],
    ['no deflate', archive([{ ...good, packed: Buffer.from('!!!!!!') }]), /cannot be unpacked/],
    ['Zip64', archive([{ ...good, unpacked: 0xffff_ffff }]), /has 4 GB or more/],
    ['cut off', archive([good]).subarray(0, 40), /its end is missing/],
    [
      'a directory beyond the end',
      (() => ((b) => (b.writeUInt32LE(9999, b.length - 6), b))(archive([good])))(),
      /does not lie within the file/,
    ],
  ];
  for (const [name, zip, why] of cases) expect(await refusedBy(zip), name).toMatch(why);
  // Hostile names are cut.
  expect((await refusedBy(archive([{ name: `${'x'.repeat(20_000)}/${CONFIG}`, data: zeros, unpacked: 5e6 }]))).length).toBeLessThan(200);
  // Every single byte wrong: refused or read, never thrown.
  const whole = archive([{ name: CONFIG, data: Buffer.from('{}') }, good]);
  for (let i = 0; i < whole.length; i++) {
    const bent = Buffer.from(whole);
    bent[i]! ^= 0x5a;
    await refusedBy(bent);
  }
  expect(Object.keys(unzipSync(whole))).toHaveLength(2);
});

test('a zip that would fill the memory is refused at once, and holds nothing up', { tag: '@clock' }, async ({ browser }) => {
  const bomb = archive([
    { name: CONFIG, data: Buffer.from('{}') },
    { ...good, data: Buffer.alloc(300 << 20), crc: 0 },
  ]);
  expect(bomb.length).toBeLessThan(400_000);
  const found = await heavyTasks(
    browser,
    async () => {
      const page = await browser.newPage();
      await open(page, '#/adapters');
      return page;
    },
    async (page) => {
      await page.locator('.file-input').setInputFiles({ name: 'bomb.zip', mimeType: 'application/zip', buffer: bomb });
      await expect(page.getByRole('alert')).toContainText('weights never get that small');
      await page.waitForTimeout(300);
      await page.close();
    },
    3,
  );
  expect(found).toEqual([]);
});

test(
  'a row of 3 MB holds the page up in nothing: import, look, save, read again, delete',
  { tag: '@clock' },
  async ({ browser }, about) => {
    test.setTimeout(120_000);
    const file = about.outputPath('long.jsonl');
    mkdirSync(dirname(file), { recursive: true });
    const long = 'All work and no play makes a long row, she wrote. '.repeat(60_000);
    writeFileSync(
      file,
      `${JSON.stringify({ prompt: 'Long?', chosen: long, rejected: 'Short.' })}\n${JSON.stringify({ prompt: 'Ideal?', completion: long })}\n`,
    );
    const found = await heavyTasks(
      browser,
      async () => {
        const page = await browser.newPage();
        await open(page, '#/feedback');
        return page;
      },
      async (page) => {
        await page.locator('.file-input').setInputFiles(file);
        await expect(page.locator('tbody tr')).toHaveCount(2);
        await page.waitForTimeout(1500);
        await page.getByRole('button', { name: 'Long?', exact: true }).click();
        await expect(page.getByRole('dialog')).toContainText('All work and no play');
        await page.waitForTimeout(300);
        await page.keyboard.press('Escape');
        await page.getByRole('searchbox').fill('play');
        await page.waitForTimeout(500);
        await page.reload();
        await expect(page.locator('tbody tr')).toHaveCount(2);
        await page.waitForTimeout(500);
        await page.close();
      },
      3,
    );
    expect(found).toEqual([]);
  },
);

test('hostile values in messages are cut', async ({ page }) => {
  await open(page, '#/feedback');
  const rows = [
    { [`x${'y'.repeat(20_000)}`]: 1 },
    { prompt: 'p', completion: 'c', label: 'z'.repeat(20_000) },
    { messages: [{ role: 'w'.repeat(20_000), content: 'c' }] },
  ];
  await page.locator('.file-input').setInputFiles({
    name: `${'n'.repeat(200)}.jsonl`,
    mimeType: 'application/jsonl',
    buffer: Buffer.from(rows.map((r) => JSON.stringify(r)).join('\n')),
  });
  const dialog = page.getByRole('dialog');
  await expect(dialog).toContainText('3 lines of');
  expect((await dialog.innerText()).length).toBeLessThan(2500);
  await dialog.getByRole('button', { name: 'Cancel' }).click();
  await go(page, 'Adapters');
  await page.locator('.file-input').setInputFiles([
    { name: 'adapter_config.json', mimeType: 'application/json', buffer: Buffer.from(`{"peft_type":"${'v'.repeat(20_000)}"}`) },
    { name: 'adapter_model.safetensors', mimeType: 'application/octet-stream', buffer: Buffer.from('x') },
  ]);
  await page.goto(page.url().replace(/#.*/, '#/model'));
  await page.getByRole('button', { name: /^Load SmolLM2/ }).click();
  await expect(page.getByRole('textbox', { name: 'Your question' })).toBeVisible();
  await go(page, 'Adapters');
  await page.locator('.file-input').setInputFiles([
    { name: 'adapter_config.json', mimeType: 'application/json', buffer: Buffer.from(`{"peft_type":"${'v'.repeat(20_000)}"}`) },
    { name: 'adapter_model.safetensors', mimeType: 'application/octet-stream', buffer: Buffer.from('x') },
  ]);
  await page.getByRole('button', { name: 'Save' }).click();
  await expect(page.getByRole('dialog').getByRole('alert')).toContainText('peft_type is');
  expect((await page.getByRole('dialog').getByRole('alert').innerText()).length).toBeLessThan(1000);
});
