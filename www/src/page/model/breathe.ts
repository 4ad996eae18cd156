/** Long loops on the main thread call this often; it yields to the browser whenever 8 ms have gone by. */
export function breathe(milliseconds = 8): () => Promise<void> | void {
  let since = performance.now();
  return () => {
    if (performance.now() - since < milliseconds) return;
    return new Promise<void>((resolve) => {
      // A message is a macrotask without the 4 ms clamp of nested timers.
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = () => {
        port1.close();
        since = performance.now();
        resolve();
      };
      port2.postMessage(null);
    });
  };
}
