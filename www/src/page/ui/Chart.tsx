import { useEffect, useRef, useState } from 'preact/hooks';
import uPlot from 'uplot';
import { inTurn } from '../model/breathe.ts';
import { theme } from '../state/theme.ts';
import { value } from './format.ts';
import { t } from '../i18n/language.ts';

export interface Series {
  label: string;
  /** One value for each x; undefined leaves a gap. */
  values: (number | undefined)[];
  /** CSS custom property that holds the colour. */
  color: string;
}

/** Lowest and highest value of the axis, fixed or from those that are drawn. */
export type Range = [number, number] | ((least: number, most: number) => [number, number]);

/** A line chart over training steps. The canvas is described in words for those who cannot see it. */
export function Chart({
  title,
  says,
  x,
  series,
  range,
}: {
  title: string;
  /** What it shows and which way is good. */
  says: string;
  x: number[];
  series: Series[];
  range?: Range;
}) {
  /** Place under the pointer; null = the last step. */
  const [at, setAt] = useState<number | null>(null);
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const shape = series.map((s) => s.label).join('|');
  const data = (): uPlot.AlignedData => [x, ...series.map((s) => s.values.map((v) => (v === undefined ? null : v)))];
  // Work that waits its turn draws what is known by then.
  const latest = useRef(data);
  latest.current = data;

  // Colours are read from the style sheet, so another theme means another plot. Each is drawn in its own task.
  useEffect(() => {
    let gone = false;
    let undo = (): void => {};
    inTurn(() => {
      if (!gone) undo = draw(box.current!);
    });
    return () => {
      gone = true;
      undo();
    };
  }, [theme.value, shape, x.length < 3]);

  const draw = (host: HTMLDivElement): (() => void) => {
    const css = getComputedStyle(host);
    const color = (name: string): string => css.getPropertyValue(name).trim();
    const axis: uPlot.Axis = {
      stroke: color('--muted'),
      grid: { stroke: color('--line'), width: 1 },
      ticks: { show: false },
      font: '11px system-ui, sans-serif',
    };
    const chart = new uPlot(
      {
        width: Math.max(120, host.clientWidth),
        height: 148,
        padding: [8, 10, 0, 0],
        legend: { show: false },
        cursor: { show: true, drag: { x: false, y: false }, points: { show: true, size: 7 } },
        hooks: { setCursor: [(u) => setAt(u.cursor.left !== undefined && u.cursor.left >= 0 ? (u.cursor.idx ?? null) : null)] },
        scales: {
          x: { time: false },
          y: range ? { range: typeof range === 'function' ? (_, least, most) => range(least, most) : range } : {},
        },
        axes: [
          { ...axis, size: 24, space: 60, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000] },
          { ...axis, size: 46, space: 34, values: (_, ticks) => ticks.map((v) => value(v)) },
        ],
        series: [
          {},
          ...series.map((s) => ({
            label: s.label,
            stroke: color(s.color),
            width: 2,
            points: { show: x.length < 3, size: 5, fill: color(s.color) },
          })),
        ],
      },
      latest.current(),
      host,
    );
    plot.current = chart;
    const watch = new ResizeObserver(() => host.clientWidth > 0 && chart.setSize({ width: host.clientWidth, height: 148 }));
    watch.observe(host);
    return () => {
      watch.disconnect();
      chart.destroy();
      plot.current = null;
    };
  };

  useEffect(() => inTurn(() => plot.current?.setData(latest.current())), [x, ...series.map((s) => s.values)]);

  const said = series
    .map(
      (s) =>
        (series.length > 1 ? `${s.label} ` : '') +
        t('from {first} to {last}', {
          first: value(s.values.find((v) => v !== undefined)),
          last: value(s.values.findLast((v) => v !== undefined)),
        }),
    )
    .join(', ');
  return (
    <figure class="chart">
      <figcaption>
        <span class="chart-title">{title}</span>
        {series.map((s) => (
          <span key={s.label} class="chart-value">
            {series.length > 1 && (
              <>
                <i class={`key ${s.color.slice(2)}`} /> {s.label}{' '}
              </>
            )}
            <b>{value(at === null ? s.values.findLast((v) => v !== undefined) : s.values[at])}</b>
          </span>
        ))}
        {at !== null && x[at] !== undefined && <span class="chart-value">{t('at step {step}', { step: x[at] })}</span>}
        <small class="chart-says">{says}</small>
      </figcaption>
      <div ref={box} class="plot" role="img" aria-label={t('{title}: {steps} steps, {said}', { title, steps: x.length, said })} />
    </figure>
  );
}
