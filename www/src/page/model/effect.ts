// What a run has done to a model, in numbers that last and in a sentence.
import type { StepMetrics } from '../api.ts';
import type { Made, Method, Run } from './types.ts';
import { t } from '../i18n/language.ts';
import { formOf } from './learnArgs.ts';

const of = (m: StepMetrics, key: string): number | undefined => (m as unknown as Record<string, number | undefined>)[key];

function mean(metrics: StepMetrics[], key: string): number | undefined {
  const values = metrics.map((m) => of(m, key)).filter((v): v is number => v !== undefined && Number.isFinite(v));
  return values.length ? values.reduce((a, b) => a + b, 0) / values.length : undefined;
}

/** Means over the first and the last pass through the data: a single step says little. */
function ends(metrics: StepMetrics[], key: string): [number, number] | undefined {
  const last = metrics.at(-1)?.epoch ?? 0;
  const from = metrics.filter((m) => m.epoch <= 1);
  const to = metrics.filter((m) => m.epoch > last - 1);
  const first = mean(from.length ? from : metrics.slice(0, 1), key);
  const end = mean(to, key);
  return first === undefined || end === undefined ? undefined : [first, end];
}

export function madeBy({ method, rows, model, metrics }: Run): Made {
  const loss = ends(metrics, 'loss');
  const accuracy = ends(metrics, 'rewards/accuracies')?.[1];
  return { method, rows, model, ...(loss ? { loss } : {}), ...(accuracy === undefined ? {} : { accuracy }) };
}

/** 1 pair, 3 judged answers. */
export function rowsOf(method: Method, n: number): string {
  const { rows } = formOf(method);
  return rows === 'sft'
    ? t('{n} {n|example|examples}', { n })
    : rows === 'preference'
      ? t('{n} {n|pair|pairs}', { n })
      : t('{n} {n|judged answer|judged answers}', { n });
}

/** What has come of it, for a headline; empty where the numbers do not say. */
export function headline(run: Run): string {
  const made = madeBy(run);
  const effect = sayEffect(made);
  if (effect !== '') return t('{name}: {effect}.', { name: run.adapterName, effect });
  if (!made.loss || formOf(run.method).rows !== 'sft') return '';
  // The loss is the mean surprise of a token: its fall is how many times as likely each has become.
  const times = Math.exp(made.loss[0] - made.loss[1]);
  return times < 1.05
    ? t('{name}: your ideal answers are hardly more likely than at the start.', { name: run.adapterName })
    : t('{name}: word by word, your ideal answers are {times} times as likely as at the start.', {
        name: run.adapterName,
        times: times.toFixed(times < 10 ? 1 : 0),
      });
}

/** In how many pairs it prefers what the person chose; empty where nothing was compared. */
export function sayEffect({ accuracy, rows = 0 }: Made): string {
  if (accuracy === undefined || rows === 0) return '';
  const right = Math.round(Math.min(1, accuracy) * rows);
  if (rows > 1) return t('it prefers your choice in {right} of {rows} pairs', { right, rows });
  return right ? t('it prefers your choice') : t('it does not prefer your choice');
}
