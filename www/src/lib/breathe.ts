// Lets the event loop turn once. On the processor a step ends before its promise is awaited, and a Worker that only ever awaits such promises never
// hears that it should stop. A timer would cost up to 4 ms, a message costs microseconds.
const { port1, port2 } = new MessageChannel();
const waiting: (() => void)[] = [];
port1.onmessage = () => waiting.shift()?.();

/** Resolves after every message that has arrived by now has been handled. */
export function breathe(): Promise<void> {
  return new Promise((resolve) => {
    waiting.push(resolve);
    port2.postMessage(0);
  });
}
