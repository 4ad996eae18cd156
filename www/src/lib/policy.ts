// What a Content-Security-Policy has blocked: a request or a script that it forbids fails like a broken network, and only an event says why.
import { FledglingError, why } from './errors.ts';

interface Violation {
  at: number;
  blocked: string;
  directive: string;
}

const violations: Violation[] = [];
/** Milliseconds in which the event follows the failure. */
const SOON = 60;

if (typeof globalThis.addEventListener === 'function') {
  const target: EventTarget = typeof document === 'undefined' ? globalThis : document;
  target.addEventListener('securitypolicyviolation', (event) => {
    const e = event as SecurityPolicyViolationEvent;
    if (e.disposition === 'report') return;
    if (violations.length > 100) violations.splice(0, 50);
    violations.push({ at: performance.now(), blocked: e.blockedURI, directive: e.effectiveDirective });
  });
}

const about = (blocked: string, address: string | undefined): boolean => {
  if (address === undefined || !/^\w+:/.test(blocked)) return true;
  try {
    return new URL(blocked).origin === new URL(address).origin;
  } catch {
    return true;
  }
};

/** The error of what failed at an address since then, where a policy was why. */
export async function violationOf(
  address: string | undefined,
  since: number,
  directives: readonly string[],
): Promise<FledglingError | undefined> {
  const find = (): Violation | undefined =>
    violations.find((v) => v.at >= since - 1 && directives.includes(v.directive) && about(v.blocked, address));
  for (const until = performance.now() + SOON; ; ) {
    const found = find();
    if (found) return blockedBy(address ?? found.blocked, found.directive);
    if (performance.now() > until) return undefined;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

function blockedBy(what: string, directive: string): FledglingError {
  return new FledglingError(
    'content-security-policy',
    `${what}: the page's Content-Security-Policy forbids it; its ${directive} would have to allow it`,
  );
}

/** WebAssembly that a policy forbids is told in the error's own words. */
export function forbidsWasm(e: unknown): FledglingError | undefined {
  const text = why(e);
  if (!/content security policy|unsafe-eval/i.test(text)) return undefined;
  return new FledglingError(
    'content-security-policy',
    "the page's Content-Security-Policy forbids WebAssembly; its script-src would have to allow 'wasm-unsafe-eval'",
    { cause: e },
  );
}
