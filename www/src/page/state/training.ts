// Learning: one run at a time among all tabs, its metrics, and the checkpoint that lets it go on after a reload or a failure.
import { computed, signal } from '@preact/signals';
import { TRAINERS, type Model, type StepMetrics, type TrainOptions } from '../api.ts';
import { newId, rowsFor } from '../model/dataset.ts';
import { codeOf, describe, isAbort, PageError } from '../model/errors.ts';
import { madeBy } from '../model/effect.ts';
import { checkArgs, formOf, numberOf, trainerArgs } from '../model/learnArgs.ts';
import type { LearnArgs, Method, Run } from '../model/types.ts';
import {
  aboutRun,
  addMetrics,
  clearMetrics,
  hasState,
  readRows,
  readRun,
  readState,
  removeCheckpoint,
  RUN_FILE,
  writeRows,
  writeState,
  type KeptRows,
} from '../storage/runs.ts';
import { adapters, checkName, keepTrained, restoreBefore } from './adapters.ts';
import { tiedTurns } from './chats.ts';
import { activity, complain, endHung, gone, loading, model, onUnload, PATIENCE, refreshMemory } from './engine.ts';
import { inspected, rows as feedback } from './feedback.ts';
import { announce, report, toast } from './notices.ts';
import { recovered } from './recovery.ts';
import { go as show } from './router.ts';
import { flush, onStorageCleared, save, tracked } from './saver.ts';
import { settings } from './settings.ts';
import { t, type Plain } from '../i18n/language.ts';

/** The last or present run. Its metrics array is replaced once a frame, not once a step. */
export const run = signal<Run | null>(null);
export const lastStep = computed<StepMetrics | null>(() => run.value?.metrics.at(-1) ?? null);
/** True when a checkpoint of an unfinished run is on disk. */
export const resumable = signal(false);
/** True from the wish to pause until the step under way has ended. */
export const pausing = signal(false);
/** True while another tab of this page is learning. */
export const elsewhere = signal(false);

type Trainer = InstanceType<(typeof TRAINERS)[Method]>;
let trainer: AnyTrainer | null = null;
let controller: AbortController | null = null;
let ending: 'keep' | 'discard' = 'discard';
const keeping = (): boolean => ending === 'keep';
/** Writes of metrics and checkpoints, one after another. */
let writing: Promise<void> = Promise.resolve();
/** How many of the run's metrics are on disk. */
let stored = 0;

const keepRun = (): void => save(RUN_FILE, () => (run.value ? aboutRun(run.value) : null));
const setRun = (part: Partial<Run>): void => {
  if (run.value) run.value = { ...run.value, ...part };
};

// ---- one run among all tabs ----

const LOCK = 'fledgling-run';

/** Runs `work` as the only tab that learns. */
async function alone(work: () => Promise<void>): Promise<void> {
  if (!navigator.locks) return work();
  const attempt = (): Promise<boolean> =>
    navigator.locks.request(LOCK, { ifAvailable: true }, async (lock) => lock !== null && (await work(), true)) as Promise<boolean>;
  if (await attempt()) return;
  // A tab that only waits for the end of a run holds the lock for a moment.
  await new Promise((done) => setTimeout(done, 200));
  if (await attempt()) return;
  watch();
  throw new PageError('busy', t('Another tab of this page is learning. One run at a time: finish or cancel it there.'));
}

let watching = false;
/** Waits until the other tab has ended its run, however it ends, and reads what it left. */
function watch(): void {
  elsewhere.value = true;
  if (watching) return;
  watching = true;
  void navigator.locks
    .request(LOCK, async () => {})
    .then(async () => {
      watching = false;
      elsewhere.value = false;
      if (activity.value === 'idle') await loadRun();
    });
}

async function heldElsewhere(): Promise<boolean> {
  if (!navigator.locks || activity.value === 'learning' || activity.value === 'paused') return false;
  return (await navigator.locks.query()).held?.some((l) => l.name === LOCK) ?? false;
}

/** True for a run that closing the page cut off while it went on; one that was paused waits for the person. */
let cutOff = false;
const UNFINISHED = new Set(['starting', 'running', 'paused', 'unsaved', 'interrupted', 'failed']);

export async function loadRun(): Promise<void> {
  if (activity.value === 'learning' || activity.value === 'paused') return;
  const { value: there, trouble } = await readRun();
  if (trouble) report(trouble, [], RUN_FILE);
  if (await heldElsewhere()) {
    // Somebody is at it: shown as it is, not as interrupted.
    resumable.value = false;
    run.value = there;
    return watch();
  }
  if (!there) {
    run.value = null;
    // What was not readable is kept under another name by now.
    if (trouble) keepRun();
    return;
  }
  const unfinished = UNFINISHED.has(there.status);
  cutOff = unfinished && there.status !== 'failed' && there.status !== 'paused';
  resumable.value = unfinished && (await hasState());
  stored = there.metrics.length;
  run.value = unfinished && there.status !== 'failed' ? { ...there, status: 'interrupted' } : there;
  if (trouble) keepRun();
}

/** Another tab wrote about its run. */
export async function runChanged(): Promise<void> {
  if (trainer === null) await loadRun();
}

// ---- a run ----

/** What a trainer has in common with all others: which rows go with which, the table has said. */
interface AnyTrainer extends Omit<Trainer, 'train' | 'args' | 'method'> {
  train(rows: readonly object[], o: TrainOptions): Promise<unknown>;
}
const trainerFor = (method: Method, engine: Model, args: object): AnyTrainer =>
  new (TRAINERS[method] as unknown as new (model: Model, args: object) => AnyTrainer)(engine, args);

async function dropCheckpoint(): Promise<void> {
  await writing;
  resumable.value = false;
  await removeCheckpoint().catch((e: unknown) => report(e));
}

/** Puts the steps since the last time on disk. */
function writeMetrics(): void {
  const all = run.value?.metrics ?? [];
  const fresh = all.slice(stored);
  if (fresh.length === 0) return;
  stored = all.length;
  writing = writing
    .then(() => tracked(addMetrics(fresh)))
    .catch((e: unknown) => {
      stored = Math.min(stored, all.length - fresh.length);
      report(e);
    });
}

/** Hands on the steps that wait for their frame. */
let flushSteps: (() => void) | null = null;

function writeCheckpoint(bytes: Uint8Array): void {
  flushSteps?.();
  // Metrics first: a reload between the two finds metrics that reach at least to the checkpoint, and takes the rest again.
  writeMetrics();
  keepRun();
  writing = writing
    .then(() => tracked(writeState(bytes)))
    .then(() => void (resumable.value = true))
    // Learning goes on without a checkpoint; a notice says that a reload would lose the run.
    .catch((e: unknown) => void report(e));
}

/** Steps arrive faster than frames on a quick GPU; the charts follow once a frame. */
function collector(): { add(m: StepMetrics): void; flush(): void } {
  const metrics = [...(run.value?.metrics ?? [])];
  let scheduled: ReturnType<typeof setTimeout> | undefined;
  const flush = (): void => {
    clearTimeout(scheduled);
    scheduled = undefined;
    setRun({ metrics: [...metrics] });
  };
  return {
    add(m) {
      // A resumed run repeats no step, but a checkpoint may be older than the last metrics saved.
      while (metrics.length && metrics.at(-1)!.step >= m.step) metrics.pop();
      stored = Math.min(stored, metrics.length);
      metrics.push(m);
      scheduled ??= setTimeout(flush, 120);
    },
    flush,
  };
}

const KINDS = { preference: 'a ranking', ideal: 'an ideal answer', judged: 'a judged answer' } as const satisfies Record<string, Plain>;

/** An error of a run in the words of the dataset: the engine counts the rows that it was given, a ranking gives several. */
function inRows(error: unknown, from: string[]): { error: unknown; row: string | null } {
  const at = ['bad-row', 'context-overflow'].includes(codeOf(error)) ? /^row (\d+): ?/.exec(describe(error).detail) : null;
  const row = at ? (from[Number(at[1])] ?? null) : null;
  const number = feedback.value.findIndex((r) => r.id === row);
  if (!at || row === null || number < 0) return { error, row: null };
  const { kind, source } = feedback.value[number]!;
  const origin = source.from === 'chat' ? t('a chat') : source.name;
  const which = t('Row {n} of the feedback ({kind} from {origin})', { n: number + 1, kind: t(KINDS[kind]), origin });
  return { error: new PageError('bad-row', `${which}: ${describe(error).detail.slice(at[0].length)}`, { cause: error }), row };
}

/** Milliseconds between two checkpoints that are written by the clock: what a tab that dies may lose of a run, and the step under way. */
const EVERY = 10_000;

/** Saves checkpoints while a run goes on: before its first update, by the clock, and when the page is left. Returns how to end that. */
function byTheClock(mine: AnyTrainer, begun: boolean): () => void {
  let over = false;
  let under = false;
  const now = async (): Promise<void> => {
    if (over || under || activity.value === 'paused') return;
    under = true;
    try {
      const bytes = await mine.saveCheckpoint();
      // One that comes behind the end would be taken for that of a run that can go on.
      if (!over) writeCheckpoint(bytes);
    } catch {
      // The run itself says what is wrong with it.
    } finally {
      under = false;
    }
  };
  const timer = setInterval(() => void now(), EVERY);
  const left = (): void => void ((document.visibilityState === 'hidden' || !document.hasFocus()) && now());
  addEventListener('pagehide', left);
  addEventListener('visibilitychange', left);
  if (!begun) void now();
  saveNow = now;
  return () => {
    over = true;
    saveNow = null;
    clearInterval(timer);
    removeEventListener('pagehide', left);
    removeEventListener('visibilitychange', left);
  };
}
let saveNow: (() => Promise<void>) | null = null;
onUnload(async () => {
  await saveNow?.();
  await writing;
});
// Leaving asks first while a run is under way; meanwhile what it has learnt is saved.
addEventListener('beforeunload', (e) => {
  if (activity.value !== 'learning' || !controller || controller.signal.aborted) return;
  void saveNow?.();
  e.preventDefault();
});

/** The rows of the run under way, should they have to be written again. */
let learning: KeptRows | null = null;
onStorageCleared(() => {
  const was = run.value;
  if (!was) return;
  stored = 0;
  resumable.value = false;
  keepRun();
  writeMetrics();
  if (learning) void tracked(writeRows(learning)).catch((e: unknown) => report(e));
  void saveNow?.();
});

async function go(method: Method, data: KeptRows, args: LearnArgs, adapterName: string, resumeFrom?: Uint8Array): Promise<void> {
  controller = new AbortController();
  ending = 'discard';
  activity.value = 'learning';
  learning = data;
  try {
    let state = resumeFrom;
    let wasPaused = false;
    for (;;) {
      const error = await once(method, data, args, adapterName, state, wasPaused);
      if (error === null) break;
      // The engine died: from the checkpoint it goes on, when the model is back.
      wasPaused = run.value?.status === 'paused';
      const back = await recovered();
      await writing;
      state = (back && (await readState().catch(() => null))) || undefined;
      if (!back || !state || controller.signal.aborted) {
        await (controller.signal.aborted && model.value ? giveUp(adapterName) : failed(error, data.from, adapterName, true));
        break;
      }
      await restoreBefore(adapterName).catch((e: unknown) => void gone(e));
      setRun({ status: 'starting', ended: null, error: null });
      keepRun();
    }
  } finally {
    controller = null;
    learning = null;
    activity.value = 'idle';
    void refreshMemory();
  }
}

/** One attempt, until it ends in whatever way; what killed the engine is returned. */
async function once(
  method: Method,
  data: KeptRows,
  args: LearnArgs,
  adapterName: string,
  resumeFrom: Uint8Array | undefined,
  paused: boolean,
): Promise<unknown> {
  const stop = controller!.signal;
  const steps = collector();
  flushSteps = steps.flush;
  const options = {
    signal: stop,
    saveSteps: numberOf(args, 'saveSteps') > 0 ? numberOf(args, 'saveSteps') : undefined,
    onStep(m: StepMetrics) {
      if (run.value?.status === 'starting') setRun({ status: 'running' });
      steps.add(m);
    },
    onWarning: (w: Error) => toast(`${w.message[0]!.toUpperCase()}${w.message.slice(1)}`),
    onCheckpoint: writeCheckpoint,
  };
  const id = run.value?.id;
  /** The checkpoint goes only when the adapter is on disk. */
  const saved = async (): Promise<void> => {
    if (run.value?.id !== id || run.value?.status !== 'unsaved') return;
    setRun({ status: 'done' });
    keepRun();
    await dropCheckpoint();
  };
  const finish = async (): Promise<boolean> => {
    const kept = await keepTrained(adapterName, run.value ? madeBy(run.value) : {}, saved);
    setRun({ status: kept ? 'done' : 'unsaved', ended: Date.now() });
    if (kept) await dropCheckpoint();
    return kept;
  };
  let over = (): void => {};
  const engine = model.value;
  try {
    if (!engine) throw new PageError('disposed', t('The model is no longer loaded.'));
    const { peftConfig, ...own } = trainerArgs(args, method);
    // An adapter that is there, or in the checkpoint, is continued as it is.
    const continued = resumeFrom !== undefined || adapters.value.some((a) => a.name === adapterName && a.loaded);
    const asked = { ...own, ...(continued ? {} : { peftConfig }), adapterName };
    const mine = trainerFor(method, engine, { ...asked, ...(resumeFrom ? { resumeFrom } : {}) });
    trainer = mine;
    const trained = mine.train(data.rows, options);
    over = byTheClock(mine, resumeFrom !== undefined);
    if (paused) void pause();
    await trained;
    over();
    steps.flush();
    await finish();
    announce(t('Learning is complete'));
    return null;
  } catch (e) {
    over();
    steps.flush();
    try {
      // An abort that nobody asked for is a failure as well: the model was taken away.
      if (isAbort(e) && stop.aborted) await (keeping() ? keepEarly(finish, adapterName) : giveUp(adapterName));
      else if (gone(e, engine ?? undefined)) return e;
      else await failed(e, data.from, adapterName);
    } catch (again) {
      if (gone(again, engine ?? undefined)) return again;
      await failed(again, data.from, adapterName);
    }
    return null;
  } finally {
    // Gives back what the run held for checkpoints.
    await (trainer as AnyTrainer | null)?.dispose().catch(() => {});
    trainer = null;
    flushSteps = null;
    writeMetrics();
    keepRun();
    await writing;
  }
}

async function keepEarly(finish: () => Promise<boolean>, adapterName: string): Promise<void> {
  if (await finish()) toast(t('Stopped early; {adapterName} keeps what it has learnt', { adapterName }));
}

async function giveUp(adapterName: string): Promise<void> {
  await restoreBefore(adapterName).catch((e: unknown) => complain(e));
  setRun({ status: 'cancelled', ended: Date.now() });
  await dropCheckpoint();
  announce(t('Learning was cancelled'));
}

/** A run that failed keeps its metrics and its checkpoint: from there it can go on. */
async function failed(cause: unknown, from: string[], adapterName: string, said = false): Promise<void> {
  const { error, row } = inRows(cause, from);
  setRun({
    status: 'failed',
    ended: Date.now(),
    error:
      isAbort(error) || codeOf(error) === 'disposed' ? t('The model was taken away in the middle of the run.') : describe(error).detail,
  });
  await writing;
  resumable.value = await hasState().catch(() => false);
  if (said || gone(error)) return;
  report(error, row === null ? [] : [{ label: t('Show the row'), run: () => ((inspected.value = row), show('feedback')) }]);
  if (model.value) await restoreBefore(adapterName).catch((e: unknown) => void gone(e));
}

function ready(): void {
  if (loading.value) throw new PageError('busy', t('A model is being loaded; learning can begin when it is there.'));
  if (!model.value) throw new PageError('bad-config', t('No model is loaded.'));
}

let beginning = false;

/** Starts learning from the whole dataset with the present settings. Problems with rows or settings are reported, nothing begins. */
export async function start(): Promise<void> {
  if (activity.value !== 'idle' || beginning) return;
  beginning = true;
  const { method, adapterName, learn } = settings.value;
  const args = learn[method];
  try {
    ready();
    checkName(adapterName);
    checkArgs(args, method);
    const data = await rowsFor(formOf(method), feedback.value, tiedTurns());
    await alone(async () => {
      await dropCheckpoint();
      const { name, sha256 } = model.value!.info;
      run.value = {
        id: newId(),
        method,
        adapterName,
        args,
        rows: data.count,
        model: name,
        modelSha: sha256,
        status: 'starting',
        started: Date.now(),
        ended: null,
        metrics: [],
        error: null,
      };
      stored = 0;
      writing = writing.then(clearMetrics).catch((e: unknown) => void report(e));
      keepRun();
      // The rows of this run, so that resuming sees the same data whatever happens to the dataset meanwhile.
      await tracked(writeRows(data)).catch((e: unknown) => report(e));
      announce(t('Learning has begun'));
      await go(method, data, args, adapterName);
    });
  } catch (e) {
    complain(e);
  } finally {
    beginning = false;
  }
}

/** Holds the run after its present step and saves a checkpoint. */
export async function pause(): Promise<void> {
  if (!trainer || activity.value !== 'learning' || pausing.value) return;
  const mine = trainer;
  pausing.value = true;
  announce(t('Learning pauses after this step'));
  try {
    await mine.pause();
    // It may have ended with this very step.
    if (trainer !== mine || controller?.signal.aborted) return;
    activity.value = 'paused';
    setRun({ status: 'paused' });
    keepRun();
    announce(t('Learning is paused'));
    const bytes = await mine.saveCheckpoint();
    writeCheckpoint(bytes);
  } catch (e) {
    if (trainer === mine) complain(e);
  } finally {
    pausing.value = false;
  }
}

export async function resume(): Promise<void> {
  if (!trainer || activity.value !== 'paused') return;
  try {
    await trainer.resume();
  } catch (e) {
    return complain(e);
  }
  activity.value = 'learning';
  setRun({ status: 'running' });
  keepRun();
  announce(t('Learning goes on'));
}

/**
 * Ends the run; `keep` saves the adapter as it is, `discard` puts it back to what it was. Nothing is lost by ending a Worker in which
 * a run to be discarded does not end; what is to be kept waits for its step.
 */
export function stop(how: 'keep' | 'discard'): void {
  const mine = controller;
  const engine = model.value;
  ending = how;
  if (!mine) return;
  mine.abort();
  if (how === 'discard')
    setTimeout(() => {
      if (controller === mine && trainer !== null && engine !== null && engine === model.value) endHung('learning');
    }, PATIENCE);
}

/** Why the unfinished run cannot go on with the model that is loaded; null where it can. */
export const misfit = computed<string | null>(() => {
  const r = run.value;
  const m = model.value?.info;
  if (!r || !m) return null;
  const same = r.modelSha && m.sha256 ? r.modelSha === m.sha256 : r.model === m.name;
  if (same) return null;
  return r.model === m.name
    ? t('This run learns on {model}; {loaded} is loaded (another file of that name).', { model: r.model, loaded: m.name })
    : t('This run learns on {model}; {loaded} is loaded.', { model: r.model, loaded: m.name });
});

/**
 * After the model is back: goes on with a run that closing the page cut off. Once for each step: a run that takes the tab with it every time
 * must not do so at every opening.
 */
export async function goOn(): Promise<void> {
  const r = run.value;
  if (!cutOff || !r || r.status !== 'interrupted' || !resumable.value || !model.value || misfit.value) return;
  cutOff = false;
  const at = r.metrics.at(-1)?.step ?? 0;
  if (r.wentOnAt === at) return;
  setRun({ wentOnAt: at });
  keepRun();
  await flush();
  toast(t('{adapterName} goes on learning where it stopped', { adapterName: r.adapterName }), {
    label: t('Pause'),
    run: () => void pause(),
  });
  await resumeInterrupted(true);
}

/** Goes on with a run that a reload, a crash or an error ended. */
export async function resumeInterrupted(byItself = false): Promise<void> {
  if (!run.value || activity.value !== 'idle') return;
  try {
    ready();
    if (misfit.value) throw new PageError('wrong-model', misfit.value);
    await alone(async () => {
      const was = run.value;
      if (!was) return;
      const state = await readState();
      const data = await readRows();
      if (!state || !data) throw new PageError('storage-corrupt', t('The checkpoint of the unfinished run is not complete.'));
      setRun({ status: 'starting', ended: null, error: null });
      keepRun();
      await go(was.method, data, was.args, was.adapterName, state);
    });
  } catch (e) {
    // Two tabs that are opened at once: one of them goes on.
    if (!byItself || codeOf(e) !== 'busy') complain(e);
  }
}

export async function discardInterrupted(): Promise<void> {
  await alone(async () => {
    setRun({ status: 'cancelled', ended: Date.now() });
    keepRun();
    await dropCheckpoint();
  }).catch((e: unknown) => report(e));
}
