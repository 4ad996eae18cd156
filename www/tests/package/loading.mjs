// Loading: the cache and its hash, ranges, retries, aborts, a full disk, files that are not what they claim.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { equal, ok, test } from './check.mjs';
import { brokenGgufs, tinyGguf } from './gguf.mjs';
import { etagOf } from './server.mjs';

const fixture = (name) => readFileSync(new URL(`../../../tests/fixtures/models/llama/${name}`, import.meta.url));

const sha = (b) => createHash('sha256').update(b).digest('hex');

export function loadingFiles(files) {
  files.set('/m/tiny.gguf', tinyGguf().bytes);
  // Long enough for an abort to arrive while it answers, on any device.
  files.set('/m/long.gguf', tinyGguf({ context: 8192 }).bytes);
  files.set('/m/other.gguf', tinyGguf({ ff: 160 }).bytes);
  for (const name of ['config.json', 'model.safetensors']) files.set(`/m/folder/${name}`, fixture(name));
  for (const b of brokenGgufs()) files.set(`/m/broken-${b.name}.gguf`, Buffer.from(b.bytes));
}

/** @param {{page: import('playwright-core').Page, origin: string, log: any[], files: Map<string, Buffer>, context: any}} o */
export async function loadingTests({ page, origin, log, files, context }) {
  const tiny = files.get('/m/tiny.gguf');
  const load = (key, source, options = {}) => page.evaluate(([k, s, o]) => window.t.load(k, s, o), [key, source, options]);
  const dispose = (key) => page.evaluate((k) => window.t.dispose(k), key);
  /** Requests for the bytes of a file; one that only asks whether it has changed is not among them. */
  const asked = (url) => log.filter((l) => l.url === url && l.method === 'GET');
  const answers = (key) =>
    page.evaluate(
      (k) => window.t.run(k, async (m) => (await m.chat([{ role: 'user', content: 'Hi' }], { maxNewTokens: 3 }).result).tokenIds.length),
      key,
    );
  const usable = async (key) => {
    const a = await answers(key);
    ok(a.ok && a.value >= 1, `the model should still answer: ${JSON.stringify(a)}`);
  };

  await test('load: from an address, with progress, then from the cache without a download', async () => {
    const first = await load('a', '/m/tiny.gguf');
    ok(first.ok, `${first.code}: ${first.message}`);
    equal(first.info.sha256, sha(tiny), 'sha256');
    equal(first.info.fileBytes, tiny.length, 'fileBytes');
    equal(first.statuses, ['initiate', 'download', 'progress', 'done', 'ready'], 'statuses');
    equal(first.fromCache, false, 'first from the network');
    const before = asked('/m/tiny.gguf').length;
    const second = await load('b', '/m/tiny.gguf');
    ok(second.ok, `${second.code}: ${second.message}`);
    equal(second.fromCache, true, 'second from the cache');
    equal(asked('/m/tiny.gguf').length, before, 'requests');
    equal(second.info.sha256, sha(tiny), 'sha256');
    await dispose('b');
    const listed = await page.evaluate(() => window.t.fledgling.cachedModels());
    ok(
      listed.some((c) => c.address === `${origin}/m/tiny.gguf` && c.complete && c.bytes === tiny.length),
      `cachedModels: ${JSON.stringify(listed)}`,
    );
  });

  await test('load: the same address twice at once is one download', async () => {
    const url = '/m/twice.gguf?slow=20';
    files.set('/m/twice.gguf', tiny);
    const [a, b] = await Promise.all([load('x', url, { device: 'cpu' }), load('y', url, { device: 'cpu' })]);
    ok(a.ok && b.ok, `${a.message} ${b.message}`);
    equal([a.fromCache, b.fromCache].sort(), [false, true], 'one of them from the network');
    equal(asked(url).length, 1, 'requests');
    // The first of two is given up, as a component that is mounted twice does.
    const other = '/m/twice.gguf?slow=20&again';
    const [gone, there] = await Promise.all([load('z', other, { device: 'cpu', abortAfter: 60 }), load('x', other, { device: 'cpu' })]);
    ok(there.ok && (gone.ok || gone.code === 'aborted'), `${gone.code} ${there.message}`);
    for (const key of ['x', 'y', 'z']) await dispose(key);
  });

  await test('load: another file behind a stored address is noticed, also one of the same size', async () => {
    for (const query of ['', '?noetag']) {
      // With neither ETag nor Last-Modified, only the size can tell.
      const [old, now] = query ? [tiny, files.get('/m/other.gguf')] : [tiny, Buffer.from(tiny)];
      if (!query) now[now.length - 3] ^= 1;
      const url = `/m/replaced.gguf${query}`;
      files.set('/m/replaced.gguf', old);
      const before = await load('x', url);
      equal(before.info?.sha256, sha(old), `${query} first (${before.message})`);
      await dispose('x');
      files.set('/m/replaced.gguf', now);
      const after = await load('x', url);
      equal([after.fromCache, after.info?.sha256], [false, sha(now)], `${query} then (${after.message})`);
      await dispose('x');
      const again = await load('x', url);
      equal([again.fromCache, again.info?.sha256], [true, sha(now)], `${query} stored again (${again.message})`);
      await dispose('x');
    }
  });

  await test('load: the stored copy serves where the server is gone or refuses to answer', async () => {
    for (const url of ['/m/tiny.gguf?gone', '/m/tiny.gguf?status=500&after=1']) {
      const first = await load('x', url);
      ok(first.ok && !first.fromCache, `${url}: ${first.message}`);
      await dispose('x');
      const second = await load('x', url);
      ok(second.ok && second.fromCache, `${url}: ${JSON.stringify(second)}`);
      await dispose('x');
    }
  });

  await test('load: a folder as Transformers writes it, stored file by file, also when the server is gone', async () => {
    const ids = () =>
      page.evaluate(() =>
        window.t.run('x', async (m) => (await m.generate([1, 2, 3], { maxNewTokens: 4, ignoreEos: true }).result).tokenIds),
      );
    const found = [];
    // Whoever encodes the offered name as a whole also encodes its slash.
    const ways = [
      ['/m/folder/?gone', false],
      ['/m/folder/?gone', true],
      ['/m/folder%2F', false],
      ['/m/folder/model.safetensors', true],
      ['/m/folder/config.json', true],
    ];
    for (const [address, stored] of ways) {
      const r = await load('x', address);
      ok(r.ok, `${address}: ${r.code}: ${r.message}`);
      equal([r.info.architecture, r.fromCache], ['llama', stored], address);
      found.push((await ids()).value);
      await dispose('x');
    }
    equal(new Set(found.map(String)).size, 1, `tokens ${JSON.stringify(found)}`);
    equal(found[0]?.length, 4, 'tokens');
  });

  await test('load: an index of weights is believed no further than its folder', async () => {
    files.set('/m/odd/config.json', files.get('/m/folder/config.json'));
    for (const [map, code] of [
      ['{"weight_map": {"a": "../folder/model.safetensors"}}', 'bad-file'],
      ['{"weight_map": {}}', 'bad-file'],
      ['no json', 'bad-file'],
    ]) {
      files.set('/m/odd/model.safetensors.index.json', Buffer.from(map));
      equal((await load('x', '/m/odd/', { cache: false })).code, code, map);
    }
  });

  await test('load: a cancel while kernels are being measured is answered at once', async () => {
    await page.evaluate(() => window.t.forgetTuning());
    // On SwiftShader that takes several seconds.
    const r = await load('x', '/m/tiny.gguf', { abortAfter: 1200 });
    equal(r.code, 'aborted', `code (${r.message})`);
    ok(r.answeredIn < 1000, `answered after ${r.answeredIn} ms`);
    await usable('a');
  });

  await test('load: from a File', async () => {
    const r = await load('file', '/m/tiny.gguf', { file: 'mine.gguf' });
    ok(r.ok, `${r.code}: ${r.message}`);
    equal(r.info.sha256, sha(tiny), 'sha256');
    await dispose('file');
  });

  await test('load: in the page instead of a Worker gives the same answer', async () => {
    const r = await load('here', '/m/tiny.gguf?here', { worker: false });
    ok(r.ok, `${r.code}: ${r.message}`);
    const ids = (k) =>
      page.evaluate(
        (key) => window.t.run(key, async (m) => (await m.chat([{ role: 'user', content: 'Hello' }], { maxNewTokens: 5 }).result).tokenIds),
        k,
      );
    equal((await ids('here')).value, (await ids('a')).value, 'tokens');
    await dispose('here');
    const again = await load('here', '/m/tiny.gguf?here', { worker: false });
    equal(again.fromCache, true, 'stored from the page, too');
    await dispose('here');
  });

  await test('load: a connection that breaks goes on by range', async () => {
    const url = '/m/tiny.gguf?drop=100000&times=2';
    const r = await load('x', url, { sha256: sha(tiny) });
    ok(r.ok, `${r.code}: ${r.message}`);
    const ranges = asked(url).map((l) => l.range);
    equal(ranges.length, 3, 'requests');
    equal(ranges[0], undefined, 'first request');
    ok(/^bytes=[1-9]\d*-$/.test(ranges[1]) && ranges[1] !== ranges[2], `ranges: ${ranges}`);
    await dispose('x');
  });

  await test('load: a server without ranges sends the beginning again', async () => {
    const r = await load('x', '/m/tiny.gguf?drop=100000&norange', { sha256: sha(tiny) });
    ok(r.ok, `${r.code}: ${r.message}`);
    await dispose('x');
  });

  await test('load: an aborted download is resumed by the next load', async () => {
    const url = '/m/tiny.gguf?slow=15';
    const broken = await load('x', url, { abortAt: 60000 });
    equal(broken.code, 'aborted', 'code');
    ok(broken.typed, 'a FledglingError');
    const before = asked(url).length;
    const r = await load('x', url, { sha256: sha(tiny) });
    ok(r.ok, `${r.code}: ${r.message}`);
    const [next] = asked(url).slice(before);
    const from = Number(/^bytes=(\d+)-$/.exec(next.range)?.[1]);
    // A little of what is there comes once more, to be compared.
    ok(from >= 60000 - 16384 && from < tiny.length, `range: ${next.range}`);
    equal(next.ifRange, etagOf(tiny), 'If-Range');
    await dispose('x');
  });

  await test('load: a file that changed since the broken download begins again', async () => {
    const url = '/m/tiny.gguf?slow=15&etag=changing';
    equal((await load('x', url, { abortAt: 60000 })).code, 'aborted', 'code');
    const r = await load('x', url, { sha256: sha(tiny) });
    ok(r.ok, `${r.code}: ${r.message}`);
    await dispose('x');
  });

  await test('load: a stored copy that was damaged is found by its hash and deleted', async () => {
    ok((await page.evaluate(() => window.t.corruptCache())) > 0, 'something is stored');
    const r = await load('x', '/m/tiny.gguf');
    equal(r.code, 'hash-mismatch', `code (${r.message})`);
    const again = await load('x', '/m/tiny.gguf');
    ok(again.ok && !again.fromCache, `downloaded again: ${JSON.stringify(again)}`);
    await dispose('x');
  });

  await test('load: a wrong expected hash is refused', async () => {
    const r = await load('x', '/m/other.gguf', { sha256: sha(tiny) });
    equal(r.code, 'hash-mismatch', `code (${r.message})`);
    const kept = await page.evaluate(() => window.t.fledgling.cachedModels());
    ok(!kept.some((c) => c.address.endsWith('/m/other.gguf')), 'nothing of it is kept');
  });

  await test('load: a web page in place of a file is named as one', async () => {
    files.set('/m/page.html', Buffer.from('<!doctype html><title>app</title>'));
    const r = await load('x', '/m/page.html', { device: 'cpu' });
    ok(!r.ok && r.code === 'bad-file' && r.message.includes('the server sent a web page'), JSON.stringify(r));
  });

  await test('load: HTTP errors and unreachable hosts are network errors', async () => {
    const missing = await load('x', '/m/no-such.gguf');
    equal(missing.code, 'network', 'code');
    ok(missing.message.includes('404') && missing.message.includes('/m/no-such.gguf'), `says what and where: ${missing.message}`);
    equal((await load('x', '/m/tiny.gguf?status=403&x')).code, 'network', 'code');
    equal((await load('x', 'http://127.0.0.1:9/none.gguf')).code, 'network', 'code');
    equal((await load('x', 'http://[bad/none.gguf')).code, 'bad-config', 'code');
    const patient = await load('x', '/m/tiny.gguf?status=503&times=2');
    ok(patient.ok, `two refusals are survived: ${patient.message}`);
    await dispose('x');
  });

  await test('load: a connection that always breaks ends in a network error', async () => {
    const r = await load('x', '/m/tiny.gguf?drop=0&times=99', { cache: false });
    equal(r.code, 'network', `code (${r.message})`);
  });

  await test('load: a full disk costs the cache, not the model', async () => {
    const cdp = await context.newCDPSession(page);
    await cdp.send('Storage.overrideQuotaForOrigin', { origin, quotaSize: 1000 });
    try {
      const r = await load('x', '/m/tiny.gguf?full');
      ok(r.ok, `${r.code}: ${r.message}`);
      equal(
        r.warnings.map((w) => w.code),
        ['quota-exceeded'],
        'warnings',
      );
      await usable('x');
      await dispose('x');
    } finally {
      await cdp.send('Storage.overrideQuotaForOrigin', { origin });
    }
  });

  for (const b of brokenGgufs()) {
    await test(`broken file: ${b.name}`, async () => {
      const url = `/m/broken-${b.name}.gguf`;
      const r = await load('x', url);
      ok(!r.ok, 'it was accepted');
      ok(b.codes.includes(r.code), `expected ${b.codes.join(' or ')}, found ${r.code}: ${r.message}`);
      ok(r.typed && r.message.length > 10, `typed, with a message: ${JSON.stringify(r)}`);
      const kept = await page.evaluate(() => window.t.fledgling.cachedModels());
      ok(!kept.some((c) => c.address.endsWith(url)), 'nothing of it is kept');
      await usable('a');
    });
  }

  await test('load: an aborted load leaves the other model usable', async () => {
    equal((await load('x', '/m/tiny.gguf?slow=15&abort', { abortAt: 1, cache: false })).code, 'aborted', 'code');
    await usable('a');
  });
}
