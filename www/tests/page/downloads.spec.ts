// Servers that do what servers do: break off, fall silent, send a byte at a time, ask to wait, change files, say untrue things of them.
// First of all: see there.
import { fakeStorage } from './opfs.ts';

import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from '@playwright/test';
import { CacheEntry } from '../../src/lib/cache.ts';
import { feed, type Fed } from '../../src/lib/loader.ts';
import type { FledglingError } from '../../src/lib/errors.ts';
import type { Progress } from '../../src/lib/types.ts';

const noise = (seed: number, size = 400_000): Buffer => {
  const out = Buffer.alloc(size);
  let x = seed;
  for (let i = 0; i < size; i++) out[i] = (x = (Math.imul(x, 1664525) + 1013904223) >>> 0) >>> 24;
  return out;
};
const A = noise(1);
const B = noise(2);
const sha = (b: Buffer): string => createHash('sha256').update(b).digest('hex');

type Answer = (request: IncomingMessage, response: ServerResponse, nth: number) => void;

interface Serving {
  url: string;
  seen: { method: string; range: string | undefined }[];
  close(): void;
}

async function serve(answer: Answer): Promise<Serving> {
  const seen: Serving['seen'] = [];
  const server: Server = createServer((request, response) => {
    seen.push({ method: request.method!, range: request.headers.range });
    answer(request, response, seen.filter((s) => s.method === 'GET').length);
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/model.gguf`;
  return { url, seen, close: () => (server.closeAllConnections(), server.close()) };
}

interface Some {
  etag?: string | null;
  /** Breaks off or falls silent behind so many bytes. */
  cut?: number;
  silent?: boolean;
  ranges?: boolean;
  length?: boolean;
  headers?: Record<string, string>;
}

/** Sends a file as asked, with faults. */
function send(file: Buffer, request: IncomingMessage, response: ServerResponse, o: Some = {}): void {
  const start = o.ranges === false ? 0 : Number(/^bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
  const headers: Record<string, string | number> = { ...o.headers };
  if (o.etag !== null) headers['ETag'] = o.etag ?? '"one"';
  if (o.length !== false) headers['Content-Length'] = file.length - start;
  if (start > 0) headers['Content-Range'] = `bytes ${start}-${file.length - 1}/${file.length}`;
  response.writeHead(start > 0 ? 206 : 200, headers);
  if (request.method === 'HEAD') return void response.end();
  if (o.cut === undefined) return void response.end(file.subarray(start));
  response.write(file.subarray(start, o.cut), () => !o.silent && setTimeout(() => response.destroy(), 60));
}

interface Got {
  fed?: Fed | undefined;
  bytes: Buffer;
  error?: FledglingError;
  notes: string[];
  kept: { complete: boolean; bytes: number } | null;
}

async function load(url: string, o: { expected?: string; stallMs?: number; cache?: boolean } = {}): Promise<Got> {
  const pieces: Buffer[] = [];
  const notes: string[] = [];
  const got: Partial<Got> = {};
  const hasher = () => {
    const h = createHash('sha256');
    return { update: (c: Uint8Array) => void h.update(c), digest: () => h.digest('hex'), free: () => {} };
  };
  try {
    got.fed = await feed(
      { name: 'model.gguf', address: url, last: true },
      {
        sink: { begin: () => {}, push: async (c) => void pieces.push(Buffer.from(c)) },
        signal: new AbortController().signal,
        cache: o.cache ?? true,
        expected: o.expected,
        offline: false,
        hasher,
        stallMs: o.stallMs ?? 400,
        progress: (p: Progress) => p.note && notes.push(p.note),
        warn: () => {},
      },
    );
  } catch (e) {
    got.error = e as FledglingError;
  }
  const entry = await CacheEntry.open(url);
  const kept = entry.meta ? { complete: entry.meta.complete, bytes: (await entry.data()).size } : null;
  return { ...got, bytes: Buffer.concat(pieces), notes, kept };
}

test.beforeEach(() => fakeStorage());

/** One server for the whole test. */
async function against(answer: Answer, body: (s: Serving) => Promise<void>): Promise<void> {
  const serving = await serve(answer);
  try {
    await body(serving);
  } finally {
    serving.close();
  }
}

test('a body that stops is asked for again by range, and said', () =>
  against(
    (q, r, nth) => send(A, q, r, nth === 1 ? { cut: 150_000, silent: true } : {}),
    async ({ url, seen }) => {
      const got = await load(url);
      expect(got.error).toBeUndefined();
      expect(got.bytes.equals(A)).toBe(true);
      expect(got.kept).toEqual({ complete: true, bytes: A.length });
      expect(got.notes[0]).toMatch(/^(only \d+ bytes in 400 ms|nothing came for 400 ms); trying again \(attempt 2 of 4\)$/);
      // The end of what is there comes once more, to be compared.
      expect(seen[1]!.range).toBe(`bytes=${150_000 - 16_384}-`);
    },
  ));

test('a server that never answers, or a byte at a time, does not load for ever', async () => {
  await against(
    () => {},
    async ({ url, seen }) => {
      const got = await load(url, { stallMs: 150 });
      expect(got.error).toMatchObject({ code: 'network' });
      expect(got.error!.message).toContain('no answer for 0.15 s');
      expect(seen.filter((s) => s.method === 'GET')).toHaveLength(4);
      expect(got.notes).toHaveLength(3);
    },
  );
  await against(
    (_, r) => {
      r.writeHead(200, { 'Content-Length': 1000, ETag: '"x"' });
      const timer = setInterval(() => r.write('x'), 20);
      r.on('close', () => clearInterval(timer));
    },
    async ({ url }) => {
      const got = await load(url, { stallMs: 200 });
      expect(got.error).toMatchObject({ code: 'network' });
      expect(got.error!.message).toMatch(/only \d+ bytes in 200 ms/);
    },
  );
});

test('Retry-After is heeded: seconds, a date, and more than anybody waits', async () => {
  for (const [status, header] of [
    [429, () => '1'],
    [503, () => new Date(Date.now() + 2000).toUTCString()],
  ] as const)
    await against(
      (q, r, nth) => (nth === 1 ? void r.writeHead(status, { 'Retry-After': header() }).end() : send(A, q, r)),
      async ({ url }) => {
        const begin = Date.now();
        const got = await load(url);
        expect(got.bytes.equals(A)).toBe(true);
        expect(Date.now() - begin).toBeGreaterThan(900);
        expect(got.notes[0]).toContain(`HTTP ${status}`);
      },
    );
  await against(
    (_, r) => void r.writeHead(503, { 'Retry-After': '86400' }).end(),
    async ({ url }) => {
      const got = await load(url);
      expect(got.error!.message).toContain('the server asks to come back in 86400 s');
    },
  );
});

test('without a validator what comes later is compared with the whole of what came before', async () => {
  await against(
    (q, r, nth) => send(A, q, r, nth === 1 ? { etag: null, cut: 200_000 } : { etag: null }),
    async ({ url, seen }) => {
      const got = await load(url);
      expect(got.bytes.equals(A)).toBe(true);
      expect(seen[1]!.range).toBeUndefined();
      expect(got.kept).toMatchObject({ complete: true });
    },
  );
  // Another file of the same length, and one that differs in a single early byte.
  const early = Buffer.from(A);
  early[10]! ^= 1;
  for (const other of [B, early])
    await against(
      (q, r, nth) => send(nth === 1 ? A : other, q, r, nth === 1 ? { etag: null, cut: 200_000 } : { etag: null }),
      async ({ url }) => {
        const got = await load(url);
        expect(got.error).toMatchObject({ code: 'file-changed' });
        expect(got.kept).toBeNull();
      },
    );
});

test('the same ETag over changed bytes: nothing of it is kept, and the next load has the new file', () =>
  against(
    (q, r, nth) => send(nth === 1 ? A : B, q, r, nth === 1 ? { cut: 200_000 } : {}),
    async ({ url }) => {
      const got = await load(url);
      expect(got.error).toMatchObject({ code: 'file-changed' });
      expect(got.kept).toBeNull();
      const again = await load(url);
      expect(again.fed!.sha256).toBe(sha(B));
    },
  ));

test('half of a file from an earlier visit, and the server has another under the same ETag: from its beginning', async () => {
  let file = A;
  await against(
    (q, r, nth) => send(file, q, r, nth <= 4 ? { cut: 200_000 } : {}),
    async ({ url }) => {
      const first = await load(url);
      expect(first.error).toMatchObject({ code: 'network' });
      expect(first.kept).toEqual({ complete: false, bytes: 200_000 });
      file = B;
      const got = await load(url);
      expect(got.fed!.sha256).toBe(sha(B));
      expect(got.bytes.equals(B)).toBe(true);
    },
  );
});

test('the same half goes on where it stopped', async () => {
  await against(
    (q, r, nth) => send(A, q, r, nth <= 4 ? { cut: 200_000 } : {}),
    async ({ url, seen }) => {
      await load(url);
      const got = await load(url);
      expect(got.bytes.equals(A)).toBe(true);
      expect(seen.at(-1)!.range).toBe(`bytes=${200_000 - 16_384}-`);
    },
  );
});

test('a hash and a length that a hub gives are checked', async () => {
  await against(
    (q, r) => send(A, q, r, { headers: { 'X-Linked-ETag': `"${sha(A)}"`, 'X-Linked-Size': String(A.length) } }),
    async ({ url }) => expect((await load(url)).kept).toMatchObject({ complete: true }),
  );
  await against(
    (q, r) => send(A, q, r, { headers: { 'X-Linked-ETag': `"${sha(B)}"` } }),
    async ({ url }) => {
      const got = await load(url);
      expect(got.error).toMatchObject({ code: 'hash-mismatch' });
      expect(got.kept).toBeNull();
    },
  );
  await against(
    (q, r) => send(A, q, r, { headers: { 'X-Linked-Size': '7' } }),
    async ({ url }) => expect((await load(url)).error!.message).toContain('says that the file has 7'),
  );
});

test('bytes behind the end are refused', () =>
  against(
    (q, r, nth) => {
      if (nth === 1) return send(A, q, r, { cut: 300_000 });
      // The rest and more of it, without a length.
      const start = Number(/^bytes=(\d+)-/.exec(q.headers.range!)![1]);
      r.writeHead(206, { ETag: '"one"', 'Content-Range': `bytes ${start}-${A.length - 1}/${A.length}` });
      r.end(Buffer.concat([A.subarray(start), B]));
    },
    async ({ url }) => {
      const got = await load(url);
      expect(got.error).toMatchObject({ code: 'network' });
      expect(got.error!.message).toContain(`more bytes came than the ${A.length}`);
      expect(got.kept).toBeNull();
    },
  ));

test('a length that is not known, ranges that are not there, and an ETag that changes', async () => {
  await against(
    (q, r) => send(A, q, r, { length: false }),
    async ({ url }) => expect((await load(url)).bytes.equals(A)).toBe(true),
  );
  await against(
    (q, r, nth) => send(A, q, r, { ranges: false, ...(nth === 1 ? { cut: 100_000 } : {}) }),
    async ({ url }) => expect((await load(url)).bytes.equals(A)).toBe(true),
  );
  await against(
    (q, r, nth) => send(A, q, r, { etag: `"${nth}"`, ...(nth === 1 ? { cut: 100_000 } : {}) }),
    async ({ url }) => expect((await load(url)).error).toMatchObject({ code: 'file-changed' }),
  );
});
