// The settings of a training run, as the table of methods gives them: what each is called in TRL and PEFT, its range, and one line of advice.
import { METHODS, type FormField, type MethodForm } from '../generated/form.ts';
import { t } from '../i18n/language.ts';
import { PageError } from './errors.ts';
import type { LearnArgs, Method } from './types.ts';

export type Field = FormField;

export const METHOD_NAMES: Method[] = METHODS.map((m) => m.name);

/** What the page asks beside what a method has. */
const SAVE_STEPS: Field = {
  key: 'saveSteps',
  name: 'save_steps',
  group: 'Training',
  kind: 'whole',
  min: 0,
  max: 1e6,
  step: 1,
  default: 10,
  basic: false,
  help: { en: 'A checkpoint every so many steps; 0 = only on pause.', zh: '' },
};

export const formOf = (method: Method): MethodForm => METHODS.find((m) => m.name === method)!;

export const fieldsFor = (method: Method): Field[] => [...formOf(method).fields, SAVE_STEPS];

export const defaultsFor = (method: Method): LearnArgs => Object.fromEntries(fieldsFor(method).map((f) => [f.key, f.default]));

/** A number among the settings; NaN where somebody is still typing one. */
export const numberOf = (args: LearnArgs, key: string): number => (typeof args[key] === 'number' ? (args[key] as number) : Number.NaN);

/** Why a value cannot be used, or null. */
export function problem(field: Field, value: unknown): string | null {
  if (value === null && field.default === null) return null;
  if (field.kind === 'number' || field.kind === 'whole') {
    const v = value as number;
    if (
      typeof v !== 'number' ||
      !Number.isFinite(v) ||
      v < field.min! ||
      v > field.max! ||
      (field.kind === 'whole' && !Number.isInteger(v))
    ) {
      const range = { least: field.min!, most: field.max!, found: Number.isNaN(v) ? t('nothing') : String(v) };
      return field.kind === 'whole'
        ? t('expected a whole number from {least} to {most}, found {found}', range)
        : t('expected a number from {least} to {most}, found {found}', range);
    }
  }
  if (field.kind === 'choice' && !field.choices!.includes(value as string))
    return t('expected one of {choices}', { choices: field.choices!.join(', ') });
  return null;
}

export function checkArgs(args: LearnArgs, method: Method): void {
  for (const field of fieldsFor(method)) {
    const wrong = problem(field, args[field.key]);
    if (wrong) throw new PageError('bad-config', `${field.name}: ${wrong}.`);
  }
}

/** Settings as a trainer takes them: PEFT's together, names as a list, and without what only the page asks. */
export function trainerArgs(args: LearnArgs, method: Method): Record<string, unknown> {
  const of = (lora: boolean): [string, unknown][] =>
    formOf(method)
      .fields.filter((f) => (f.group === 'LoRA') === lora)
      .map((f) => [f.key, args[f.key]]);
  const peft: Record<string, unknown> = Object.fromEntries(of(true));
  const modules = String(peft['targetModules'] ?? '')
    .split(/[\s,]+/)
    .filter(Boolean);
  peft['targetModules'] = modules.length === 0 || modules[0] === 'all-linear' ? 'all-linear' : modules;
  return { ...Object.fromEntries(of(false)), peftConfig: peft };
}
