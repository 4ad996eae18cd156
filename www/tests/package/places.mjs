// Where the parts of the package are: on another origin, in a Worker of one's own, at addresses that are given, in one file, behind a policy.
import { equal, ok, test } from './check.mjs';

const PAGE = (body) => `<!doctype html><title>p</title><link rel="icon" href="data:," /><script type="module">${body}</script>`;
const TRY = `window.tell = async (source, o) => {
  try {
    const m = await f.Model.load(source, { device: 'cpu', ...o });
    const { tokenIds } = await m.chat([{ role: 'user', content: 'Hi' }], { maxNewTokens: 3, ignoreEos: true }).result;
    await m.dispose();
    return { ok: true, tokens: tokenIds.length };
  } catch (e) {
    return { ok: false, typed: e instanceof f.FledglingError, code: e.code, message: e.message };
  }
};
window.ready = true;`;

/** @param {{browser: any, here: string, there: string, files: Map<string, Buffer | string>, lib: string}} o two origins that serve the same files */
export async function placesTests({ browser, here, there, files, lib }) {
  const pages = (origin) => Buffer.from(PAGE(`import * as f from '${origin}${lib}/index.js'; ${TRY}`));
  files.set('/p/own.html', pages(''));
  files.set('/p/foreign.html', pages(there));
  files.set('/p/one.html', Buffer.from(PAGE(`import * as f from '${there}${lib.replace('dist/lib', 'dist')}/fledgling.js'; ${TRY}`)));
  files.set('/p/worker.js', Buffer.from(`import '${lib}/worker.js';`));
  files.set('/p/silent.js', Buffer.from('self.onmessage = () => {};'));
  const wasm = `${lib.replace('dist/lib', 'pkg')}/fledgling_bg.wasm`;
  const visit = async (address, body, argument) => {
    const page = await browser.page(address);
    try {
      await page.waitForFunction(() => window.ready);
      return await page.evaluate(body, argument);
    } finally {
      await page.close();
    }
  };
  const answers = (r) => equal(r, { ok: true, tokens: 3 }, 'an answer');
  const refused = (r, code, ...words) => {
    ok(!r.ok && r.typed, JSON.stringify(r));
    equal(r.code, code, r.message);
    for (const word of words) ok(r.message.includes(word), `expected ${word} in ${r.message}`);
  };

  await test('places: the package on another origin', async () => {
    answers(await visit(`${here}/p/foreign.html`, () => window.tell('/m/tiny.gguf')));
    answers(await visit(`${here}/p/foreign.html`, () => window.tell('/m/tiny.gguf', { threads: 2, onWarning: () => {} })));
  });
  await test('places: a Worker of one’s own, and one that is something else', async () => {
    answers(
      await visit(`${here}/p/own.html`, () => window.tell('/m/tiny.gguf', { worker: new Worker('/p/worker.js', { type: 'module' }) })),
    );
    const late = await visit(`${here}/p/own.html`, () => window.tell('/m/tiny.gguf', { worker: new Worker('/p/silent.js') }));
    refused(late, 'worker-failed', 'fledgling/worker');
  });
  await test('places: workerUrl and wasmUrl, here, elsewhere, nowhere', async () => {
    for (const origin of ['', there]) {
      answers(
        await visit(`${here}/p/own.html`, ([w, m]) => window.tell('/m/tiny.gguf', { workerUrl: w, wasmUrl: m }), [
          `${origin}${lib}/worker.js`,
          origin + wasm,
        ]),
      );
    }
    answers(await visit(`${here}/p/own.html`, (m) => window.tell('/m/tiny.gguf', { worker: false, wasmUrl: m }), wasm));
    refused(
      await visit(`${here}/p/own.html`, () => window.tell('/m/tiny.gguf', { workerUrl: '/p/none.js' })),
      'worker-failed',
      '/p/none.js',
      'workerUrl',
    );
    refused(
      await visit(`${here}/p/own.html`, () => window.tell('/m/tiny.gguf', { wasmUrl: '/p/none.wasm' })),
      'network',
      '/p/none.wasm',
      '404',
    );
  });
  await test('places: one file, from another origin', async () => {
    answers(await visit(`${here}/p/one.html`, () => window.tell('/m/tiny.gguf')));
    answers(await visit(`${here}/p/one.html`, () => window.tell('/m/tiny.gguf', { worker: false })));
  });
  await test('a policy that forbids something is named, with what would have to allow it', async () => {
    const policy = (csp) => `${here}/p/own.html?csp=${encodeURIComponent(csp)}`;
    const base = "default-src 'self' 'unsafe-inline'; ";
    const load = (source) => window.tell(source, { worker: false, cache: false });
    const elsewhere = `${there}/m/tiny.gguf`;
    refused(
      await visit(policy(`${base}script-src 'self' 'unsafe-inline'`), load, '/m/tiny.gguf'),
      'content-security-policy',
      "'wasm-unsafe-eval'",
    );
    refused(
      await visit(policy(`${base}script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval'`), load, elsewhere),
      'content-security-policy',
      elsewhere,
      'connect-src',
    );
    const noWorker = await visit(policy(`${base}script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval'; worker-src 'none'`), () =>
      window.tell('/m/tiny.gguf'),
    );
    refused(noWorker, 'content-security-policy', 'worker-src');
    answers(await visit(policy(`${base}script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval'`), () => window.tell('/m/tiny.gguf')));
  });
}
