/** Resolves in a task of its own: a message has none of the 4 ms that nested timers wait. */
export const nextTask = (): Promise<void> =>
  new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });

/** Long loops on the main thread call this often; it yields to the browser whenever 8 ms have gone by. */
export function breathe(milliseconds = 8): () => Promise<void> | void {
  let since = performance.now();
  return () => {
    if (performance.now() - since < milliseconds) return;
    return nextTask().then(() => void (since = performance.now()));
  };
}

let queue: Promise<void> = Promise.resolve();

/** Runs small pieces of work (such as drawing one chart of six) each in its own task, in order. */
export function inTurn(work: () => void): void {
  queue = queue.then(nextTask).then(work, work);
}
