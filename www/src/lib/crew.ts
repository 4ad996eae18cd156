// A worker that lends the engine a thread: the same module over the same memory, entered once and never left.
// @ts-ignore: built by scripts/wasm.sh into www/pkg, absent in a fresh checkout
import * as many from '../../pkg/threads/fledgling.js';
import type { Crewed } from './threads.ts';
import type { WasmModule } from './wasm.ts';

addEventListener('message', ({ data }: MessageEvent<Crewed>) => {
  const wasm = many as unknown as WasmModule;
  try {
    wasm.initSync?.(data);
  } catch (e) {
    reportError(e);
    return;
  }
  try {
    wasm.crew_work();
  } catch (e) {
    // A panic or a trap in the middle of a task. The engine's next step fails instead of waiting for this one.
    wasm.crew_fell();
    console.error(e);
  }
});
