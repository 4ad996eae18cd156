// Builds dist/lib from src/lib (ESM with types; comlink is inside, the wasm stays a file of its own so that bundlers
// and plain pages both find it), readies www/ for `npm pack` and prints what a page has to download.
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { rolldown } from 'rolldown';

const www = fileURLToPath(new URL('..', import.meta.url));
const out = `${www}dist/lib`;
/** wasm and JavaScript together, in gzip bytes. */
const BUDGET = 1.7e6;

rmSync(out, { recursive: true, force: true });
const bundle = await rolldown({
  input: { index: `${www}src/lib/index.ts`, worker: `${www}src/lib/worker.ts`, crew: `${www}src/lib/crew.ts` },
  external: (id) => /(^|\/)pkg\/(threads\/)?fledgling\.js$/.test(id),
  platform: 'browser',
});
await bundle.write({
  dir: out,
  format: 'esm',
  entryFileNames: '[name].js',
  chunkFileNames: '[name]-[hash].js',
  minify: process.argv.includes('--no-minify') ? 'dce-only' : true,
  sourcemap: false,
});
await bundle.close();
// One file for whoever has no bundler: the script, its Worker's as a text in it, and the wasm.
const one = `${www}dist/fledgling.js`;
rmSync(one, { force: true });
if (existsSync(`${www}pkg/fledgling_bg.wasm`)) {
  const whole = async (input, define) => {
    // Threads would need a second wasm: there is none.
    const alone = {
      name: 'one',
      resolveId: (id) => (/pkg\/threads\/fledgling\.js$/.test(id) ? '\0none' : null),
      load: (id) => (id === '\0none' ? 'export {};' : null),
    };
    const made = await rolldown({ input, platform: 'browser', plugins: [alone], transform: { define }, logLevel: 'silent' });
    const { output } = await made.generate({ format: 'esm', codeSplitting: false, minify: true });
    await made.close();
    return output[0].code;
  };
  const worker = await whole(`${www}src/lib/worker.ts`, {});
  const wasm = gzipSync(readFileSync(`${www}pkg/fledgling_bg.wasm`), { level: 9 }).toString('base64');
  writeFileSync(one, await whole(`${www}src/lib/one.ts`, { __WORKER__: JSON.stringify(worker), __WASM__: JSON.stringify(wasm) }));
}
execFileSync(process.execPath, [`${www}node_modules/typescript/bin/tsc`, '-p', `${www}tsconfig.lib.json`], { stdio: 'inherit' });

// Types name their neighbours as the JavaScript does.
for (const f of readdirSync(out).filter((f) => f.endsWith('.d.ts'))) {
  const text = readFileSync(`${out}/${f}`, 'utf8');
  writeFileSync(`${out}/${f}`, text.replace(/(from |import |import\()(['"])(\.[^'"]*)\.ts\2/g, '$1$2$3.js$2'));
}

// Of what scripts/notices.mjs has written, what is in the bundle and in the wasm.
const notices = readFileSync(`${www}../THIRD-PARTY.md`, 'utf8').split('\n## Crates in the command line alone')[0];
writeFileSync(`${out}/THIRD-PARTY.md`, notices);
for (const f of ['LICENSE-MIT', 'LICENSE-APACHE', 'CHANGELOG.md'])
  if (existsSync(`${www}../${f}`)) copyFileSync(`${www}../${f}`, `${www}${f}`);

const kib = (n) => `${(n / 1024).toFixed(1).padStart(8)} KiB`;
const row = (name, raw, zipped, more = '') => console.log(`${name.padEnd(36)}${kib(raw)}  ${kib(zipped)}${more}`);
/** Prints files, and says what they come to. */
function sum(files) {
  const all = { raw: 0, zipped: 0 };
  for (const f of files) {
    const bytes = readFileSync(`${www}${f}`);
    const zipped = gzipSync(bytes, { level: 9 }).length;
    row(f, bytes.length, zipped);
    all.raw += bytes.length;
    all.zipped += zipped;
  }
  return all;
}

console.log(`${'file'.padEnd(36)}${'size'.padStart(12)}${'gzip'.padStart(14)}`);
const lib = sum(
  readdirSync(out)
    .filter((f) => f.endsWith('.js'))
    .map((f) => `dist/lib/${f}`),
);
let over = 0;
// A page loads one of the two.
for (const pair of ['pkg', 'pkg/threads']) {
  if (!existsSync(`${www}${pair}/fledgling_bg.wasm`)) {
    console.log(`${pair}/ has no wasm${pair === 'pkg' ? ' yet: build it with `make wasm`' : ': no threads in the browser'}`);
    continue;
  }
  const engine = sum(['fledgling.js', 'fledgling_bg.wasm'].map((f) => `${pair}/${f}`));
  const zipped = lib.zipped + engine.zipped;
  row(`with ${pair}, in all`, lib.raw + engine.raw, zipped, `   (at most ${kib(BUDGET).trim()})`);
  over = Math.max(over, zipped - BUDGET);
}
if (over > 0) {
  console.error(`the package is ${over} gzip bytes over its budget`);
  process.exit(1);
}
