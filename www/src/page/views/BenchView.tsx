import { asJson, asMarkdown, asText, DEVICE_COLUMNS, figure, MODEL_COLUMNS, type Column, type FigureRow } from '../model/figures.ts';
import { about, deviceRows, measureAll, measuring, modelRows, stopMeasuring } from '../state/bench.ts';
import { activity, info } from '../state/engine.ts';
import { report, toast } from '../state/notices.ts';
import { Button } from '../ui/basic.tsx';
import { between, t } from '../i18n/language.ts';

function Figures({ label, columns, rows }: { label: string; columns: readonly Column[]; rows: readonly FigureRow[] }) {
  return (
    <div class="numbers-table scroll-x" tabIndex={0} role="region" aria-label={label}>
      <table>
        <thead>
          <tr>
            <th scope="col" class="first">
              <span class="sr-only">{t('What')}</span>
            </th>
            {columns.map((c) => (
              <th key={c.key} scope="col" title={t(c.say)}>
                {t(c.title)}
                <br />
                <small>{c.unit}</small>
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((r) => (
            <tr key={r.name}>
              <th scope="row" class="first">
                {r.name}
              </th>
              {columns.map((c) => (
                <td key={c.key}>{figure(r.figures[c.key])}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

const Where = ({ rows }: { rows: readonly FigureRow[] }) => (
  <>
    {rows
      .filter((r) => r.on || r.error)
      .map((r) => (
        <p key={r.name} class="hint">
          {r.name}: {r.error ?? r.on}
        </p>
      ))}
  </>
);

export function BenchView() {
  const [devices, models] = [deviceRows.value, modelRows.value];
  const running = measuring.value;
  const tables = [
    [DEVICE_COLUMNS, devices],
    [MODEL_COLUMNS, models],
  ] as const;
  const copy = (text: string, what: string): void =>
    void navigator.clipboard.writeText(text).then(
      () => toast(t('Copied as {what}', { what })),
      (e: unknown) => report(e),
    );
  return (
    <div class="page">
      <header class="view-head">
        <h1 tabIndex={-1}>{t('Measure')}</h1>
      </header>
      <p class="lede">
        {t('How fast this device is, on the graphics card and on the processor, measured here and now.')}
        {between()}
        {t('It takes a few seconds on a real graphics card and minutes on a software one. Nothing is sent anywhere.')}
      </p>
      <div class="row wrap">
        {running === null ? (
          <Button
            tone="primary"
            icon="play"
            disabled={activity.value !== 'idle'}
            onClick={() => void measureAll().catch((e: unknown) => report(e))}
          >
            {t('Run')}
          </Button>
        ) : (
          <Button icon="stop" onClick={stopMeasuring}>
            {t('Stop')}
          </Button>
        )}
        <span class="muted" role="status">
          {running !== null
            ? t('Measuring: {running}…', { running })
            : info.value
              ? ''
              : t('Load a model first to have its prefill, decode and LoRA step measured, too.')}
        </span>
      </div>
      {devices.length > 0 && (
        <section class="card" aria-labelledby="devices">
          <h2 id="devices">{t('This device')}</h2>
          <Figures label={t('Figures of this device')} columns={DEVICE_COLUMNS} rows={devices} />
          <Where rows={devices} />
        </section>
      )}
      {models.length > 0 && (
        <section class="card" aria-labelledby="models">
          <h2 id="models">{t('The model in use')}</h2>
          <Figures label={t('Figures of the model')} columns={MODEL_COLUMNS} rows={models} />
          <Where rows={models} />
        </section>
      )}
      {devices.length > 0 && running === null && (
        <div class="row wrap">
          <Button icon="copy" onClick={() => copy(asText(about.value, tables), 'text')}>
            {t('Copy as text')}
          </Button>
          <Button icon="copy" onClick={() => copy(asMarkdown(about.value, tables), 'Markdown')}>
            {t('Copy as Markdown')}
          </Button>
          <Button icon="copy" onClick={() => copy(asJson(about.value, tables), 'JSON')}>
            {t('Copy as JSON')}
          </Button>
        </div>
      )}
    </div>
  );
}
