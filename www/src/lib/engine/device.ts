// Which module of the engine and which device do the work, and what was measured about them.
import { capabilities } from '../capabilities.ts';
import { FledglingError } from '../errors.ts';
import { threadsFor } from '../threads.ts';
import type { AdapterDescription, Device } from '../types.ts';
import { loadWasm, type Loaded } from '../wasm.ts';

/** Which device was faster here, of the processor with so many threads: measured once, because measuring takes seconds. */
export interface Judged {
  device: Exclude<Device, 'auto'>;
  reason: string;
}

export interface OnDevice extends Loaded {
  adapter: AdapterDescription | undefined;
  device: Device;
}

/** The engine for a device, and what the browser says of its adapter: JavaScript hears more than the engine does. */
export async function engineFor(asked: Device = 'auto', threads: number | undefined): Promise<OnDevice> {
  const { most, why } = threadsFor(threads);
  const { adapter, reason } = await capabilities();
  const none = !adapter && (globalThis.navigator as { gpu?: unknown } | undefined)?.gpu === undefined;
  if (none && asked === 'gpu') throw new FledglingError('webgpu-unavailable', reason ?? 'there is no WebGPU here');
  // Where there is no WebGPU at all, as in Node, nothing is left to choose.
  const device = none ? 'cpu' : asked;
  // A real GPU is taken without asking; a software adapter is compared with the processor at its best.
  const processor = device === 'cpu' || (device === 'auto' && (adapter?.isSoftware ?? true));
  const loaded = await loadWasm(processor ? most : 1);
  if (processor && why) loaded.missing ??= new FledglingError('fewer-threads', `the processor works with one thread: ${why}`);
  return { ...loaded, adapter, device };
}

/** Where something measured on an adapter is kept. */
export const noteName = (what: string, key: string | undefined, adapter: AdapterDescription | undefined): string =>
  `${what}-${key}-${(adapter?.name ?? '').replace(/[^\w.-]+/g, '_').slice(0, 80)}.json`;

export function judgedOf(note: string | undefined): Judged | undefined {
  try {
    const judged = JSON.parse(note ?? '') as Judged;
    return (judged.device === 'gpu' || judged.device === 'cpu') && typeof judged.reason === 'string' ? judged : undefined;
  } catch {
    return undefined; // a broken note is none
  }
}
