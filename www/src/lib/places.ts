// Where the parts of the package are found: the Worker's script and the wasm, beside this file unless the caller or the one-file build says otherwise.
import { FledglingError } from './errors.ts';
import type { Places } from './types.ts';

/** Where the engine's wasm is: an address, or its bytes. Undefined: beside its glue. */
export type WasmPlace = string | Uint8Array<ArrayBuffer>;

/** What the build of one file carries inside. */
export const inside: { worker?: () => string; wasm?: () => Promise<Uint8Array<ArrayBuffer>> } = {};

/** Addresses of a caller are meant from the page; a Worker's base is another. */
export function absolute(what: string, address: string | URL): string {
  const base = typeof document === 'undefined' ? (globalThis.location as Location | undefined)?.href : document.baseURI;
  try {
    return new URL(address, base).href;
  } catch {
    throw new FledglingError('bad-config', `${what}: ${JSON.stringify(String(address).slice(0, 200))} is no address`);
  }
}

export async function wasmPlace(p: Places): Promise<WasmPlace | undefined> {
  if (p.wasmUrl !== undefined) return absolute('wasmUrl', p.wasmUrl);
  return inside.wasm?.();
}

/** Node: there is no window, and Workers are those of `node:worker_threads`. */
export const isNode = typeof process !== 'undefined' && typeof process.versions?.node === 'string' && typeof document === 'undefined';

declare const process: { versions?: { node?: string } } | undefined;

/** A module of Node, whose name no bundler is to follow. */
export const ofNode = <T>(module: string): Promise<T> =>
  import(/* @vite-ignore */ /* webpackIgnore: true */ /* turbopackIgnore: true */ module);
