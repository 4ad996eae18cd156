// Starts the engine's Worker: from beside this file, from an address, from another origin, or in Node.
import type { Endpoint } from 'comlink';
import nodeEndpoint, { type NodePort } from 'comlink/dist/esm/node-adapter.mjs';
import { FledglingError, why } from './errors.ts';
import { absolute, inside, isNode, ofNode } from './places.ts';
import { violationOf } from './policy.ts';
import { isForeign, started } from './start.ts';
import type { Places } from './types.ts';

/** A Worker that was started. */
export interface Spawned {
  endpoint: Endpoint;
  /** For errors: its address, where that is known. */
  where: string;
  end(): void;
  /** Tells once why it cannot go on. */
  failed(tell: (error: FledglingError) => void): void;
}

const HERE: string = import.meta.url;

/** Its own Worker, in the form that bundlers look for. */
const own = (): Worker => new Worker(new URL('./worker.js', import.meta.url), { type: 'module', name: 'fledgling' });

/** A script, and how it is started: bundlers make classic scripts, too. */
interface Script {
  address: string;
  options?: WorkerOptions | undefined;
}

/** Where a bundler has put the Worker: what it would be started from. */
function ownScript(): Script {
  const real = globalThis.Worker;
  let found: Script = { address: new URL('worker.js', HERE).href };
  try {
    globalThis.Worker = class {
      constructor(address: string | URL, options?: WorkerOptions) {
        found = { address: new URL(address, HERE).href, options };
      }
    } as unknown as typeof Worker;
    own();
  } finally {
    globalThis.Worker = real;
  }
  return found;
}

/** The script that is started; undefined where that is done as bundlers want it. */
function scriptOf(p: Places): Script | undefined {
  if (p.workerUrl !== undefined) return { address: absolute('workerUrl', p.workerUrl) };
  if (inside.worker) return { address: inside.worker() };
  // Vite before version 8 copies dependencies elsewhere in development, and leaves the files beside them behind.
  const copied = HERE.indexOf('/node_modules/.vite/deps/');
  if (copied >= 0) return { address: `${HERE.slice(0, copied)}/node_modules/fledgling/dist/lib/worker.js` };
  // Bundlers may write the place of the build here, which is no address of the page's.
  return isForeign(HERE) ? ownScript() : undefined;
}

function inBrowser(p: Places): Spawned {
  const given = typeof p.worker === 'object' ? p.worker : undefined;
  const script = given ? undefined : scriptOf(p);
  let where = given ? 'the Worker that was given' : (script?.address ?? new URL('worker.js', HERE).href);
  if (where.startsWith('blob:')) where = 'the Worker inside this package';
  let worker: Worker;
  const since = performance.now();
  try {
    worker = given ?? (script ? started(script.address, { name: 'fledgling', ...script.options }) : own());
  } catch (e) {
    throw new FledglingError('worker-failed', `${where}: the Worker could not be started: ${why(e)}`, {
      cause: e,
    });
  }
  return {
    endpoint: worker,
    where,
    end: () => worker.terminate(),
    failed(tell) {
      worker.addEventListener('error', (e) => {
        e.preventDefault?.();
        void (async () => {
          const violated = e.message ? undefined : await violationOf(undefined, since, ['worker-src', 'script-src', 'script-src-elem']);
          if (violated) return tell(violated);
          const why = e.message ? e.message : 'its script could not be loaded; workerUrl says where it is';
          tell(new FledglingError('worker-failed', `the Worker failed: ${why} (${where})`));
        })();
      });
      worker.addEventListener('messageerror', () => tell(new FledglingError('worker-failed', `${where}: a message could not be read`)));
    },
  };
}

interface NodeWorker extends NodePort {
  terminate(): Promise<number>;
}

async function inNode(p: Places): Promise<Spawned> {
  if (typeof p.worker === 'object') throw new FledglingError('bad-config', 'worker: Node takes true or false');
  const { Worker } = await ofNode<{ Worker: new (script: URL) => NodeWorker }>('node:worker_threads');
  const address = p.workerUrl === undefined ? new URL('worker.js', HERE) : new URL(absolute('workerUrl', p.workerUrl));
  const worker = new Worker(address);
  let ended = false;
  return {
    endpoint: nodeEndpoint(worker),
    where: address.href,
    end: () => {
      ended = true;
      void worker.terminate();
    },
    failed(tell) {
      worker.on('error', (e) => tell(new FledglingError('worker-failed', `the Worker failed: ${why(e)} (${address.href})`)));
      worker.on('exit', () => ended || tell(new FledglingError('worker-failed', `the Worker ended (${address.href})`)));
    },
  };
}

export async function spawn(p: Places): Promise<Spawned> {
  if (isNode && typeof Worker === 'undefined') return inNode(p);
  if (typeof Worker === 'undefined' && typeof p.worker !== 'object') {
    throw new FledglingError('worker-failed', 'there are no Workers here; `worker: false` runs the engine in this thread');
  }
  return inBrowser(p);
}
