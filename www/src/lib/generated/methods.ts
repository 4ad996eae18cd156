// Made from src/tune/methods by `UPDATE=1 cargo test --test generated`: change the table, not this file.

export type MethodName = 'sft' | 'dpo' | 'kto' | 'orpo';

/** PEFT's LoraConfig in camelCase. */
export interface PeftConfig {
  /** Rank: how much the adapter can hold. Default: 8. */
  r?: number | undefined;
  /** The adapter's product is multiplied by lora_alpha / r. PEFT: 8; twice the rank is usual. Default: 16. */
  loraAlpha?: number | undefined;
  /** Share of inputs left out while learning. Default: 0. */
  loraDropout?: number | undefined;
  /** The factor is lora_alpha / √r instead. Default: false. */
  useRslora?: boolean | undefined;
  /** all-linear, names such as q_proj, or a regular expression for whole paths. Default: 'all-linear'. */
  targetModules?: string | string[] | undefined;
  /** Names, or a regular expression, of modules to leave out. */
  excludeModules?: string | string[] | null | undefined;
  /** Numbers of the layers to adapt; not set: all. */
  layersToTransform?: number | number[] | null | undefined;
  /** Name of the list of layers, where layers_to_transform cannot guess it. */
  layersPattern?: string | string[] | null | undefined;
  /** Other ranks for modules by name or regular expression. Default: {}. */
  rankPattern?: Record<string, number> | undefined;
  /** The same for lora_alpha. Default: {}. */
  alphaPattern?: Record<string, number> | undefined;
}

/** TRL's TrainingArguments in camelCase: what all trainers share. */
export interface TrainArgs {
  /** How often the whole dataset is seen. Default: 3. */
  numTrainEpochs?: number | undefined;
  /** Updates in all; −1 leaves it to the epochs. Default: -1. */
  maxSteps?: number | undefined;
  /** Rows in one pass; more need more memory. TRL: 8, for datasets of thousands of rows. */
  perDeviceTrainBatchSize?: number | undefined;
  /** Passes that make one update. Default: 1. */
  gradientAccumulationSteps?: number | undefined;
  /** Longer rows are cut to so many tokens; null: never, too long ones are refused. Default: 1024. */
  maxLength?: number | null | undefined;
  /** true: nothing is dropped, as if lora_dropout were 0, which is what TRL does by default. Not set: lora_dropout decides. */
  disableDropout?: boolean | null | undefined;
  /** Fixes the order of rows and the first weights. Default: 42. */
  seed?: number | undefined;
  /** Fixes the order of rows alone; without it, seed does. */
  dataSeed?: number | null | undefined;
  /** Rows in a new random order every epoch, or as they come. Not in TRL. */
  shuffle?: boolean | undefined;
  /** Size of an update. 5e-5 to 5e-4 suits LoRA. TRL: 2e-5, for all weights. */
  learningRate?: number | undefined;
  /** How the rate falls over the run. Default: 'linear'. */
  lrSchedulerType?: 'linear' | 'cosine' | 'constant' | 'constant_with_warmup' | undefined;
  /** Updates over which the rate rises from 0; below 1, a share of all. Default: 0. */
  warmupSteps?: number | undefined;
  /** The same as a share of all, where warmup_steps is 0. Default: 0. */
  warmupRatio?: number | null | undefined;
  /** Pulls weights towards 0 (AdamW). Default: 0. */
  weightDecay?: number | undefined;
  /** Longer gradients are shortened to this; 0: never. Default: 1. */
  maxGradNorm?: number | undefined;
  /** AdamW: share of the past in the mean of gradients. Default: 0.9. */
  adamBeta1?: number | undefined;
  /** AdamW: share of the past in the mean of their squares. Default: 0.999. */
  adamBeta2?: number | undefined;
  /** AdamW: added to the root of that mean. Default: 1e-8. */
  adamEpsilon?: number | undefined;
  /** Activations are computed again instead of kept; not set: where they would exceed activation_memory. */
  gradientCheckpointing?: boolean | null | undefined;
  /** Activations wait for the backward pass in half precision; all arithmetic stays f32. Default: false. */
  fp16?: boolean | undefined;
  /** Bytes that activations may take; not set: a share of what the device has. Not in TRL. */
  activationMemory?: number | null | undefined;
  /** Report kl, the distance to the base model on the judged tokens. Not in TRL. Default: true. */
  reportKl?: boolean | undefined;
  peftConfig?: PeftConfig | undefined;
  /** Adapter to train: continued where it exists, created from `peftConfig` where it does not. Default: 'default'. */
  adapterName?: string | undefined;
  /** Bytes of an earlier `saveCheckpoint()`. */
  resumeFrom?: Uint8Array | undefined;
}

/** TRL's SFTConfig in camelCase. Supervised fine-tuning: imitates the answers in the rows. */
export interface SFTArgs extends Omit<TrainArgs, 'disableDropout'> {
  /** Of rows with prompt and completion: only the completion counts. Default: true. */
  completionOnlyLoss?: boolean | null | undefined;
  /** Of rows with messages: only the assistant's messages count. Default: false. */
  assistantOnlyLoss?: boolean | undefined;
  /** Rows in one pass; more need more memory. TRL: 8, for datasets of thousands of rows. Default: 1. */
  perDeviceTrainBatchSize?: number | undefined;
  /** Rows in a new random order every epoch, or as they come. Not in TRL. Default: true. */
  shuffle?: boolean | undefined;
  /** Size of an update. 5e-5 to 5e-4 suits LoRA. TRL: 2e-5, for all weights. Default: 0.0002. */
  learningRate?: number | undefined;
}

/** TRL's DPOConfig in camelCase. Direct preference optimization: prefers the better of two answers, measured against a reference policy. */
export interface DPOArgs extends TrainArgs {
  /** How tightly answers are held to the reference. Default: 0.1. */
  beta?: number | undefined;
  /** Share of rankings taken to be mistaken. Default: 0. */
  labelSmoothing?: number | undefined;
  /** TRL's other losses are not there. Default: 'sigmoid'. */
  lossType?: 'sigmoid' | undefined;
  /** What the policy is measured against: the base model, or the adapter that training starts from. Not set: that adapter where it changes the model, else the base. Not in TRL, where handing over a PeftModel means init. */
  reference?: 'base' | 'init' | null | undefined;
  /** Size of an update. 5e-5 to 5e-4 suits LoRA. TRL: 2e-5, for all weights. Default: 0.0001. */
  learningRate?: number | undefined;
  /** Rows in one pass; more need more memory. TRL: 8, for datasets of thousands of rows. Default: 1. */
  perDeviceTrainBatchSize?: number | undefined;
  /** Rows in a new random order every epoch, or as they come. Not in TRL. Default: true. */
  shuffle?: boolean | undefined;
}

/** TRL's KTOConfig in camelCase. Kahneman–Tversky optimization: answers judged one by one, good or bad, measured against a reference policy. */
export interface KTOArgs extends Omit<TrainArgs, 'reportKl'> {
  /** How tightly answers are held to the reference. Default: 0.1. */
  beta?: number | undefined;
  /** Weight of good answers. Default: 1. */
  desirableWeight?: number | undefined;
  /** Weight of bad answers. Weight times number should be 1 to 1.33 times as much for good answers as for bad ones. Default: 1. */
  undesirableWeight?: number | undefined;
  /** With or without the KL of mismatched pairs. Default: 'kto'. */
  lossType?: 'kto' | 'apo_zero_unpaired' | undefined;
  /** What the policy is measured against: the base model, or the adapter that training starts from. Not set: that adapter where it changes the model, else the base. Not in TRL, where handing over a PeftModel means init. */
  reference?: 'base' | 'init' | null | undefined;
  /** Size of an update. 5e-5 to 5e-4 suits LoRA. TRL: 2e-5, for all weights. Default: 0.0001. */
  learningRate?: number | undefined;
  /** Rows in one pass; more need more memory. TRL: 8, for datasets of thousands of rows. Default: 4. */
  perDeviceTrainBatchSize?: number | undefined;
  /** Rows in a new random order every epoch, or as they come. Not in TRL. Default: false. */
  shuffle?: boolean | undefined;
}

/** TRL's ORPOConfig in camelCase. Odds ratio preference optimization: imitates the better of two answers and makes the other one less likely, without a reference policy. */
export interface ORPOArgs extends TrainArgs {
  /** Weight of the odds ratio beside the imitation (the paper's λ). Default: 0.1. */
  beta?: number | undefined;
  /** Size of an update. 5e-5 to 5e-4 suits LoRA. TRL: 2e-5, for all weights. Default: 0.0001. */
  learningRate?: number | undefined;
  /** Rows in one pass; more need more memory. TRL: 8, for datasets of thousands of rows. Default: 1. */
  perDeviceTrainBatchSize?: number | undefined;
  /** Rows in a new random order every epoch, or as they come. Not in TRL. Default: true. */
  shuffle?: boolean | undefined;
}

/** One update. Names as TRL logs them; which a method has stands in docs/methods.md. */
export interface StepMetrics {
  /** The rate that this update used. */
  learning_rate: number;
  /** Length of the gradient before clipping. */
  grad_norm: number;
  /** Of this update. */
  tokens_per_second: number;
  /** Updates so far. */
  step: number;
  /** Updates in all. */
  totalSteps: number;
  /** Passes over the data so far. */
  epoch: number;
  /** Read so far, without padding. */
  tokens: number;
  /** Until the end, at this pace. */
  seconds_left: number;
  loss: number;
  kl?: number;
  'rewards/chosen'?: number;
  'rewards/rejected'?: number;
  'rewards/margins'?: number;
  'rewards/accuracies'?: number;
  'logps/chosen'?: number;
  'logps/rejected'?: number;
  /** Mean negative log-likelihood of the chosen sequences' tokens. */
  nll_loss?: number;
  /** ln σ of the log odds. */
  log_odds_ratio?: number;
  /** The log odds: above 0 where the chosen answer is the likelier one. */
  log_odds_chosen?: number;
}

/** What each trainer's arguments are called here and in the engine. */
export const ARGS: Record<MethodName, Readonly<Record<string, string>>> = {
  sft: {
    completionOnlyLoss: 'completion_only_loss',
    assistantOnlyLoss: 'assistant_only_loss',
    numTrainEpochs: 'num_train_epochs',
    maxSteps: 'max_steps',
    perDeviceTrainBatchSize: 'per_device_train_batch_size',
    gradientAccumulationSteps: 'gradient_accumulation_steps',
    maxLength: 'max_length',
    seed: 'seed',
    dataSeed: 'data_seed',
    shuffle: 'shuffle',
    learningRate: 'learning_rate',
    lrSchedulerType: 'lr_scheduler_type',
    warmupSteps: 'warmup_steps',
    warmupRatio: 'warmup_ratio',
    weightDecay: 'weight_decay',
    maxGradNorm: 'max_grad_norm',
    adamBeta1: 'adam_beta1',
    adamBeta2: 'adam_beta2',
    adamEpsilon: 'adam_epsilon',
    gradientCheckpointing: 'gradient_checkpointing',
    fp16: 'fp16',
    activationMemory: 'activation_memory',
    reportKl: 'report_kl',
  },
  dpo: {
    beta: 'beta',
    labelSmoothing: 'label_smoothing',
    lossType: 'loss_type',
    reference: 'reference',
    numTrainEpochs: 'num_train_epochs',
    maxSteps: 'max_steps',
    perDeviceTrainBatchSize: 'per_device_train_batch_size',
    gradientAccumulationSteps: 'gradient_accumulation_steps',
    maxLength: 'max_length',
    disableDropout: 'disable_dropout',
    seed: 'seed',
    dataSeed: 'data_seed',
    shuffle: 'shuffle',
    learningRate: 'learning_rate',
    lrSchedulerType: 'lr_scheduler_type',
    warmupSteps: 'warmup_steps',
    warmupRatio: 'warmup_ratio',
    weightDecay: 'weight_decay',
    maxGradNorm: 'max_grad_norm',
    adamBeta1: 'adam_beta1',
    adamBeta2: 'adam_beta2',
    adamEpsilon: 'adam_epsilon',
    gradientCheckpointing: 'gradient_checkpointing',
    fp16: 'fp16',
    activationMemory: 'activation_memory',
    reportKl: 'report_kl',
  },
  kto: {
    beta: 'beta',
    desirableWeight: 'desirable_weight',
    undesirableWeight: 'undesirable_weight',
    lossType: 'loss_type',
    reference: 'reference',
    numTrainEpochs: 'num_train_epochs',
    maxSteps: 'max_steps',
    perDeviceTrainBatchSize: 'per_device_train_batch_size',
    gradientAccumulationSteps: 'gradient_accumulation_steps',
    maxLength: 'max_length',
    disableDropout: 'disable_dropout',
    seed: 'seed',
    dataSeed: 'data_seed',
    shuffle: 'shuffle',
    learningRate: 'learning_rate',
    lrSchedulerType: 'lr_scheduler_type',
    warmupSteps: 'warmup_steps',
    warmupRatio: 'warmup_ratio',
    weightDecay: 'weight_decay',
    maxGradNorm: 'max_grad_norm',
    adamBeta1: 'adam_beta1',
    adamBeta2: 'adam_beta2',
    adamEpsilon: 'adam_epsilon',
    gradientCheckpointing: 'gradient_checkpointing',
    fp16: 'fp16',
    activationMemory: 'activation_memory',
  },
  orpo: {
    beta: 'beta',
    numTrainEpochs: 'num_train_epochs',
    maxSteps: 'max_steps',
    perDeviceTrainBatchSize: 'per_device_train_batch_size',
    gradientAccumulationSteps: 'gradient_accumulation_steps',
    maxLength: 'max_length',
    disableDropout: 'disable_dropout',
    seed: 'seed',
    dataSeed: 'data_seed',
    shuffle: 'shuffle',
    learningRate: 'learning_rate',
    lrSchedulerType: 'lr_scheduler_type',
    warmupSteps: 'warmup_steps',
    warmupRatio: 'warmup_ratio',
    weightDecay: 'weight_decay',
    maxGradNorm: 'max_grad_norm',
    adamBeta1: 'adam_beta1',
    adamBeta2: 'adam_beta2',
    adamEpsilon: 'adam_epsilon',
    gradientCheckpointing: 'gradient_checkpointing',
    fp16: 'fp16',
    activationMemory: 'activation_memory',
    reportKl: 'report_kl',
  },
};

/** The same of `peftConfig`. */
export const PEFT: Readonly<Record<string, string>> = {
  r: 'r',
  loraAlpha: 'lora_alpha',
  loraDropout: 'lora_dropout',
  useRslora: 'use_rslora',
  targetModules: 'target_modules',
  excludeModules: 'exclude_modules',
  layersToTransform: 'layers_to_transform',
  layersPattern: 'layers_pattern',
  rankPattern: 'rank_pattern',
  alphaPattern: 'alpha_pattern',
};
