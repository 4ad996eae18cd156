// Which hosts a page may fetch models from. Shared by the page and its service worker, which writes them into
// connect-src of the Content-Security-Policy, so that the browser itself enforces the list.

/** A CSP host source this page accepts: https everywhere, http only for this machine; a leading *. stands for subdomains. */
const SOURCE = /^(https:\/\/(\*\.)?([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z0-9-]{2,}|http:\/\/(localhost|127\.0\.0\.1))(:\d{1,5})?$/;

/** Hosts that serve many open models, offered as one click and off until then. The second carries the files themselves. */
export const HUGGING_FACE = ['https://huggingface.co', 'https://*.hf.co'];

/** Hosts of which one hands downloads on to the others. */
const TOGETHER = [HUGGING_FACE];

/** What has to be allowed for files from an origin: the origin, and the hosts that it is known to hand downloads on to. */
export function neededFor(origin: string): string[] {
  const group = TOGETHER.find((hosts) => covers(hosts, new URL(origin)));
  return group ?? [origin];
}

/** What a person typed, as a host source; null when it is none. A whole address gives its origin. */
export function hostSource(typed: string): string | null {
  let text = typed.trim().toLowerCase();
  if (text === '') return null;
  if (!text.includes('://')) text = `https://${text}`;
  const match = /^(https?:\/\/[^/?#]+)/.exec(text);
  return match?.[1] && SOURCE.test(match[1]) ? match[1] : null;
}

/** Keeps what is well-formed; a damaged settings file must not be able to loosen the policy. */
export const cleanHosts = (hosts: unknown[]): string[] =>
  [...new Set(hosts.filter((h): h is string => typeof h === 'string' && SOURCE.test(h)))].slice(0, 32);

/** Whether a list of host sources covers an address, by the rules of CSP. */
export function covers(hosts: string[], url: URL): boolean {
  return hosts.some((h) => {
    const wild = h.includes('://*.');
    const source = new URL(h.replace('*.', ''));
    if (source.protocol !== url.protocol || source.port !== url.port) return false;
    return wild ? url.hostname.endsWith(`.${source.hostname}`) : url.hostname === source.hostname;
  });
}
