// Writing changes to OPFS: a short wait gathers edits, files are written one after another, and what could not be
// written stays in memory and is tried again, so that a full disk loses nothing.
import { signal } from '@preact/signals';
import { describe, PageError } from '../model/errors.ts';
import { removeEntry, writeFile, type Bytes } from '../storage/opfs.ts';
import { allGone, alone, forgetSeen, knowPresent } from '../storage/shared.ts';
import { clearError, report, type Action } from './notices.ts';
import { t } from '../i18n/language.ts';

export type SaveState = 'saved' | 'saving' | 'failed';
export const saveState = signal<SaveState>('saved');

interface Job {
  /** The file's content at the moment of writing; null removes the file. No other tab writes it meanwhile. */
  produce(): Bytes | null | Promise<Bytes | null>;
  /** It is on disk. */
  wrote?(): void;
}

const pending = new Map<string, Job>();
/** What found no room and is no plain file, by name: kept in memory, tried again with the rest. */
const held = new Map<string, () => Promise<void>>();
/** Writes that do not go through here, such as checkpoints. */
let direct = 0;
let timer: ReturnType<typeof setTimeout> | undefined;
/** When a waiting change is written at the latest. */
let due = 0;
let writing: Promise<void> | null = null;
let failed = false;

function tell(): void {
  saveState.value = failed || held.size > 0 ? 'failed' : pending.size > 0 || direct > 0 ? 'saving' : 'saved';
}

/** Other tabs of the page hear which file changed. */
const channel = new BroadcastChannel('fledgling-page');
export const tellOthers = (path: string): void => channel.postMessage(path);
export function onChangedElsewhere(listen: (path: string) => void): void {
  channel.addEventListener('message', (e: MessageEvent<string>) => listen(e.data));
}

/** What is said when everything was deleted: the others begin anew, too. */
export const ALL_DELETED = 'everything';
/** Forgets what is waiting: it was to be deleted. */
export function forgetAll(): void {
  leaving = true;
  clearTimeout(timer);
  timer = undefined;
  pending.clear();
  held.clear();
  tell();
}

/** Whether changes of this tab are waiting: then the file is not read again, but merged when it is written. */
export const dirty = (path: string): boolean => pending.has(path);

export function save(path: string, produce: Job['produce'], wrote?: Job['wrote']): void {
  pending.set(path, wrote ? { produce, wrote } : { produce });
  tell();
  // A run changes its file more often than that: the wait begins anew, but ends at last.
  const now = performance.now();
  if (timer === undefined) due = now + 300;
  clearTimeout(timer);
  timer = setTimeout(
    () => {
      timer = undefined;
      void flush();
    },
    Math.max(0, Math.min(200, due - now)),
  );
}

/** Keeps something in mind that could not be written, until `retry` succeeds. */
export function hold(name: string, retry: () => Promise<void>): void {
  held.set(name, retry);
  tell();
}

export function release(name: string): void {
  held.delete(name);
  tell();
}

/** Lets the page wait for a write of its own when it is closed. */
export async function tracked<T>(work: Promise<T>): Promise<T> {
  direct++;
  tell();
  try {
    return await work;
  } finally {
    direct--;
    tell();
  }
}

const again = (): Action => ({ label: t('Save again'), run: () => void flush(true) });
/** Reports what could not be saved, with the way to try again. */
export const reportUnsaved = (error: unknown): void => void report(error, [again()]);

async function writeAll(): Promise<void> {
  failed = false;
  for (const [path, job] of [...pending]) {
    try {
      await alone(path, async () => {
        const data = await job.produce();
        if (data === null) await removeEntry(path);
        else await writeFile(path, data);
        await knowPresent(path);
        job.wrote?.();
      });
      // A newer version may have been queued while this one was being written.
      if (pending.get(path) === job) pending.delete(path);
      tellOthers(path);
    } catch (e) {
      failed = true;
      reportUnsaved(e);
      // Without room nothing else will fit either; other failures may concern one file only.
      const { code } = describe(e);
      if (code === 'quota-exceeded' || code === 'storage-unavailable') return;
    }
  }
}

async function retryHeld(): Promise<void> {
  for (const [name, retry] of [...held]) {
    try {
      await retry();
      held.delete(name);
    } catch (e) {
      reportUnsaved(e);
    }
  }
}

/** Writes what is waiting; resolves when it is on disk or has failed. `again`: also what found no room before. */
export async function flush(again = false): Promise<void> {
  clearTimeout(timer);
  timer = undefined;
  while (writing) await writing;
  if (pending.size === 0 && !(again && held.size > 0)) return;
  failed = false;
  tell();
  writing = writeAll()
    .then(() => (again ? retryHeld() : undefined))
    .finally(() => {
      writing = null;
      tell();
      if (saveState.value === 'saved') clearError('quota-exceeded');
    });
  await writing;
  // What was queued meanwhile; what failed waits for the person.
  if (pending.size > 0 && !hasFailed()) await flush();
}
const hasFailed = (): boolean => failed;

/** Writes one file before all others that wait, at once; resolves when it is on disk, or cannot be. */
export async function writeFirst(path: string): Promise<void> {
  const job = pending.get(path);
  if (!job) return;
  const others = [...pending].filter(([name]) => name !== path);
  pending.clear();
  for (const [name, other] of [[path, job] as const, ...others]) pending.set(name, other);
  await Promise.race([flush(), new Promise((done) => setTimeout(done, 1000))]);
}

// ---- when somebody clears the storage of the page while it is open

const LOOK = 2500;
const cleared: (() => void)[] = [];
/** Writes again what this tab holds. */
export const onStorageCleared = (fn: () => void): void => void cleared.push(fn);

let looking = false;
let leaving = false;
/** Looks whether what this tab has read or written is still there. Another tab that deletes everything says so a moment later. */
async function look(): Promise<void> {
  if (looking || leaving || writing || document.hidden) return;
  looking = true;
  try {
    if (!(await allGone())) return;
    await new Promise((done) => setTimeout(done, 700));
    if (leaving || !(await allGone())) return;
    forgetSeen();
    for (const fn of cleared) fn();
    report(
      new PageError('storage-cleared', t('Chats, feedback, settings and adapters that this tab holds are being written again.')),
      [],
      'storage-cleared',
    );
    await flush();
  } catch {
    // Where nothing can be read, the next write says why.
  } finally {
    looking = false;
  }
}
setInterval(() => void look(), LOOK);

addEventListener('visibilitychange', () => {
  if (document.visibilityState === 'hidden') void flush();
});
// Leaving asks first while anything is not on disk, which also gives the writes the time they need.
addEventListener('beforeunload', (e) => {
  if (pending.size === 0 && held.size === 0 && direct === 0) return;
  void flush();
  e.preventDefault();
});
