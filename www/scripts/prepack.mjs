// `npm pack` and `npm publish`: the package is built from what is there, or nothing is packed.
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const www = fileURLToPath(new URL('..', import.meta.url));
const missing = [
  ['pkg/fledgling_bg.wasm', 'the engine is not built: run `make package` in the repository'],
  ['pkg/threads/fledgling.js', 'the engine is older than this checkout: run `make package` in the repository'],
  ['node_modules/rolldown', 'the tools are not installed: run `make package` in the repository, or `npm install` here'],
].find(([file]) => !existsSync(`${www}${file}`));
if (missing) {
  console.error(`error: ${missing[1]}`);
  process.exit(1);
}
execFileSync(process.execPath, [`${www}scripts/build-lib.mjs`], { stdio: 'inherit' });
