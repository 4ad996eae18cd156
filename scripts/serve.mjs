#!/usr/bin/env node
// A static server for the page and one or more models, with nothing but Node's own modules.
//   node scripts/serve.mjs --root www/dist/page [--model FILE|FOLDER]… [--host 127.0.0.1] [--port 5173]
// Every answer carries cross-origin isolation (SharedArrayBuffer, exact timers) and the page's Content-Security-Policy.
// /models/                 JSON list of the models: [{file, bytes}]; a folder's name ends in /
// /models/<file>           one of them; ranges are honoured, so that a broken download can go on where it stopped
// /models/<folder>/<file>  a file of a folder as Transformers writes it; nothing else of the folder is given away
import { createReadStream, existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { basename, extname, join, normalize, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.json': 'application/json; charset=utf-8',
  '.jsonl': 'application/jsonl; charset=utf-8',
  '.map': 'application/json; charset=utf-8',
  '.webmanifest': 'application/manifest+json; charset=utf-8',
  '.wasm': 'application/wasm',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.jpg': 'image/jpeg',
  '.ico': 'image/x-icon',
  '.woff2': 'font/woff2',
  '.txt': 'text/plain; charset=utf-8',
  '.md': 'text/plain; charset=utf-8',
};

// What applies where the root holds no headers.json (the page's build writes one, from its own single definition).
const HEADERS = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
  'Content-Security-Policy':
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; " +
    "manifest-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
};

/** What a model's folder may hold for a visitor. */
const OF_A_MODEL = [
  /^(config|generation_config|tokenizer|tokenizer_config|special_tokens_map|added_tokens|[^/\\]*\.safetensors\.index)\.json$/,
  /^[^/\\]+\.safetensors$/,
  /^chat_template\.jinja$/,
];

/** {start, end} of a `Range` header, null for the whole file, 'bad' for a range outside it. */
export function parseRange(header, size) {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? '');
  if (!match || (match[1] === '' && match[2] === '')) return null; // several ranges or another unit: the whole file is a right answer
  const start = match[1] === '' ? Math.max(0, size - Number(match[2])) : Number(match[1]);
  const end = match[1] === '' || match[2] === '' ? size - 1 : Math.min(Number(match[2]), size - 1);
  return start >= size || start > end ? 'bad' : { start, end };
}

/** A server, not yet listening. `root`: folder of the page; `models`: paths of model files or folders; `headers`: added to every answer. */
export function makeServer({ root, models = [], headers }) {
  const folder = resolve(root);
  const emitted = join(folder, 'headers.json');
  const common = { ...(existsSync(emitted) ? JSON.parse(readFileSync(emitted, 'utf8')) : HEADERS), ...headers };
  const byName = new Map();
  for (const path of models) {
    const name = basename(path) + (statSync(path).isDirectory() ? '/' : '');
    if (byName.has(name)) throw new Error(`two models are called ${name}`);
    byName.set(name, resolve(path));
  }
  const size = (path) => statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  const weights = (dir) =>
    size(join(dir, 'model.safetensors')) ||
    readdirSync(dir)
      .filter((f) => /-of-\d+\.safetensors$/.test(f))
      .reduce((n, f) => n + size(join(dir, f)), 0);
  /** The file behind /models/<name>. */
  const modelFile = (name) => {
    const [, dir, file] = /^([^/]+\/)(.+)$/.exec(name) ?? [];
    if (dir === undefined) return name.endsWith('/') ? undefined : byName.get(name);
    return byName.has(dir) && OF_A_MODEL.some((name) => name.test(file)) ? join(byName.get(dir), file) : undefined;
  };

  return createServer((request, response) => {
    const answer = (status, extra = {}, body = '') => {
      response.writeHead(status, {
        ...common,
        ...(body ? { 'Content-Type': 'text/plain; charset=utf-8', 'Content-Length': Buffer.byteLength(body) } : {}),
        ...extra,
      });
      response.end(request.method === 'HEAD' ? undefined : body);
    };
    if (request.method !== 'GET' && request.method !== 'HEAD') return answer(405, { Allow: 'GET, HEAD' }, 'only GET and HEAD\n');
    let path;
    try {
      path = decodeURIComponent(new URL(request.url, 'http://local').pathname);
    } catch {
      return answer(400, {}, 'unreadable address\n');
    }
    if (path.includes('\0')) return answer(400, {}, 'unreadable address\n');
    if (path === '/models/') {
      const list = [...byName].map(([file, at]) => ({ file, bytes: file.endsWith('/') ? weights(at) : size(at) }));
      return answer(200, { 'Content-Type': TYPES['.json'], 'Cache-Control': 'no-cache' }, JSON.stringify(list));
    }
    let file = path.startsWith('/models/') ? modelFile(path.slice('/models/'.length)) : join(folder, normalize(path));
    if (!file || (!path.startsWith('/models/') && file !== folder && !file.startsWith(folder + sep))) return answer(404, {}, 'not found\n');
    let stat = statSync(file, { throwIfNoEntry: false });
    if (stat?.isDirectory()) {
      file = join(file, 'index.html');
      stat = statSync(file, { throwIfNoEntry: false });
    }
    if (!stat?.isFile()) return answer(404, {}, 'not found\n');

    const etag = `"${stat.size.toString(16)}-${Math.floor(stat.mtimeMs).toString(16)}"`;
    const about = {
      'Content-Type': TYPES[extname(file).toLowerCase()] ?? 'application/octet-stream',
      'Accept-Ranges': 'bytes',
      'Last-Modified': stat.mtime.toUTCString(),
      ETag: etag,
      // Vite's assets carry a hash in their names.
      'Cache-Control': path.startsWith('/assets/') ? 'public, max-age=31536000, immutable' : 'no-cache',
    };
    if (request.headers['if-none-match'] === etag) return answer(304, about);
    const stale =
      request.headers['if-range'] !== undefined &&
      request.headers['if-range'] !== etag &&
      request.headers['if-range'] !== about['Last-Modified'];
    const range = stale ? null : parseRange(request.headers.range, stat.size);
    if (range === 'bad')
      return answer(
        416,
        { ...about, 'Content-Type': 'text/plain; charset=utf-8', 'Content-Range': `bytes */${stat.size}` },
        'no such range\n',
      );
    const { start, end } = range ?? { start: 0, end: stat.size - 1 };
    response.writeHead(range ? 206 : 200, {
      ...common,
      ...about,
      'Content-Length': end - start + 1,
      ...(range ? { 'Content-Range': `bytes ${start}-${end}/${stat.size}` } : {}),
    });
    if (request.method === 'HEAD' || stat.size === 0) return response.end();
    const stream = createReadStream(file, { start, end, highWaterMark: 1 << 20 });
    stream.on('error', () => response.destroy());
    response.on('close', () => stream.destroy());
    stream.pipe(response);
  });
}

function options(args) {
  const found = { models: [], host: '127.0.0.1', port: 5173 };
  for (let i = 0; i < args.length; i += 2) {
    const value = args[i + 1];
    if (value === undefined) throw new Error(`${args[i]} needs a value`);
    if (args[i] === '--root') found.root = value;
    else if (args[i] === '--model') found.models.push(value);
    else if (args[i] === '--host') found.host = value;
    else if (args[i] === '--port') found.port = Number(value);
    else throw new Error(`unknown option ${args[i]}`);
  }
  if (!found.root) throw new Error('--root is missing');
  if (!Number.isInteger(found.port) || found.port < 0 || found.port > 65535) throw new Error('--port is no port number');
  return found;
}

if (process.argv[1] && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  try {
    const { root, models, host, port } = options(process.argv.slice(2));
    const server = makeServer({ root, models });
    server.on('error', (e) => {
      console.error(
        e.code === 'EADDRINUSE' ? `error: port ${port} is taken: choose another, as in PORT=${port + 1} make demo` : `error: ${e.message}`,
      );
      process.exit(1);
    });
    server.listen(port, host, () => {
      const shown = host.includes(':') ? `[${host}]` : host === '0.0.0.0' ? 'localhost' : host;
      console.log(`\n   fledgling is at  http://${shown}:${server.address().port}/\n   (Ctrl+C stops it)`);
      // Browsers give WebGPU to secure contexts only, and plain http is one on this machine alone.
      if (!['127.0.0.1', 'localhost', '::1', '0.0.0.0', '::'].includes(host))
        console.log('   From other machines WebGPU needs https: put a TLS proxy in front.');
    });
    for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(0));
  } catch (e) {
    console.error(`error: ${e.message}`);
    process.exit(1);
  }
}
