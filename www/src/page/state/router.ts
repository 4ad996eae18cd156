import { signal } from '@preact/signals';

export const ROUTES = ['chat', 'learn', 'feedback', 'adapters', 'model', 'settings', 'bench'] as const;
export type Route = (typeof ROUTES)[number];

const read = (): Route => {
  const name = location.hash.replace(/^#\/?/, '').split('/')[0] as Route;
  return ROUTES.includes(name) ? name : 'chat';
};

export const route = signal<Route>(read());
/** Whether the present navigation is the page's own, as after a load, and not a link that somebody followed. */
export let byItself = false;
/** Counts navigations, so that a view can move the focus to its heading; 0 = the first view, which leaves it alone. */
export const navigations = signal(0);

addEventListener('hashchange', () => {
  const to = read();
  if (to === route.value) return;
  route.value = to;
  navigations.value++;
  byItself = false;
});

export function go(to: Route): void {
  if (read() === to) return;
  byItself = true;
  location.hash = `#/${to}`;
}
