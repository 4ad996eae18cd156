// Learning: one run at a time, its metrics, and the checkpoint that lets it go on after a reload.
import { computed, signal } from '@preact/signals';
import { DPOTrainer, SFTTrainer, type DPOArgs, type DPORow, type SFTRow, type StepMetrics, type TrainArgs } from '../api.ts';
import { dpoRows, newId, sftRows } from '../model/dataset.ts';
import { describe, isAbort, PageError } from '../model/errors.ts';
import { checkArgs } from '../model/learnArgs.ts';
import type { LearnArgs, Method, Run } from '../model/types.ts';
import { readFile, readJson, removeEntry, writeFile } from '../storage/opfs.ts';
import { checkName, keepTrained, restoreBefore } from './adapters.ts';
import { activity, model, noteIfLost, refreshMemory } from './engine.ts';
import { rows as feedback } from './feedback.ts';
import { announce, report, toast } from './notices.ts';
import { save } from './saver.ts';
import { settings } from './settings.ts';

const RUN_FILE = 'run.json';
const CHECKPOINT = 'checkpoint/state.bin';
const CHECKPOINT_ROWS = 'checkpoint/rows.json';

/** The last or present run. Its metrics array is replaced once a frame, not once a step. */
export const run = signal<Run | null>(null);
export const lastStep = computed<StepMetrics | null>(() => run.value?.metrics.at(-1) ?? null);
/** True when a checkpoint of an unfinished run is on disk. */
export const resumable = signal(false);

type Trainer = SFTTrainer | DPOTrainer;
let trainer: Trainer | null = null;
let controller: AbortController | null = null;
let ending: 'keep' | 'discard' = 'discard';
const keeping = (): boolean => ending === 'keep';
/** Writes of checkpoints, one after another. */
let writing: Promise<void> = Promise.resolve();

const keepRun = (): void => save(RUN_FILE, () => (run.value ? JSON.stringify(run.value) : null));
const setRun = (part: Partial<Run>): void => {
  if (run.value) run.value = { ...run.value, ...part };
};

export async function loadRun(): Promise<void> {
  const saved = await readJson<Run>(RUN_FILE);
  if (!saved) return;
  const unfinished = saved.status === 'running' || saved.status === 'paused' || saved.status === 'starting' || saved.status === 'interrupted';
  const checkpoint = unfinished ? await readFile(CHECKPOINT) : null;
  resumable.value = checkpoint !== null && checkpoint.size > 0;
  run.value = unfinished ? { ...saved, status: 'interrupted' } : saved;
}

function trainArgs(args: LearnArgs, method: Method, adapterName: string, resumeFrom?: Uint8Array): TrainArgs | DPOArgs {
  const { r, loraAlpha, loraDropout, useRslora, targetModules, beta, labelSmoothing, saveSteps: _, ...rest } = args;
  const modules = targetModules.split(/[\s,]+/).filter(Boolean);
  return {
    ...rest,
    adapterName,
    peftConfig: { r, loraAlpha, loraDropout, useRslora, targetModules: modules.length === 0 || modules[0] === 'all-linear' ? 'all-linear' : modules },
    ...(method === 'dpo' ? { beta, labelSmoothing, lossType: 'sigmoid' as const } : {}),
    ...(resumeFrom ? { resumeFrom } : {}),
  };
}

async function dropCheckpoint(): Promise<void> {
  resumable.value = false;
  await writing;
  await removeEntry('checkpoint').catch((e: unknown) => report(e));
}

function writeCheckpoint(bytes: Uint8Array): void {
  // Metrics first: a reload between the two finds metrics that reach at least to the checkpoint, and takes the rest again.
  const metrics = JSON.stringify(run.value);
  writing = writing
    .then(() => writeFile(RUN_FILE, metrics))
    .then(() => writeFile(CHECKPOINT, bytes as Uint8Array<ArrayBuffer>))
    .then(() => void (resumable.value = true))
    // Learning goes on without a checkpoint; the person is told that a reload would lose the run.
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
      metrics.push(m);
      scheduled ??= setTimeout(flush, 120);
    },
    flush,
  };
}

async function go(method: Method, rows: DPORow[] | SFTRow[], args: LearnArgs, adapterName: string, resumeFrom?: Uint8Array): Promise<void> {
  const engine = model.value;
  if (!engine) throw new PageError('bad-config', 'No model is loaded.');
  controller = new AbortController();
  ending = 'discard';
  activity.value = 'learning';
  const steps = collector();
  const options = {
    signal: controller.signal,
    saveSteps: args.saveSteps > 0 ? args.saveSteps : undefined,
    onStep(m: StepMetrics) {
      if (run.value?.status === 'starting') setRun({ status: 'running' });
      steps.add(m);
    },
    onCheckpoint(bytes: Uint8Array) {
      steps.flush();
      writeCheckpoint(bytes);
    },
  };
  try {
    const full = trainArgs(args, method, adapterName, resumeFrom);
    if (method === 'dpo') {
      const t = new DPOTrainer(engine, full);
      trainer = t;
      await t.train(rows as DPORow[], options);
    } else {
      const t = new SFTTrainer(engine, full);
      trainer = t;
      await t.train(rows as SFTRow[], options);
    }
    steps.flush();
    await keepTrained(adapterName);
    setRun({ status: 'done', ended: Date.now() });
    await dropCheckpoint();
    announce('Learning is complete');
  } catch (e) {
    steps.flush();
    noteIfLost(e);
    if (isAbort(e) && keeping()) {
      await keepTrained(adapterName).catch((error: unknown) => report(error));
      setRun({ status: 'done', ended: Date.now() });
      await dropCheckpoint();
      toast(`Stopped early; ${adapterName} keeps what it has learnt`);
    } else if (isAbort(e)) {
      await restoreBefore(adapterName).catch((error: unknown) => report(error));
      setRun({ status: 'cancelled', ended: Date.now() });
      await dropCheckpoint();
      announce('Learning was cancelled');
    } else {
      setRun({ status: 'failed', ended: Date.now(), error: describe(e).detail });
      report(e);
      if (model.value) await restoreBefore(adapterName).catch(() => {});
    }
  } finally {
    // Gives back what the run held for checkpoints.
    await (trainer as Trainer | null)?.dispose().catch(() => {});
    trainer = null;
    controller = null;
    activity.value = 'idle';
    keepRun();
    void refreshMemory();
  }
}

/** Starts learning from the whole dataset with the present settings. Problems with rows or settings are reported, nothing begins. */
export async function start(): Promise<void> {
  if (activity.value !== 'idle') return;
  const { method, adapterName, learn } = settings.value;
  const args = learn[method];
  try {
    checkName(adapterName);
    checkArgs(args, method);
    const rows = method === 'dpo' ? dpoRows(feedback.value) : sftRows(feedback.value);
    await dropCheckpoint();
    run.value = { id: newId(), method, adapterName, args, rows: rows.length, model: model.value?.info.name ?? '', status: 'starting', started: Date.now(), ended: null, metrics: [], error: null };
    keepRun();
    // The rows of this run, so that resuming sees the same data whatever happens to the dataset meanwhile.
    await writeFile(CHECKPOINT_ROWS, JSON.stringify(rows)).catch((e: unknown) => report(e));
    announce('Learning has begun');
    await go(method, rows, args, adapterName);
  } catch (e) {
    report(e);
  }
}

/** Holds the run after its present step and saves a checkpoint. */
export async function pause(): Promise<void> {
  if (!trainer || activity.value !== 'learning') return;
  await trainer.pause();
  activity.value = 'paused';
  setRun({ status: 'paused' });
  keepRun();
  announce('Learning is paused');
  try {
    writeCheckpoint(await trainer.saveCheckpoint());
  } catch (e) {
    report(e);
  }
}

export async function resume(): Promise<void> {
  if (!trainer || activity.value !== 'paused') return;
  await trainer.resume();
  activity.value = 'learning';
  setRun({ status: 'running' });
  announce('Learning goes on');
}

/** Ends the run; `keep` saves the adapter as it is, `discard` puts it back to what it was. */
export function stop(how: 'keep' | 'discard'): void {
  ending = how;
  controller?.abort();
}

/** Goes on with a run that a reload or a crash interrupted. */
export async function resumeInterrupted(): Promise<void> {
  const was = run.value;
  if (!was || activity.value !== 'idle') return;
  try {
    const file = await readFile(CHECKPOINT);
    const rows = await readJson<DPORow[] | SFTRow[]>(CHECKPOINT_ROWS);
    if (!file || !rows) throw new PageError('storage-corrupt', 'The checkpoint of the interrupted run is not complete.');
    setRun({ status: 'starting', ended: null, error: null });
    await go(was.method, rows, was.args, was.adapterName, new Uint8Array(await file.arrayBuffer()));
  } catch (e) {
    report(e);
  }
}

export async function discardInterrupted(): Promise<void> {
  setRun({ status: 'cancelled', ended: Date.now() });
  keepRun();
  await dropCheckpoint();
}
