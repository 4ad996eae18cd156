// One error class for everything a file, a user, a network or a device can cause. The `code` is stable; the
// message says what was wrong, where, and what was expected.

/** The codes that the package itself raises; the engine adds its own (any kebab-case string can occur). */
export type ErrorCode =
  | 'webgpu-unavailable'
  | 'device-lost'
  | 'out-of-memory'
  | 'gpu'
  | 'bad-file'
  | 'unsupported-architecture'
  | 'hash-mismatch'
  | 'file-changed'
  | 'network'
  | 'quota-exceeded'
  | 'context-overflow'
  | 'empty-dataset'
  | 'bad-row'
  | 'no-pairs'
  | 'bad-reward'
  | 'bad-adapter'
  | 'bad-config'
  | 'bad-template'
  | 'bad-shape'
  | 'not-finite'
  | 'aborted'
  | 'busy'
  | 'disposed'
  | 'worker-failed'
  | 'callback-failed'
  | 'content-security-policy'
  | 'fewer-threads'
  | 'training-note'
  | 'io'
  | 'internal'
  | (string & {});

/** Every error of the package. Compare `code`, show `message`. */
export class FledglingError extends Error {
  /** Stable, kebab-case. */
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'FledglingError';
    this.code = code;
  }
}

/** What crosses the boundary to the Worker (a class instance would lose its prototype and its code). */
export interface WireError {
  code: string;
  message: string;
  stack?: string | undefined;
}

export function toWire(error: unknown): WireError {
  const e = toFledglingError(error);
  return { code: e.code, message: e.message, stack: e.stack };
}

export function fromWire(wire: WireError): FledglingError {
  const e = new FledglingError(wire.code, wire.message);
  if (wire.stack) e.stack = wire.stack;
  return e;
}

/** Exceptions of the platform with a meaning here. What could not be sent to the Worker is an argument. */
const NAMED: Readonly<Record<string, ErrorCode>> = {
  AbortError: 'aborted',
  QuotaExceededError: 'quota-exceeded',
  DataCloneError: 'bad-config',
};

/** Anything thrown, as a FledglingError: the engine's own codes are kept, the platform's exceptions are named. */
export function toFledglingError(error: unknown, fallback: ErrorCode = 'internal'): FledglingError {
  if (error instanceof FledglingError) return error;
  if (error instanceof DOMException) {
    const code = NAMED[error.name] ?? fallback;
    return new FledglingError(code, error.message || error.name, { cause: error });
  }
  if (error instanceof Error) {
    const code = (error as { code?: unknown }).code;
    if (typeof code === 'string' && /^[a-z]+(-[a-z]+)*$/.test(code)) return new FledglingError(code, error.message, { cause: error });
    if (typeof WebAssembly !== 'undefined' && error instanceof WebAssembly.RuntimeError) {
      // A panic poisons the instance: nothing after it can be trusted, so the message says what to do.
      return new FledglingError('internal', `the engine stopped (${error.message}); load the model again`, { cause: error });
    }
    return new FledglingError(fallback, error.message, { cause: error });
  }
  let text = 'something was thrown that cannot be read';
  try {
    text = String(error);
  } catch {
    // an object without a text
  }
  return new FledglingError(fallback, text);
}

/** What something thrown says. */
export const why = (e: unknown): string => (e instanceof Error ? e.message : String(e));

/** The error of a call that its AbortSignal ended. */
export function aborted(what: string): FledglingError {
  return new FledglingError('aborted', `${what} was aborted`);
}
