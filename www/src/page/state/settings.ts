import { signal } from '@preact/signals';
import { merge } from '../model/merge.ts';
import type { LearnArgs, Method, Settings } from '../model/types.ts';
import { fit } from '../schema/notes.ts';
import { SETTINGS } from '../schema/stored.ts';
import { readFile } from '../storage/opfs.ts';
import { alone, changed, know } from '../storage/shared.ts';
import { fitFile, storedText } from '../storage/stored.ts';
import { report } from './notices.ts';
import { dirty, onStorageCleared, save } from './saver.ts';

export const SETTINGS_FILE = 'settings.json';

export const DEFAULTS: Settings = fit(SETTINGS, {}).value!;
export const LEARN_DEFAULTS = DEFAULTS.learn;

export const settings = signal<Settings>(DEFAULTS);

/** As they were last known to be on disk. */
let base: Settings | undefined;

/** Takes over what another tab has changed; what this one has changed since then stays. */
async function take(file: File | null): Promise<void> {
  const { value: theirs, trouble } = await fitFile(SETTINGS, SETTINGS_FILE, file);
  know(SETTINGS_FILE, file);
  if (theirs) {
    settings.value = base ? merge(base, settings.value, theirs) : theirs;
    base = theirs;
  }
  if (!trouble) return;
  report(trouble, [], SETTINGS_FILE);
  change({});
}

export const loadSettings = (): Promise<void> => alone(SETTINGS_FILE, async () => take(await readFile(SETTINGS_FILE)));

/** Another tab wrote them. */
export async function settingsChanged(): Promise<void> {
  if (dirty(SETTINGS_FILE)) return;
  await alone(SETTINGS_FILE, async () => {
    const file = await changed(SETTINGS_FILE);
    if (file !== undefined) await take(file);
  });
}

export function change(part: Partial<Settings>): void {
  settings.value = { ...settings.value, ...part };
  let written = settings.value;
  save(
    SETTINGS_FILE,
    async () => {
      const file = await changed(SETTINGS_FILE);
      if (file !== undefined) await take(file);
      written = settings.value;
      return storedText(SETTINGS, written, 1);
    },
    () => void (base = written),
  );
}

export function changeLearn(method: Method, part: Partial<LearnArgs>): void {
  const { learn } = settings.value;
  change({ learn: { ...learn, [method]: { ...learn[method], ...part } } });
}

onStorageCleared(() => {
  base = undefined;
  change({});
});
