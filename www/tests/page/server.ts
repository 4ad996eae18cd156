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

/** Builds the page in a mode ("test": on the engine without a GPU) and serves it. */
export async function servePage(mode: 'test' | 'production', models: string[]): Promise<{ url: string; close(): void }> {
  await build({ root: www, configFile: resolve(www, 'vite.config.ts'), mode, logLevel: 'warn' });
  const server = (makeServer as (o: { root: string; models: string[] }) => Server)({ root: resolve(www, mode === 'test' ? 'dist/page-test' : 'dist/page'), models });
  return { url: await listen(server), close: () => server.close() };
}

/** Another origin that would answer anybody, and remembers who asked. */
export async function serveForeign(): Promise<{ url: string; asked: string[]; close(): void }> {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url ?? '');
    response.writeHead(request.method === 'OPTIONS' ? 204 : 200, { 'Access-Control-Allow-Origin': '*', 'Access-Control-Allow-Headers': '*', 'Cross-Origin-Resource-Policy': 'cross-origin', 'Content-Type': 'application/octet-stream' });
    response.end(request.method === 'OPTIONS' ? undefined : 'GGUF');
  });
  return { url: await listen(server), asked, close: () => server.close() };
}
