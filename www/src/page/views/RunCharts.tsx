import { useMemo } from 'preact/hooks';
import type { StepMetrics } from '../api.ts';
import type { Run } from '../model/types.ts';
import { Chart, type Range, type Series } from '../ui/Chart.tsx';
import { value } from '../ui/format.ts';

type Key = keyof StepMetrics;
interface Plot {
  title: string;
  keys: [key: Key, label: string, color: string][];
  range?: Range;
}

/** How far the answers have moved from the base model's: nothing at first, and drawn from 0. */
const KL: Plot = {
  title: 'KL to the base',
  keys: [['kl', 'kl', '--warm']],
  range: (least, most) => [Math.min(0, least), Math.max(most * 1.05, 1e-4)],
};

/** What each method is watched by, under TRL's names. */
const PLOTS: Record<Run['method'], Plot[]> = {
  dpo: [
    { title: 'loss', keys: [['loss', 'loss', '--accent']] },
    { title: 'rewards/margins', keys: [['rewards/margins', 'margins', '--accent']] },
    { title: 'rewards/accuracies', keys: [['rewards/accuracies', 'accuracies', '--accent']], range: [0, 1.05] },
    KL,
    {
      title: 'rewards',
      keys: [
        ['rewards/chosen', 'chosen', '--accent'],
        ['rewards/rejected', 'rejected', '--warm'],
      ],
    },
    { title: 'tokens/s', keys: [['tokens_per_second', 'tokens/s', '--cool']] },
  ],
  sft: [
    { title: 'loss', keys: [['loss', 'loss', '--accent']] },
    { title: 'grad_norm', keys: [['grad_norm', 'grad_norm', '--warm']] },
    { title: 'learning_rate', keys: [['learning_rate', 'learning_rate', '--cool']] },
    KL,
    { title: 'tokens/s', keys: [['tokens_per_second', 'tokens/s', '--cool']] },
  ],
};

/** More points than this are thinned for drawing: a chart is a few hundred pixels wide. */
const MOST_POINTS = 1200;

export function RunCharts({ run }: { run: Run }) {
  const { metrics } = run;
  const shown = useMemo(() => {
    const every = Math.ceil(metrics.length / MOST_POINTS);
    return every === 1 ? metrics : metrics.filter((_, i) => i % every === 0 || i === metrics.length - 1);
  }, [metrics]);
  const x = useMemo(() => shown.map((m) => m.step), [shown]);
  const plots = useMemo(
    () =>
      PLOTS[run.method]
        .map((p) => ({ ...p, series: p.keys.map<Series>(([key, label, color]) => ({ label, color, values: shown.map((m) => m[key]) })) }))
        // KL is measured only where the engine reports it.
        .filter((p) => p.series.some((s) => s.values.some((v) => v !== undefined))),
    [shown, run.method],
  );
  const columns = plots.flatMap((p) => p.keys.map(([key]) => key));
  return (
    <>
      <div class="charts">
        {plots.map((p) => (
          <Chart key={p.title} title={p.title} x={x} series={p.series} {...(p.range ? { range: p.range } : {})} />
        ))}
      </div>
      <details class="numbers-table">
        <summary>The last steps as numbers</summary>
        <div class="scroll-x" tabIndex={0} role="region" aria-label="Metrics of the last steps">
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
                      <td key={c}>{value(m[c])}</td>
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
