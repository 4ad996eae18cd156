// The package in everything that people build with: each loads the tiny model, streams an answer, takes one DPO step and saves the adapter.
// What they are built with lies in environments/ (`npm run test:environments` installs it: 0.8 GB, most of it Next.js).
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { equal, ok, test } from './check.mjs';
import { serve } from './server.mjs';

const HERE = fileURLToPath(new URL('./environments', import.meta.url));
const tool = (path) => join(HERE, 'node_modules', path);
const HTML = (script) => `<!doctype html><title>e</title><link rel="icon" href="data:," />${script}`;
const MODULE = HTML('<script type="module" src="main.js"></script>');

/** @param {{browser: any, app: string, model: Buffer, installedAt: string, temp: string}} o `app` declares `start(fledgling, options)` */
export async function environmentTests({ browser, app, model, installedAt, temp }) {
  if (!existsSync(tool('vite7'))) throw new Error('what people build with is not installed: `npm run test:environments` does that');
  const files = new Map([['/model.gguf', model]]);
  const main = (options = '{}', from = 'fledgling') => `import * as fledgling from '${from}';\n${app}\nstart(fledgling, ${options});\n`;
  const all = join(HERE, 'build');
  /** A project beside the tools, with the package in it. */
  const project = (name, sources, dir = join(all, name)) => {
    rmSync(dir, { recursive: true, force: true });
    mkdirSync(join(dir, 'node_modules'), { recursive: true });
    cpSync(installedAt, join(dir, 'node_modules/fledgling'), { recursive: true });
    writeFileSync(join(dir, 'package.json'), JSON.stringify({ name, private: true, type: 'module' }));
    for (const [path, text] of Object.entries(sources)) {
      mkdirSync(join(dir, path, '..'), { recursive: true });
      writeFileSync(join(dir, path), text);
    }
    return dir;
  };
  const run = (cwd, script, ...args) => {
    const env = { ...process.env, NEXT_TELEMETRY_DISABLED: '1', NO_COLOR: '1', CI: '1' };
    try {
      return execFileSync(process.execPath, [script, ...args], { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], env });
    } catch (e) {
      throw new Error(`${script} failed: ${e.stdout}${e.stderr}`.slice(0, 3000));
    }
  };
  const judge = (r) => {
    ok(!r.error, r.error);
    equal(r.steps, 1, 'steps');
    ok(Math.abs(r.loss - Math.LN2) < 1e-4 && r.pieces.join('') === r.text && r.adapterBytes > 1000, JSON.stringify(r));
  };
  const visit = async (address) => {
    const page = await browser.page(address);
    try {
      await page.waitForFunction(() => window.done !== undefined, undefined, { timeout: 120_000 });
      judge(await page.evaluate(() => window.done));
    } finally {
      await page.close();
    }
  };
  const served = async (root, path = '/index.html') => {
    const server = await serve({ root, files });
    try {
      await visit(server.origin + path);
    } finally {
      await server.close();
    }
  };

  const chosen = process.env.ENVIRONMENT;
  const environment = async (name, body) => (!chosen || name.includes(chosen) ? test(`environment: ${name}`, body) : undefined);

  await environment('Vite 7, built without any configuration', async () => {
    const dir = project('vite7', { 'index.html': MODULE, 'main.js': main("'cpu'") });
    run(dir, tool('vite7/bin/vite.js'), 'build', '--logLevel', 'warn');
    await served(join(dir, 'dist'));
  });
  await environment('webpack', async () => {
    const dir = project('webpack', { 'main.js': main("'cpu'"), 'dist/index.html': HTML('<script src="main.js"></script>') });
    const build = `import webpack from '${tool('webpack/lib/index.js')}';
webpack({ mode: 'production', context: '${dir}', entry: './main.js', output: { path: '${dir}/dist' } }, (e, stats) => {
  if (e || stats.hasErrors()) { console.error(e ?? stats.toString('errors-only')); process.exit(1); }
});`;
    writeFileSync(join(dir, 'build.mjs'), build);
    run(dir, join(dir, 'build.mjs'));
    await served(join(dir, 'dist'));
  });
  await environment('esbuild, with workerUrl and wasmUrl', async () => {
    const dir = project('esbuild', {
      'main.js': main("'cpu', { workerUrl: 'worker.js', wasmUrl: 'fledgling_bg.wasm' }"),
      'dist/index.html': MODULE,
      'build.mjs': `import { build } from '${tool('esbuild/lib/main.js')}';
const o = { bundle: true, format: 'esm', outdir: 'dist', logLevel: 'error', minify: true };
await build({ ...o, entryPoints: { main: 'main.js', worker: 'fledgling/worker', crew: 'fledgling/crew' } });`,
    });
    run(dir, join(dir, 'build.mjs'));
    cpSync(join(dir, 'node_modules/fledgling/pkg/fledgling_bg.wasm'), join(dir, 'dist/fledgling_bg.wasm'));
    await served(join(dir, 'dist'));
  });
  for (const [next, ...flags] of [['next15', '--turbopack'], ['next15'], ['next16']]) {
    await environment([next, ...flags].join(' '), async () => {
      const sources = {
        'app/layout.js': 'export default function Layout({ children }) { return <html><body>{children}</body></html>; }',
        'app/page.js': `'use client';
import { useEffect } from 'react';
import * as fledgling from 'fledgling';
${app}
export default function Page() {
  useEffect(() => void start(fledgling, 'cpu'), []);
  return <p>e</p>;
}`,
        'next.config.mjs': `export default { output: 'export', turbopack: { root: '${HERE}' }, outputFileTracingRoot: '${HERE}' };`,
      };
      // Its own Next.js lies above it.
      const dir = project(next, sources, join(HERE, next, 'build'));
      try {
        run(dir, createRequire(join(dir, 'x.js')).resolve('next/dist/bin/next'), 'build', ...flags);
        await served(join(dir, 'out'));
      } finally {
        rmSync(dir, { recursive: true, force: true });
      }
    });
  }
  await environment('an extension (manifest 3)', async () => {
    const dir = join(temp, 'extension');
    ok(existsSync(join(dir, 'manifest.json')), 'the browser was started with it');
    const key = createHash('sha256').update(dir).digest('hex').slice(0, 32);
    const id = [...key].map((c) => String.fromCharCode(97 + Number.parseInt(c, 16))).join('');
    await visit(`chrome-extension://${id}/index.html`);
  });
  const script = (device) => `import * as fledgling from 'fledgling';
import { readFileSync } from 'node:fs';
globalThis.window = {};
${app}
await start(fledgling, '${device}', {}, new Uint8Array(readFileSync('model.gguf')));
console.log(JSON.stringify(window.done));`;
  await environment('Node', () => {
    const dir = project('node', { 'main.js': script('cpu'), 'model.gguf': model });
    judge(JSON.parse(run(dir, join(dir, 'main.js')).trim().split('\n').at(-1)));
  });
  await environment('Deno', () => {
    const dir = project('deno', { 'main.js': script('cpu'), 'model.gguf': model });
    const deno = tool('deno/bin.cjs');
    judge(JSON.parse(run(dir, deno, 'run', '--node-modules-dir=manual', '-A', join(dir, 'main.js')).trim().split('\n').at(-1)));
  });
  rmSync(all, { recursive: true, force: true });
}

/** An extension of one page, for the browser to start with. */
export function extension({ app, model, installedAt, temp }) {
  const dir = join(temp, 'extension');
  mkdirSync(dir, { recursive: true });
  for (const part of ['dist', 'pkg', 'package.json']) cpSync(join(installedAt, part), join(dir, 'fledgling', part), { recursive: true });
  writeFileSync(join(dir, 'model.gguf'), model);
  writeFileSync(join(dir, 'index.html'), MODULE);
  writeFileSync(join(dir, 'main.js'), `import * as fledgling from './fledgling/dist/lib/index.js';\n${app}\nstart(fledgling, 'cpu');\n`);
  const csp = { extension_pages: "script-src 'self' 'wasm-unsafe-eval'; object-src 'self'" };
  writeFileSync(
    join(dir, 'manifest.json'),
    JSON.stringify({ manifest_version: 3, name: 'fledgling', version: '1', content_security_policy: csp }),
  );
  return dir;
}
