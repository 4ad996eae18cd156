// Reads what earlier visits left, in an order that lets the page appear at once, and starts what runs by itself.
import { signal } from '@preact/signals';
import { RUN_FILE } from '../storage/runs.ts';
import { adaptersChanged, ADAPTERS_CHANGED, loadAdapters } from './adapters.ts';
import { draft } from './ask.ts';
import { chatChanged, loadChats } from './chats.ts';
import { fetchOffers, load, loadError, model, probe, refreshKept, unloaded } from './engine.ts';
import { FEEDBACK_FILE, feedbackChanged, heardOfRows, loadFeedback } from './feedback.ts';
import { report, toast } from './notices.ts';
import { ALL_DELETED, forgetAll, onChangedElsewhere } from './saver.ts';
import { loadSettings, settings, SETTINGS_FILE, settingsChanged } from './settings.ts';
import { reconcile } from './reconcile.ts';
import { goOn, loadRun, runChanged } from './training.ts';
import { t } from '../i18n/language.ts';

/** False until saved work has been read; until then nothing may be written over it. */
export const ready = signal(false);

/** The wish to load something after the reload that a change of allowed hosts needs. */
const WISH = 'fledgling-load-after-reload';
export const loadAfterReload = (source: string, name: string): void => sessionStorage.setItem(WISH, JSON.stringify({ source, name }));

function wishOf(text: string | null): { source: string; name: string } | null {
  try {
    const wish = JSON.parse(text ?? '') as { source?: unknown; name?: unknown } | null;
    return typeof wish?.source === 'string' && typeof wish.name === 'string' ? { source: wish.source, name: wish.name } : null;
  } catch {
    return null;
  }
}

async function registerServiceWorker(): Promise<void> {
  // In development the server sends the policy itself.
  if (!import.meta.env.PROD || !('serviceWorker' in navigator)) return;
  await navigator.serviceWorker
    .register(new URL('sw.js', document.baseURI))
    .catch((e: unknown) => console.warn('No service worker: model hosts cannot be allowed on this server.', e));
}

export async function boot(): Promise<void> {
  void registerServiceWorker();
  const probing = probe();
  const chats = async (): Promise<void> => {
    const unanswered = await loadChats();
    // Asked of a tab that was closed before the answer began.
    if (unanswered !== null && draft.value === '') draft.value = unanswered;
  };
  for (const read of [loadSettings, chats, loadFeedback, reconcile, loadAdapters, loadRun, refreshKept])
    await read().catch((e: unknown) => report(e));
  ready.value = true;
  let turn: Promise<void> = Promise.resolve();
  let adapters: Promise<void> = Promise.resolve();
  onChangedElsewhere((path) => {
    if (path === ALL_DELETED) {
      forgetAll();
      return location.reload();
    }
    if (heardOfRows(path)) return;
    const again =
      path === SETTINGS_FILE
        ? settingsChanged
        : path === FEEDBACK_FILE
          ? feedbackChanged
          : path === RUN_FILE
            ? runChanged
            : path.startsWith('chats/')
              ? () => chatChanged(path)
              : null;
    // These wait until the model has nothing to do.
    if (path === ADAPTERS_CHANGED) adapters = adapters.then(adaptersChanged).catch((e: unknown) => void report(e));
    // One after another, in the order in which they came.
    if (again) turn = turn.then(again).catch((e: unknown) => void report(e));
  });
  await Promise.all([probing, fetchOffers()]);
  const wish = sessionStorage.getItem(WISH);
  sessionStorage.removeItem(WISH);
  const { lastModel, openLast } = settings.value;
  const wished = wishOf(wish);
  const next = wished ?? (openLast ? lastModel : null);
  if (next && !model.value && !(await load(next.source, next.name)) && wished && lastModel) {
    // The reload has taken the model in use away for one that did not come: back it comes, and what went wrong stays said.
    const [error, was] = [loadError.value, unloaded.value];
    if (await load(lastModel.source, lastModel.name)) {
      toast(t('{name} could not be loaded; {was} is in use again', { name: wished.name, was: lastModel.name }));
      loadError.value = error;
      unloaded.value = was;
    }
  }
  await goOn();
}
