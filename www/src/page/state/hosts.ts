import { hostsInForce } from './engine.ts';
import { flush } from './saver.ts';
import { change } from './settings.ts';

/**
 * Changes the list of model hosts and reloads: the browser takes the policy of a document when it is loaded, and the
 * service worker, which reads the saved settings, puts the new list into it.
 */
export async function allowHosts(hosts: string[]): Promise<void> {
  change({ modelHosts: [...new Set(hosts)] });
  await flush();
  await navigator.serviceWorker?.ready;
  location.reload();
}

/** False where the list that was saved is not the one in force, as on a server without service workers. */
export const enforced = (hosts: string[]): boolean => [...hostsInForce()].sort().join() === [...hosts].sort().join();
