// Made from src/tune/methods by `UPDATE=1 cargo test --test generated`: change the table, not this file.
import type { MethodName } from '../../lib/generated/methods.ts';

/** A sentence in the languages there are; empty where nobody has translated it yet. */
export interface Sentence {
  en: string;
  zh: string;
}

/** An argument that a person can set. */
export interface FormField {
  /** As the package calls it. */
  key: string;
  /** Name in TRL's or PEFT's configuration. */
  name: string;
  group: string;
  kind: 'number' | 'whole' | 'choice' | 'switch' | 'text';
  min?: number;
  max?: number;
  step?: number;
  choices?: string[];
  default: number | boolean | string | null;
  /** Shown at once, not among the advanced ones. */
  basic: boolean;
  help: Sentence;
}

/** A chart of one metric, or of several under one title. */
export interface ChartOf {
  title: string;
  keys: string[];
  unit: string;
  /** Which direction is good; empty where that says nothing. */
  good: 'up' | 'down' | '';
  /** Limits of its axis; `null`: the values decide. */
  range?: [low: number, high: number | null];
  help: Sentence;
}

export interface MethodForm {
  name: MethodName;
  title: string;
  /** What it learns from, as the choice of a method says it. */
  learns: Sentence;
  what: Sentence;
  rows: 'sft' | 'preference' | 'unpaired';
  /** Is a ranking one row of a batch? Else each of its pairs is. */
  whole: boolean;
  /** Groups of fields, in order; the method's own first. */
  groups: string[];
  fields: FormField[];
  charts: ChartOf[];
}

export const METHODS: MethodForm[] = [
  {
    name: 'sft', title: 'SFT', rows: 'sft', whole: false,
    learns: { en: 'From ideal answers', zh: '' },
    what: { en: 'Supervised fine-tuning: imitates the answers in the rows.', zh: '' },
    groups: ['SFT', 'Training', 'Optimizer', 'LoRA'],
    fields: [
      {
        key: 'completionOnlyLoss', name: 'completion_only_loss', group: 'SFT', kind: 'switch',
        default: true, basic: false,
        help: { en: 'Of rows with prompt and completion: only the completion counts.', zh: '' },
      },
      {
        key: 'assistantOnlyLoss', name: 'assistant_only_loss', group: 'SFT', kind: 'switch',
        default: false, basic: false,
        help: { en: 'Of rows with messages: only the assistant\'s messages count.', zh: '' },
      },
      {
        key: 'packing', name: 'packing', group: 'Training', kind: 'switch',
        default: false, basic: false,
        help: { en: 'Short rows share a sequence of max_length tokens, each by itself: faster where lengths differ.', zh: '' },
      },
      {
        key: 'numTrainEpochs', name: 'num_train_epochs', group: 'Training', kind: 'number', min: 0, max: 1e9, step: 1,
        default: 3, basic: true,
        help: { en: 'How often the whole dataset is seen.', zh: '' },
      },
      {
        key: 'maxSteps', name: 'max_steps', group: 'Training', kind: 'whole', min: -1, max: 1099511627776, step: 1,
        default: -1, basic: false,
        help: { en: 'Updates in all; −1 leaves it to the epochs.', zh: '' },
      },
      {
        key: 'perDeviceTrainBatchSize', name: 'per_device_train_batch_size', group: 'Training', kind: 'whole', min: 1, max: 4096, step: 1,
        default: 1, basic: false,
        help: { en: 'Rows in one pass; more need more memory. TRL: 8, for datasets of thousands of rows.', zh: '' },
      },
      {
        key: 'gradientAccumulationSteps', name: 'gradient_accumulation_steps', group: 'Training', kind: 'whole', min: 1, max: 1048576, step: 1,
        default: 1, basic: false,
        help: { en: 'Passes that make one update.', zh: '' },
      },
      {
        key: 'maxLength', name: 'max_length', group: 'Training', kind: 'whole', min: 2, max: 16777216, step: 1,
        default: 1024, basic: false,
        help: { en: 'Longer rows are cut to so many tokens; null: never, those longer than the context are left out.', zh: '' },
      },
      {
        key: 'seed', name: 'seed', group: 'Training', kind: 'whole', min: 0, max: 4294967295, step: 1,
        default: 42, basic: false,
        help: { en: 'Fixes the order of rows and the first weights.', zh: '' },
      },
      {
        key: 'shuffle', name: 'shuffle', group: 'Training', kind: 'switch',
        default: true, basic: false,
        help: { en: 'Rows in a new random order every epoch, or as they come. Not in TRL.', zh: '' },
      },
      {
        key: 'learningRate', name: 'learning_rate', group: 'Optimizer', kind: 'number', min: 0, max: 1000, step: 1e-5,
        default: 0.0002, basic: true,
        help: { en: 'Size of an update. 5e-5 to 5e-4 suits LoRA. TRL: 2e-5, for all weights.', zh: '' },
      },
      {
        key: 'lrSchedulerType', name: 'lr_scheduler_type', group: 'Optimizer', kind: 'choice', choices: ['linear', 'cosine', 'constant', 'constant_with_warmup'],
        default: 'linear', basic: false,
        help: { en: 'How the rate falls over the run.', zh: '' },
      },
      {
        key: 'warmupSteps', name: 'warmup_steps', group: 'Optimizer', kind: 'number', min: 0, max: 1e12, step: 1,
        default: 0, basic: false,
        help: { en: 'Updates over which the rate rises from 0; below 1, a share of all.', zh: '' },
      },
      {
        key: 'weightDecay', name: 'weight_decay', group: 'Optimizer', kind: 'number', min: 0, max: 1000, step: 0.01,
        default: 0, basic: false,
        help: { en: 'Pulls weights towards 0 (AdamW).', zh: '' },
      },
      {
        key: 'maxGradNorm', name: 'max_grad_norm', group: 'Optimizer', kind: 'number', min: 0, max: 1e9, step: 0.1,
        default: 1, basic: false,
        help: { en: 'Longer gradients are shortened to this; 0: never.', zh: '' },
      },
      {
        key: 'r', name: 'r', group: 'LoRA', kind: 'whole', min: 1, max: 4096, step: 1,
        default: 8, basic: false,
        help: { en: 'Rank: how much the adapter can hold.', zh: '' },
      },
      {
        key: 'loraAlpha', name: 'lora_alpha', group: 'LoRA', kind: 'number', min: 0, max: 1e38, step: 1,
        default: 16, basic: false,
        help: { en: 'The adapter\'s product is multiplied by lora_alpha / r. PEFT: 8; twice the rank is usual.', zh: '' },
      },
      {
        key: 'loraDropout', name: 'lora_dropout', group: 'LoRA', kind: 'number', min: 0, max: 0.999999, step: 0.05,
        default: 0, basic: false,
        help: { en: 'Share of inputs left out while learning.', zh: '' },
      },
      {
        key: 'useRslora', name: 'use_rslora', group: 'LoRA', kind: 'switch',
        default: false, basic: false,
        help: { en: 'The factor is lora_alpha / √r instead.', zh: '' },
      },
      {
        key: 'targetModules', name: 'target_modules', group: 'LoRA', kind: 'text',
        default: 'all-linear', basic: false,
        help: { en: 'all-linear, names such as q_proj, or a regular expression for whole paths.', zh: '' },
      },
    ],
    charts: [
      {
        title: 'loss', keys: ['loss'], unit: 'nats', good: 'down',
        help: { en: 'Mean negative log-likelihood of the counted tokens, as loss_type and smoothing make it.', zh: '' },
      },
      {
        title: 'KL to the base', keys: ['kl'], unit: 'nats', good: '', range: [0, null],
        help: { en: 'Distance to the base model, before the update: the Kullback–Leibler divergence KL(policy ‖ base) over the vocabulary, mean over the update\'s judged positions.', zh: '' },
      },
      {
        title: 'entropy', keys: ['entropy'], unit: 'nats', good: '', range: [0, null],
        help: { en: 'How undecided the model is at the judged tokens: the mean entropy of its distribution over the vocabulary. It falls slowly; at 0 there is only one answer left.', zh: '' },
      },
      {
        title: 'learning_rate', keys: ['learning_rate'], unit: '', good: '',
        help: { en: 'The rate that this update used.', zh: '' },
      },
      {
        title: 'grad_norm', keys: ['grad_norm'], unit: '', good: '',
        help: { en: 'Length of the gradient before clipping.', zh: '' },
      },
      {
        title: 'tokens/s', keys: ['tokens_per_second'], unit: 'tokens/s', good: 'up',
        help: { en: 'Of this update.', zh: '' },
      },
    ],
  },
  {
    name: 'dpo', title: 'DPO', rows: 'preference', whole: true,
    learns: { en: 'From rankings', zh: '' },
    what: { en: 'Direct preference optimization: prefers the better of two answers, measured against a reference policy.', zh: '' },
    groups: ['DPO', 'Training', 'Optimizer', 'LoRA'],
    fields: [
      {
        key: 'beta', name: 'beta', group: 'DPO', kind: 'number', min: 0, max: 1000000, step: 0.05,
        default: 0.1, basic: false,
        help: { en: 'How tightly answers are held to the reference.', zh: '' },
      },
      {
        key: 'numTrainEpochs', name: 'num_train_epochs', group: 'Training', kind: 'number', min: 0, max: 1e9, step: 1,
        default: 3, basic: true,
        help: { en: 'How often the whole dataset is seen.', zh: '' },
      },
      {
        key: 'maxSteps', name: 'max_steps', group: 'Training', kind: 'whole', min: -1, max: 1099511627776, step: 1,
        default: -1, basic: false,
        help: { en: 'Updates in all; −1 leaves it to the epochs.', zh: '' },
      },
      {
        key: 'perDeviceTrainBatchSize', name: 'per_device_train_batch_size', group: 'Training', kind: 'whole', min: 1, max: 4096, step: 1,
        default: 1, basic: false,
        help: { en: 'Rows in one pass; more need more memory. TRL: 8, for datasets of thousands of rows.', zh: '' },
      },
      {
        key: 'gradientAccumulationSteps', name: 'gradient_accumulation_steps', group: 'Training', kind: 'whole', min: 1, max: 1048576, step: 1,
        default: 1, basic: false,
        help: { en: 'Passes that make one update.', zh: '' },
      },
      {
        key: 'maxLength', name: 'max_length', group: 'Training', kind: 'whole', min: 2, max: 16777216, step: 1,
        default: 1024, basic: false,
        help: { en: 'Longer rows are cut to so many tokens; null: never, those longer than the context are left out.', zh: '' },
      },
      {
        key: 'seed', name: 'seed', group: 'Training', kind: 'whole', min: 0, max: 4294967295, step: 1,
        default: 42, basic: false,
        help: { en: 'Fixes the order of rows and the first weights.', zh: '' },
      },
      {
        key: 'shuffle', name: 'shuffle', group: 'Training', kind: 'switch',
        default: true, basic: false,
        help: { en: 'Rows in a new random order every epoch, or as they come. Not in TRL.', zh: '' },
      },
      {
        key: 'learningRate', name: 'learning_rate', group: 'Optimizer', kind: 'number', min: 0, max: 1000, step: 1e-5,
        default: 0.0001, basic: true,
        help: { en: 'Size of an update. 5e-5 to 5e-4 suits LoRA. TRL: 2e-5, for all weights.', zh: '' },
      },
      {
        key: 'lrSchedulerType', name: 'lr_scheduler_type', group: 'Optimizer', kind: 'choice', choices: ['linear', 'cosine', 'constant', 'constant_with_warmup'],
        default: 'linear', basic: false,
        help: { en: 'How the rate falls over the run.', zh: '' },
      },
      {
        key: 'warmupSteps', name: 'warmup_steps', group: 'Optimizer', kind: 'number', min: 0, max: 1e12, step: 1,
        default: 0, basic: false,
        help: { en: 'Updates over which the rate rises from 0; below 1, a share of all.', zh: '' },
      },
      {
        key: 'weightDecay', name: 'weight_decay', group: 'Optimizer', kind: 'number', min: 0, max: 1000, step: 0.01,
        default: 0, basic: false,
        help: { en: 'Pulls weights towards 0 (AdamW).', zh: '' },
      },
      {
        key: 'maxGradNorm', name: 'max_grad_norm', group: 'Optimizer', kind: 'number', min: 0, max: 1e9, step: 0.1,
        default: 1, basic: false,
        help: { en: 'Longer gradients are shortened to this; 0: never.', zh: '' },
      },
      {
        key: 'r', name: 'r', group: 'LoRA', kind: 'whole', min: 1, max: 4096, step: 1,
        default: 8, basic: false,
        help: { en: 'Rank: how much the adapter can hold.', zh: '' },
      },
      {
        key: 'loraAlpha', name: 'lora_alpha', group: 'LoRA', kind: 'number', min: 0, max: 1e38, step: 1,
        default: 16, basic: false,
        help: { en: 'The adapter\'s product is multiplied by lora_alpha / r. PEFT: 8; twice the rank is usual.', zh: '' },
      },
      {
        key: 'loraDropout', name: 'lora_dropout', group: 'LoRA', kind: 'number', min: 0, max: 0.999999, step: 0.05,
        default: 0, basic: false,
        help: { en: 'Share of inputs left out while learning.', zh: '' },
      },
      {
        key: 'useRslora', name: 'use_rslora', group: 'LoRA', kind: 'switch',
        default: false, basic: false,
        help: { en: 'The factor is lora_alpha / √r instead.', zh: '' },
      },
      {
        key: 'targetModules', name: 'target_modules', group: 'LoRA', kind: 'text',
        default: 'all-linear', basic: false,
        help: { en: 'all-linear, names such as q_proj, or a regular expression for whole paths.', zh: '' },
      },
    ],
    charts: [
      {
        title: 'loss', keys: ['loss'], unit: 'nats', good: 'down',
        help: { en: 'Mean over the pairs; ln 2 where policy and reference agree.', zh: '' },
      },
      {
        title: 'KL to the base', keys: ['kl'], unit: 'nats', good: '', range: [0, null],
        help: { en: 'Distance to the base model, before the update: the Kullback–Leibler divergence KL(policy ‖ base) over the vocabulary, mean over the update\'s judged positions.', zh: '' },
      },
      {
        title: 'entropy', keys: ['entropy'], unit: 'nats', good: '', range: [0, null],
        help: { en: 'How undecided the model is at the judged tokens: the mean entropy of its distribution over the vocabulary. It falls slowly; at 0 there is only one answer left.', zh: '' },
      },
      {
        title: 'rewards', keys: ['rewards/chosen', 'rewards/rejected'], unit: '', good: 'up',
        help: { en: 'β · (ln π − ln π_ref) of the chosen answer.', zh: '' },
      },
      {
        title: 'rewards/margins', keys: ['rewards/margins'], unit: '', good: 'up',
        help: { en: 'Chosen minus rejected.', zh: '' },
      },
      {
        title: 'rewards/accuracies', keys: ['rewards/accuracies'], unit: '', good: 'up', range: [0, 1],
        help: { en: 'Share of pairs whose chosen answer has the higher reward.', zh: '' },
      },
      {
        title: 'learning_rate', keys: ['learning_rate'], unit: '', good: '',
        help: { en: 'The rate that this update used.', zh: '' },
      },
      {
        title: 'grad_norm', keys: ['grad_norm'], unit: '', good: '',
        help: { en: 'Length of the gradient before clipping.', zh: '' },
      },
      {
        title: 'tokens/s', keys: ['tokens_per_second'], unit: 'tokens/s', good: 'up',
        help: { en: 'Of this update.', zh: '' },
      },
    ],
  },
  {
    name: 'kto', title: 'KTO', rows: 'unpaired', whole: false,
    learns: { en: 'From good and bad answers', zh: '' },
    what: { en: 'Kahneman–Tversky optimization: answers judged one by one, good or bad, measured against a reference policy.', zh: '' },
    groups: ['KTO', 'Training', 'Optimizer', 'LoRA'],
    fields: [
      {
        key: 'beta', name: 'beta', group: 'KTO', kind: 'number', min: 0, max: 1000000, step: 0.05,
        default: 0.1, basic: false,
        help: { en: 'How tightly answers are held to the reference.', zh: '' },
      },
      {
        key: 'desirableWeight', name: 'desirable_weight', group: 'KTO', kind: 'number', min: 0, max: 1000000, step: 0.05,
        default: 1, basic: false,
        help: { en: 'Weight of good answers.', zh: '' },
      },
      {
        key: 'undesirableWeight', name: 'undesirable_weight', group: 'KTO', kind: 'number', min: 0, max: 1000000, step: 0.05,
        default: 1, basic: false,
        help: { en: 'Weight of bad answers. Weight times number should be 1 to 1.33 times as much for good answers as for bad ones.', zh: '' },
      },
      {
        key: 'lossType', name: 'loss_type', group: 'KTO', kind: 'choice', choices: ['kto', 'apo_zero_unpaired'],
        default: 'kto', basic: false,
        help: { en: 'With or without the KL of mismatched pairs.', zh: '' },
      },
      {
        key: 'numTrainEpochs', name: 'num_train_epochs', group: 'Training', kind: 'number', min: 0, max: 1e9, step: 1,
        default: 3, basic: true,
        help: { en: 'How often the whole dataset is seen.', zh: '' },
      },
      {
        key: 'maxSteps', name: 'max_steps', group: 'Training', kind: 'whole', min: -1, max: 1099511627776, step: 1,
        default: -1, basic: false,
        help: { en: 'Updates in all; −1 leaves it to the epochs.', zh: '' },
      },
      {
        key: 'perDeviceTrainBatchSize', name: 'per_device_train_batch_size', group: 'Training', kind: 'whole', min: 1, max: 4096, step: 1,
        default: 4, basic: false,
        help: { en: 'Rows in one pass; more need more memory. TRL: 8, for datasets of thousands of rows.', zh: '' },
      },
      {
        key: 'gradientAccumulationSteps', name: 'gradient_accumulation_steps', group: 'Training', kind: 'whole', min: 1, max: 1048576, step: 1,
        default: 1, basic: false,
        help: { en: 'Passes that make one update.', zh: '' },
      },
      {
        key: 'maxLength', name: 'max_length', group: 'Training', kind: 'whole', min: 2, max: 16777216, step: 1,
        default: 1024, basic: false,
        help: { en: 'Longer rows are cut to so many tokens; null: never, those longer than the context are left out.', zh: '' },
      },
      {
        key: 'seed', name: 'seed', group: 'Training', kind: 'whole', min: 0, max: 4294967295, step: 1,
        default: 42, basic: false,
        help: { en: 'Fixes the order of rows and the first weights.', zh: '' },
      },
      {
        key: 'shuffle', name: 'shuffle', group: 'Training', kind: 'switch',
        default: false, basic: false,
        help: { en: 'Rows in a new random order every epoch, or as they come. Not in TRL.', zh: '' },
      },
      {
        key: 'learningRate', name: 'learning_rate', group: 'Optimizer', kind: 'number', min: 0, max: 1000, step: 1e-5,
        default: 0.0001, basic: true,
        help: { en: 'Size of an update. 5e-5 to 5e-4 suits LoRA. TRL: 2e-5, for all weights.', zh: '' },
      },
      {
        key: 'lrSchedulerType', name: 'lr_scheduler_type', group: 'Optimizer', kind: 'choice', choices: ['linear', 'cosine', 'constant', 'constant_with_warmup'],
        default: 'linear', basic: false,
        help: { en: 'How the rate falls over the run.', zh: '' },
      },
      {
        key: 'warmupSteps', name: 'warmup_steps', group: 'Optimizer', kind: 'number', min: 0, max: 1e12, step: 1,
        default: 0, basic: false,
        help: { en: 'Updates over which the rate rises from 0; below 1, a share of all.', zh: '' },
      },
      {
        key: 'weightDecay', name: 'weight_decay', group: 'Optimizer', kind: 'number', min: 0, max: 1000, step: 0.01,
        default: 0, basic: false,
        help: { en: 'Pulls weights towards 0 (AdamW).', zh: '' },
      },
      {
        key: 'maxGradNorm', name: 'max_grad_norm', group: 'Optimizer', kind: 'number', min: 0, max: 1e9, step: 0.1,
        default: 1, basic: false,
        help: { en: 'Longer gradients are shortened to this; 0: never.', zh: '' },
      },
      {
        key: 'r', name: 'r', group: 'LoRA', kind: 'whole', min: 1, max: 4096, step: 1,
        default: 8, basic: false,
        help: { en: 'Rank: how much the adapter can hold.', zh: '' },
      },
      {
        key: 'loraAlpha', name: 'lora_alpha', group: 'LoRA', kind: 'number', min: 0, max: 1e38, step: 1,
        default: 16, basic: false,
        help: { en: 'The adapter\'s product is multiplied by lora_alpha / r. PEFT: 8; twice the rank is usual.', zh: '' },
      },
      {
        key: 'loraDropout', name: 'lora_dropout', group: 'LoRA', kind: 'number', min: 0, max: 0.999999, step: 0.05,
        default: 0, basic: false,
        help: { en: 'Share of inputs left out while learning.', zh: '' },
      },
      {
        key: 'useRslora', name: 'use_rslora', group: 'LoRA', kind: 'switch',
        default: false, basic: false,
        help: { en: 'The factor is lora_alpha / √r instead.', zh: '' },
      },
      {
        key: 'targetModules', name: 'target_modules', group: 'LoRA', kind: 'text',
        default: 'all-linear', basic: false,
        help: { en: 'all-linear, names such as q_proj, or a regular expression for whole paths.', zh: '' },
      },
    ],
    charts: [
      {
        title: 'loss', keys: ['loss'], unit: '', good: 'down',
        help: { en: 'Mean over the rows; half the weight where policy and reference agree.', zh: '' },
      },
      {
        title: 'entropy', keys: ['entropy'], unit: 'nats', good: '', range: [0, null],
        help: { en: 'How undecided the model is at the judged tokens: the mean entropy of its distribution over the vocabulary. It falls slowly; at 0 there is only one answer left.', zh: '' },
      },
      {
        title: 'kl', keys: ['kl'], unit: 'nats', good: '', range: [0, null],
        help: { en: 'max(0, mean of ln π − ln π_ref of the batch\'s mismatched pairs).', zh: '' },
      },
      {
        title: 'rewards', keys: ['rewards/chosen', 'rewards/rejected'], unit: '', good: 'up',
        help: { en: 'β · (ln π − ln π_ref) of good answers.', zh: '' },
      },
      {
        title: 'rewards/margins', keys: ['rewards/margins'], unit: '', good: 'up',
        help: { en: 'Good minus bad.', zh: '' },
      },
      {
        title: 'learning_rate', keys: ['learning_rate'], unit: '', good: '',
        help: { en: 'The rate that this update used.', zh: '' },
      },
      {
        title: 'grad_norm', keys: ['grad_norm'], unit: '', good: '',
        help: { en: 'Length of the gradient before clipping.', zh: '' },
      },
      {
        title: 'tokens/s', keys: ['tokens_per_second'], unit: 'tokens/s', good: 'up',
        help: { en: 'Of this update.', zh: '' },
      },
    ],
  },
  {
    name: 'orpo', title: 'ORPO', rows: 'preference', whole: false,
    learns: { en: 'From rankings, no reference', zh: '' },
    what: { en: 'Odds ratio preference optimization: imitates the better of two answers and makes the other one less likely, without a reference policy.', zh: '' },
    groups: ['ORPO', 'Training', 'Optimizer', 'LoRA'],
    fields: [
      {
        key: 'beta', name: 'beta', group: 'ORPO', kind: 'number', min: 0, max: 1000000, step: 0.05,
        default: 0.1, basic: false,
        help: { en: 'Weight of the odds ratio beside the imitation (the paper\'s λ).', zh: '' },
      },
      {
        key: 'numTrainEpochs', name: 'num_train_epochs', group: 'Training', kind: 'number', min: 0, max: 1e9, step: 1,
        default: 3, basic: true,
        help: { en: 'How often the whole dataset is seen.', zh: '' },
      },
      {
        key: 'maxSteps', name: 'max_steps', group: 'Training', kind: 'whole', min: -1, max: 1099511627776, step: 1,
        default: -1, basic: false,
        help: { en: 'Updates in all; −1 leaves it to the epochs.', zh: '' },
      },
      {
        key: 'perDeviceTrainBatchSize', name: 'per_device_train_batch_size', group: 'Training', kind: 'whole', min: 1, max: 4096, step: 1,
        default: 1, basic: false,
        help: { en: 'Rows in one pass; more need more memory. TRL: 8, for datasets of thousands of rows.', zh: '' },
      },
      {
        key: 'gradientAccumulationSteps', name: 'gradient_accumulation_steps', group: 'Training', kind: 'whole', min: 1, max: 1048576, step: 1,
        default: 1, basic: false,
        help: { en: 'Passes that make one update.', zh: '' },
      },
      {
        key: 'maxLength', name: 'max_length', group: 'Training', kind: 'whole', min: 2, max: 16777216, step: 1,
        default: 1024, basic: false,
        help: { en: 'Longer rows are cut to so many tokens; null: never, those longer than the context are left out.', zh: '' },
      },
      {
        key: 'seed', name: 'seed', group: 'Training', kind: 'whole', min: 0, max: 4294967295, step: 1,
        default: 42, basic: false,
        help: { en: 'Fixes the order of rows and the first weights.', zh: '' },
      },
      {
        key: 'shuffle', name: 'shuffle', group: 'Training', kind: 'switch',
        default: true, basic: false,
        help: { en: 'Rows in a new random order every epoch, or as they come. Not in TRL.', zh: '' },
      },
      {
        key: 'learningRate', name: 'learning_rate', group: 'Optimizer', kind: 'number', min: 0, max: 1000, step: 1e-5,
        default: 0.0001, basic: true,
        help: { en: 'Size of an update. 5e-5 to 5e-4 suits LoRA. TRL: 2e-5, for all weights.', zh: '' },
      },
      {
        key: 'lrSchedulerType', name: 'lr_scheduler_type', group: 'Optimizer', kind: 'choice', choices: ['linear', 'cosine', 'constant', 'constant_with_warmup'],
        default: 'linear', basic: false,
        help: { en: 'How the rate falls over the run.', zh: '' },
      },
      {
        key: 'warmupSteps', name: 'warmup_steps', group: 'Optimizer', kind: 'number', min: 0, max: 1e12, step: 1,
        default: 0, basic: false,
        help: { en: 'Updates over which the rate rises from 0; below 1, a share of all.', zh: '' },
      },
      {
        key: 'weightDecay', name: 'weight_decay', group: 'Optimizer', kind: 'number', min: 0, max: 1000, step: 0.01,
        default: 0, basic: false,
        help: { en: 'Pulls weights towards 0 (AdamW).', zh: '' },
      },
      {
        key: 'maxGradNorm', name: 'max_grad_norm', group: 'Optimizer', kind: 'number', min: 0, max: 1e9, step: 0.1,
        default: 1, basic: false,
        help: { en: 'Longer gradients are shortened to this; 0: never.', zh: '' },
      },
      {
        key: 'r', name: 'r', group: 'LoRA', kind: 'whole', min: 1, max: 4096, step: 1,
        default: 8, basic: false,
        help: { en: 'Rank: how much the adapter can hold.', zh: '' },
      },
      {
        key: 'loraAlpha', name: 'lora_alpha', group: 'LoRA', kind: 'number', min: 0, max: 1e38, step: 1,
        default: 16, basic: false,
        help: { en: 'The adapter\'s product is multiplied by lora_alpha / r. PEFT: 8; twice the rank is usual.', zh: '' },
      },
      {
        key: 'loraDropout', name: 'lora_dropout', group: 'LoRA', kind: 'number', min: 0, max: 0.999999, step: 0.05,
        default: 0, basic: false,
        help: { en: 'Share of inputs left out while learning.', zh: '' },
      },
      {
        key: 'useRslora', name: 'use_rslora', group: 'LoRA', kind: 'switch',
        default: false, basic: false,
        help: { en: 'The factor is lora_alpha / √r instead.', zh: '' },
      },
      {
        key: 'targetModules', name: 'target_modules', group: 'LoRA', kind: 'text',
        default: 'all-linear', basic: false,
        help: { en: 'all-linear, names such as q_proj, or a regular expression for whole paths.', zh: '' },
      },
    ],
    charts: [
      {
        title: 'loss', keys: ['loss'], unit: 'nats', good: 'down',
        help: { en: 'nll_loss − β · log_odds_ratio.', zh: '' },
      },
      {
        title: 'KL to the base', keys: ['kl'], unit: 'nats', good: '', range: [0, null],
        help: { en: 'Distance to the base model, before the update: the Kullback–Leibler divergence KL(policy ‖ base) over the vocabulary, mean over the update\'s judged positions.', zh: '' },
      },
      {
        title: 'entropy', keys: ['entropy'], unit: 'nats', good: '', range: [0, null],
        help: { en: 'How undecided the model is at the judged tokens: the mean entropy of its distribution over the vocabulary. It falls slowly; at 0 there is only one answer left.', zh: '' },
      },
      {
        title: 'rewards', keys: ['rewards/chosen', 'rewards/rejected'], unit: '', good: 'up',
        help: { en: 'β · mean log-probability of the chosen answer\'s tokens.', zh: '' },
      },
      {
        title: 'rewards/margins', keys: ['rewards/margins'], unit: '', good: 'up',
        help: { en: 'Chosen minus rejected.', zh: '' },
      },
      {
        title: 'rewards/accuracies', keys: ['rewards/accuracies'], unit: '', good: 'up', range: [0, 1],
        help: { en: 'Share of pairs whose chosen answer has the higher reward.', zh: '' },
      },
      {
        title: 'nll_loss', keys: ['nll_loss'], unit: 'nats', good: 'down',
        help: { en: 'Mean negative log-likelihood of the chosen sequences\' tokens.', zh: '' },
      },
      {
        title: 'log_odds_chosen', keys: ['log_odds_chosen'], unit: '', good: 'up',
        help: { en: 'The log odds: above 0 where the chosen answer is the likelier one.', zh: '' },
      },
      {
        title: 'learning_rate', keys: ['learning_rate'], unit: '', good: '',
        help: { en: 'The rate that this update used.', zh: '' },
      },
      {
        title: 'grad_norm', keys: ['grad_norm'], unit: '', good: '',
        help: { en: 'Length of the gradient before clipping.', zh: '' },
      },
      {
        title: 'tokens/s', keys: ['tokens_per_second'], unit: 'tokens/s', good: 'up',
        help: { en: 'Of this update.', zh: '' },
      },
    ],
  },
  {
    name: 'cpo', title: 'CPO', rows: 'preference', whole: false,
    learns: { en: 'From rankings, no reference, with imitation', zh: '' },
    what: { en: 'Contrastive preference optimization, and SimPO: prefers the better of two answers without a reference policy, and imitates it.', zh: '' },
    groups: ['CPO', 'Training', 'Optimizer', 'LoRA'],
    fields: [
      {
        key: 'beta', name: 'beta', group: 'CPO', kind: 'number', min: 0, max: 1000000, step: 0.05,
        default: 0.1, basic: false,
        help: { en: 'How sharply the two answers are told apart. SimPO: 2.', zh: '' },
      },
      {
        key: 'cpoAlpha', name: 'cpo_alpha', group: 'CPO', kind: 'number', min: 0, max: 1000000, step: 0.1,
        default: 1, basic: false,
        help: { en: 'Weight of imitating the chosen answers.', zh: '' },
      },
      {
        key: 'lossType', name: 'loss_type', group: 'CPO', kind: 'choice', choices: ['sigmoid', 'hinge', 'ipo', 'simpo', 'alphapo'],
        default: 'sigmoid', basic: false,
        help: { en: 'What is made of the two answers\' log-probabilities.', zh: '' },
      },
      {
        key: 'simpoGamma', name: 'simpo_gamma', group: 'CPO', kind: 'number', min: 0, max: 1000000, step: 0.1,
        default: 0.5, basic: false,
        help: { en: 'SimPO: by how much the chosen answer\'s reward must be the larger one.', zh: '' },
      },
      {
        key: 'numTrainEpochs', name: 'num_train_epochs', group: 'Training', kind: 'number', min: 0, max: 1e9, step: 1,
        default: 3, basic: true,
        help: { en: 'How often the whole dataset is seen.', zh: '' },
      },
      {
        key: 'maxSteps', name: 'max_steps', group: 'Training', kind: 'whole', min: -1, max: 1099511627776, step: 1,
        default: -1, basic: false,
        help: { en: 'Updates in all; −1 leaves it to the epochs.', zh: '' },
      },
      {
        key: 'perDeviceTrainBatchSize', name: 'per_device_train_batch_size', group: 'Training', kind: 'whole', min: 1, max: 4096, step: 1,
        default: 1, basic: false,
        help: { en: 'Rows in one pass; more need more memory. TRL: 8, for datasets of thousands of rows.', zh: '' },
      },
      {
        key: 'gradientAccumulationSteps', name: 'gradient_accumulation_steps', group: 'Training', kind: 'whole', min: 1, max: 1048576, step: 1,
        default: 1, basic: false,
        help: { en: 'Passes that make one update.', zh: '' },
      },
      {
        key: 'maxLength', name: 'max_length', group: 'Training', kind: 'whole', min: 2, max: 16777216, step: 1,
        default: 1024, basic: false,
        help: { en: 'Longer rows are cut to so many tokens; null: never, those longer than the context are left out.', zh: '' },
      },
      {
        key: 'seed', name: 'seed', group: 'Training', kind: 'whole', min: 0, max: 4294967295, step: 1,
        default: 42, basic: false,
        help: { en: 'Fixes the order of rows and the first weights.', zh: '' },
      },
      {
        key: 'shuffle', name: 'shuffle', group: 'Training', kind: 'switch',
        default: true, basic: false,
        help: { en: 'Rows in a new random order every epoch, or as they come. Not in TRL.', zh: '' },
      },
      {
        key: 'learningRate', name: 'learning_rate', group: 'Optimizer', kind: 'number', min: 0, max: 1000, step: 1e-5,
        default: 0.0001, basic: true,
        help: { en: 'Size of an update. 5e-5 to 5e-4 suits LoRA. TRL: 2e-5, for all weights.', zh: '' },
      },
      {
        key: 'lrSchedulerType', name: 'lr_scheduler_type', group: 'Optimizer', kind: 'choice', choices: ['linear', 'cosine', 'constant', 'constant_with_warmup'],
        default: 'linear', basic: false,
        help: { en: 'How the rate falls over the run.', zh: '' },
      },
      {
        key: 'warmupSteps', name: 'warmup_steps', group: 'Optimizer', kind: 'number', min: 0, max: 1e12, step: 1,
        default: 0, basic: false,
        help: { en: 'Updates over which the rate rises from 0; below 1, a share of all.', zh: '' },
      },
      {
        key: 'weightDecay', name: 'weight_decay', group: 'Optimizer', kind: 'number', min: 0, max: 1000, step: 0.01,
        default: 0, basic: false,
        help: { en: 'Pulls weights towards 0 (AdamW).', zh: '' },
      },
      {
        key: 'maxGradNorm', name: 'max_grad_norm', group: 'Optimizer', kind: 'number', min: 0, max: 1e9, step: 0.1,
        default: 1, basic: false,
        help: { en: 'Longer gradients are shortened to this; 0: never.', zh: '' },
      },
      {
        key: 'r', name: 'r', group: 'LoRA', kind: 'whole', min: 1, max: 4096, step: 1,
        default: 8, basic: false,
        help: { en: 'Rank: how much the adapter can hold.', zh: '' },
      },
      {
        key: 'loraAlpha', name: 'lora_alpha', group: 'LoRA', kind: 'number', min: 0, max: 1e38, step: 1,
        default: 16, basic: false,
        help: { en: 'The adapter\'s product is multiplied by lora_alpha / r. PEFT: 8; twice the rank is usual.', zh: '' },
      },
      {
        key: 'loraDropout', name: 'lora_dropout', group: 'LoRA', kind: 'number', min: 0, max: 0.999999, step: 0.05,
        default: 0, basic: false,
        help: { en: 'Share of inputs left out while learning.', zh: '' },
      },
      {
        key: 'useRslora', name: 'use_rslora', group: 'LoRA', kind: 'switch',
        default: false, basic: false,
        help: { en: 'The factor is lora_alpha / √r instead.', zh: '' },
      },
      {
        key: 'targetModules', name: 'target_modules', group: 'LoRA', kind: 'text',
        default: 'all-linear', basic: false,
        help: { en: 'all-linear, names such as q_proj, or a regular expression for whole paths.', zh: '' },
      },
    ],
    charts: [
      {
        title: 'loss', keys: ['loss'], unit: 'nats', good: 'down',
        help: { en: 'The preference\'s loss plus cpo_alpha · nll_loss.', zh: '' },
      },
      {
        title: 'KL to the base', keys: ['kl'], unit: 'nats', good: '', range: [0, null],
        help: { en: 'Distance to the base model, before the update: the Kullback–Leibler divergence KL(policy ‖ base) over the vocabulary, mean over the update\'s judged positions.', zh: '' },
      },
      {
        title: 'entropy', keys: ['entropy'], unit: 'nats', good: '', range: [0, null],
        help: { en: 'How undecided the model is at the judged tokens: the mean entropy of its distribution over the vocabulary. It falls slowly; at 0 there is only one answer left.', zh: '' },
      },
      {
        title: 'rewards', keys: ['rewards/chosen', 'rewards/rejected'], unit: '', good: 'up',
        help: { en: 'β · log-probability of the chosen answer (ipo, simpo: per token).', zh: '' },
      },
      {
        title: 'rewards/margins', keys: ['rewards/margins'], unit: '', good: 'up',
        help: { en: 'Chosen minus rejected.', zh: '' },
      },
      {
        title: 'rewards/accuracies', keys: ['rewards/accuracies'], unit: '', good: 'up', range: [0, 1],
        help: { en: 'Share of pairs whose chosen answer has the higher reward.', zh: '' },
      },
      {
        title: 'nll_loss', keys: ['nll_loss'], unit: 'nats', good: 'down',
        help: { en: 'Mean negative log-likelihood of the chosen answers\' tokens.', zh: '' },
      },
      {
        title: 'learning_rate', keys: ['learning_rate'], unit: '', good: '',
        help: { en: 'The rate that this update used.', zh: '' },
      },
      {
        title: 'grad_norm', keys: ['grad_norm'], unit: '', good: '',
        help: { en: 'Length of the gradient before clipping.', zh: '' },
      },
      {
        title: 'tokens/s', keys: ['tokens_per_second'], unit: 'tokens/s', good: 'up',
        help: { en: 'Of this update.', zh: '' },
      },
    ],
  },
];
