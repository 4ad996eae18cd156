// Starts a Worker from an address, whatever its origin.

export function originOf(address: string): string {
  try {
    return new URL(address).origin;
  } catch {
    return 'null';
  }
}

/** A Worker may not be started from another origin, but it may import a module from there. */
export function started(address: string, name: string): Worker {
  const foreign = /^https?:/.test(address) && originOf(address) !== globalThis.location?.origin;
  if (!foreign) return new Worker(address, { type: 'module', name });
  const shim = URL.createObjectURL(new Blob([`import ${JSON.stringify(address)};`], { type: 'text/javascript' }));
  const worker = new Worker(shim, { type: 'module', name });
  setTimeout(() => URL.revokeObjectURL(shim), 60_000);
  return worker;
}
