// Using a model: answers, candidates, adapters, training, and everything a person can do wrong with them.
import { equal, ok, test } from './check.mjs';
import { PLAIN } from './kernels.mjs';

/** @param {{page: import('playwright-core').Page, address: string, device: 'gpu' | 'cpu'}} o */
export async function usingTests({ page, address, device }) {
  const on = { device, ...(device === 'gpu' ? { kernel: PLAIN } : {}) };
  const load = (key, options = {}, source = address) =>
    page.evaluate(([k, s, o]) => window.t.load(k, s, o), [key, source, { ...on, ...options }]);
  const run = (key, body, argument) =>
    page.evaluate(`window.t.run(${JSON.stringify(key)}, ${body.toString()}, ${JSON.stringify(argument)})`);
  const value = async (key, body, argument) => {
    const r = await run(key, body, argument);
    ok(r.ok, `${r.code}: ${r.message}`);
    return r.value;
  };
  const refuses = async (code, body, argument) => {
    const r = await run('m', body, argument);
    ok(!r.ok, `expected ${code}, found ${JSON.stringify(r.value)}`);
    equal(r.code, code, `code (${r.message})`);
    ok(r.typed, 'a FledglingError');
    const still = await run(
      'm',
      async (m) => (await m.chat([{ role: 'user', content: 'Hi' }], { maxNewTokens: 2 }).result).tokenIds.length,
    );
    ok(still.ok && still.value > 0, `the model should still answer: ${JSON.stringify(still)}`);
    return r;
  };

  const loaded = await load('m');
  ok(loaded.ok, `${loaded.code}: ${loaded.message}`);

  await test('info names the model and the adapter', async () => {
    const { info } = loaded;
    for (const k of ['name', 'architecture', 'quantization']) ok(typeof info[k] === 'string' && info[k], `${k}: ${info[k]}`);
    for (const k of ['parameters', 'layers', 'hiddenSize', 'contextLength', 'vocabSize', 'gpuBytes', 'wasmBytes', 'fileBytes'])
      ok(info[k] > 0, `${k}: ${info[k]}`);
    ok(info.adapter.name && Array.isArray(info.adapter.features), JSON.stringify(info.adapter));
    ok(info.targetModules.includes('q_proj'), `targetModules: ${info.targetModules}`);
    console.log(`      adapter: ${info.adapter.name} (${info.adapter.backend})`);
  });

  await test('capabilities', async () => {
    const c = await page.evaluate(() => window.t.fledgling.capabilities());
    ok(c.webgpu && c.adapter.name, JSON.stringify(c));
  });

  await test('a stream: pieces add up to the text, ids and logprobs go together', async () => {
    const r = await value('m', async (m) => {
      const s = m.chat([{ role: 'user', content: 'Hello' }], { maxNewTokens: 12 });
      let text = '';
      for await (const piece of s) text += piece;
      return { text, whole: await s.result };
    });
    equal(r.text, r.whole.text, 'text');
    equal(r.whole.tokenIds.length, r.whole.logprobs.length, 'logprobs');
    ok(
      r.whole.logprobs.every((p) => p <= 1e-4),
      `logprobs: ${r.whole.logprobs}`,
    );
    ok(['stop', 'length'].includes(r.whole.finishReason), r.whole.finishReason);
    ok(r.whole.promptTokens > 0 && r.whole.seconds.prefill >= 0, JSON.stringify(r.whole));
  });

  await test('candidates: one stream each, the same again with the same seed', async () => {
    const body = async (m) => {
      const s = m.generateCandidates([{ role: 'user', content: 'Hello' }], { n: 3, temperature: 1, seed: 7, maxNewTokens: 8 });
      const text = ['', '', ''];
      const done = [false, false, false];
      for await (const e of s) {
        text[e.index] += e.text;
        done[e.index] ||= e.done;
      }
      return { text, done, all: await s.result };
    };
    const a = await value('m', body);
    const b = await value('m', body);
    equal(
      a.all.map((c) => c.text),
      a.text,
      'streams',
    );
    equal(a.done, [true, true, true], 'done');
    equal(b.text, a.text, 'the same seed');
    ok(new Set(a.all.map((c) => c.tokenIds.join())).size > 1, 'candidates differ');
  });

  await test('an abort ends the stream within a token, leaving the loop does too', async () => {
    // Each load opens a device, which compiles everything anew: this model is also the one that is merged into and disposed of below.
    const long = await load('long', {}, '/m/long.gguf');
    ok(long.ok, `${long.code}: ${long.message}`);
    const r = await run('long', async (m) => {
      const o = { maxNewTokens: 6000, temperature: 1, seed: 1, ignoreEos: true };
      const c = new AbortController();
      const s = m.chat([{ role: 'user', content: 'Hello' }], { ...o, signal: c.signal });
      let n = 0;
      for await (const _ of s) if (++n === 2) c.abort();
      const { finishReason, tokenIds } = await s.result;
      const s2 = m.chat([{ role: 'user', content: 'Hello' }], o);
      for await (const _ of s2) break;
      const early = await s2.result;
      const before = new AbortController();
      before.abort();
      const none = await m.chat([{ role: 'user', content: 'Hello' }], { signal: before.signal }).result;
      return { finishReason, tokens: tokenIds.length, early: early.finishReason, none: none.finishReason };
    });
    ok(r.ok, `${r.code}: ${r.message}`);
    equal([r.value.finishReason, r.value.early, r.value.none], ['abort', 'abort', 'abort'], 'finishReason');
    // The word takes milliseconds to reach the Worker, in each of which the processor makes several of the tiny model's tokens.
    ok(r.value.tokens < (device === 'cpu' ? 3000 : 40), `${r.value.tokens} tokens`);
  });

  await test('two at once: the second waits, or is refused as busy where it must not; nobody has to iterate', async () => {
    const r = await value('m', async (m) => {
      const ask = (o) => m.chat([{ role: 'user', content: 'Hello' }], { maxNewTokens: 10, seed: 1, ...o });
      const alone = (await ask().result).text;
      const stop = new AbortController();
      const [first, second, refused, given] = [ask(), ask(), ask({ queue: false }), ask({ signal: stop.signal })];
      stop.abort();
      const code = await refused.result.then(
        () => 'none',
        (e) => e.code,
      );
      const judged = m.score('A word.');
      const ended = (await given.result).finishReason;
      return { code, alone, both: [(await second.result).text, (await first.result).text], ended, judged: (await judged).logprobs.length };
    });
    equal(r.code, 'busy', 'code');
    equal(r.both, [r.alone, r.alone], 'both answers');
    ok(r.ended === 'abort' && r.judged > 0, JSON.stringify(r));
  });

  await test('OpenAI-shaped completions', async () => {
    const r = await value('m', async (m) => {
      const whole = await m.chatCompletions.create({ messages: [{ role: 'user', content: 'Hi' }], max_tokens: 4, temperature: 0, n: 2 });
      let text = '';
      let finish;
      for await (const c of await m.chat.completions.create({
        messages: [{ role: 'user', content: 'Hi' }],
        max_tokens: 4,
        temperature: 0,
        stream: true,
      })) {
        text += c.choices[0]?.delta.content ?? '';
        finish ??= c.choices[0]?.finish_reason;
      }
      return { whole, text, finish };
    });
    equal(r.whole.choices.length, 2, 'choices');
    equal(r.whole.choices[0].message.content, r.text, 'text');
    ok(r.whole.usage.prompt_tokens > 0 && ['stop', 'length'].includes(r.finish), JSON.stringify(r));
  });

  await test('SFT: a step, metrics, the adapter saved, loaded, switched', async () => {
    const r = await value('m', async (m, { SFTTrainer }) => {
      const messages = [{ role: 'user', content: 'Hello' }];
      const ask = async (o) => (await m.chat(messages, { maxNewTokens: 6, ...o }).result).tokenIds;
      const base = await ask();
      const steps = [];
      const trainer = new SFTTrainer(m, {
        learningRate: 0.01,
        maxSteps: 8,
        lrSchedulerType: 'constant',
        peftConfig: { r: 4, loraAlpha: 8 },
      });
      const result = await trainer.train([{ messages: [...messages, { role: 'assistant', content: 'abcabc' }] }], {
        onStep: (s) => steps.push(s),
      });
      await trainer.dispose();
      const tuned = await ask();
      const off = await ask({ adapter: null });
      const files = await m.saveAdapter();
      const info = await m.loadAdapter(files, 'copy'); // which leaves the caller's bytes alone
      await m.setAdapter('copy');
      const copy = await ask();
      await m.disableAdapter();
      const disabled = await ask();
      const names = (await m.adapters()).map((a) => a.name);
      await m.removeAdapter('copy');
      await m.removeAdapter('default');
      return {
        base,
        tuned,
        off,
        copy,
        disabled,
        names,
        info,
        result,
        steps,
        config: JSON.parse(files['adapter_config.json']),
        bytes: files['adapter_model.safetensors'].length,
        left: (await m.adapters()).length,
      };
    });
    equal(
      r.steps.map((s) => s.step),
      [1, 2, 3, 4, 5, 6, 7, 8],
      'steps',
    );
    for (const k of ['loss', 'learning_rate', 'grad_norm', 'epoch', 'tokens_per_second', 'totalSteps'])
      ok(Number.isFinite(r.steps[0][k]), `${k}: ${r.steps[0][k]}`);
    // Every step sees another row, so halves are compared, not single steps; parity with PyTorch is the native suite's business.
    const mean = (a) => a.reduce((x, s) => x + s.loss, 0) / a.length;
    ok(mean(r.steps.slice(4)) < mean(r.steps.slice(0, 4)) - 0.2, `loss: ${r.steps.map((s) => s.loss)}`);
    equal(r.result.steps, 8, 'result');
    equal(r.off, r.base, 'adapter: null is the base model');
    equal(r.disabled, r.base, 'disabled is the base model');
    ok(r.tuned.join() !== r.base.join(), 'the answer changed');
    equal(r.copy, r.tuned, 'saved and loaded');
    equal(r.names.toSorted(), ['copy', 'default'], 'adapters');
    equal([r.config.peft_type, r.config.r, r.config.lora_alpha], ['LORA', 4, 8], 'adapter_config.json');
    ok(r.bytes > 1000 && r.info.r === 4 && r.left === 0, JSON.stringify([r.bytes, r.info, r.left]));
  });

  await test('rows: rankings train as their pairs, ids may be typed arrays, promises are awaited', async () => {
    const r = await value('m', async (m, { DPOTrainer, SFTTrainer, rankingToPairs }) => {
      const losses = async (Trainer, rows, perDeviceTrainBatchSize = 1) => {
        const out = [];
        const args = { maxSteps: 2, shuffle: false, adapterName: 'rows', seed: 1, peftConfig: { r: 2 }, perDeviceTrainBatchSize };
        const trainer = new Trainer(m, args);
        await trainer.train(rows, { onStep: (s) => out.push(s.loss) });
        await trainer.dispose();
        await m.removeAdapter('rows');
        return out;
      };
      const ask = [{ role: 'user', content: 'Hello' }];
      const [answers, ranks] = [
        ['aaaa', 'bbbb', 'cccc', 'dddd'],
        [2, 1, 1, null],
      ];
      return {
        ranking: await losses(DPOTrainer, [{ prompt: ask, answers, ranks }]),
        pairs: await losses(DPOTrainer, rankingToPairs(ask, answers, ranks), 2),
        made: await rankingToPairs('q', ['x', 'y'], [2, 1]),
        typed: await losses(SFTTrainer, [{ inputIds: new Uint32Array([1, 2, 3]), labels: new Int32Array([-100, 2, 3]) }]),
        plain: await losses(SFTTrainer, [{ input_ids: [1, 2, 3], labels: [-100, 2, 3] }]),
      };
    });
    // A ranking is one row: a batch of its pairs, whose answers run once.
    const near = r.ranking.every((loss, i) => Math.abs(loss - r.pairs[i]) < 1e-5);
    equal([r.ranking.length, near], [2, true], `the same pairs: ${JSON.stringify(r)}`);
    equal(r.made, [{ prompt: 'q', chosen: 'y', rejected: 'x' }], 'pairs');
    equal(r.typed, r.plain, 'typed arrays');
  });

  await test('rows of a file: read in pieces, refused by line, written for TRL', async () => {
    const r = await value('m', async (_, { readRows, writeRows }) => {
      const lines = Array.from({ length: 20_000 }, (_, i) => JSON.stringify({ prompt: `${i}`, completion: 'Ja, später 🐦' }));
      lines[7000] = '{"prompt": "p", "completion": "c", "images": []}';
      const file = new File([`\ufeff${lines.join('\r\n')}\n\n`], 'many.jsonl');
      let pieces = 0;
      let read = 0;
      const refused = [];
      for await (const piece of readRows(file)) {
        pieces++;
        for (const row of piece) {
          if ('kind' in row) read++;
          else refused.push(row);
        }
      }
      const ranking = { prompt: 'p', answers: ['a', 'b'], ranks: [2, 1] };
      const array = await readRows(JSON.stringify([ranking, { inputIds: [1] }])).result;
      const latin = new Blob([new Uint8Array([0x7b, 0xe9, 0x7d])]);
      const codes = await Promise.all([readRows(latin, { name: 'l' }).result, readRows('').result].map((p) => p.catch((e) => e.code)));
      return { pieces, read, refused, array, codes, text: await writeRows([ranking, { inputIds: [1] }]) };
    });
    ok(r.pieces > 2 && r.read === 19_999, `${r.pieces} pieces, ${r.read} rows`);
    equal(r.refused, [{ line: 7001, column: 'images', reason: 'is not supported: the row would be learned without it' }], 'refused');
    equal(
      r.array.map((x) => x.kind),
      ['ranking', 'sft'],
      'an array',
    );
    equal(r.codes, ['bad-file', 'empty-dataset'], 'errors');
    equal(r.text, '{"prompt":"p","chosen":"b","rejected":"a"}\n{"input_ids":[1]}\n', 'JSONL');
  });

  await test('DPO: starts at ln 2, rewards part', async () => {
    const steps = await value('m', async (m, { DPOTrainer, rankingToPairs }) => {
      const rows = await rankingToPairs([{ role: 'user', content: 'Hello' }], ['aaaa', 'bbbb', 'cccc'], [1, 2, 2]);
      const out = [];
      const trainer = new DPOTrainer(m, {
        beta: 0.1,
        learningRate: 0.02,
        maxSteps: 6,
        lrSchedulerType: 'constant',
        perDeviceTrainBatchSize: 2,
        adapterName: 'dpo',
        peftConfig: { r: 4 },
      });
      await trainer.train(rows, { onStep: (s) => out.push(s) });
      await m.removeAdapter('dpo');
      return out;
    });
    ok(Math.abs(steps[0].loss - Math.LN2) < 1e-4, `first loss ${steps[0].loss}`);
    ok(steps.at(-1)['rewards/margins'] > 0 && steps.at(-1)['rewards/accuracies'] === 1, JSON.stringify(steps.at(-1)));
    for (const k of ['rewards/chosen', 'rewards/rejected', 'logps/chosen', 'logps/rejected']) ok(Number.isFinite(steps[0][k]), k);
  });

  await test('a reward model learns from pairs, scores texts, and does not become the adapter that answers', async () => {
    const r = await value('m', async (m, { RewardTrainer }) => {
      const trainer = new RewardTrainer(m, { adapterName: 'judge', maxSteps: 4, learningRate: 0.01, seed: 1, peftConfig: { r: 2 } });
      const { steps } = await trainer.train([{ prompt: 'x', chosen: 'aa', rejected: 'zz' }]);
      await trainer.dispose();
      const info = await m.adapters();
      const scores = [];
      for (const text of ['xaa', 'xzz']) scores.push((await m.score(text, { adapter: 'judge' })).scores);
      await m.removeAdapter('judge');
      return { steps, scores, adapters: info.map((a) => [a.name, a.active, a.scores]) };
    });
    equal(r.steps, 4, 'updates');
    ok(
      r.adapters.some(([name, active, n]) => name === 'judge' && !active && n === 1),
      JSON.stringify(r.adapters),
    );
    ok(r.scores.every((s) => s.length === 1 && Number.isFinite(s[0])) && r.scores[0][0] > r.scores[1][0], JSON.stringify(r.scores));
  });

  await test('GRPO: a reward function is asked, its rollouts replay, what it does wrong is told with the row', async () => {
    const r = await value('m', async (m, { GRPOTrainer }) => {
      const rows = ['x', 'y', 'z'].map((prompt, i) => ({ prompt, wanted: i }));
      const args = {
        numGenerations: 2,
        perDeviceTrainBatchSize: 4,
        maxSteps: 2,
        maxCompletionLength: 4,
        seed: 3,
        shuffle: false,
        peftConfig: { r: 2 },
      };
      const run = async (rewards, own = {}, given = rows) => {
        const [steps, rollouts] = [[], []];
        const trainer = new GRPOTrainer(m, args);
        const error = await trainer
          .train(given, { rewards, onStep: (s) => steps.push(s), onRollouts: (all) => rollouts.push(...all), ...own })
          .then(
            () => null,
            (e) => [e.code, e.message],
          );
        // One that could not start has none.
        const kept = await trainer.keptRounds().catch(() => []);
        await trainer.dispose();
        await m.removeAdapter('default').catch(() => {});
        return { steps, rollouts, error, kept };
      };
      const asked = [];
      const short = async ({ prompts, completions, completionIds, columns, signal }) => {
        asked.push([prompts.length, completions.length, columns.wanted.length, signal instanceof AbortSignal]);
        return completionIds.map((ids) => ids.filter((id) => id % 2 === 0).length / 4);
      };
      const learned = await run(short);
      const replayed = await run(undefined, {}, learned.rollouts);
      const losses = (x) => x.steps.map((s) => s.loss);
      let hung = false;
      const hangs = ({ signal }) => new Promise(() => signal.addEventListener('abort', () => (hung = true)));
      const bad = {
        throws: (await run(() => Promise.reject(new Error('no')))).error,
        nan: (await run(({ completions }) => completions.map(() => Number.NaN))).error,
        few: (await run(() => [1])).error,
        nothing: (await run(() => undefined)).error,
        hangs: (await run(hangs, { rewardTimeoutMs: 300 })).error,
        rule: (await run('lenght:max=3')).error,
        none: (await run(undefined)).error,
      };
      return { asked, learned, same: [losses(learned), losses(replayed)], bad, hung };
    });
    equal(r.learned.error, null, 'a run');
    equal(r.asked[0], [4, 4, 4, true], 'a batch');
    ok(Number.isFinite(r.learned.steps[0]['rewards/short/mean']), JSON.stringify(r.learned.steps[0]));
    equal(r.same[0], r.same[1], 'replayed losses');
    equal(r.learned.kept, [0, 1], 'kept rounds');
    for (const [what, error] of Object.entries(r.bad)) {
      const row = !['rule', 'none'].includes(what);
      equal(error?.[0], row ? 'bad-reward' : 'bad-config', what);
      ok(!row || /row \d+: /.test(error[1]), error[1]);
    }
    ok(r.hung, 'a function that hangs is told that nobody waits');
  });

  await test('a run that was stopped and resumed is the uninterrupted one, bit for bit', async () => {
    const r = await value('m', async (m, { SFTTrainer }) => {
      const rows = ['ab', 'cd', 'ef', 'gh'].map((c) => ({ prompt: 'x', completion: c }));
      const args = {
        learningRate: 0.01,
        maxSteps: 6,
        seed: 3,
        warmupSteps: 2,
        lrSchedulerType: 'cosine',
        peftConfig: { r: 4, loraDropout: 0.1 },
      };
      const whole = [];
      await new SFTTrainer(m, args).train(rows, { onStep: (s) => whole.push(s.loss) });
      await m.removeAdapter('default');
      const parts = [];
      const stop = new AbortController();
      const first = new SFTTrainer(m, args);
      const code = await first
        .train(rows, { signal: stop.signal, onStep: (s) => (parts.push(s.loss), s.step === 3 && stop.abort()) })
        .catch((e) => e.code);
      const taken = parts.length;
      const checkpoint = await first.saveCheckpoint();
      await m.removeAdapter('default');
      await new SFTTrainer(m, { ...args, resumeFrom: checkpoint }).train(rows, { onStep: (s) => parts.push(s.loss) });
      await m.removeAdapter('default');
      return { whole, parts, code, taken };
    });
    equal(r.code, 'aborted', 'code');
    ok(r.taken < 6, `stopped after ${r.taken}`);
    equal(r.parts, r.whole, 'losses');
  });

  await test('pause: a question can be asked at once, a checkpoint can be saved, resuming finishes', async () => {
    const r = await value('m', async (m, { SFTTrainer }) => {
      const trainer = new SFTTrainer(m, { maxSteps: 6, adapterName: 'p', peftConfig: { r: 2 } });
      let steps = 0;
      let paused;
      const reported = [];
      const run = trainer.train([{ prompt: 'a', completion: 'b' }], {
        onStep: (s) => reported.push(s.step) && ++steps === 1 && (paused = trainer.pause()),
      });
      run.catch(() => (paused ??= run)); // an error must end the waiting
      while (!paused) await new Promise((r) => setTimeout(r, 5));
      await paused;
      const ask = () => m.chat([{ role: 'user', content: 'Hi' }], { maxNewTokens: 2, adapter: null }).result;
      const at = steps;
      const answer = await ask();
      await trainer.pause();
      const bytes = (await trainer.saveCheckpoint()).length;
      const again = await ask();
      const still = steps;
      // Both at once: how many steps fit between two answers depends on the machine.
      await Promise.all([trainer.resume(), trainer.pause()]);
      const third = await ask();
      const one = steps;
      await trainer.resume();
      const result = await run;
      await trainer.pause(); // nothing is left to pause
      const after = (await trainer.saveCheckpoint()).length;
      await m.removeAdapter('p');
      return { at, still, one, answered: [answer, again, third].map((a) => a.tokenIds.length), bytes, after, end: result.steps, reported };
    });
    ok(r.at < 6 && r.still === r.at && r.one <= r.at + 1, `paused at ${r.at}, then ${r.still}, then ${r.one}`);
    ok(r.answered.every((n) => n > 0) && r.bytes > 100 && r.after > 100, JSON.stringify(r));
    equal(r.end, 6, 'steps');
    equal(r.reported, [1, 2, 3, 4, 5, 6], 'steps reported');
  });

  await test('pause: taken back, or ended, before it was answered', async () => {
    const r = await value('m', async (m, { SFTTrainer }) => {
      const rows = [{ prompt: 'a', completion: 'b' }];
      const reported = [];
      const first = new SFTTrainer(m, { maxSteps: 6, adapterName: 'p', peftConfig: { r: 2 } });
      // Whoever resumes while the pause is still on its way must find a run that goes on.
      const onStep = (s) => {
        reported.push(s.step);
        const paused = first.pause();
        const resumed = first.resume();
        void Promise.all([paused, resumed]);
      };
      const { steps } = await first.train(rows, { onStep });
      const stop = new AbortController();
      const second = new SFTTrainer(m, { maxSteps: 6, adapterName: 'p', peftConfig: { r: 2 } });
      const code = await second
        .train(rows, { onStep: () => void second.pause().catch(() => {}) || stop.abort(), signal: stop.signal })
        .then(
          () => 'ended',
          (e) => e.code,
        );
      await m.removeAdapter('p');
      return { steps, reported, code };
    });
    equal([r.steps, r.reported], [6, [1, 2, 3, 4, 5, 6]], 'steps');
    equal(r.code, 'aborted', 'code');
  });

  await test('pause: asked for before the first step, and ended by a cancel', async () => {
    const r = await value('m', async (m, { SFTTrainer }) => {
      const stop = new AbortController();
      const trainer = new SFTTrainer(m, { maxSteps: 3, adapterName: 'p', peftConfig: { r: 2 } });
      let steps = 0;
      const run = trainer.train([{ prompt: 'a', completion: 'b' }], { onStep: () => steps++, signal: stop.signal }).catch((e) => e.code);
      await trainer.pause();
      const early = steps;
      const answered = (await m.chat([{ role: 'user', content: 'Hi' }], { maxNewTokens: 2, adapter: null }).result).tokenIds.length;
      stop.abort();
      const code = await run;
      const names = (await m.adapters()).map((a) => a.name);
      if (names.includes('p')) await m.removeAdapter('p');
      return { early, answered, code };
    });
    ok(r.early <= 1 && r.answered > 0, JSON.stringify(r));
    equal(r.code, 'aborted', 'code');
  });

  await test('in the page instead of a Worker: pausing, asking and saving follow each other as closely', async () => {
    const here = await load('here', { worker: false });
    ok(here.ok, here.message);
    const r = await value('here', async (m, { SFTTrainer }) => {
      const trainer = new SFTTrainer(m, { maxSteps: 3, adapterName: 'p', peftConfig: { r: 2 } });
      const ask = async () => (await m.chat([{ role: 'user', content: 'Hi' }], { maxNewTokens: 2, adapter: null }).result).tokenIds.length;
      const run = trainer.train([{ prompt: 'a', completion: 'b' }]);
      await trainer.pause();
      const first = await ask();
      const bytes = await trainer.saveCheckpoint();
      const second = await ask();
      await trainer.resume();
      const { steps } = await run;
      const files = await m.saveAdapter('p');
      // Nothing was moved away from under its owner.
      await m.loadAdapter(files, 'q');
      return { asked: [first, second], steps, left: [bytes.length, files['adapter_model.safetensors'].length] };
    });
    ok(r.asked.every((n) => n > 0) && r.left.every((n) => n > 100), JSON.stringify(r));
    equal(r.steps, 3, 'steps');
    await page.evaluate(() => window.t.dispose('here'));
  });

  await test('merged: the base answers as the adapter did', async () => {
    const r = await value('long', async (m, { SFTTrainer }) => {
      const messages = [
        { role: 'user', content: 'Hello' },
        { role: 'assistant', content: 'abcabc' },
      ];
      const logprobs = async (adapter) => (await m.score(messages, { adapter })).logprobs;
      const base = await logprobs(null);
      await new SFTTrainer(m, { learningRate: 0.01, maxSteps: 6, lrSchedulerType: 'constant', peftConfig: { r: 4 } }).train([{ messages }]);
      const tuned = await logprobs('default');
      await m.mergeAdapter('default');
      return { base, tuned, merged: await logprobs(null), left: (await m.adapters()).length };
    });
    const furthest = (a, b) => a.reduce((most, v, i) => Math.max(most, Math.abs(v - b[i])), 0);
    ok(furthest(r.base, r.tuned) > 0.1, `the adapter changes little: ${furthest(r.base, r.tuned)}`);
    ok(furthest(r.merged, r.tuned) < 1e-3, `merged and tuned differ by ${furthest(r.merged, r.tuned)}`);
    equal(r.left, 0, 'adapters left');
  });

  await test('every field of the trainers reaches the engine, which names what is impossible', async () => {
    const peft = (o) => ({ peftConfig: { r: 2, ...o } });
    const wrong = [
      [{ learningRate: -1 }, 'learningRate'],
      [{ numTrainEpochs: -1 }, 'numTrainEpochs'],
      [{ maxSteps: -5 }, 'maxSteps'],
      [{ perDeviceTrainBatchSize: 0 }, 'perDeviceTrainBatchSize'],
      [{ gradientAccumulationSteps: 0 }, 'gradientAccumulationSteps'],
      [{ warmupSteps: -1 }, 'warmupSteps'],
      [{ warmupRatio: 2 }, 'warmupRatio'],
      [{ lrSchedulerType: 'x' }, 'lrSchedulerType'],
      [{ weightDecay: -1 }, 'weightDecay'],
      [{ adamBeta1: 1 }, 'adamBeta1'],
      [{ adamBeta2: 1 }, 'adamBeta2'],
      [{ adamEpsilon: 2 }, 'adamEpsilon'],
      [{ maxGradNorm: -1 }, 'maxGradNorm'],
      [{ dataSeed: -1 }, 'dataSeed'],
      [{ maxLength: 1 }, 'maxLength'],
      [{ completionOnlyLoss: 'x' }, 'completionOnlyLoss'],
      [{ assistantOnlyLoss: 'x' }, 'assistantOnlyLoss'],
      [{ shuffle: 'x' }, 'shuffle'],
      [{ gradientCheckpointing: 'x' }, 'gradientCheckpointing'],
      [{ fp16: 'x' }, 'fp16'],
      [{ reportKl: 'x' }, 'reportKl'],
      [{ activationMemory: 0 }, 'activationMemory'],
      [{ beta: -1 }, 'beta', 'DPOTrainer'],
      [{ labelSmoothing: 0.9 }, 'labelSmoothing', 'DPOTrainer'],
      [{ lossType: 'kto_pair' }, 'lossType', 'DPOTrainer'],
      [peft({ r: 0 }), 'r'],
      [peft({ loraDropout: 1 }), 'loraDropout'],
      [peft({ excludeModules: 7 }), 'excludeModules'],
      [{ learningRate: 'x' }, 'learningRate: expected a number from'],
      [{ seed: 2 ** 32 }, 'seed: expected a whole number from 0 to 4294967295'],
      [{ learning_rate: 1 }, 'did you mean learningRate?'],
      [{ epochs: 1 }, 'did you mean numTrainEpochs?'],
      [peft({ useDora: 1 }), 'peftConfig.useDora'],
      [peft({ initLoraWeights: 'pissa' }), 'initLoraWeights'],
      // What is no argument is refused with the nearest that is one.
      [{ learningrate: 1 }, 'did you mean learningRate?'],
      [{ desirableWieght: 2 }, 'did you mean desirableWeight?', 'KTOTrainer'],
      [{ beta: 0.1 }, 'beta', 'SFTTrainer'],
      [{ reportKl: true }, 'reportKl', 'KTOTrainer'],
      [peft({ loraAlfa: 2 }), 'did you mean loraAlpha?'],
      [peft({ layersPattern: 'layers', targetModules: ['q_proj'] }), 'layersPattern'],
      [peft({ layersToTransform: 0, targetModules: 'q_proj' }), 'layersToTransform'],
    ];
    const codes = await value(
      'm',
      async (m, fledgling, cases) => {
        const out = [];
        for (const [args, , trainer = 'SFTTrainer'] of cases) {
          const row = { prompt: 'a', completion: 'b', chosen: 'b', rejected: 'c' };
          const train = async () => new fledgling[trainer](m, { adapterName: 'f', maxSteps: 1, ...args }).train([row]);
          out.push(
            await train().then(
              () => ({}),
              (e) => ({ code: e.code, message: e.message }),
            ),
          );
        }
        return out;
      },
      wrong,
    );
    for (const [i, [args, name]] of wrong.entries())
      ok(codes[i].code === 'bad-config' && codes[i].message.includes(name), `${JSON.stringify(args)}: ${JSON.stringify(codes[i])}`);
    const r = await value('m', async (m, { SFTTrainer }) => {
      const rows = ['ab', 'cd', 'ef', 'gh'].map((c) => ({
        messages: [
          { role: 'user', content: 'x' },
          { role: 'assistant', content: c },
        ],
      }));
      const train = async (args) => {
        const steps = [];
        const trainer = new SFTTrainer(m, {
          maxSteps: 4,
          learningRate: 0.01,
          adapterName: 'f',
          ...args,
          peftConfig: { r: 2, ...args.peftConfig },
        });
        await trainer.train(rows, { onStep: (s) => steps.push(s) });
        await trainer.dispose();
        const { targetModules, parameters } = (await m.adapters()).find((a) => a.name === 'f');
        await m.removeAdapter('f');
        return { losses: steps.map((s) => s.loss), rates: steps.map((s) => s.learning_rate), targetModules, parameters };
      };
      return {
        plain: await train({ maxLength: null }),
        again: await train({ gradientCheckpointing: true, activationMemory: 1e6 }),
        warm: await train({ warmupRatio: 0.5, lrSchedulerType: 'constant_with_warmup' }),
        assistant: await train({ assistantOnlyLoss: true }),
        order: await train({ dataSeed: 7 }),
        one: await train({ peftConfig: { layersToTransform: [1], targetModules: ['q_proj', 'v_proj'], excludeModules: ['v_proj'] } }),
      };
    });
    ok(
      r.again.losses.every((l, i) => Math.abs(l - r.plain.losses[i]) < 1e-4),
      `recomputed activations: ${r.again.losses} instead of ${r.plain.losses}`,
    );
    equal(r.warm.rates, [0, 0.005, 0.01, 0.01], 'warm-up');
    ok(r.assistant.losses[0] !== r.plain.losses[0], 'assistantOnlyLoss changes what counts');
    ok(r.order.losses[0] !== r.plain.losses[0], `dataSeed changes the order: ${r.order.losses} and ${r.plain.losses}`);
    equal(r.one.parameters, 2 * (64 + 64), 'one layer, one module');
  });

  await test('a cache of halves stays close to one of f32; another type is refused', async () => {
    const half = await load('half', { kvCacheDtype: 'f16', candidates: 5 });
    ok(half.ok, `${half.code}: ${half.message}`);
    const score = async (m) => (await m.score('A word after another, and one more.')).logprobs;
    const [a, b] = [await value('m', score), await value('half', score)];
    const difference = Math.max(...a.map((v, i) => Math.abs(v - b[i])));
    ok(a.length === b.length && difference > 0 && difference < 0.01, `log-probabilities differ by ${difference}`);
    const bad = await load('bad', { kvCacheDtype: 'f8' });
    ok(!bad.ok && bad.code === 'bad-config' && bad.message.includes('kvCacheDtype'), JSON.stringify(bad));
  });

  await test('what several answers need is made ready while loading', async () => {
    const compiled = (n) =>
      value(
        'half',
        async (m, _, n) => {
          const before = (await m.counters()).pipelines;
          await m.generateCandidates('A word', { n, maxNewTokens: 3, ignoreEos: true }).result;
          return (await m.counters()).pipelines - before;
        },
        n,
      );
    equal(await compiled(5), 0, 'pipelines compiled by five answers, which the load was told of');
    // Nobody has asked for seven.
    if (device === 'gpu') ok((await compiled(7)) > 0, 'what was not made ready is compiled at its first use');
    await page.evaluate(() => window.t.dispose('half'));
    for (const candidates of [0, 2.5, 1000]) {
      const bad = await load('bad', { candidates });
      ok(!bad.ok && bad.code === 'bad-config' && bad.message.includes('candidates'), JSON.stringify(bad));
    }
  });

  await test('refused: an empty dataset', () => refuses('empty-dataset', (m, { SFTTrainer }) => new SFTTrainer(m, {}).train([])));
  await test('refused: a row without an answer', async () => {
    const r = await refuses('bad-row', (m, { SFTTrainer }) =>
      new SFTTrainer(m, {}).train([{ prompt: 'a', completion: 'b' }, { prompt: 'a' }]),
    );
    ok(/row 1/.test(r.message), `says which row: ${r.message}`);
  });
  await test('refused: a chat whose last message is the person’s', () =>
    refuses('bad-row', (m, { SFTTrainer }) => new SFTTrainer(m, {}).train([{ messages: [{ role: 'user', content: 'a' }] }])));
  await test('refused: a preference without a rejected answer', () =>
    refuses('bad-row', (m, { DPOTrainer }) => new DPOTrainer(m, {}).train([{ prompt: 'a', chosen: 'b' }])));
  await test('refused: a column that is none, by its name', async () => {
    const r = await refuses('bad-row', (m, { DPOTrainer }) =>
      new DPOTrainer(m, {}).train([
        { prompt: 'a', chosen: 'b', rejected: 'c' },
        { prompt: 'a', chosed: 'b', rejected: 'c' },
      ]),
    );
    ok(r.message.includes('row 1: column "chosed" is not known (did you mean chosen?)'), r.message);
  });
  await test('refused: a row that is no object', () => refuses('bad-row', (m, { SFTTrainer }) => new SFTTrainer(m, {}).train(['a'])));
  await test('refused: a token id outside the vocabulary', () =>
    refuses('bad-row', (m, { SFTTrainer }) => new SFTTrainer(m, {}).train([{ inputIds: [1, 2, 99999999] }])));
  await test('refused: a ranking of all ties', () =>
    refuses('no-pairs', async (_, { rankingToPairs }) => rankingToPairs('a', ['x', 'y', 'z'], [2, 2, 2])));
  await test('refused: a prompt longer than the context', async () => {
    const r = await refuses(
      'context-overflow',
      (m) => m.chat([{ role: 'user', content: 'word '.repeat(m.info.contextLength + 10) }]).result,
    );
    ok(/\d/.test(r.message), r.message);
  });
  await test('refused: a module that the model does not have', () =>
    refuses('bad-config', (m, { SFTTrainer }) =>
      new SFTTrainer(m, { adapterName: 'z', peftConfig: { targetModules: ['no_such_proj'] } }).train([{ prompt: 'a', completion: 'b' }]),
    ));
  await test('refused: impossible options', async () => {
    await refuses('bad-config', (m) => m.chat([{ role: 'user', content: 'a' }], { temperature: -1 }).result);
    await refuses('bad-config', (m) => m.generateCandidates([{ role: 'user', content: 'a' }], { n: 0 }).result);
    await refuses('bad-config', (m, { SFTTrainer }) => new SFTTrainer(m, { learningRate: -1 }).train([{ prompt: 'a', completion: 'b' }]));
  });
  await test('refused: an adapter that is none, an adapter that is not there', async () => {
    await refuses('bad-file', (m) =>
      m.loadAdapter({ 'adapter_config.json': '{}', 'adapter_model.safetensors': new Uint8Array(40) }, 'bad'),
    );
    await refuses('bad-adapter', (m) => m.setAdapter('no such adapter'));
    await refuses('bad-adapter', (m) => m.chat([{ role: 'user', content: 'a' }], { adapter: 'no such adapter' }).result);
  });
  await test('refused: a checkpoint that is none', async () => {
    const r = await run('m', (m, { SFTTrainer }) =>
      new SFTTrainer(m, { resumeFrom: new Uint8Array(100) }).train([{ prompt: 'a', completion: 'b' }]),
    );
    ok(!r.ok && ['bad-file', 'bad-adapter', 'bad-config'].includes(r.code), JSON.stringify(r));
  });

  await test('dispose: what runs ends with an error, afterwards everything is refused', async () => {
    const r = await page.evaluate(async () => {
      const m = window.t.models.get('long');
      const s = m.chat([{ role: 'user', content: 'Hello' }], { maxNewTokens: 6000, temperature: 1, ignoreEos: true });
      await s.next();
      await m.dispose();
      const running = await s.result.then(
        (c) => c.finishReason,
        (e) => e.code,
      );
      const after = await m.chat([{ role: 'user', content: 'Hello' }]).result.then(
        () => 'none',
        (e) => e.code,
      );
      await m.dispose();
      return { running, after };
    });
    ok(['abort', 'disposed'].includes(r.running), r.running);
    equal(r.after, 'disposed', 'after');
  });
  await page.evaluate(() => window.t.dispose('m'));
}
