// The table of the measurements, as it is shown and as it is copied.
import { t, type Plain } from '../i18n/language.ts';
import type { DeviceFigures } from '../api.ts';

/** A line of the table: a device, or the model in use. */
export interface FigureRow {
  name: string;
  /** What it ran on, and why. */
  on: string;
  figures: Partial<DeviceFigures> & { prefillTokensPerSecond?: number; decodeTokensPerSecond?: number; loraStepMs?: number };
  error?: string;
}

export interface Column {
  key: 'copyGBps' | 'fmaGflops' | 'matmulGflops' | 'gptStepMs' | 'prefillTokensPerSecond' | 'decodeTokensPerSecond' | 'loraStepMs';
  title: Plain;
  unit: string;
  /** For a person who asks what it is. */
  say: Plain;
}

export const DEVICE_COLUMNS: readonly Column[] = [
  { key: 'matmulGflops', title: 'Matmul 512³', unit: 'GFLOP/s', say: 'A square f32 matrix product, as the layers run it' },
  { key: 'gptStepMs', title: 'GPT step', unit: 'ms', say: 'One step of training a GPT with 0.80 M parameters on 8 × 128 tokens' },
  {
    key: 'fmaGflops',
    title: 'Multiply-adds',
    unit: 'GFLOP/s',
    say: 'Fused multiply-adds in registers: the most that arithmetic can reach here',
  },
  { key: 'copyGBps', title: 'Copy', unit: 'GB/s', say: 'Bytes read and written by a large copy: the most that memory can reach here' },
];
export const MODEL_COLUMNS: readonly Column[] = [
  { key: 'prefillTokensPerSecond', title: 'Prefill', unit: 'tok/s', say: 'Tokens of a question read per second' },
  { key: 'decodeTokensPerSecond', title: 'Decode', unit: 'tok/s', say: 'Tokens of an answer per second' },
  { key: 'loraStepMs', title: 'LoRA step', unit: 'ms', say: 'One step of learning from 128 tokens (r 8, all linears)' },
];

/** Three digits that mean something; a dash where nothing was measured. */
export function figure(v: number | undefined): string {
  if (v === undefined || !Number.isFinite(v)) return '–';
  return v >= 100 ? v.toFixed(0) : v.toPrecision(3);
}

const cells = (columns: readonly Column[], r: FigureRow): string[] => [
  r.name,
  ...columns.map((c) => figure(r.figures[c.key])),
  r.error ?? r.on,
];
const heads = (columns: readonly Column[]): string[] => ['', ...columns.map((c) => `${t(c.title)} (${c.unit})`), t('on')];

type Table = readonly [readonly Column[], readonly FigureRow[]];

export function asMarkdown(about: string, tables: readonly Table[]): string {
  const line = (c: readonly string[]): string => `| ${c.map((t) => t.replaceAll('|', '\\|')).join(' | ')} |`;
  const one = ([columns, rows]: Table): string =>
    [line(heads(columns)), line(['---', ...columns.map(() => '---:'), '---']), ...rows.map((r) => line(cells(columns, r)))].join('\n');
  return [about, ...tables.filter((t) => t[1].length).map(one)].join('\n\n') + '\n';
}

export function asText(about: string, tables: readonly Table[]): string {
  const one = ([columns, rows]: Table): string => {
    const all = [heads(columns), ...rows.map((r) => cells(columns, r))];
    const width = all[0]!.map((_, i) => Math.max(...all.map((c) => c[i]!.length)));
    return all
      .map((c) =>
        c
          .map((t, i) => (i === 0 || i === c.length - 1 ? t.padEnd(width[i]!) : t.padStart(width[i]!)))
          .join('  ')
          .trimEnd(),
      )
      .join('\n');
  };
  return [about, ...tables.filter((t) => t[1].length).map(one)].join('\n\n') + '\n';
}

export const asJson = (about: string, tables: readonly Table[]): string =>
  `${JSON.stringify({ about, rows: tables.flatMap((t) => t[1]) }, null, 2)}\n`;
