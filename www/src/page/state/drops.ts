// Files dropped anywhere in the window. The view in sight takes them where it can; others go to the view that they are for; none makes the
// browser leave the page.
import { signal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { cut, PageError } from '../model/errors.ts';
import { dropped } from '../model/modelFiles.ts';
import { report } from './notices.ts';
import { go, route, type Route } from './router.ts';
import { t } from '../i18n/language.ts';

export interface Dropped {
  files: File[];
  /** Name of the folder that was dropped. */
  folder?: string;
}
type Taker = (d: Dropped) => void;

/** True while files are held over the window. */
export const dragging = signal(false);

const takers = new Map<Route, Taker>();
/** What waits for a view that is about to be shown. */
let waiting: { to: Route; what: Dropped } | null = null;

/** Which view files are for, by their names; null where the names say nothing. */
export function viewFor({ files, folder }: Dropped): Route | null {
  const names = files.map((f) => f.name.toLowerCase());
  const any = (pattern: RegExp): boolean => names.some((n) => pattern.test(n));
  if (any(/^adapter_(config\.json|model\.safetensors)$/) || any(/\.zip$/)) return 'adapters';
  if (folder !== undefined || any(/\.(gguf|safetensors)$/)) return 'model';
  if (any(/\.(jsonl|ndjson|csv|tsv)$/)) return 'feedback';
  return null;
}

/** A view takes what is dropped while it is in sight, and what was dropped elsewhere and is for it. */
export function useDrops(to: Route, take: Taker): void {
  const latest = useRef(take);
  latest.current = take;
  useEffect(() => {
    const mine: Taker = (d) => latest.current(d);
    takers.set(to, mine);
    const kept = waiting;
    waiting = null;
    if (kept?.to === to) mine(kept.what);
    return () => void (takers.get(to) === mine && takers.delete(to));
  }, []);
}

function hand(what: Dropped): void {
  const to = viewFor(what) ?? (takers.has(route.value) ? route.value : null);
  if (to === null) {
    const names = what.files.map((f) => f.name).join(', ');
    return void report(
      new PageError(
        'unknown-file',
        t('{names}: models are .gguf files or folders with model.safetensors, datasets .jsonl, .json, .csv or .tsv, adapters .zip.', {
          names: cut(names, 200) || t('What was dropped'),
        }),
      ),
    );
  }
  const take = takers.get(to);
  if (to === route.value && take) take(what);
  else {
    waiting = { to, what };
    go(to);
  }
}

const hasFiles = (e: DragEvent): boolean => e.dataTransfer?.types.includes('Files') ?? false;

export function watchDrops(): void {
  addEventListener('dragover', (e) => {
    if (!hasFiles(e)) return;
    e.preventDefault();
    dragging.value = true;
  });
  // Nothing comes after the pointer has left the window.
  addEventListener('dragleave', (e) => void (e.relatedTarget === null && (dragging.value = false)));
  addEventListener('drop', (e) => {
    dragging.value = false;
    if (!hasFiles(e) || !e.dataTransfer) return;
    e.preventDefault();
    // A dialog asks something of the person first.
    if (document.querySelector('dialog[open]')) return;
    void dropped(e.dataTransfer).then(hand, (error: unknown) => void report(error));
  });
}
