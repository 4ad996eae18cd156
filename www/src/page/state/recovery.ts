// After a lost device or a crashed Worker everything comes back by itself, up to three times in ten minutes; then the person chooses.
import { effect, signal } from '@preact/signals';
import type { Model } from '../api.ts';
import { describe, isAbort, type Described } from '../model/errors.ts';
import { activity, gone, load, loading, model, reopen, whenGone, type InUse } from './engine.ts';
import { announce, clearError, report, toast, type Action } from './notices.ts';
import { go } from './router.ts';
import { change } from './settings.ts';
import { t } from '../i18n/language.ts';

const TRIES = 3;
const WINDOW = 10 * 60_000;
/** How often an idle model is asked whether it is still there. */
const LOOK = 2000;
/** Before the second and third attempt to load, in milliseconds. */
const REST = 500;

/** What is being brought back, and at which attempt; null = nothing. */
export const recovering = signal<{ name: string; attempt: number; why: Described } | null>(null);

/** When it was tried. */
let tried: number[] = [];
let coming: Promise<boolean> | null = null;

/** Resolves when the model is back (true), or will not come back by itself. */
export const recovered = (): Promise<boolean> => coming ?? Promise.resolve(model.value !== null);

/** Loads on the processor from now on. */
export async function useProcessor(was: InUse): Promise<void> {
  change({ device: 'cpu' });
  if (await load(was.source, was.name)) toast(t('It computes on the processor now; Settings can change that'));
}

export const again = (was: InUse): Action[] => [
  { label: t('Load again'), run: () => void load(was.source, was.name) },
  { label: t('Use the processor'), run: () => void useProcessor(was) },
];

/** It will not come back by itself: what there is to choose. */
function choose(error: unknown, was: InUse): false {
  report(error, [...again(was), { label: t('Another model'), run: () => go('model') }], 'gone');
  return false;
}

async function recover(first: unknown, was: InUse): Promise<boolean> {
  let error = first;
  const why = describe(first);
  try {
    for (;;) {
      const now = Date.now();
      tried = tried.filter((t) => now - t < WINDOW);
      if (tried.length >= TRIES) return choose(error, was);
      tried.push(now);
      const attempt = tried.length;
      recovering.value = { name: was.name, attempt, why };
      announce(t('{title}. {name} is being loaded again', { title: why.title, name: was.name }));
      try {
        await reopen(was);
        toast(t('{name} is back', { name: was.name }));
        return true;
      } catch (e) {
        if (isAbort(e)) {
          toast(t('Loading stopped'));
          return false;
        }
        error = e;
        // Also where there is no adapter: a GPU process that has crashed takes a moment to start again.
        if (attempt < TRIES) await new Promise((done) => setTimeout(done, REST * 2 ** attempt));
      }
    }
  } finally {
    recovering.value = null;
  }
}

whenGone((error, was) => {
  if (!was) return void report(error, [], 'gone');
  clearError('gone');
  coming = recover(error, was).finally(() => (coming = null));
});

/**
 * A device of the page's own that does nothing but be lost together with the engine's: whatever ends one, such as a crash of the browser's
 * GPU process, ends both, and the engine would notice it at the next question only.
 */
async function watch(engine: Model): Promise<void> {
  const device = await navigator.gpu.requestAdapter().then((a) => a?.requestDevice());
  if (!device) return;
  if (engine !== model.value) return device.destroy();
  const stop = effect(() => {
    if (model.value !== engine) device.destroy();
  });
  const { reason } = await device.lost;
  stop();
  // One that is at work says it itself.
  if (reason === 'destroyed' || engine !== model.value || activity.value !== 'idle') return;
  try {
    await engine.score([0, 0]);
    await watch(engine);
  } catch (e) {
    gone(e, engine);
  }
}
effect(() => {
  const engine = model.value;
  if (engine?.info.adapter.device === 'gpu' && 'gpu' in navigator) void watch(engine).catch(() => {});
});

/** An engine that dies while nobody asks anything says nothing by itself. */
setInterval(() => {
  const engine = model.value;
  if (!engine || activity.value !== 'idle' || loading.value || document.hidden) return;
  engine.memory().catch((e: unknown) => {
    if (engine === model.value) gone(e);
  });
}, LOOK);
