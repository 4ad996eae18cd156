// Starts a Worker from an address, whatever its origin.

/** Whether a script of the web has another origin than this page. */
export function isForeign(address: string): boolean {
  return /^https?:/.test(address) && new URL(address).origin !== globalThis.location?.origin;
}

/** A Worker may not be started from another origin, but it may import a script from there. */
export function started(address: string, options: WorkerOptions): Worker {
  const type = options.type ?? ('type' in options ? 'classic' : 'module');
  if (!isForeign(address)) return new Worker(address, { ...options, type });
  const text = JSON.stringify(address);
  const shim = URL.createObjectURL(
    new Blob([type === 'module' ? `import ${text};` : `importScripts(${text});`], { type: 'text/javascript' }),
  );
  const worker = new Worker(shim, { ...options, type });
  setTimeout(() => URL.revokeObjectURL(shim), 60_000);
  return worker;
}
