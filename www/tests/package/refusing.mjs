// Whatever a caller hands over: a result, or a FledglingError that names the field in the caller's words.
import { equal, ok, test } from './check.mjs';

/** Objects of the property test, and how many go into one call of the page. */
const COUNT = Number(process.env.RANDOM_OBJECTS ?? 10_000);
const SEED = Number(process.env.RANDOM_SEED ?? 1);
const BATCH = 500;

/** @param {{page: import('playwright-core').Page, address: string}} o */
export async function refusingTests({ page, address }) {
  const loaded = await page.evaluate((a) => window.t.load('r', a, { device: 'cpu' }), address);
  ok(loaded.ok, `${loaded.code}: ${loaded.message}`);
  const run = (body, argument) => page.evaluate(`window.t.run('r', ${body.toString()}, ${JSON.stringify(argument)})`);
  /** Every case: a body, a code, and what the message must have. */
  const refused = async (cases) => {
    for (const [body, code, ...words] of cases) {
      const r = await run(body);
      ok(!r.ok, `${body}: expected ${code}, found ${JSON.stringify(r.value)}`);
      ok(r.typed, `${body}: no FledglingError: ${r.message}`);
      equal(r.code, code, `${body}: ${r.message}`);
      for (const word of words) ok(r.message.includes(word), `${body}: expected ${JSON.stringify(word)} in ${JSON.stringify(r.message)}`);
    }
  };
  const value = async (body, argument) => {
    const r = await run(body, argument);
    ok(r.ok, `${r.code}: ${r.message}`);
    return r.value;
  };

  await test('options: what nobody reads is refused, with what was meant', async () => {
    await refused([
      [(m) => m.chat([{ role: 'user', content: 'a' }], { max_tokens: 2 }).result, 'bad-config', 'max_tokens', 'did you mean maxNewTokens?'],
      [(m) => m.chat([{ role: 'user', content: 'a' }], { top_k: 2 }).result, 'bad-config', 'did you mean topK?'],
      [(m) => m.chat([{ role: 'user', content: 'a' }], { stop: ['x'] }).result, 'bad-config', 'did you mean stopStrings?'],
      [(m) => m.chat([{ role: 'user', content: 'a' }], { tools: [] }).result, 'bad-config', 'tools', 'not supported'],
      [(m) => m.chat([{ role: 'user', content: 'a' }], { n: 2 }).result, 'bad-config', 'generateCandidates()'],
      [(m) => m.chat([{ role: 'user', content: 'a' }], { stopStrings: 'x' }).result, 'bad-config', 'stopStrings', 'a list of texts'],
      [(m) => m.chat([{ role: 'user', content: 'a' }], { stopStrings: [''] }).result, 'bad-config', 'none of them empty'],
      [(m) => m.chat([{ role: 'user', content: 'a' }], { temperature: '0.5' }).result, 'bad-config', 'temperature', 'found "0.5"'],
      [(m) => m.chat([{ role: 'user', content: 'a' }], { maxNewTokens: 2.5 }).result, 'bad-config', 'a whole number'],
      [(m) => m.chat([{ role: 'user', content: 'a' }], null).result, 'bad-config', 'the options of chat()', 'found null'],
      [(m) => m.chat('a').result, 'bad-config', 'messages', 'found "a"'],
      [(m) => m.chat([{ role: 'user', content: [{ type: 'text', text: 'a' }] }]).result, 'bad-config', 'messages[0].content', 'join'],
      [(m) => m.chat([{ role: 'user', content: 'a', tool_calls: [{}] }]).result, 'bad-config', 'messages[0].tool_calls'],
      [(m) => m.score([{ content: 'a' }]), 'bad-config', 'messages[0].role', 'found undefined'],
      [(m) => m.chat.completions.create({ messages: [], maxTokens: 2 }), 'bad-config', 'maxTokens', 'did you mean max_tokens?'],
      [
        (m) => m.chat.completions.create({ messages: [{ role: 'user', content: 'a' }], frequency_penalty: 1 }),
        'bad-config',
        'frequency_penalty',
      ],
      [
        (m) => m.chat.completions.create({ messages: [{ role: 'user', content: 'a' }], response_format: { type: 'json_object' } }),
        'bad-config',
        'response_format',
      ],
      [(m) => m.chat.completions.create({ messages: [{ role: 'user', content: 'a' }], tools: [{}] }), 'bad-config', 'tools'],
      [(m) => m.chat.completions.create({ messages: [{ role: 'user', content: 'a' }], top_logprobs: 2 }), 'bad-config', 'top_logprobs'],
      [(m) => m.chat.completions.create({ messages: [{ role: 'user', content: 'a' }], max_tokens: 0 }), 'bad-config', 'max_tokens'],
      [(_, { Model }) => Model.load('/m/tiny.gguf', { dtype: 'q4' }), 'bad-config', 'dtype', 'did you mean quantize?'],
      [(_, { Model }) => Model.load('/m/tiny.gguf', { n_ctx: 64 }), 'bad-config', 'did you mean contextLength?'],
      [(_, { Model }) => Model.load('/m/tiny.gguf', { sha256: 'abc' }), 'bad-config', 'sha256', '64 hex digits'],
      [(_, { readRows }) => readRows('{}', { nmae: 'x' }).result, 'bad-config', 'did you mean name?'],
    ]);
    equal(
      await value(async (m) => {
        const nothing = {
          frequency_penalty: 0,
          presence_penalty: null,
          tools: [],
          response_format: { type: 'text' },
          logprobs: false,
          user: 'u',
          stop: null,
        };
        const { choices } = await m.chat.completions.create({
          messages: [{ role: 'user', content: 'a' }],
          max_tokens: 1,
          temperature: null,
          ...nothing,
        });
        const left = await m.chat([{ role: 'user', content: 'a' }], { maxNewTokens: 1, max_tokens: undefined, seed: undefined }).result;
        return [choices.length, left.tokenIds.length];
      }),
      [1, 1],
      'what asks for nothing',
    );
  });

  await test('seeds: whole numbers of 32 bits, and no other', async () => {
    const wrong = [-1, 1.5, Number.NaN, 2 ** 32, 2 ** 53, null, 7n, '7'];
    const codes = await page.evaluate(
      ([bad]) =>
        Promise.all(
          [...bad, Number.NaN, 7n].map((seed) => {
            const m = window.t.models.get('r');
            return m.chat([{ role: 'user', content: 'a' }], { seed, maxNewTokens: 1 }).result.then(
              () => `${String(seed)} was taken`,
              (e) => `${e.code} ${e.message.split(':')[0]}`,
            );
          }),
        ),
      [wrong.filter((s) => typeof s !== 'bigint' && !Number.isNaN(s))],
    );
    for (const c of codes) equal(c, 'bad-config seed', 'a wrong seed');
    equal(
      await value(
        async (m) => (await m.chat([{ role: 'user', content: 'a' }], { seed: 2 ** 32 - 1, maxNewTokens: 1 }).result).tokenIds.length,
      ),
      1,
      'the largest',
    );
  });

  await test('sources: lists, bytes and Blobs are taken; what is none is explained', async () => {
    await refused([
      [(_, { Model }) => Model.load(), 'bad-config', 'source', 'found undefined'],
      [(_, { Model }) => Model.load(''), 'bad-config', 'source', 'empty text'],
      [(_, { Model }) => Model.load(5), 'bad-config', 'source', 'found 5'],
      [(_, { Model }) => Model.load([]), 'bad-config', 'source', 'found none'],
      [(_, { Model }) => Model.load(['a.gguf']), 'bad-config', 'source[0]', 'expected a File'],
      [(_, { Model }) => Model.load('owner/name'), 'bad-config', 'hub', '/resolve/main/'],
      [(_, { Model }) => Model.load('ftp://x/y.gguf'), 'bad-config', 'source', 'ftp:'],
      [(_, { Model }) => Model.load('http://['), 'bad-config', 'source', 'no address'],
    ]);
    const names = await value(async (_, { Model }) => {
      const bytes = await (await fetch('/m/tiny.gguf')).arrayBuffer();
      const list = new DataTransfer();
      list.items.add(new File([bytes], 'listed.gguf'));
      const out = [];
      for (const source of [bytes, new Uint8Array(bytes), new Blob([bytes]), [new File([bytes], 'a.gguf')], list.files]) {
        const m = await Model.load(source, { device: 'cpu', worker: false });
        out.push(m.info.parameters > 0);
        await m.dispose();
      }
      return out;
    });
    equal(names, [true, true, true, true, true], 'loaded');
  });

  await test('trainers: without a model, without rows, with a callback that throws', async () => {
    await refused([
      [async (_, { SFTTrainer }) => new SFTTrainer(), 'bad-config', 'model', 'Model.load()'],
      [async (_, { DPOTrainer }) => new DPOTrainer({}), 'bad-config', 'model'],
      [(m, { SFTTrainer }) => new SFTTrainer(m).train(), 'bad-config', 'rows', 'found undefined'],
      [(m, { SFTTrainer }) => new SFTTrainer(m).train([() => {}]), 'bad-row', 'row 0'],
      [
        (m, { SFTTrainer }) => new SFTTrainer(m).train([{ prompt: 'a', completion: Symbol('b') }]),
        'bad-row',
        'rows[0].completion',
        'a symbol',
      ],
      [(m, { SFTTrainer }) => new SFTTrainer(m).train([{ inputIds: [1, Number.NaN] }]), 'bad-row', 'rows[0].inputIds'],
      [
        (m, { SFTTrainer }) => new SFTTrainer(m).train([{ prompt: 'a', completion: 'b' }], { onstep: () => {} }),
        'bad-config',
        'did you mean onStep?',
      ],
      [async (m, { SFTTrainer }) => new SFTTrainer(m).pause(), 'bad-config', 'not started'],
    ]);
    const r = await value(async (m, { SFTTrainer, FledglingError, Model }) => {
      const rows = [{ prompt: 'a', completion: 'b' }];
      const out = [];
      const boom = new TypeError('boom');
      const thrower = () => {
        throw boom;
      };
      for (const onStep of [thrower, async () => thrower()]) {
        const t = new SFTTrainer(m, { maxSteps: 50, adapterName: 'cb' });
        const e = await t.train(rows, { onStep }).catch((e) => e);
        out.push([e instanceof FledglingError, e.code, e.message, e.cause === boom]);
      }
      const load = await Model.load('/m/tiny.gguf', { device: 'cpu', onProgress: thrower }).catch((e) => e);
      out.push([load instanceof FledglingError, load.code, load.message, load.cause === boom]);
      await m.removeAdapter('cb');
      return out;
    });
    equal(r[0], [true, 'callback-failed', 'onStep threw: boom', true], 'onStep');
    equal(r[1], [true, 'callback-failed', 'onStep threw: boom', true], 'an async onStep');
    equal(r[2], [true, 'callback-failed', 'onProgress threw: boom', true], 'onProgress');
  });

  await test('adapters: parsed, as bytes, Files, a zip, from an address; and what is none', async () => {
    const r = await value(async (m, { SFTTrainer }) => {
      const trainer = new SFTTrainer(m, { maxSteps: 1, learningRate: 0.1, adapterName: 'a', peftConfig: { r: 2 } });
      await trainer.train([{ prompt: 'a', completion: 'b' }]);
      const files = await m.saveAdapter('a');
      const [config, weights] = [files['adapter_config.json'], files['adapter_model.safetensors']];
      const named = [new File([config], 'adapter_config.json'), new File([weights], 'adapter_model.safetensors')];
      const buffer = weights.buffer.slice(weights.byteOffset, weights.byteOffset + weights.byteLength);
      const sources = [
        files,
        { 'adapter_config.json': JSON.parse(config), 'adapter_model.safetensors': buffer },
        { 'adapter_config.json': named[0], 'adapter_model.safetensors': new Blob([weights]) },
        named,
        await window.t.zip({ 'x/adapter_config.json': config, 'x/adapter_model.safetensors': weights }),
      ];
      const expected = (await m.score('abc', { adapter: 'a' })).logprobs;
      const same = [];
      for (const [i, source] of sources.entries()) {
        await m.loadAdapter(source, `s${i}`);
        same.push(JSON.stringify((await m.score('abc', { adapter: `s${i}` })).logprobs) === JSON.stringify(expected));
        await m.removeAdapter(`s${i}`);
      }
      window.adapter = { config, weights: [...weights] };
      return same;
    });
    equal(r, [true, true, true, true, true], 'the same adapter');
    await refused([
      [
        (m) => m.loadAdapter({ 'adapter_config.json': '{}', 'adapter_model.safetensors': new Uint8Array(40) }, 5),
        'bad-config',
        'name',
        'found 5',
      ],
      [(m) => m.loadAdapter({ 'adapter_config.json': '{}' }, 'x'), 'bad-config', 'adapter_model.safetensors is missing'],
      [
        (m) => m.loadAdapter({ 'adapter_config.json': 5, 'adapter_model.safetensors': new Uint8Array(4) }, 'x'),
        'bad-config',
        'adapter_config.json',
        'found 5',
      ],
      [
        (m) => m.loadAdapter({ 'adapter_config.json': '{}', 'adapter_model.safetensors': 'text' }, 'x'),
        'bad-config',
        'adapter_model.safetensors',
      ],
      [(m) => m.loadAdapter({ config: '{}' }, 'x'), 'bad-config', 'adapter.config'],
      [(m) => m.loadAdapter(undefined, 'x'), 'bad-config', 'adapter', 'found undefined'],
      [(m) => m.loadAdapter(new Blob(['no zip']), 'x'), 'bad-file', 'expected a zip'],
      [(m) => m.loadAdapter('/nowhere/', 'x'), 'network', '/nowhere/adapter_config.json', '404'],
      [(m) => m.setAdapter(), 'bad-config', 'name'],
      [(m) => m.saveAdapter(7), 'bad-config', 'name'],
    ]);
    await run((m) => m.removeAdapter('a'));
  });

  await test('held-out rows: the loss that training reports, and for preferences the rewards', async () => {
    const r = await value(async (m, { SFTTrainer, DPOTrainer }) => {
      const chat = (content) => ({
        messages: [
          { role: 'user', content: 'x' },
          { role: 'assistant', content },
        ],
      });
      const rows = [chat('ab'), { prompt: 'a', completion: 'bcd' }];
      const seen = [];
      const args = { maxSteps: 1, gradientAccumulationSteps: 2, learningRate: 0.05, adapterName: 'e', peftConfig: { r: 2 } };
      const sft = new SFTTrainer(m, args);
      const before = await sft.evaluate(rows, { adapter: null });
      await sft.train(rows, { onStep: (s) => seen.push(s) });
      const after = await sft.evaluate(rows);
      const pairs = [{ prompt: 'a', chosen: 'b', rejected: 'c' }];
      const dpo = new DPOTrainer(m, { ...args, gradientAccumulationSteps: 1, maxSteps: 3, adapterName: 'd' });
      const even = await dpo.evaluate(pairs, { adapter: null });
      await dpo.train(pairs);
      const learned = await dpo.evaluate(pairs);
      // In the middle of a run: behind every second update, and the best one kept.
      const during = [];
      const held = { evalSteps: 2, loadBestModelAtEnd: true, maxSteps: 5, adapterName: 'h' };
      const best = await new SFTTrainer(m, { ...args, ...held }).train(rows, { evalDataset: rows, onEvaluate: (e) => during.push(e) });
      for (const name of ['e', 'd', 'h']) await m.removeAdapter(name);
      return { before, after, seen, even, learned, during, best };
    });
    ok(Math.abs(r.before.eval_loss - r.seen[0].loss) < 1e-3, `${r.before.eval_loss} and ${r.seen[0].loss}`);
    ok(r.after.eval_loss < r.before.eval_loss && r.after.eval_rows === 2 && r.after.eval_tokens > 4, JSON.stringify(r.after));
    ok(r.during.map((e) => e.step).join() === '2,4,5' && r.during.every((e) => e.eval_rows === 2), JSON.stringify(r.during));
    ok(r.best.best.loaded && r.best.best.value === Math.min(...r.during.map((e) => e.eval_loss)), JSON.stringify(r.best));
    ok(Math.abs(r.even.eval_loss - Math.LN2) < 1e-6 && r.even['eval_rewards/margins'] === 0, JSON.stringify(r.even));
    ok(r.learned.eval_loss < r.even.eval_loss && r.learned['eval_rewards/accuracies'] === 1, JSON.stringify(r.learned));
    await refused([
      [(m, { SFTTrainer }) => new SFTTrainer(m, { adapterName: 'none' }).evaluate([{ text: 'ab' }]), 'bad-adapter', 'none'],
      [
        (m, { DPOTrainer }) => new DPOTrainer(m, { reference: 'init' }).evaluate([{ prompt: 'a', chosen: 'b', rejected: 'c' }]),
        'bad-config',
        'reference',
      ],
      [(m, { SFTTrainer }) => new SFTTrainer(m, { evalSteps: 2 }).train([{ text: 'ab' }]), 'bad-config', 'evalStrategy'],
    ]);
  });

  await test(`property: ${COUNT} random objects give a result or a named error`, async () => {
    const total = {};
    for (let i = 0; i < COUNT; i += BATCH) {
      const r = await page.evaluate(([seed, n]) => window.t.random('r', seed, n), [SEED + i, Math.min(BATCH, COUNT - i)]);
      for (const [k, n] of Object.entries(r.tally)) total[k] = (total[k] ?? 0) + n;
      ok(r.wrong.length === 0, `${r.wrong.length} wrong: ${JSON.stringify(r.wrong, null, 1)}`);
      ok(r.answers > 0, 'the model should still answer');
    }
    console.log(`      ${JSON.stringify(total)}`);
    ok((total.result ?? 0) > COUNT / 20 && (total['bad-config'] ?? 0) > COUNT / 4, 'both ways are tried');
  });
  await page.evaluate(() => window.t.dispose('r'));
}
