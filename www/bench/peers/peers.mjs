// The same work on fledgling and on other engines, in one headless Chromium, in one run, taking turns: a table, then one line of JSON.
//   make bench-peers
// FLEDGLING_MODEL=FILE   SmolLM2-135M-Instruct as a GGUF
// PEERS=ours,wllama,…    only engines whose name begins so (`transformers.js, wasm;`: with a semicolon, what has a comma in it)
// PEERS_WORK=prefill,decode,gpt,matmul    only this work
// PEERS_ROUNDS (3), PEERS_PROMPT (128 tokens), PEERS_TOKENS (64)      sizes
// PEERS_THREADS (1)      threads of every engine's wasm for prompts and answers. With one, pages are not isolated, so that nobody takes more. With
//                        more, training and matmul are left out in wasm: ours runs them on one thread here, jax-js on as many as there are cores
// FLEDGLING_ONNX=DIR     weights for transformers.js, as Hugging Face lays them out (config.json, tokenizer.json, onnx/model_q4.onnx, …): no
//                        package of a registry carries them. scripts/bench-peers.sh has to_onnx.py make them from the GGUF; without it, empty cells
// FLEDGLING_WEBGPU=native   the GPU at hand in place of SwiftShader
// CHROME=FILE, ADAPTER_LABEL=TEXT   another browser, and what its adapter is to be called where it calls itself something else
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';
import { launch } from '../../tests/package/browser.mjs';
import { serve } from '../../tests/package/server.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
const www = join(here, '../..');
const model = process.env.FLEDGLING_MODEL ?? join(www, '../.cache/models/SmolLM2-135M-Instruct.Q4_1.gguf');
const onnx = process.env.FLEDGLING_ONNX;
const number = (name, otherwise) => Number(process.env[name] ?? otherwise);
const [rounds, promptTokens, tokens] = [number('PEERS_ROUNDS', 3), number('PEERS_PROMPT', 128), number('PEERS_TOKENS', 64)];
const threads = number('PEERS_THREADS', 1);
/** Between semicolons where there is one: names of engines have commas in them. */
const list = (name) => process.env[name]?.split(process.env[name].includes(';') ? ';' : ',').flatMap((s) => s.trim() || []);
const [onlyPeers, onlyWork] = [list('PEERS'), list('PEERS_WORK')];
// transformers.js decodes 0.1 tok/s on SwiftShader.
const LIMIT = 1_500_000;
/** Whoever needs longer for its turn takes one turn only. */
const PATIENCE = 90_000;

const UNITS = { prefill: 'tok/s', decode: 'tok/s', gpt: 'ms', matmul: 'GFLOP/s' };
const LESS_IS_BETTER = new Set(['gpt']);
/** Why an engine cannot do its work here; undefined where it can. */
const noOnnx = () =>
  onnx
    ? undefined
    : 'no registry package carries its ONNX weights (www/bench/peers/to_onnx.py makes them, FLEDGLING_ONNX=<folder> gives them)';
const ANSWERS = ['prefill', 'decode'];
const ENGINES = [
  { name: 'ours, WebGPU', page: 'ours', query: 'device=gpu', on: 'webgpu', works: [...ANSWERS, 'gpt', 'matmul'] },
  { name: 'ours, wasm', page: 'ours', query: 'device=cpu', on: 'wasm', works: [...ANSWERS, 'gpt', 'matmul'] },
  {
    name: 'transformers.js, WebGPU q4',
    page: 'transformers',
    query: 'device=webgpu&dtype=q4',
    on: 'webgpu',
    works: ANSWERS,
    missing: noOnnx,
  },
  { name: 'transformers.js, wasm q4', page: 'transformers', query: 'device=wasm&dtype=q4', on: 'wasm', works: ANSWERS, missing: noOnnx },
  {
    name: 'transformers.js, wasm fp32',
    page: 'transformers',
    query: 'device=wasm&dtype=fp32',
    on: 'wasm',
    works: ANSWERS,
    missing: noOnnx,
  },
  { name: 'wllama, WebGPU', page: 'wllama', query: 'device=webgpu', on: 'webgpu', works: ANSWERS },
  { name: 'wllama, wasm', page: 'wllama', query: 'device=wasm', on: 'wasm', works: ANSWERS },
  { name: 'jax-js, WebGPU', page: 'jax', query: 'device=webgpu', on: 'webgpu', works: ['gpt', 'matmul'] },
  { name: 'jax-js, wasm', page: 'jax', query: 'device=wasm', on: 'wasm', works: ['gpt', 'matmul'] },
  { name: 'nanogpt, WebGPU', page: 'nanogpt', query: '', on: 'webgpu', works: ['gpt'] },
].filter((e) => !onlyPeers || e.page === 'ours' || onlyPeers.some((p) => e.name.startsWith(p)));

/** The version of an installed package. */
const version = (name) => JSON.parse(readFileSync(join(here, 'node_modules', name, 'package.json'), 'utf8')).version;
const median = (v) => v.toSorted((a, b) => a - b)[v.length >> 1];
const machine = () => ({ cpu: cpus()[0]?.model.trim() ?? 'unknown', cores: cpus().length, load_average: Number(loadavg()[0].toFixed(2)) });
const within = (ms, promise, what) => {
  let timer;
  const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error(`${what} took longer than ${ms / 1000} s`)), ms)));
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
};
const firstLine = (e) =>
  String(e?.message ?? e)
    .replace(/^(page\.evaluate: )?(Error: )?/, '')
    .split('\n')[0]
    .slice(0, 400);

/** Every page as one script: the packages are written for bundlers. */
async function bundle() {
  for (const page of new Set(ENGINES.map((e) => e.page))) {
    const build = await rolldown({
      input: join(here, 'pages', `${page}.js`),
      external: ['/dist/lib/index.js', '/pkg/fledgling.js'],
      platform: 'browser',
      logLevel: 'silent',
      resolve: { modules: [join(here, 'node_modules')] },
    });
    await build.write({ dir: join(here, 'dist', page), format: 'esm', entryFileNames: `${page}.js` });
    await build.close();
  }
}

function files(folder, found = {}) {
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    if (statSync(path).isDirectory()) files(path, found);
    else found[`/onnx/${relative(onnx, path).replaceAll('\\', '/')}`] = path;
  }
  return found;
}

const html = (page) =>
  Buffer.from(
    `<!doctype html><title>${page}</title><link rel="icon" href="data:," /><script type="module" src="/bench/peers/dist/${page}/${page}.js"></script>`,
  );

async function main() {
  if (!existsSync(model)) throw new Error(`${model} is missing: run \`make model\` first`);
  await bundle();
  const server = await serve({
    root: www,
    files: new Map(ENGINES.map((e) => [`/${e.page}.html`, html(e.page)])),
    mounts: { '/model.gguf': model, ...(onnx ? files(onnx) : {}) },
    isolated: threads > 1,
  });
  const browser = await launch();
  const before = machine();
  const results = new Map(ENGINES.map((e) => [e.name, { cells: {}, values: {}, losses: {} }]));
  let adapter;
  try {
    const probe = await browser.page(`${server.origin}/ours.html?device=gpu`);
    adapter = await probe.evaluate(async () => {
      const a = await navigator.gpu?.requestAdapter();
      return a ? [a.info.vendor, a.info.architecture, a.info.description].filter(Boolean).join(' ') || 'unnamed' : 'none';
    });
    await probe.close();
    const label = process.env.ADAPTER_LABEL;
    console.log(
      `${before.cpu}, ${before.cores} cores, load average ${before.load_average}; ` +
        `Chromium ${browser.context.browser()?.version() ?? ''}, adapter ${label ?? adapter}`,
    );
    for (const group of [ANSWERS, ['gpt'], ['matmul']]) {
      const works = group.filter((w) => !onlyWork || onlyWork.includes(w));
      if (works.length) await turns(browser, server, works, results);
    }
  } finally {
    await browser.close();
    await server.close();
  }
  const after = machine();
  report(results, { adapter: process.env.ADAPTER_LABEL ?? adapter, before, after });
}

/** One group of work: everyone loads, then everyone takes turns. */
async function turns(browser, server, works, results) {
  const open = [];
  for (const e of ENGINES.filter((e) => e.works.some((w) => works.includes(w)))) {
    const r = results.get(e.name);
    const give = (why) => works.filter((w) => e.works.includes(w)).forEach((w) => (r.cells[w] = why));
    const why =
      e.missing?.() ??
      (threads > 1 && e.on === 'wasm' && !works.some((w) => ANSWERS.includes(w))
        ? 'not at the same number of threads (PEERS_THREADS=1)'
        : undefined);
    if (why) {
      give(why);
      continue;
    }
    const page = await browser.page(`${server.origin}/${e.page}.html?${e.query}&threads=${threads}`);
    try {
      await page.waitForFunction(() => window.peer, undefined, { timeout: 60_000 });
      // Without a model there is nothing to load for training and matmul.
      const needed = e.page !== 'ours' || works.some((w) => ANSWERS.includes(w));
      const loaded = needed
        ? await within(
            LIMIT,
            page.evaluate(() => window.peer.load()),
            'loading',
          )
        : {};
      Object.assign(r, loaded.parameters ? { parameters: loaded.parameters } : {}, loaded.adapter ? { on: loaded.adapter } : {});
      open.push({ e, page, r });
    } catch (error) {
      give(firstLine(error));
      console.log(`  ${e.name}: ${firstLine(error)}`);
      await page.close();
    }
  }
  for (const work of works) {
    for (let round = 0; round < rounds; round++) {
      // The texts are ours to cut: exactly as many tokens as were asked for.
      const teller = open.find((o) => o.e.page === 'ours');
      const prompt =
        ANSWERS.includes(work) && teller
          ? await teller.page.evaluate(([n, i]) => window.peer.text(n, i), [promptTokens, round * 2 + works.indexOf(work)])
          : undefined;
      for (const o of open.filter((o) => o.e.works.includes(work) && o.r.cells[work] === undefined)) {
        if (o.slow?.has(work)) continue;
        try {
          await o.page.bringToFront();
          const begin = performance.now();
          const got = await within(
            LIMIT,
            o.page.evaluate(([w, a]) => window.peer[w](a), [work, { prompt, tokens, steps: 2, n: 512 }]),
            work,
          );
          if (!Number.isFinite(got.value) || got.value <= 0) throw new Error(`gave ${got.value}`);
          if ('loss' in got && !Number.isFinite(got.loss)) throw new Error(`its loss is ${got.loss}`);
          if (performance.now() - begin > PATIENCE) (o.slow ??= new Set()).add(work);
          (o.r.values[work] ??= []).push(got.value);
          if ('loss' in got) o.r.losses[work] = got.loss;
          if (got.tokens) (o.r.tokens ??= {})[work] = got.tokens;
          console.log(
            `  ${work}, round ${round + 1}: ${o.e.name} ${got.value.toFixed(2)} ${UNITS[work]}${'loss' in got ? `, loss ${got.loss.toFixed(3)}` : ''}`,
          );
        } catch (error) {
          o.r.cells[work] = firstLine(error);
          console.log(`  ${work}: ${o.e.name}: ${firstLine(error)}`);
        }
      }
    }
  }
  for (const o of open) {
    await within(
      20_000,
      o.page.evaluate(() => window.peer.end()),
      'ending',
    ).catch(() => {});
    await o.page.close();
  }
}

function report(results, { adapter, before, after }) {
  const works = Object.keys(UNITS).filter((w) => !onlyWork || onlyWork.includes(w));
  const value = (name, work) => {
    const v = results.get(name)?.values[work];
    return v && results.get(name).cells[work] === undefined ? median(v) : undefined;
  };
  const better = (work, a, b) => (LESS_IS_BETTER.has(work) ? b / a : a / b);
  const rows = [];
  console.log(
    `\n${''.padEnd(28)}${works.map((w) => `${w} (${UNITS[w]})`.padStart(20)).join('')}   ours is … times as fast (same kind of device)`,
  );
  for (const e of ENGINES) {
    const r = results.get(e.name);
    const row = { engine: e.name, on: e.on, ...(r.on ? { found: r.on } : {}), ...(r.parameters ? { parameters: r.parameters } : {}) };
    const ratios = [];
    for (const w of works.filter((w) => e.works.includes(w))) {
      const v = value(e.name, w);
      row[w] =
        v === undefined
          ? { value: null, why: r.cells[w] ?? 'not measured' }
          : {
              value: v,
              runs: r.values[w],
              ...(r.losses[w] === undefined ? {} : { loss: r.losses[w] }),
              ...(r.tokens?.[w] ? { tokens: r.tokens[w] } : {}),
            };
      const ours = value(e.on === 'webgpu' ? 'ours, WebGPU' : 'ours, wasm', w);
      if (v !== undefined && ours !== undefined && e.page !== 'ours') {
        row[w].ours_over_theirs = better(w, ours, v);
        ratios.push(`${w} ${better(w, ours, v).toFixed(2)}`);
      }
    }
    rows.push(row);
    const cell = (w) => (!e.works.includes(w) ? '' : value(e.name, w) === undefined ? '–' : value(e.name, w).toFixed(2)).padStart(20);
    console.log(`${e.name.padEnd(28)}${works.map(cell).join('')}   ${ratios.join(', ')}`);
  }
  for (const e of ENGINES) {
    for (const why of new Set(Object.values(results.get(e.name).cells))) console.log(`  ${e.name}: ${why}`);
  }
  console.log(`load average ${after.load_average} after`);
  const versions = Object.fromEntries(
    ['@huggingface/transformers', '@wllama/wllama', '@jax-js/jax', '@genai-fi/nanogpt'].map((n) => [n, version(n)]),
  );
  console.log(
    JSON.stringify({
      adapter,
      software: process.env.FLEDGLING_WEBGPU !== 'native',
      cpu: before.cpu,
      cores: before.cores,
      load_average: [before.load_average, after.load_average],
      rounds,
      prompt_tokens: promptTokens,
      new_tokens: tokens,
      threads,
      versions,
      rows,
    }),
  );
}

await main();
process.exit(0);
