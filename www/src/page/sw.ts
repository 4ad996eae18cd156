// Service worker of the page. It caches nothing and makes no requests of its own accord; it does one thing: it puts the
// Content-Security-Policy on the document and on worker scripts, with the model hosts that the page's settings allow.
// So the list is enforced by the browser, on any static host, and changing it takes effect with the next load.
import { cleanHosts } from './model/hosts.ts';
import { HEADER_POLICY, HEADERS, META_POLICY, withHosts } from './model/csp.ts';

interface WorkerScope {
  skipWaiting(): Promise<void>;
  clients: { claim(): Promise<void> };
  addEventListener(type: 'install' | 'activate', listen: (e: { waitUntil(p: Promise<unknown>): void }) => void): void;
  addEventListener(type: 'fetch', listen: (e: { request: Request; respondWith(r: Promise<Response>): void }) => void): void;
}
const scope = globalThis as unknown as WorkerScope;

/** Hosts from the page's settings file; anything unreadable means none. */
async function allowedHosts(): Promise<string[]> {
  try {
    const root = await navigator.storage.getDirectory();
    const dir = await root.getDirectoryHandle('fledgling-page');
    const file = await (await dir.getFileHandle('settings.json')).getFile();
    const { modelHosts } = JSON.parse(await file.text()) as { modelHosts?: unknown[] };
    return cleanHosts(modelHosts ?? []);
  } catch {
    return [];
  }
}

async function withPolicy(request: Request): Promise<Response> {
  const response = await fetch(request);
  // An opaque redirect must reach the browser as it is.
  if (response.type === 'opaqueredirect' || response.status === 0) return response;
  const hosts = await allowedHosts();
  const headers = new Headers(response.headers);
  headers.set('Content-Security-Policy', withHosts(HEADER_POLICY, hosts));
  for (const [name, value] of Object.entries(HEADERS)) if (!headers.has(name)) headers.set(name, value);
  let body: BodyInit | null = response.body;
  if (headers.get('Content-Type')?.startsWith('text/html')) {
    // The document's <meta> policy would still forbid the hosts: policies only ever add up.
    body = (await response.text()).replace(META_POLICY, withHosts(META_POLICY, hosts));
    headers.delete('Content-Length');
  }
  // fetch() has already undone any transfer encoding.
  headers.delete('Content-Encoding');
  return new Response(body, { status: response.status, statusText: response.statusText, headers });
}

scope.addEventListener('install', (e) => e.waitUntil(scope.skipWaiting()));
scope.addEventListener('activate', (e) => e.waitUntil(scope.clients.claim()));
scope.addEventListener('fetch', (e) => {
  const { request } = e;
  const governed = request.mode === 'navigate' || request.destination === 'worker' || request.destination === 'sharedworker';
  if (governed && new URL(request.url).origin === location.origin) e.respondWith(withPolicy(request));
});
