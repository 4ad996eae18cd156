// Threads of the processor: only where the page is isolated, and never another result.
import { equal, ok, test } from './check.mjs';
import { PLAIN } from './kernels.mjs';

const DEVICE = { device: 'cpu', cache: 'refresh' };
const feature = (n) => `threads (${n})`;

const AMOUNT = { answer: 12, judged: 96, steps: 2, learned: 8 };
/** Of a model of a hundred million weights: a product of each kind is shared however few rows it has. */
const LITTLE = { answer: 3, judged: 24, steps: 1, learned: 1 };

/** Loads, answers, judges, learns; the numbers as bits. */
async function work(page, address, options, amount = AMOUNT) {
  const loaded = await page.evaluate(([a, o]) => window.t.load('threads', a, o), [address, { ...DEVICE, ...options }]);
  ok(loaded.ok, `${loaded.code}: ${loaded.message}`);
  const did = await page.evaluate((amount) => {
    const body = async (m, { SFTTrainer }, { answer, judged, steps, learned }) => {
      const bits = (values) => [...new Uint32Array(Float32Array.from(values).buffer)];
      const messages = [{ role: 'user', content: 'What is the capital of France?' }];
      const { tokenIds, logprobs } = await m.chat(messages, { maxNewTokens: answer, ignoreEos: true }).result;
      const score = await m.score(
        Array.from({ length: judged }, (_, i) => (i * 7) % 200),
        { positions: [0, judged - 1] },
      );
      const losses = [];
      const trainer = new SFTTrainer(m, { learningRate: 1e-3, maxSteps: steps, peftConfig: { r: 8, loraAlpha: 16 } });
      await trainer.train([{ messages: [...messages, { role: 'assistant', content: 'Paris. '.repeat(learned) }] }], {
        onStep: (s) => losses.push(s.loss, s.grad_norm),
      });
      await trainer.dispose();
      // Enough to tell whether all of them agree, and less to send.
      const sum = (values) => bits(values).reduce((h, b) => (Math.imul(h, 31) + b) | 0, 0);
      return {
        tokenIds,
        logprobs: bits(logprobs),
        score: bits(score.logprobs),
        logits: score.logits.map(sum),
        losses: bits(losses),
        isolated: crossOriginIsolated,
      };
    };
    return window.t.run('threads', body, amount);
  }, amount);
  ok(did.ok, `${did.code}: ${did.message}`);
  await page.evaluate(() => window.t.dispose('threads'));
  return { adapter: loaded.info.adapter, warnings: loaded.warnings, ...did.value };
}

/**
 * @typedef {import('playwright-core').Page} Page
 * @param {{isolated: Page, plain: Page, files: Map<string, Buffer>, address: string, real: string | undefined, built: boolean}} o
 *   `address` of a tiny model, `real` of one whose kernels are worth sharing; `built`: the package has the second module
 */
export async function threadTests({ isolated, plain, files, address, real, built }) {
  let one;
  await test('threads: one where one is asked for', async () => {
    const { adapter, ...rest } = await work(isolated, address, { threads: 1 });
    one = rest;
    equal(one.warnings, [], 'warnings');
    ok(one.isolated, 'the page is not isolated');
    ok(adapter.features.includes(feature(1)) && /, 1 thread\)/.test(adapter.name), JSON.stringify(adapter));
  });

  if (!built) console.log('      the package was built without threads: there is only one');
  else {
    for (const threads of [2, 3])
      await test(`threads: ${threads} of them give the bits of one`, async () => {
        const { adapter, ...rest } = await work(isolated, address, { threads });
        ok(adapter.features.includes(feature(threads)) && adapter.name.includes(`, ${threads} threads)`), JSON.stringify(adapter));
        equal(rest, one, 'results');
      });

    if (real)
      await test('threads: the real model answers and learns with the bits of one', async () => {
        const [{ adapter: a, ...first }, { adapter: b, ...second }] = [
          await work(isolated, real, { threads: 1 }, LITTLE),
          await work(isolated, real, { threads: 3 }, LITTLE),
        ];
        ok(a.features.includes(feature(1)) && b.features.includes(feature(3)), JSON.stringify([a, b]));
        equal(second, first, 'results');
      });

    await test('threads: as many as cores, up to eight, where nobody says how many', async () => {
      const cores = await isolated.evaluate(() => navigator.hardwareConcurrency);
      const { adapter, ...rest } = await work(isolated, address, {});
      ok(adapter.features.includes(feature(Math.min(cores, 8))), `${cores} cores: ${JSON.stringify(adapter)}`);
      equal(rest, one, 'results');
    });

    const lib = '/node_modules/fledgling/dist/lib';
    const pkg = '/node_modules/fledgling/pkg/threads';
    /** Loads with three threads while the server answers otherwise: `answer(path)`, or undefined for what there is. */
    const spoiled = async (answer, says) => {
      const get = files.get;
      files.get = (path) => answer(path) ?? get.call(files, path);
      try {
        const { adapter, ...rest } = await work(isolated, address, { threads: 3 });
        const [warning, ...more] = rest.warnings.splice(0);
        ok(warning?.code === 'fewer-threads' && warning.message.includes(says) && !more.length, JSON.stringify([warning, more]));
        ok(adapter.features.includes(feature(1)), JSON.stringify(adapter));
        equal(rest, one, 'results');
      } finally {
        delete files.get;
      }
    };
    const instead = (file, text, from = 1) => {
      let nth = 0;
      return (path) => (path === file && ++nth >= from ? Buffer.from(text) : undefined);
    };
    await test('threads: workers that fail are done without', () =>
      spoiled(instead(`${lib}/crew.js`, 'throw new Error("not today");'), '1 of 3 threads started (Uncaught Error: not today)'));
    await test('threads: workers that never come are done without', () =>
      spoiled(instead(`${lib}/crew.js`, ''), '1 of 3 threads started;'));
    // The engine asks for the glue first, then its workers do.
    await test('threads: workers that find no engine are done without', () =>
      spoiled(instead(`${pkg}/fledgling.js`, 'throw new Error("no glue");', 2), 'no glue'));
    await test('threads: a second module that is broken is done without', () =>
      spoiled(instead(`${pkg}/fledgling_bg.wasm`, 'no wasm'), 'the processor works with one thread: '));

    await test('threads: a software adapter works in the module that has them', async () => {
      const r = await isolated.evaluate(([a, kernel]) => window.t.load('threads', a, { threads: 2, kernel }), [address, PLAIN]);
      ok(r.ok && ['gpu', 'cpu'].includes(r.info.adapter.device), JSON.stringify(r));
      const answered = await isolated.evaluate(() =>
        window.t.run(
          'threads',
          async (m) => (await m.chat([{ role: 'user', content: 'Hi' }], { maxNewTokens: 4, ignoreEos: true }).result).tokenIds.length,
        ),
      );
      equal(answered, { ok: true, value: 4 }, 'answer');
      await isolated.evaluate(() => window.t.dispose('threads'));
    });
  }

  await test('threads: one in the page itself, which must not wait', async () => {
    const { adapter, warnings, ...rest } = await work(isolated, address, { threads: 2, worker: false });
    ok(adapter.features.includes(feature(1)), JSON.stringify(adapter));
    equal({ warnings: [], ...rest }, one, 'results');
    ok(
      warnings.length === 1 && warnings[0].code === 'fewer-threads' && warnings[0].message.includes('worker: false'),
      JSON.stringify(warnings),
    );
  });

  await test('threads: one where the page is not isolated', async () => {
    const { adapter, warnings, ...rest } = await work(plain, address, { threads: 2 });
    ok(adapter.features.includes(feature(1)), JSON.stringify(adapter));
    equal({ warnings: [], ...rest }, { ...one, isolated: false }, 'results');
    // Whoever asks for threads is told why there are none; whoever does not is not bothered.
    ok(warnings[0]?.code === 'fewer-threads' && warnings[0].message.includes('cross-origin isolated'), JSON.stringify(warnings));
    equal((await work(plain, address, {})).warnings, [], 'warnings of whoever asked for nothing');
  });

  await test('threads: a number that is none is refused', async () => {
    for (const threads of [0, 1.5, -1, 65, '2']) {
      const r = await isolated.evaluate(([a, n]) => window.t.load('threads', a, { device: 'cpu', threads: n }), [address, threads]);
      ok(!r.ok && r.code === 'bad-config' && r.message.startsWith('threads:') && r.typed, JSON.stringify(r));
    }
  });
}
