// Lets the event loop turn once. On the processor a step ends before its promise is awaited, and a Worker that only ever awaits such promises never
// hears that it should stop. A timer would cost up to 4 ms, a message costs microseconds.
const waiting: (() => void)[] = [];
let port: MessagePort | undefined;

function opened(): MessagePort {
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => waiting.shift()?.();
  return port2;
}

declare const setImmediate: ((body: () => void) => unknown) | undefined;

/** Resolves after every message that has arrived by now has been handled. */
export function breathe(): Promise<void> {
  return new Promise((resolve) => {
    // In Node a port that listens keeps the process from ending.
    if (typeof setImmediate === 'function') return void setImmediate(resolve);
    waiting.push(resolve);
    port ??= opened();
    port.postMessage(0);
  });
}
