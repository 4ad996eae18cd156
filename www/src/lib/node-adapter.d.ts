// comlink ships this file without types under its name.
declare module 'comlink/dist/esm/node-adapter.mjs' {
  import type { Endpoint } from 'comlink';

  /** A Worker or a port of node:worker_threads. */
  export interface NodePort {
    postMessage(message: unknown, transfer?: unknown[]): void;
    on(event: string, listener: (data: unknown) => void): void;
    off(event: string, listener: (data: unknown) => void): void;
    start?: () => void;
  }

  export default function nodeEndpoint(port: NodePort): Endpoint;
}
