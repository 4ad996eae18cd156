// The GPU is lost in the middle of things: model, adapters, the answer and the run come back by themselves.
import { equal, ok, test } from './check.mjs';
import { PLAIN } from './kernels.mjs';

/** @param {{page: import('playwright-core').Page, address: string}} o */
export async function lostTests({ page, address }) {
  // In the page the device can be caught; destroying it is what a driver that ends it looks like.
  await page.evaluate(() => {
    const real = GPUAdapter.prototype.requestDevice;
    window.devices = [];
    GPUAdapter.prototype.requestDevice = async function (...a) {
      const device = await real.apply(this, a);
      window.devices.push(device);
      return device;
    };
    window.lose = () => window.devices.splice(0).forEach((d) => d.destroy());
  });
  const open = async ([a, kernel]) => {
    window.losses = [];
    const m = await window.t.fledgling.Model.load(a, {
      device: 'gpu',
      worker: false,
      kernel,
      onDeviceLost: ({ error, recovering, attempt }) => window.losses.push([error.code, recovering, attempt]),
    });
    window.t.models.set('lost', m);
    return m.info.adapter.device;
  };
  const loaded = await page.evaluate(open, [address, PLAIN]);
  equal(loaded, 'gpu', 'device');
  const value = async (body) => {
    const r = await page.evaluate(`window.t.run('lost', ${body.toString()})`);
    ok(r.ok, `${r.code}: ${r.message}`);
    return r.value;
  };

  await test('a lost device: an idle model comes back with its adapters, the active one and the merged one', async () => {
    const r = await value(async (m, { SFTTrainer }) => {
      const train = (adapterName) =>
        new SFTTrainer(m, { maxSteps: 2, learningRate: 0.02, adapterName, peftConfig: { r: 2 } }).train([
          { prompt: 'a', completion: adapterName },
        ]);
      const score = async (adapter) => (await m.score('abc', { adapter })).logprobs;
      await train('merged');
      await m.mergeAdapter('merged');
      await train('kept');
      const before = [await score(null), await score(undefined)];
      window.lose();
      const after = [await score(null), await score(undefined)];
      return { before, after, names: (await m.adapters()).map((a) => [a.name, a.active]), losses: window.losses };
    });
    equal(r.names, [['kept', true]], 'adapters');
    equal(r.losses, [['device-lost', true, 1]], 'told');
    for (const [i, list] of r.before.entries())
      ok(
        list.every((v, k) => Math.abs(v - r.after[i][k]) < 1e-3),
        `${list} then ${r.after[i]}`,
      );
  });

  await test('a lost device: an answer goes on from what was told, a run from what was kept', async () => {
    const r = await value(async (m, { SFTTrainer }) => {
      const ask = () => m.chat([{ role: 'user', content: 'Hello' }], { maxNewTokens: 16, temperature: 1, seed: 7, ignoreEos: true });
      const whole = (await ask().result).text;
      const stream = ask();
      let text = '';
      for await (const piece of stream) {
        if (text === '') window.lose();
        text += piece;
      }
      const rows = ['ab', 'cd', 'ef'].map((c) => ({ prompt: 'x', completion: c }));
      const args = { learningRate: 0.01, maxSteps: 5, seed: 3, adapterName: 'run', peftConfig: { r: 2 } };
      const expected = [];
      await new SFTTrainer(m, args).train(rows, { onStep: (s) => expected.push([s.step, s.loss]) });
      await m.removeAdapter('run');
      const found = [];
      await new SFTTrainer(m, args).train(rows, {
        onStep: (s) => {
          found.push([s.step, s.loss]);
          if (s.step === 2) window.lose();
        },
      });
      return { whole, text, result: (await stream.result).text, expected, found, losses: window.losses.length };
    });
    equal([r.text, r.result], [r.whole, r.whole], 'the answer');
    equal(
      r.found.map((s) => s[0]),
      [1, 2, 3, 4, 5],
      'steps, each told once',
    );
    ok(
      r.found.every(([, loss], i) => Math.abs(loss - r.expected[i][1]) < 1e-3),
      `${JSON.stringify(r.found)} in place of ${JSON.stringify(r.expected)}`,
    );
    equal(r.losses, 3, 'losses');
  });

  await test('a lost device: after three times in a row it is told, and stays lost', async () => {
    const r = await value(async (m) => {
      window.lose();
      const code = await m.score('abc').then(
        () => 'none',
        (e) => e.code,
      );
      return [code, window.losses.at(-1)];
    });
    equal(r, ['device-lost', ['device-lost', false, 4]], 'refused');
  });
  await page.evaluate(() => window.t.dispose('lost'));
}
