// Writing changes to OPFS: a short wait gathers edits, files are written one after another, and what could not be
// written stays in memory and is tried again, so that a full disk loses nothing.
import { signal } from '@preact/signals';
import { describe } from '../model/errors.ts';
import { removeEntry, writeFile, type Bytes } from '../storage/opfs.ts';
import { clearError, report } from './notices.ts';

export type SaveState = 'saved' | 'saving' | 'failed';
export const saveState = signal<SaveState>('saved');

/** Produces the file's content at the moment of writing; null removes the file. */
type Produce = () => Bytes | null;

const pending = new Map<string, Produce>();
let timer: ReturnType<typeof setTimeout> | undefined;
let writing: Promise<void> | null = null;

/** Other tabs of the page hear which file changed and read it again. */
const channel = new BroadcastChannel('fledgling-page');
export function onChangedElsewhere(listen: (path: string) => void): void {
  channel.addEventListener('message', (e: MessageEvent<string>) => listen(e.data));
}

export function save(path: string, produce: Produce): void {
  pending.set(path, produce);
  saveState.value = 'saving';
  clearTimeout(timer);
  timer = setTimeout(() => void flush(), 200);
}

async function writeAll(): Promise<void> {
  for (const [path, produce] of [...pending]) {
    try {
      const data = produce();
      if (data === null) await removeEntry(path);
      else await writeFile(path, data);
      // A newer version may have been queued while this one was being written.
      if (pending.get(path) === produce) pending.delete(path);
      channel.postMessage(path);
    } catch (e) {
      saveState.value = 'failed';
      const code = describe(e).code;
      report(e, [{ label: 'Save again', run: () => void flush() }]);
      // Without room nothing else will fit either; other failures may concern one file only.
      if (code === 'quota-exceeded' || code === 'storage-unavailable') return;
    }
  }
  if (pending.size === 0) {
    saveState.value = 'saved';
    clearError('quota-exceeded');
  }
}

const hasFailed = (): boolean => saveState.value === 'failed';

/** Writes what is waiting; resolves when it is on disk or has failed. */
export async function flush(): Promise<void> {
  clearTimeout(timer);
  while (writing) await writing;
  if (pending.size === 0) return;
  saveState.value = 'saving';
  writing = writeAll().finally(() => (writing = null));
  await writing;
  if (pending.size > 0 && !hasFailed()) await flush();
}

addEventListener('visibilitychange', () => {
  if (document.visibilityState === 'hidden') void flush();
});
// Leaving with unsaved changes asks first, which also gives the write the time it needs.
addEventListener('beforeunload', (e) => {
  if (pending.size === 0) return;
  void flush();
  if (hasFailed()) e.preventDefault();
});
