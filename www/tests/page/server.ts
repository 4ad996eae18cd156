// The servers of the tests: the page as `make demo` serves it, and a foreign host to prove what the page may not reach.
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { resolve } from 'node:path';
import { build } from 'vite';
// @ts-expect-error: plain JavaScript without types
import { makeServer } from '../../../scripts/serve.mjs';

export const www = resolve(import.meta.dirname, '../..');

const listen = async (server: Server): Promise<string> => {
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
};

/** A file that comes a little at a time, for loads that are stopped on their way. */
export interface Slow {
  path: string;
  bytes: Buffer;
  /** Of each piece, and between two. */
  piece: number;
  ms: number;
}

/** Builds the page in a mode ("test": on the engine without a GPU) and serves it as `make demo` does. */
export async function servePage(mode: 'test' | 'production', models: string[], slow?: Slow): Promise<{ url: string; close(): void }> {
  // Beside dist/page, so that a build of the page meanwhile takes nothing away from a running test.
  const root = resolve(www, mode === 'test' ? 'dist/page-test' : 'dist/page-shipped');
  await build({ root: www, configFile: resolve(www, 'vite.config.ts'), mode, logLevel: 'warn', build: { outDir: root } });
  const server = (makeServer as (o: { root: string; models: string[] }) => Server)({ root, models });
  const close = (): void => {
    server.closeAllConnections();
    server.close();
  };
  if (!slow) return { url: await listen(server), close };
  const front = createServer((request, response) => {
    if (request.url !== slow.path) return void server.emit('request', request, response);
    response.writeHead(200, {
      'Content-Type': 'application/octet-stream',
      'Content-Length': slow.bytes.length,
      'Cross-Origin-Resource-Policy': 'same-origin',
      ETag: '"slow"',
    });
    let at = 0;
    const timer = setInterval(() => {
      response.write(slow.bytes.subarray(at, (at += slow.piece)));
      if (at < slow.bytes.length) return;
      clearInterval(timer);
      response.end();
    }, slow.ms);
    response.on('close', () => clearInterval(timer));
  });
  return { url: await listen(front), close: () => (front.closeAllConnections(), front.close()) };
}

/** Another origin that would answer anybody, and remembers who asked. */
/** One that hands everything on to another address says so. */
export async function serveForeign(on?: string): Promise<{ url: string; asked: string[]; close(): void }> {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url ?? '');
    response.writeHead(request.method === 'OPTIONS' ? 204 : on ? 302 : 200, {
      ...(on ? { Location: on } : {}),
      'Access-Control-Allow-Origin': '*',
      'Access-Control-Allow-Headers': '*',
      'Cross-Origin-Resource-Policy': 'cross-origin',
      'Content-Type': 'application/octet-stream',
    });
    response.end(request.method === 'OPTIONS' ? undefined : 'GGUF');
  });
  return { url: await listen(server), asked, close: () => server.close() };
}
