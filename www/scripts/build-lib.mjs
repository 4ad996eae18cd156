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
const BUDGET = 1.2e6;

rmSync(out, { recursive: true, force: true });
const bundle = await rolldown({
  input: { index: `${www}src/lib/index.ts`, worker: `${www}src/lib/worker.ts` },
  external: (id) => /(^|\/)pkg\/fledgling\.js$/.test(id),
  platform: 'browser',
});
await bundle.write({
  dir: out,
  format: 'esm',
  entryFileNames: '[name].js',
  chunkFileNames: '[name]-[hash].js',
  minify: process.argv.includes('--no-minify') ? false : 'dce-only',
  sourcemap: false,
});
await bundle.close();
execFileSync(process.execPath, [`${www}node_modules/typescript/bin/tsc`, '-p', `${www}tsconfig.lib.json`], { stdio: 'inherit' });

// Types name their neighbours as the JavaScript does.
for (const f of readdirSync(out).filter((f) => f.endsWith('.d.ts'))) {
  const text = readFileSync(`${out}/${f}`, 'utf8');
  writeFileSync(`${out}/${f}`, text.replace(/(from |import |import\()(['"])(\.[^'"]*)\.ts\2/g, '$1$2$3.js$2'));
}

const license = readFileSync(`${www}node_modules/comlink/LICENSE`, 'utf8').trim();
writeFileSync(`${out}/THIRD-PARTY.md`, `dist/lib contains comlink (https://github.com/GoogleChromeLabs/comlink), Copyright Google LLC:\n\n${license}\n`);
for (const f of ['LICENSE-MIT', 'LICENSE-APACHE']) if (existsSync(`${www}../${f}`)) copyFileSync(`${www}../${f}`, `${www}${f}`);

const kib = (n) => `${(n / 1024).toFixed(1).padStart(8)} KiB`;
const rows = readdirSync(out).filter((f) => f.endsWith('.js')).map((f) => [`dist/lib/${f}`, readFileSync(`${out}/${f}`)]);
const pkg = `${www}pkg`;
if (existsSync(`${pkg}/fledgling_bg.wasm`)) {
  // wasm-pack writes an ignore file that would keep npm from packing the wasm.
  for (const f of ['.gitignore', 'package.json', 'README.md', 'LICENSE-MIT', 'LICENSE-APACHE']) rmSync(`${pkg}/${f}`, { force: true });
  for (const f of ['fledgling.js', 'fledgling_bg.wasm']) rows.push([`pkg/${f}`, readFileSync(`${pkg}/${f}`)]);
} else {
  console.log('pkg/ has no wasm yet: build it with `make wasm` (wasm-pack build --target web --out-dir www/pkg)');
}
let raw = 0;
let zipped = 0;
console.log(`${'file'.padEnd(36)}${'size'.padStart(12)}${'gzip'.padStart(14)}`);
for (const [name, bytes] of rows) {
  const gz = gzipSync(bytes, { level: 9 }).length;
  raw += bytes.length;
  zipped += gz;
  console.log(`${name.padEnd(36)}${kib(bytes.length)}  ${kib(gz)}`);
}
console.log(`${'in all'.padEnd(36)}${kib(raw)}  ${kib(zipped)}   (at most ${kib(BUDGET).trim()})`);
if (zipped > BUDGET) {
  console.error(`the package is ${zipped - BUDGET} gzip bytes over its budget`);
  process.exit(1);
}
