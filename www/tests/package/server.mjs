// A static server that can misbehave: query parameters of a request say how (see `faults`).
import { createHash } from 'node:crypto';
import { createReadStream, existsSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';

const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.css': 'text/css',
  '.wasm': 'application/wasm',
  '.json': 'application/json',
  '.gguf': 'application/octet-stream',
  '.safetensors': 'application/octet-stream',
};

const etags = new WeakMap();
/** Says what is in a file in memory, and what is known of one on disk. */
export function etagOf(source, size) {
  if (!Buffer.isBuffer(source)) return `"${size}"`;
  if (!etags.has(source)) etags.set(source, `"${createHash('sha256').update(source).digest('hex').slice(0, 16)}"`);
  return etags.get(source);
}

/**
 * @param {{root?: string, files?: Map<string, Buffer | string>, mounts?: Record<string, string>, isolated?: boolean}} o `root` is a folder, `files` are kept in
 *   memory, `mounts` are single files by address; `isolated`: with the two headers that give a page shared memory
 */
export async function serve({ root, files = new Map(), mounts = {}, isolated = true }) {
  /** Requests of model files, with their ranges. */
  const log = [];
  const seen = new Map();
  const server = createServer((req, res) => {
    const url = new URL(req.url, 'http://x');
    const path = decodeURIComponent(url.pathname);
    const q = url.searchParams;
    const headers = {
      ...(isolated ? { 'cross-origin-opener-policy': 'same-origin', 'cross-origin-embedder-policy': 'require-corp' } : {}),
      'cross-origin-resource-policy': 'cross-origin',
      'cache-control': 'no-store',
      'access-control-allow-origin': '*',
      ...(q.has('csp') ? { 'content-security-policy': q.get('csp') } : {}),
    };
    const nth = (seen.get(req.url) ?? 0) + 1;
    seen.set(req.url, nth);
    // gone: only the first request is answered, afterwards the machine is off.
    if (q.has('gone') && nth > 1) {
      req.socket.destroy();
      return;
    }
    let source = files.get(path) ?? mounts[path];
    if (source === undefined && root) {
      let file = join(root, normalize(path));
      if (existsSync(file) && statSync(file).isDirectory()) file = join(file, 'index.html');
      if (file.startsWith(root) && existsSync(file)) source = file;
    }
    if (source === undefined) {
      res.writeHead(404, { ...headers, 'content-type': 'text/plain' }).end('not found');
      return;
    }
    const inMemory = Buffer.isBuffer(source);
    const size = inMemory ? source.length : statSync(source).size;
    const range = /^bytes=(\d+)-$/.exec(req.headers.range ?? '');
    log.push({ method: req.method, url: req.url, range: req.headers.range, ifRange: req.headers['if-range'], nth });
    // status=503&times=2: the first two requests are refused; after=1: all but the first.
    if (q.has('status') && nth > Number(q.get('after') ?? 0) && nth <= Number(q.get('times') ?? Infinity)) {
      res.writeHead(Number(q.get('status')), headers).end('refused');
      return;
    }
    const etag = q.get('etag') === 'changing' ? `"${nth}"` : etagOf(source, size);
    headers['content-type'] = TYPES[extname(path)] ?? 'application/octet-stream';
    if (!q.has('noetag')) headers['etag'] = etag;
    let start = 0;
    let status = 200;
    if (range && !q.has('norange') && (!req.headers['if-range'] || req.headers['if-range'] === etag)) {
      start = Number(range[1]);
      if (start >= size) {
        res.writeHead(416, { ...headers, 'content-range': `bytes */${size}` }).end();
        return;
      }
      status = 206;
      headers['content-range'] = `bytes ${start}-${size - 1}/${size}`;
    }
    headers['content-length'] = size - start;
    res.writeHead(status, headers);
    if (req.method === 'HEAD') {
      res.end();
      return;
    }
    // drop=N: the connection breaks after N bytes of this answer, for the first `times` (1) answers.
    const drop = q.has('drop') && nth <= Number(q.get('times') ?? 1) ? Number(q.get('drop')) : Infinity;
    const slow = Number(q.get('slow') ?? 0);
    if (drop === Infinity && !slow) {
      if (inMemory) res.end(source.subarray(start));
      else createReadStream(source, { start }).pipe(res);
      return;
    }
    const body = inMemory ? source.subarray(start) : undefined;
    if (!body) throw new Error('faults are for files in memory');
    void (async () => {
      const piece = 16384;
      for (let at = 0; at < body.length && !res.destroyed; at += piece) {
        const end = Math.min(at + piece, body.length, drop);
        res.write(body.subarray(at, end));
        if (end === drop) {
          // What was written must arrive before the connection breaks.
          await new Promise((r) => setTimeout(r, 100));
          res.destroy();
          return;
        }
        await new Promise((r) => setTimeout(r, slow));
      }
      res.end();
    })();
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  return { origin: `http://127.0.0.1:${port}`, log, close: () => new Promise((r) => (server.closeAllConnections(), server.close(r))) };
}
