// A worker that lends the engine a thread: the same module over the same memory, entered once and never left.
import type { Crewed } from './threads.ts';
import type { WasmModule } from './wasm.ts';

addEventListener('message', async ({ data }: MessageEvent<Crewed>) => {
  let wasm: WasmModule;
  try {
    // @ts-ignore: built by scripts/wasm.sh into www/pkg, absent in a fresh checkout
    wasm = (await import('../../pkg/threads/fledgling.js')) as unknown as WasmModule;
    wasm.initSync?.(data);
  } catch (e) {
    reportError(e); // a rejection would stay in here
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
