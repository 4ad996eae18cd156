// Both modules of the engine. The address of the wasm is relative to its own glue file, which bundlers and browsers both follow.
// @ts-ignore: built by scripts/wasm.sh into www/pkg, absent in a fresh checkout
import * as one from '../../pkg/fledgling.js';
// @ts-ignore: as above. Where std could not be built for it, it is a file without exports.
import * as many from '../../pkg/threads/fledgling.js';
import { glues, type WasmModule } from './wasm.ts';

glues.one = one as unknown as WasmModule;
glues.many = many as unknown as WasmModule;
