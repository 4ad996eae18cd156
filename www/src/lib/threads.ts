// Threads of the processor: workers over one shared memory (src/cpu/crew.rs), where the browser allows that.
import { FledglingError } from './errors.ts';
import type { WasmModule } from './wasm.ts';

/** What a worker of the crew is sent. */
export interface Crewed {
  module: WebAssembly.Module;
  memory: WebAssembly.Memory;
}

/** Threads that are used where nothing else is asked for: beyond that, a small model's kernels are too short to be shared. */
const USUAL = 8;
const MOST = 64;
/** How long workers may take to start. */
const START_MS = 5000;

/** Held: a worker that nobody holds may be collected. They end with the engine's Worker. */
const crew = new Set<Worker>();

/**
 * Whether this thread may have others work on its memory. It must be allowed to wait for them, which a page is not; and what Rust awaits in a
 * shared memory is woken by `waitAsync`.
 */
function possible(): boolean {
  if (globalThis.crossOriginIsolated !== true || typeof SharedArrayBuffer === 'undefined' || typeof Worker === 'undefined') return false;
  if (typeof (Atomics as { waitAsync?: unknown }).waitAsync !== 'function') return false;
  try {
    return Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 0) === 'timed-out';
  } catch {
    return false;
  }
}

/** How many threads to use here where `asked` are asked for. */
export function threadsFor(asked: number | undefined): number {
  if (asked !== undefined && !(Number.isInteger(asked) && asked >= 1 && asked <= MOST)) {
    throw new FledglingError('bad-config', `threads: expected a whole number from 1 to ${MOST}, found ${String(asked)}`);
  }
  return possible() ? (asked ?? Math.min(navigator.hardwareConcurrency || 1, USUAL)) : 1;
}

/**
 * Starts what is missing of `threads` and says how many there are, and why one did not start: workers that did not are done without, those that are
 * late help from then on.
 */
export async function startCrew(wasm: WasmModule, threads: number): Promise<{ size: number; why: string | undefined }> {
  const wanted: Crewed = { module: wasm.crew_module(), memory: wasm.crew_memory() };
  const until = performance.now() + START_MS;
  let why: string | undefined;
  while (1 + crew.size < threads) {
    const worker = new Worker(new URL('./crew.js', import.meta.url), { type: 'module', name: 'fledgling-crew' });
    worker.addEventListener('error', (e) => {
      e.preventDefault(); // what is not handled here ends the engine
      why ??= e.message || 'a script could not be loaded';
      worker.terminate();
      crew.delete(worker);
    });
    worker.postMessage(wanted);
    crew.add(worker);
  }
  // A worker that has entered has no way to say so: it does not return to its event loop.
  while (wasm.crew_size() < 1 + crew.size && performance.now() < until) await new Promise((resolve) => setTimeout(resolve, 2));
  return { size: wasm.crew_size(), why };
}
