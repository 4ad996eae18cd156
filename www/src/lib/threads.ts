// Threads of the processor: workers over one shared memory (src/compute/cpu/crew.rs), where the browser allows that.
import { FledglingError } from './errors.ts';
import { isForeign, started } from './start.ts';
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

const HERE: string = import.meta.url;

/** A worker of the crew; from another origin it is started as the engine's own Worker is. */
function helper(): Worker {
  if (isForeign(HERE)) return started(new URL('crew.js', HERE).href, { type: 'module', name: 'fledgling-crew' });
  return new Worker(new URL('./crew.js', import.meta.url), { type: 'module', name: 'fledgling-crew' });
}

/** Held: a worker that nobody holds may be collected. They end with the engine's Worker. */
const crew = new Set<Worker>();

/**
 * Why this thread may not have others work on its memory. It must be allowed to wait for them, which a page is not; and what Rust awaits in a
 * shared memory is woken by `waitAsync`.
 */
function hindrance(): string | undefined {
  if (typeof Worker === 'undefined') return 'there are no Workers here that could be threads';
  if (globalThis.crossOriginIsolated !== true || typeof SharedArrayBuffer === 'undefined') {
    return 'threads need a page that is cross-origin isolated (Cross-Origin-Opener-Policy: same-origin, Cross-Origin-Embedder-Policy: require-corp)';
  }
  if (typeof (Atomics as { waitAsync?: unknown }).waitAsync !== 'function') return 'this browser has no Atomics.waitAsync';
  try {
    if (Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 0) === 'timed-out') return undefined;
  } catch {
    // a page may not wait
  }
  return 'the engine runs in the page, which may not wait for threads; without `worker: false` it could';
}

/** How many threads to use here where `asked` are asked for, and why they are fewer. */
export function threadsFor(asked: number | undefined): { most: number; why: string | undefined } {
  if (asked !== undefined && !(Number.isInteger(asked) && asked >= 1 && asked <= MOST)) {
    throw new FledglingError('bad-config', `threads: expected a whole number from 1 to ${MOST}, found ${String(asked)}`);
  }
  const why = hindrance();
  if (why) return { most: 1, why: asked !== undefined && asked > 1 ? why : undefined };
  return { most: asked ?? Math.min(navigator.hardwareConcurrency || 1, USUAL), why: undefined };
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
    const worker = helper();
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
