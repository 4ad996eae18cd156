import { useMemo } from 'preact/hooks';
import type { StepMetrics } from '../api.ts';
import { formOf } from '../model/learnArgs.ts';
import type { Run } from '../model/types.ts';
import { headline } from '../model/effect.ts';
import { DIRECTION, sayingOf } from '../model/sayings.ts';
import { Chart, type Range, type Series } from '../ui/Chart.tsx';
import { value } from '../ui/format.ts';
import { between, language, said, t } from '../i18n/language.ts';

interface Plot {
  title: string;
  /** As the field defines it. */
  help: string;
  /** What it is and which way is good, in plain words. */
  says: string;
  keys: [key: string, label: string, color: string][];
  range?: Range;
}

const COLORS = ['--accent', '--warm', '--cool'];

/** Limits of an axis of which the upper one may be left to the values. */
const rangeOf = ([low, high]: [number, number | null]): Range =>
  high === null ? (least, most) => [Math.min(low, least), Math.max(most * 1.05, 1e-4)] : [low, high + (high - low) * 0.05];

/** What a method is watched by, under TRL's names. */
const plotsOf = (method: Run['method']): Plot[] =>
  formOf(method).charts.map(({ title, keys, help, good, range }) => ({
    title: said({ en: title, zh: '' }),
    help: said(help),
    says: [sayingOf(method, keys[0]!) ?? said(help), good ? t(DIRECTION[good]) : ''].filter(Boolean).join(between()),
    keys: keys.map((key, i) => [key, key.slice(key.indexOf('/') + 1), COLORS[i % COLORS.length]!]),
    ...(range ? { range: rangeOf(range) } : {}),
  }));

const of = (m: StepMetrics, key: string): number | undefined => (m as unknown as Record<string, number | undefined>)[key];

/** More points than this are thinned for drawing: a chart is a few hundred pixels wide. */
const MOST_POINTS = 1200;

/** What has come of the run, before all numbers. */
export function Headline({ run }: { run: Run }) {
  const text = useMemo(() => headline(run), [run.metrics, run.method, language()]);
  return text ? <p class="headline">{text}</p> : null;
}

export function RunCharts({ run }: { run: Run }) {
  const { metrics } = run;
  const shown = useMemo(() => {
    const every = Math.ceil(metrics.length / MOST_POINTS);
    return every === 1 ? metrics : metrics.filter((_, i) => i % every === 0 || i === metrics.length - 1);
  }, [metrics]);
  const x = useMemo(() => shown.map((m) => m.step), [shown]);
  const plots = useMemo(
    () =>
      plotsOf(run.method)
        .map((p) => ({
          ...p,
          series: p.keys.map<Series>(([key, label, color]) => ({ label, color, values: shown.map((m) => of(m, key)) })),
        }))
        // KL is measured only where the engine reports it.
        .filter((p) => p.series.some((s) => s.values.some((v) => v !== undefined))),
    [shown, run.method, language()],
  );
  const columns = plots.flatMap((p) => p.keys.map(([key]) => key));
  return (
    <>
      <div class="charts">
        {plots.map((p) => (
          <div key={p.title} title={p.help}>
            <Chart title={p.title} says={p.says} x={x} series={p.series} {...(p.range ? { range: p.range } : {})} />
          </div>
        ))}
      </div>
      <details class="numbers-table">
        <summary>{t('The last steps as numbers')}</summary>
        <div class="scroll-x" tabIndex={0} role="region" aria-label={t('Metrics of the last steps')}>
          <table>
            <thead>
              <tr>
                <th scope="col">step</th>
                {columns.map((c) => (
                  <th scope="col" key={c}>
                    {c}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {metrics
                .slice(-12)
                .reverse()
                .map((m) => (
                  <tr key={m.step}>
                    <th scope="row">{m.step}</th>
                    {columns.map((c) => (
                      <td key={c}>{value(of(m, c))}</td>
                    ))}
                  </tr>
                ))}
            </tbody>
          </table>
        </div>
      </details>
    </>
  );
}
