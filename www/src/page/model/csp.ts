// The page's Content-Security-Policy, one definition for the built page's <meta>, the server's header and the service worker.
// A worker is governed by the headers of its own script, so these go on every response, not only on the document.

const CONNECT = "connect-src 'self'";

/** No third party at all; wasm may be compiled, nothing may be eval'ed, no inline script or style. */
export const POLICY = [
  "default-src 'none'",
  "script-src 'self' 'wasm-unsafe-eval'",
  "worker-src 'self'",
  "style-src 'self'",
  "img-src 'self' data: blob:",
  "font-src 'self'",
  "manifest-src 'self'",
  CONNECT,
  "base-uri 'none'",
  "form-action 'none'",
];

/** As a header it may also forbid framing, which a <meta> cannot say. */
export const HEADER_POLICY = [...POLICY, "frame-ancestors 'none'"].join('; ');
export const META_POLICY = POLICY.join('; ');

/** The same policy with model hosts added to connect-src. */
export const withHosts = (policy: string, hosts: string[]): string =>
  hosts.length ? policy.replace(CONNECT, `${CONNECT} ${hosts.join(' ')}`) : policy;

/** Headers beside the policy: isolation for SharedArrayBuffer and exact timers, no referrer, no sniffing. */
export const HEADERS: Record<string, string> = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
};
