import { locale, number, t } from '../i18n/language.ts';

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'];

/** 98123456 → 98.1 MB (decimal units, as drives and networks count). */
export function bytes(n: number): string {
  let u = 0;
  while (n >= 999.5 && u < UNITS.length - 1) {
    n /= 1000;
    u++;
  }
  const digits = u === 0 ? 0 : n < 10 ? 2 : n < 100 ? 1 : 0;
  return `${number(n, { minimumFractionDigits: digits, maximumFractionDigits: digits })} ${UNITS[u]}`;
}

/** A model's name without the format of its weights: "SmolLM2-135M-Instruct". */
export const plainName = (name: string): string => name.replace(/[.-](I?Q\d\w*|B?F16|F32|FP16|MXFP4)$/i, '');

/** 134515008 → 135 M */
export function count(n: number): string {
  if (n >= 1e9) return `${(n / 1e9).toFixed(2)} B`;
  if (n >= 1e6) return `${(n / 1e6).toFixed(n < 1e7 ? 1 : 0)} M`;
  if (n >= 1e3) return `${(n / 1e3).toFixed(0)} k`;
  return String(n);
}

/** Seconds as people say them: 8 s · 3 min 20 s · 1 h 5 min. */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds) || seconds < 0) return '–';
  const s = Math.round(seconds);
  if (s < 60) return t('{s} s', { s });
  if (s < 3600) return t('{min} min {s} s', { min: Math.floor(s / 60), s: s % 60 });
  return t('{h} h {min} min', { h: Math.floor(s / 3600), min: Math.floor((s % 3600) / 60) });
}

/** A number with about three meaningful digits. */
export function value(v: number | undefined): string {
  if (v === undefined || !Number.isFinite(v)) return '–';
  const a = Math.abs(v);
  if (a !== 0 && (a < 1e-3 || a >= 1e5)) return v.toExponential(1);
  return v
    .toFixed(a < 1 ? 4 : a < 100 ? 2 : 0)
    .replace(/(\.\d*?)0+$/, '$1')
    .replace(/\.$/, '');
}

export const when = (at: number): string => new Date(at).toLocaleString(locale(), { dateStyle: 'medium', timeStyle: 'short' });

/** Hands text or bytes to the person as a file. */
export function offerFile(name: string, data: BlobPart[], type: string): void {
  const url = URL.createObjectURL(new Blob(data, { type }));
  const a = document.createElement('a');
  a.href = url;
  a.download = name;
  a.click();
  // The download has its own reference by then.
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
