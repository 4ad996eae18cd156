// From `npm pack` to an answer: packs the package, installs it in a fresh Vite project and beside a plain page, and in
// each loads a model, streams an answer and takes one LoRA step; then everything that can go wrong, on a tiny model.
//   node tests/package/run.mjs [--fast: without the real model] [--device cpu: without the GPU's half]
//     [--only pack,serving,vite,plain,types,loading,readme,places,refusing,using,lost,threads,environments,real]
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { launch } from './browser.mjs';
import { tinyGguf } from './gguf.mjs';
import { equal, finish, ok, test } from './check.mjs';
import { environmentTests, extension } from './environments.mjs';
import { PLAIN } from './kernels.mjs';
import { loadingFiles, loadingTests } from './loading.mjs';
import { lostTests } from './lost.mjs';
import { placesTests } from './places.mjs';
import { refusingTests } from './refusing.mjs';
import { readmeTests } from './readme.mjs';
import { realTests } from './real.mjs';
import { serve } from './server.mjs';
import { servingTests } from './serving.mjs';
import { threadTests } from './threads.mjs';
import { usingTests } from './using.mjs';

const www = fileURLToPath(new URL('../..', import.meta.url));
const fast = process.argv.includes('--fast');
const only = process.argv.includes('--only') ? (process.argv[process.argv.indexOf('--only') + 1] ?? '').split(',') : undefined;
const devices = process.argv.includes('--device') ? [process.argv[process.argv.indexOf('--device') + 1]] : ['gpu', 'cpu'];
const wanted = (part) => only === undefined || only.includes(part);
const model = process.env.FLEDGLING_MODEL ?? join(www, '../.cache/models/SmolLM2-135M-Instruct.Q4_1.gguf');
if (!existsSync(join(www, 'pkg/fledgling_bg.wasm'))) throw new Error('www/pkg has no wasm: run `make wasm` first');
if (!fast && !existsSync(model)) throw new Error(`${model} is missing: run \`make model\` first, or leave the real model out with --fast`);

/** Whether the second module was built. */
const threads = existsSync(join(www, 'pkg/threads/fledgling_bg.wasm'));

const temp = mkdtempSync(join(tmpdir(), 'fledgling-package-'));
const npm = (args, cwd) => execFileSync('npm', args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });

// ---- pack (which builds)
const [packed] = JSON.parse(npm(['pack', '--json', '--foreground-scripts=false', '--pack-destination', temp], www));
const tarball = join(temp, packed.filename);
console.log(`packed ${packed.filename}: ${packed.files.length} files, ${(packed.size / 1024).toFixed(0)} KiB`);
if (wanted('pack'))
  await test('the package holds what it needs and nothing else', () => {
    const names = packed.files.map((f) => f.path);
    for (const f of [
      'dist/lib/index.js',
      'dist/lib/index.d.ts',
      'dist/lib/worker.js',
      'dist/lib/crew.js',
      'dist/fledgling.js',
      'pkg/fledgling.js',
      'pkg/fledgling_bg.wasm',
      'pkg/threads/fledgling.js',
      'README.md',
      'CHANGELOG.md',
    ])
      ok(names.includes(f), `${f} is missing`);
    const odd = names.filter(
      (f) => !/^(dist\/lib\/|dist\/fledgling\.js$|pkg\/(threads\/)?fledgling|package\.json$|README|CHANGELOG|LICENSE)/.test(f),
    );
    equal(odd, [], 'unexpected files');
    // The engine is in it twice, once more where it was built with threads, too; a page loads one of them.
    ok(packed.size < (threads ? 5.1e6 : 3.4e6), `${packed.size} bytes packed`);
  });

if (wanted('pack'))
  await test('nothing is packed from a checkout in which nothing is built', () => {
    const dir = join(temp, 'unbuilt');
    mkdirSync(join(dir, 'scripts'), { recursive: true });
    for (const f of ['package.json', 'scripts/prepack.mjs', 'scripts/build-lib.mjs']) cpSync(join(www, f), join(dir, f));
    const r = spawnSync('npm', ['pack'], { cwd: dir, encoding: 'utf8' });
    ok(r.status !== 0 && /the engine is not built: run `make package`/.test(r.stderr + r.stdout), `${r.status}: ${r.stdout}${r.stderr}`);
  });

if (wanted('serving')) await servingTests(temp);

/** A folder with the package installed from the tarball. */
function project(name, files) {
  const dir = join(temp, name);
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, 'package.json'), JSON.stringify({ name, private: true, type: 'module' }));
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(dir, path, '..'), { recursive: true });
    writeFileSync(join(dir, path), text);
  }
  npm(['install', '--no-audit', '--no-fund', '--offline', tarball], dir);
  return dir;
}

const APP = readFileSync(new URL('./app.js', import.meta.url), 'utf8');
const vite = join(www, 'node_modules/vite/bin/vite.js');
// What takes long to install and to build is a stage of its own.
const environments = only?.includes('environments') ?? false;
const unpacked = environments ? join(project('unpacked', {}), 'node_modules/fledgling') : '';
const tiny = tinyGguf().bytes;
const added = environments ? extension({ app: APP, model: tiny, installedAt: unpacked, temp }) : undefined;
const browser = await launch(added ? [`--disable-extensions-except=${added}`, `--load-extension=${added}`] : []);

/** `vite` as a person runs it. */
async function startVite(cwd) {
  const child = spawn(process.execPath, [vite, '--host', '127.0.0.1', '--port', '0'], {
    cwd,
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, NO_COLOR: '1' },
  });
  let text = '';
  const url = await new Promise((resolve, reject) => {
    child.stdout.on('data', (d) => {
      text += d;
      const found = /Local: +(http\S+)/.exec(text);
      if (found) resolve(found[1]);
    });
    child.on('exit', () => reject(new Error(`vite ended: ${text}`)));
  });
  return { url, close: () => child.kill() };
}

/** What a first visitor does: load, stream an answer, one LoRA step, ask again. */
async function visit(name, url, { tiny = fast } = {}) {
  await test(name, async () => {
    const page = await browser.page(url);
    try {
      await page.waitForFunction(() => window.done !== undefined, undefined, { timeout: 600_000 });
      const r = await page.evaluate(() => window.done);
      ok(!r.error, r.error);
      ok(r.pieces.length >= 2 && r.pieces.join('') === r.text, `pieces: ${JSON.stringify(r.pieces)}`);
      // Streamed while it was made, not handed over at its end: most of the answer's time lies between the first piece and the last.
      const streamed = r.times.at(-1) - r.times[0];
      ok(streamed > 1 && new Set(r.times).size > 1, `pieces came at ${r.times}`);
      if (!tiny) ok(r.text.includes('Paris'), r.text);
      equal(r.steps, 1, 'LoRA steps');
      ok(Number.isFinite(r.loss) && r.loss > 0, `loss ${r.loss}`);
      ok(r.adapterBytes > 1000, `adapter of ${r.adapterBytes} bytes`);
      console.log(
        `      ${JSON.stringify(r.text)} in ${r.pieces.length} pieces over ${streamed.toFixed(0)} ms, loss ${r.loss.toFixed(4)}, ` +
          `load ${r.seconds.load.toFixed(1)} s, ` +
          `step ${r.seconds.step.toFixed(1)} s, wasm ${r.wasm.map((n) => (n / 2 ** 20).toFixed(0)).join(', ')} MiB, ${r.adapter}`,
      );
      // On the GPU the heap never holds the model; on the processor it is where the model lives.
      const most = 64 * 2 ** 20 + r.wasmBytesBefore + (r.device === 'cpu' ? 2.5 * r.fileBytes : 0);
      ok(r.wasmBytes < most, `the wasm heap grew to ${r.wasmBytes} bytes, expected less than ${most}`);
    } finally {
      await page.close();
    }
  });
}

/** Where pages find the package. */
const LIB = '/node_modules/fledgling/dist/lib';
const files = new Map();
loadingFiles(files);
const mounts = fast ? {} : { '/model.gguf': model };
if (fast) files.set('/model.gguf', files.get('/m/tiny.gguf'));

try {
  // ---- (1) a fresh Vite project without any configuration, built and in development
  if (wanted('vite')) {
    const viteDir = project('vite-project', {
      'index.html': '<!doctype html><title>vite</title><link rel="icon" href="data:," /><script type="module" src="/main.js"></script>',
      'main.js': `import * as fledgling from 'fledgling';\n${APP}\nstart(fledgling);\n`,
    });
    execFileSync(process.execPath, [vite, 'build', '--logLevel', 'warn'], { cwd: viteDir, stdio: 'inherit' });
    const built = await serve({ root: join(viteDir, 'dist'), files, mounts });
    await visit('a fresh Vite project, built', `${built.origin}/index.html`);
    await built.close();
    mkdirSync(join(viteDir, 'public'));
    // The tiny model: what development changes is how modules and the wasm are found, and the real one has just answered from the build.
    writeFileSync(join(viteDir, 'public/model.gguf'), files.get('/m/tiny.gguf'));
    const dev = await startVite(viteDir);
    await visit('a fresh Vite project, in development', dev.url, { tiny: true });
    dev.close();
  }

  // ---- (2) a plain page
  const plainDir = project('plain-page', {
    'index.html': '<!doctype html><title>plain</title><link rel="icon" href="data:," /><script type="module" src="main.js"></script>',
    'main.js': [
      "import * as fledgling from './node_modules/fledgling/dist/lib/index.js';",
      APP,
      `start(fledgling, 'gpu', { kernel: '${PLAIN}' }, '/m/plain.gguf');`,
    ].join('\n'),
  });
  const plain = await serve({ root: plainDir, files, mounts });
  // The tiny model, under an address that no other test asks for: the real one computes on the GPU in (6).
  files.set('/m/plain.gguf', files.get('/m/tiny.gguf'));
  if (wanted('plain')) await visit('a plain page', `${plain.origin}/index.html`, { tiny: true });

  // ---- (3) types
  if (wanted('types'))
    await test('the types serve a strict TypeScript project, and the READMEs’ examples', () => {
      writeFileSync(
        join(plainDir, 'types.ts'),
        `import { Model, DPOTrainer, FledglingError, rankingToPairs, type StepMetrics } from 'fledgling';
export async function f(): Promise<number> {
  const model = await Model.load('/model.gguf', { onProgress: (p) => void p.loaded });
  for await (const piece of model.chat([{ role: 'user', content: 'Hi' }], { temperature: 0.7 })) piece.toUpperCase();
  const trainer = new DPOTrainer(model, { beta: 0.1, peftConfig: { r: 8 } });
  try {
    await trainer.train(rankingToPairs('Hi', ['a', 'b'], [1, 2]), { onStep: (m: StepMetrics) => void m['rewards/margins'] });
  } catch (e) {
    if (e instanceof FledglingError && e.code === 'no-pairs') return 0;
  }
  const stream: boolean = model.info.layers > 3;
  const answer = await model.chat.completions.create({ messages: [{ role: 'user', content: 'Hi' }] as const, stream });
  if ('choices' in answer) answer.choices[0]?.message.content.trim();
  const files = await model.saveAdapter();
  new Blob([files['adapter_model.safetensors']]);
  await model.loadAdapter({ ...files, 'adapter_config.json': JSON.parse(files['adapter_config.json']) }, 'again');
  const ids: number[] = await model.tokenizer.encode('Hi');
  return model.info.parameters + ids.length;
}
`,
      );
      // What the READMEs show must compile as it stands (only a parameter needs a type that JavaScript does not write).
      const shown = ['../README.md', 'README.md'].flatMap((f) =>
        [...readFileSync(join(www, f), 'utf8').matchAll(/```js\n([\s\S]*?)```/g)].map((m) => m[1]),
      );
      ok(shown.length >= 2, `${shown.length} examples`);
      const sources = ['types.ts', ...shown.map((_, i) => `shown${i}.ts`)];
      for (const [i, text] of shown.entries())
        writeFileSync(join(plainDir, sources[i + 1]), text.replace('const said = (content)', 'const said = (content: string)'));
      writeFileSync(
        join(plainDir, 'tsconfig.json'),
        JSON.stringify({
          compilerOptions: {
            strict: true,
            noEmit: true,
            target: 'es2022',
            module: 'esnext',
            moduleResolution: 'bundler',
            lib: ['es2022', 'dom'],
            types: [],
            exactOptionalPropertyTypes: true,
            noUncheckedIndexedAccess: true,
          },
          files: sources,
        }),
      );
      execFileSync(process.execPath, [join(www, 'node_modules/typescript/bin/tsc'), '-p', plainDir], { stdio: 'inherit' });
    });

  // ---- (4) everything that people build with
  if (environments) await environmentTests({ browser, app: APP, model: tiny, installedAt: unpacked, temp });

  // ---- (5) what can go wrong, on a tiny model, from the installed package
  for (const f of ['page.mjs', 'random.mjs']) files.set(`/t/${f}`, readFileSync(new URL(f, import.meta.url)));
  files.set(
    '/t/index.html',
    Buffer.from(`<!doctype html><title>t</title><link rel="icon" href="data:," /><script type="module">
import * as fledgling from '/node_modules/fledgling/dist/lib/index.js';
import { install } from './page.mjs';
import { install as installRandom } from './random.mjs';
install(fledgling);
installRandom(window.t, fledgling);
</script>`),
  );
  const page = await browser.page(`${plain.origin}/t/index.html`);
  await page.waitForFunction(() => window.t);
  if (wanted('loading')) await loadingTests({ page, origin: plain.origin, log: plain.log, files, context: browser.context });
  if (wanted('readme')) await readmeTests({ page, files, readme: readFileSync(join(www, 'README.md'), 'utf8'), lib: LIB });
  if (wanted('places')) {
    const elsewhere = await serve({ root: plainDir, files, mounts });
    await placesTests({ browser, here: plain.origin, there: elsewhere.origin, files, lib: LIB });
    await elsewhere.close();
  }
  if (wanted('refusing')) await refusingTests({ page, address: '/m/tiny.gguf' });
  for (const device of devices) if (wanted('using')) await usingTests({ page, address: '/m/tiny.gguf', device });
  if (wanted('lost') && devices.includes('gpu')) {
    // A page of its own: a device that others have opened before could not be caught.
    const fresh = await browser.page(`${plain.origin}/t/index.html`);
    await fresh.waitForFunction(() => window.t);
    await lostTests({ page: fresh, address: '/m/tiny.gguf' });
    await fresh.close();
  }
  if (wanted('threads')) {
    const bare = await serve({ root: plainDir, files, mounts, isolated: false });
    const other = await browser.page(`${bare.origin}/t/index.html`);
    await other.waitForFunction(() => window.t);
    await threadTests({
      isolated: page,
      plain: other,
      files,
      address: '/m/tiny.gguf',
      real: fast ? undefined : '/model.gguf',
      built: threads,
    });
    await other.close();
    await bare.close();
  }
  // ---- (6) the real model's numbers
  for (const device of devices) if (!fast && wanted('real')) await realTests({ page, address: '/model.gguf', files, device });
  await plain.close();
} finally {
  await browser.close();
  rmSync(temp, { recursive: true, force: true });
}
process.exit(finish());
