// The settings of a training run: what each is called in TRL and PEFT, its range, and one line of advice.
import { PageError } from './errors.ts';
import type { LearnArgs, Method } from './types.ts';

type Key = keyof LearnArgs;

export interface Field {
  key: Key;
  /** Name in TRL's or PEFT's configuration. */
  name: string;
  group: 'Training' | 'Optimizer' | 'LoRA' | 'DPO';
  kind: 'number' | 'whole' | 'choice' | 'switch' | 'text';
  min?: number;
  max?: number;
  step?: number;
  choices?: string[];
  only?: Method;
  help: string;
}

export const FIELDS: Field[] = [
  {
    key: 'numTrainEpochs',
    name: 'num_train_epochs',
    group: 'Training',
    kind: 'number',
    min: 0.1,
    max: 1000,
    step: 1,
    help: 'How often the whole dataset is seen.',
  },
  {
    key: 'maxSteps',
    name: 'max_steps',
    group: 'Training',
    kind: 'whole',
    min: -1,
    max: 1e6,
    step: 1,
    help: 'Stops after so many steps; −1 leaves it to the epochs.',
  },
  {
    key: 'perDeviceTrainBatchSize',
    name: 'per_device_train_batch_size',
    group: 'Training',
    kind: 'whole',
    min: 1,
    max: 64,
    step: 1,
    help: 'Rows in one pass; more need more memory.',
  },
  {
    key: 'gradientAccumulationSteps',
    name: 'gradient_accumulation_steps',
    group: 'Training',
    kind: 'whole',
    min: 1,
    max: 256,
    step: 1,
    help: 'Passes that make one step.',
  },
  {
    key: 'maxLength',
    name: 'max_length',
    group: 'Training',
    kind: 'whole',
    min: 8,
    max: 131072,
    step: 1,
    help: 'Longer rows are cut to so many tokens.',
  },
  {
    key: 'seed',
    name: 'seed',
    group: 'Training',
    kind: 'whole',
    min: 0,
    max: 2 ** 32 - 1,
    step: 1,
    help: 'Fixes the order of rows and the first weights.',
  },
  {
    key: 'saveSteps',
    name: 'save_steps',
    group: 'Training',
    kind: 'whole',
    min: 0,
    max: 1e6,
    step: 1,
    help: 'A checkpoint every so many steps; 0 = only on pause.',
  },
  {
    key: 'learningRate',
    name: 'learning_rate',
    group: 'Optimizer',
    kind: 'number',
    min: 1e-8,
    max: 1,
    step: 1e-5,
    help: 'Size of a step. 1e-4 to 5e-4 suits LoRA.',
  },
  {
    key: 'lrSchedulerType',
    name: 'lr_scheduler_type',
    group: 'Optimizer',
    kind: 'choice',
    choices: ['linear', 'cosine', 'constant'],
    help: 'How the rate falls over the run.',
  },
  {
    key: 'warmupSteps',
    name: 'warmup_steps',
    group: 'Optimizer',
    kind: 'whole',
    min: 0,
    max: 1e6,
    step: 1,
    help: 'Steps over which the rate rises from 0.',
  },
  {
    key: 'weightDecay',
    name: 'weight_decay',
    group: 'Optimizer',
    kind: 'number',
    min: 0,
    max: 1,
    step: 0.01,
    help: 'Pulls weights towards 0 (AdamW).',
  },
  {
    key: 'maxGradNorm',
    name: 'max_grad_norm',
    group: 'Optimizer',
    kind: 'number',
    min: 0,
    max: 1000,
    step: 0.1,
    help: 'Longer gradients are shortened to this.',
  },
  { key: 'r', name: 'r', group: 'LoRA', kind: 'whole', min: 1, max: 256, step: 1, help: 'Rank: how much the adapter can hold.' },
  { key: 'loraAlpha', name: 'lora_alpha', group: 'LoRA', kind: 'number', min: 0.1, max: 1024, step: 1, help: 'Scale is lora_alpha / r.' },
  {
    key: 'loraDropout',
    name: 'lora_dropout',
    group: 'LoRA',
    kind: 'number',
    min: 0,
    max: 0.95,
    step: 0.05,
    help: 'Share of inputs left out while learning.',
  },
  { key: 'useRslora', name: 'use_rslora', group: 'LoRA', kind: 'switch', help: 'Scale is lora_alpha / √r instead.' },
  { key: 'targetModules', name: 'target_modules', group: 'LoRA', kind: 'text', help: 'all-linear, or names such as q_proj, v_proj.' },
  {
    key: 'beta',
    name: 'beta',
    group: 'DPO',
    kind: 'number',
    min: 1e-3,
    max: 10,
    step: 0.05,
    only: 'dpo',
    help: 'How tightly answers are held to the base.',
  },
  {
    key: 'labelSmoothing',
    name: 'label_smoothing',
    group: 'DPO',
    kind: 'number',
    min: 0,
    max: 0.49,
    step: 0.05,
    only: 'dpo',
    help: 'Share of rankings taken to be mistaken.',
  },
];

export const fieldsFor = (method: Method): Field[] => FIELDS.filter((f) => !f.only || f.only === method);

/** Why a value cannot be used, or null. */
export function problem(field: Field, value: unknown): string | null {
  if (field.kind === 'number' || field.kind === 'whole') {
    const v = value as number;
    const expected = `expected ${field.kind === 'whole' ? 'a whole number' : 'a number'} from ${field.min} to ${field.max}`;
    if (
      typeof v !== 'number' ||
      !Number.isFinite(v) ||
      v < field.min! ||
      v > field.max! ||
      (field.kind === 'whole' && !Number.isInteger(v))
    )
      return `${expected}, found ${Number.isNaN(v) ? 'nothing' : String(v)}`;
  }
  if (field.kind === 'choice' && !field.choices!.includes(value as string)) return `expected one of ${field.choices!.join(', ')}`;
  return null;
}

export function checkArgs(args: LearnArgs, method: Method): void {
  for (const field of fieldsFor(method)) {
    const wrong = problem(field, args[field.key]);
    if (wrong) throw new PageError('bad-config', `${field.name}: ${wrong}.`);
  }
}
