// How long a run will take on this device: from the last run on this model, else from a short measurement of reading.
import { effect, signal } from '@preact/signals';
import type { Model } from '../api.ts';
import type { MethodForm } from '../generated/form.ts';
import { isIds, pairsIn, saidIn, textOf } from '../model/dataset.ts';
import { formOf, numberOf } from '../model/learnArgs.ts';
import type { Content, FeedbackRow, LearnArgs, Method } from '../model/types.ts';
import { activity, loading, model } from './engine.ts';
import { counts, rows } from './feedback.ts';
import { route } from './router.ts';
import { settings } from './settings.ts';
import { run } from './training.ts';
import { t } from '../i18n/language.ts';

/** Seconds that a run with the present settings takes; null while nothing is known, or there is nothing to learn from. */
export const estimate = signal<{ seconds: number; measured: 'run' | 'reading' } | null>(null);
/** True while the device is being measured. */
export const gauging = signal(false);

/** Tokens that the model in use reads per second, once it was measured. */
let reading: { engine: Model; rate: number } | null = null;
/** Letters of a token of English, about; exact counts are not worth the time. */
const LETTERS = 4;
/** Tokens that a chat template adds, about. */
const TEMPLATE = 25;
/** What a step costs beside reading once: the way back, and the reference where a method has one. */
const COST: Partial<Record<Method, number>> = { sft: 2.5, orpo: 2.5, cpo: 2.5 };
const WITH_REFERENCE = 3.5;
/** So many rows say how long all are. */
const SAMPLE = 200;

const long = (c: Content): number => (isIds(c) ? c.ids.length * LETTERS : textOf(c).length);
const mean = (all: number[]): number => all.reduce((a, b) => a + b, 0) / Math.max(1, all.length);

/** Sequences of one training row, and letters of each. */
interface Long {
  sequences: number;
  letters: number;
}
const one = (letters: number): Long => ({ sequences: 1, letters });

/** How long the training rows of a method are that this row gives; null where it gives none. A pair is two sequences, a whole ranking all its answers. */
function longOf(row: FeedbackRow, { rows: kind, whole }: MethodForm): Long | null {
  if (row.kind === 'preference') {
    if (kind === 'sft' || pairsIn(row) === 0) return null;
    const letters = long(row.prompt) + mean(row.answers.map(long));
    return kind === 'preference' ? { sequences: whole ? row.answers.length : 2, letters } : one(letters);
  }
  if (row.kind === 'judged') return kind === 'unpaired' ? one(long(row.prompt) + long(row.completion)) : null;
  if (kind !== 'sft') return null;
  const said = row.row;
  if ('input_ids' in said) return one(said.input_ids.length * LETTERS);
  if ('text' in said) return one(said.text.length);
  if ('messages' in said) return one(mean(said.messages.map((m) => saidIn(m).length)) * said.messages.length);
  return one(long(said.prompt) + long(said.completion));
}

/** Tokens of one training row, from a sample of the dataset. */
function tokensOf(method: Method, feedback: readonly FeedbackRow[], maxLength: number): number {
  const form = formOf(method);
  const every = Math.max(1, Math.floor(feedback.length / SAMPLE));
  const lengths: number[] = [];
  for (let i = 0; i < feedback.length; i += every) {
    const found = longOf(feedback[i]!, form);
    if (found === null) continue;
    const each = found.letters / LETTERS + TEMPLATE;
    lengths.push(found.sequences * (maxLength > 0 ? Math.min(each, maxLength) : each));
  }
  return lengths.length ? mean(lengths) : 0;
}

const rowsRead = (args: LearnArgs, count: number): number => {
  const most = numberOf(args, 'maxSteps');
  const batch = Math.max(1, numberOf(args, 'perDeviceTrainBatchSize') * numberOf(args, 'gradientAccumulationSteps'));
  return most > 0 ? most * batch : count * numberOf(args, 'numTrainEpochs');
};

/** Tokens per second of learning, as the last run on this very model had them. */
function rateOfLastRun(method: Method): number | null {
  const r = run.value;
  const m = model.value?.info;
  if (!r || !m || r.method !== method || (r.modelSha && m.sha256 ? r.modelSha !== m.sha256 : r.model !== m.name)) return null;
  // The first step records and compiles.
  const steps = r.metrics.slice(1).filter((s) => s.tokens_per_second > 0);
  if (steps.length === 0) return null;
  return steps.reduce((n, s) => n + s.tokens_per_second, 0) / steps.length;
}

async function measure(engine: Model): Promise<void> {
  if (reading?.engine === engine || gauging.value) return;
  gauging.value = true;
  try {
    const ids = Array.from({ length: 96 }, (_, i) => 100 + ((i * 7919) % Math.max(1, engine.info.vocabSize - 200)));
    // The first one compiles.
    await engine.score(ids.slice(0, 16));
    const begun = performance.now();
    await engine.score(ids);
    reading = { engine, rate: ids.length / Math.max(1e-3, (performance.now() - begun) / 1000) };
  } catch {
    // An engine that cannot say it is asked nothing more; a run says itself how long it takes.
    reading = { engine, rate: 0 };
  } finally {
    gauging.value = false;
  }
}

let waiting: ReturnType<typeof setTimeout> | undefined;
function reckon(): void {
  const { method, learn } = settings.value;
  const args = learn[method];
  const engine = model.value;
  if (!engine) return void (estimate.value = null);
  const { ideals, ordered, pairs, judgements } = counts.value;
  const form = formOf(method);
  const count = { sft: ideals, preference: form.whole ? ordered : pairs, unpaired: judgements }[form.rows];
  const all = count === 0 ? 0 : rowsRead(args, count) * tokensOf(method, rows.value, numberOf(args, 'maxLength'));
  const last = rateOfLastRun(method);
  const read = reading?.engine === engine ? reading.rate : 0;
  if (!(all > 0) || !Number.isFinite(all)) estimate.value = null;
  else if (last) estimate.value = { seconds: all / last, measured: 'run' };
  else if (read > 0) estimate.value = { seconds: (all * (COST[method] ?? WITH_REFERENCE)) / read, measured: 'reading' };
  else estimate.value = null;
}

effect(() => {
  // What it depends on; it is reckoned a moment later, in a task of its own.
  const idle = activity.value === 'idle' && loading.value === null;
  const engine = model.value;
  void [settings.value, rows.value, counts.value, run.value?.status, gauging.value];
  clearTimeout(waiting);
  if (route.value !== 'learn') return;
  waiting = setTimeout(() => {
    reckon();
    if (engine && idle && estimate.value === null && rows.value.length > 0 && rateOfLastRun(settings.value.method) === null)
      void measure(engine);
  }, 150);
});

/** "about 3 min", as people say it. */
export const roughly = (seconds: number): string =>
  seconds < 45
    ? t('less than a minute')
    : seconds < 5400
      ? t('about {min} min', { min: Math.round(seconds / 60) || 1 })
      : t('about {h} h', { h: Math.round(seconds / 360) / 10 });
