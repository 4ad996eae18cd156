// Measurements of this device, and of the model in use on it.
import { computed, signal } from '@preact/signals';
import { measureDevice, SFTTrainer, type Device, type Model } from '../api.ts';
import { describe, isAbort } from '../model/errors.ts';
import type { FigureRow } from '../model/figures.ts';
import { active } from './adapters.ts';
import { activity, capable, model } from './engine.ts';
import { announce } from './notices.ts';
import { t, type Plain } from '../i18n/language.ts';

/** What is being measured now, in words; null = nothing. */
export const measuring = signal<string | null>(null);
export const deviceRows = signal<FigureRow[]>([]);
export const modelRows = signal<FigureRow[]>([]);
/** When it was measured. */
export const measuredAt = signal(0);
export const about = computed(() => {
  const at = measuredAt.value ? new Date(measuredAt.value).toISOString().slice(0, 16).replace('T', ' ') : '';
  return t('fledgling on this device: {browser}; {threads} threads; {at} UTC', {
    browser: navigator.userAgent,
    threads: navigator.hardwareConcurrency,
    at,
  });
});

let controller: AbortController | null = null;
export const stopMeasuring = (): void => controller?.abort();

const DEVICES: readonly (readonly [Device, Plain])[] = [
  ['auto', 'Auto'],
  ['gpu', 'Graphics'],
  ['cpu', 'Processor'],
];
const PROMPT = 'The keeper of the light wrote down what the wind had told him about the sea. '.repeat(8);
const ADAPTER = 'measurement';

/** Runs `body` for a row and puts what it finds, or why it found nothing, into the list. */
async function measure(
  rows: typeof deviceRows,
  name: string,
  body: (show: (row: Partial<FigureRow>) => void) => Promise<void>,
): Promise<void> {
  measuring.value = name;
  const show = (row: Partial<FigureRow>): void => {
    const before = rows.value.find((r) => r.name === name) ?? { name, on: '', figures: {} };
    rows.value = [...rows.value.filter((r) => r.name !== name), { ...before, ...row }];
  };
  show({});
  try {
    await body(show);
  } catch (e) {
    if (isAbort(e)) throw e;
    show({ error: describe(e).detail });
  }
}

async function measureModel(m: Model, signal: AbortSignal, show: (row: Partial<FigureRow>) => void): Promise<void> {
  const { adapter } = m.info;
  let figures: FigureRow['figures'] = {};
  const add = (more: FigureRow['figures']): void => show({ on: adapter.name, figures: (figures = { ...figures, ...more }) });
  const answer = (content: string, maxNewTokens: number) =>
    m.chat([{ role: 'user', content }], { adapter: null, temperature: 0, maxNewTokens, ignoreEos: true, signal }).result;
  // The first answer compiles; the others begin differently, so that nothing is in the cache.
  await answer('Once', 2);
  const read = await answer(`First. ${PROMPT}`, 1);
  add({ prefillTokensPerSecond: read.promptTokens / read.seconds.prefill });
  const said = await answer(`Then. ${PROMPT}`, 32);
  add({ decodeTokensPerSecond: (said.tokenIds.length - 1) / said.seconds.decode });
  const was = active.value;
  const trainer = new SFTTrainer(m, {
    learningRate: 1e-4,
    maxSteps: 3,
    adapterName: ADAPTER,
    maxLength: 128,
    peftConfig: { r: 8, loraAlpha: 16 },
  });
  const times: number[] = [];
  let last = performance.now();
  try {
    await trainer.train([{ inputIds: Array.from({ length: 128 }, (_, i) => 100 + ((i * 7919) % (m.info.vocabSize - 200))) }], {
      signal,
      onStep: () => {
        times.push(performance.now() - last);
        last = performance.now();
      },
    });
    // The first step records and compiles.
    add({ loraStepMs: Math.min(...times.slice(1)) });
  } finally {
    await trainer.dispose();
    await m.removeAdapter(ADAPTER).catch(() => {});
    await (was === null ? m.disableAdapter() : m.setAdapter(was)).catch(() => {});
  }
}

/** Measures all devices one after another, then the model where one is loaded and idle. */
export async function measureAll(): Promise<void> {
  if (measuring.value !== null) return;
  controller = new AbortController();
  const { signal } = controller;
  deviceRows.value = [];
  modelRows.value = [];
  measuredAt.value = Date.now();
  try {
    for (const [device, name] of DEVICES) {
      if (device === 'gpu' && capable.value?.webgpu === false) continue;
      await measure(deviceRows, t(name), async (show) => {
        const all = await measureDevice({ device, signal, onFigure: (figures) => show({ figures }) });
        const on = [all.adapter.name, all.adapter.isSoftware ? t('software') : '', device === 'auto' ? all.adapter.reason : '']
          .filter(Boolean)
          .join(', ');
        show({ figures: all, on });
      });
    }
    const m = model.value;
    if (m && activity.value === 'idle') {
      activity.value = 'answering';
      try {
        await measure(modelRows, m.info.name, (show) => measureModel(m, signal, show));
      } finally {
        if (activity.value === 'answering') activity.value = 'idle';
      }
    }
    announce(t('Measured.'));
  } catch (e) {
    if (!isAbort(e)) throw e;
  } finally {
    measuring.value = null;
    controller = null;
  }
}
