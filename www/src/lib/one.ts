// The whole package in one file (scripts/build-lib.mjs): its Worker and its wasm are texts inside it.
import { inside } from './places.ts';

/** Put in by the build: the Worker's script, and the wasm, compressed by gzip and written in base64. */
declare const __WORKER__: string;
declare const __WASM__: string;

let worker: string | undefined;
let wasm: Promise<Uint8Array<ArrayBuffer>> | undefined;

async function unpacked(): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = Uint8Array.from(atob(__WASM__), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

inside.worker = () => (worker ??= URL.createObjectURL(new Blob([__WORKER__], { type: 'text/javascript' })));
inside.wasm = () => (wasm ??= unpacked());

export * from './index.ts';
