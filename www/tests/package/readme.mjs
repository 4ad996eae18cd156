// What the package's README shows, run as it stands: each example with the tiny model in place of its own.
import { equal, ok, test } from './check.mjs';

/** @param {{page: import('playwright-core').Page, files: Map<string, Buffer | string>, readme: string, lib: string}} o */
export async function readmeTests({ page, files, readme, lib }) {
  const shown = [...readme.matchAll(/## (\w+)[^#]*?```js\n([\s\S]*?)```|^[\s\S]*?```js\n([\s\S]*?)```/g)].map(
    ([, title = 'first', later, first]) => ({
      title,
      text: later ?? first,
    }),
  );
  equal(
    shown.map((s) => s.title),
    ['first', 'SFT', 'Checkpoints', 'Scoring', 'Adapters'],
    'examples',
  );
  for (const { title, text } of shown) {
    const source = text
      .replace("'fledgling'", `'${lib}/index.js'`)
      .replace(/'\/models\/[^']*'/, "'/m/tiny.gguf'")
      // Greedy answers of a model made of noise are as good as any; what matters is that the example goes through.
      .replaceAll('console.log(', '(globalThis.told ??= []).push(');
    const run = async (from, more) => {
      files.set(`/t/shown/${from}.mjs`, Buffer.from(`${source}\n${more}`));
      return page.evaluate(
        (address) =>
          import(address).then(
            (m) => ({ ok: true, value: m.default }),
            (e) => ({ ok: false, message: `${e.code}: ${e.message}` }),
          ),
        `/t/shown/${from}.mjs`,
      );
    };
    await test(`README: ${title}`, async () => {
      if (title === 'Adapters') {
        const made = await page.evaluate(async (a) => {
          const { Model, SFTTrainer } = window.t.fledgling;
          const m = await Model.load(a, { device: 'cpu' });
          await new SFTTrainer(m, { maxSteps: 1, peftConfig: { r: 1 } }).train([{ prompt: 'a', completion: 'b' }]);
          const saved = await m.saveAdapter();
          await m.dispose();
          return [saved['adapter_config.json'], [...saved['adapter_model.safetensors']]];
        }, '/m/tiny.gguf');
        files.set('/adapters/voice/adapter_config.json', Buffer.from(made[0]));
        files.set('/adapters/voice/adapter_model.safetensors', Buffer.from(made[1]));
      }
      // The first one promises that the chat's own answer is learned: it is likelier behind the chat's template than before.
      const learned = `const chat = [...ask, ...said('Hi, how can I help?')];
const sum = async (adapter) => (await model.score(chat, { adapter })).logprobs.reduce((a, b) => a + b, 0);
export default [await sum(null), await sum('default'), Object.keys(adapter)];
await model.dispose();`;
      const r = await run(title, title === 'first' ? learned : 'export default 1;\nawait model.dispose();');
      ok(r.ok, r.message);
      if (title !== 'first') return;
      ok(r.value[1] > r.value[0] + 0.01, `ln p of the preferred answer: ${r.value[0]}, then ${r.value[1]}`);
      equal(r.value[2], ['adapter_config.json', 'adapter_model.safetensors'], 'files');
    });
  }
}
