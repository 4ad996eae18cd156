// Made from src/tune/methods by `UPDATE=1 cargo test --test generated`: change the table, not this file.

export type MethodName = 'sft' | 'dpo' | 'kto' | 'orpo' | 'cpo' | 'reward' | 'grpo' | 'rloo' | 'online_dpo' | 'ppo';

/** PEFT's configuration of an adapter in camelCase; `peftType` says which fields are its own. */
export interface PeftConfig {
  /**
   * The kind of adapter: low-rank products, or virtual tokens in front of every text, as embeddings (PROMPT_TUNING, and P_TUNING by a small network) or as keys and values of every layer (PREFIX_TUNING).
   * @default 'LORA'
   */
  peftType?: 'LORA' | 'PROMPT_TUNING' | 'P_TUNING' | 'PREFIX_TUNING' | undefined;
  /**
   * Rank: how much the adapter can hold.
   * @default 8
   */
  r?: number | undefined;
  /**
   * The adapter's product is multiplied by lora_alpha / r. PEFT: 8; twice the rank is usual.
   * @default 16
   */
  loraAlpha?: number | undefined;
  /**
   * Share of inputs left out while learning.
   * @default 0
   */
  loraDropout?: number | undefined;
  /**
   * The factor is lora_alpha / √r instead.
   * @default false
   */
  useRslora?: boolean | undefined;
  /**
   * DoRA: the norm of every row of a weight is learned, too. Not with lora_dropout above 0; slower than without.
   * @default false
   */
  useDora?: boolean | undefined;
  /**
   * all-linear, names such as q_proj, or a regular expression for whole paths.
   * @default 'all-linear'
   */
  targetModules?: string | string[] | undefined;
  /**
   * How A and B begin: true, B is zero; false, both are random; gaussian and orthogonal as in PEFT.
   * @default true
   */
  initLoraWeights?: boolean | 'gaussian' | 'orthogonal' | undefined;
  /** Names, or a regular expression, of modules to leave out. */
  excludeModules?: string | string[] | null | undefined;
  /** Numbers of the layers to adapt; not set: all. */
  layersToTransform?: number | number[] | null | undefined;
  /** Name of the list of layers, where layers_to_transform cannot guess it. */
  layersPattern?: string | string[] | null | undefined;
  /**
   * Other ranks for modules by name or regular expression.
   * @default {}
   */
  rankPattern?: Record<string, number> | undefined;
  /**
   * The same for lora_alpha.
   * @default {}
   */
  alphaPattern?: Record<string, number> | undefined;
  /**
   * How many virtual tokens every text has in front; they count as its context does. PEFT: must be said.
   * @default 20
   */
  numVirtualTokens?: number | undefined;
  /**
   * How virtual tokens of PROMPT_TUNING begin: at random, as the tokens of prompt_tuning_init_text, or as tokens drawn from the vocabulary.
   * @default 'RANDOM'
   */
  promptTuningInit?: 'RANDOM' | 'TEXT' | 'SAMPLE_VOCAB' | undefined;
  /** The text whose tokens they begin as, repeated or cut to their number; the model's own tokenizer reads it. */
  promptTuningInitText?: string | null | undefined;
  /** Whose tokenizer PEFT takes for that text; it is kept, and the model's is taken. */
  tokenizerNameOrPath?: string | null | undefined;
  /** Width of the network of P_TUNING and of PREFIX_TUNING's projection; not set: that of what it makes. */
  encoderHiddenSize?: number | null | undefined;
  /**
   * The network that makes the virtual tokens of P_TUNING: three linear layers, or an LSTM in both directions and two of them.
   * @default 'MLP'
   */
  encoderReparameterizationType?: 'MLP' | 'LSTM' | undefined;
  /**
   * Layers of the LSTM; an MLP has no use for it.
   * @default 2
   */
  encoderNumLayers?: number | undefined;
  /**
   * Share dropped between layers of the LSTM.
   * @default 0
   */
  encoderDropout?: number | undefined;
  /**
   * Two linear layers make the keys and values of PREFIX_TUNING, while it is trained.
   * @default false
   */
  prefixProjection?: boolean | undefined;
  /** zero: keys and values of PREFIX_TUNING begin as zeros; not set: at random. */
  initWeights?: 'zero' | null | undefined;
}

/** TRL's TrainingArguments in camelCase: what all trainers share. */
export interface TrainArgs {
  /**
   * How often the whole dataset is seen.
   * @default 3
   */
  numTrainEpochs?: number | undefined;
  /**
   * Updates in all; −1 leaves it to the epochs.
   * @default -1
   */
  maxSteps?: number | undefined;
  /** Rows in one pass; more need more memory. TRL: 8, for datasets of thousands of rows. */
  perDeviceTrainBatchSize?: number | undefined;
  /**
   * Passes that make one update.
   * @default 1
   */
  gradientAccumulationSteps?: number | undefined;
  /**
   * Longer rows are cut to so many tokens; null: never, those longer than the context are left out.
   * @default 1024
   */
  maxLength?: number | null | undefined;
  /** true: nothing is dropped, as if lora_dropout were 0, which is what TRL does by default. Not set: lora_dropout decides. */
  disableDropout?: boolean | null | undefined;
  /**
   * Fixes the order of rows and the first weights.
   * @default 42
   */
  seed?: number | undefined;
  /** Fixes the order of rows alone; without it, seed does. */
  dataSeed?: number | null | undefined;
  /** Rows in a new random order every epoch, or as they come. Not in TRL. */
  shuffle?: boolean | undefined;
  /** Size of an update. 5e-5 to 5e-4 suits LoRA. TRL: 2e-5, for all weights. */
  learningRate?: number | undefined;
  /**
   * How the rate falls over the run.
   * @default 'linear'
   */
  lrSchedulerType?: 'linear' | 'cosine' | 'constant' | 'constant_with_warmup' | undefined;
  /**
   * Updates over which the rate rises from 0; below 1, a share of all.
   * @default 0
   */
  warmupSteps?: number | undefined;
  /**
   * The same as a share of all, where warmup_steps is 0.
   * @default 0
   */
  warmupRatio?: number | null | undefined;
  /**
   * AdamW under all of these names; those that end in 8bit keep its moments in 8 bits, a quarter of the memory. Of bitsandbytes: there, tensors of fewer than 4096 values stay in 32 bits, here none does.
   * @default 'adamw_torch_fused'
   */
  optim?: 'adamw_torch_fused' | 'adamw_torch' | 'adamw_hf' | 'adamw' | 'adamw_torch_xla' | 'adamw_torch_npu_fused' | 'adamw_apex_fused' | 'paged_adamw' | 'paged_adamw_32bit' | 'adamw_8bit' | 'adamw_bnb_8bit' | 'paged_adamw_8bit' | undefined;
  /**
   * Pulls weights towards 0 (AdamW).
   * @default 0
   */
  weightDecay?: number | undefined;
  /** Longer gradients are shortened to this; 0: never. */
  maxGradNorm?: number | undefined;
  /**
   * AdamW: share of the past in the mean of gradients.
   * @default 0.9
   */
  adamBeta1?: number | undefined;
  /**
   * AdamW: share of the past in the mean of their squares.
   * @default 0.999
   */
  adamBeta2?: number | undefined;
  /**
   * AdamW: added to the root of that mean.
   * @default 1e-8
   */
  adamEpsilon?: number | undefined;
  /** Activations are computed again instead of kept; not set: where they would exceed activation_memory. */
  gradientCheckpointing?: boolean | null | undefined;
  /**
   * Activations wait for the backward pass in half precision; all arithmetic stays f32.
   * @default false
   */
  fp16?: boolean | undefined;
  /** Bytes that activations may take; not set: a share of what the device has. Not in TRL. */
  activationMemory?: number | null | undefined;
  /**
   * All weights learn, not an adapter: of a folder as Transformers writes it, which is then written anew. In TRL a run without peft_config.
   * @default false
   */
  full?: boolean | undefined;
  /** Share of the rows that is held out and judged, never learned from; drawn by data_seed. Not in TRL, where datasets' train_test_split does it. */
  evalSplit?: number | null | undefined;
  /** When rows for evaluation are judged, always behind the last update, too. Not set: steps where eval_steps is, else epoch. */
  evalStrategy?: 'no' | 'steps' | 'epoch' | null | undefined;
  /** Updates between two evaluations; below 1, a share of all. Not set: 10. */
  evalSteps?: number | null | undefined;
  /**
   * One evaluation before the first update, too.
   * @default false
   */
  evalOnStart?: boolean | undefined;
  /**
   * Rows in one pass of an evaluation.
   * @default 8
   */
  perDeviceEvalBatchSize?: number | undefined;
  /**
   * The adapter of the best evaluation is the one that is kept, not the last one.
   * @default false
   */
  loadBestModelAtEnd?: boolean | undefined;
  /** By which evaluations are compared, such as eval_rewards/accuracies. Not set: eval_loss. */
  metricForBestModel?: string | null | undefined;
  /** Which way it is better. Not set: greater, unless its name ends in loss. */
  greaterIsBetter?: boolean | null | undefined;
  /** The run ends when so many evaluations in a row were not better than the best before. In Transformers of EarlyStoppingCallback. */
  earlyStoppingPatience?: number | null | undefined;
  /**
   * By how much an evaluation must be better to count for that.
   * @default 0
   */
  earlyStoppingThreshold?: number | undefined;
  /**
   * Report kl, the distance to the base model at the judged positions. Not in TRL.
   * @default true
   */
  reportKl?: boolean | undefined;
  peftConfig?: PeftConfig | undefined;
  /**
   * Adapter to train: continued where it exists, created from `peftConfig` where it does not.
   * @default 'default'
   */
  adapterName?: string | undefined;
  /** Bytes of an earlier `saveCheckpoint()`. */
  resumeFrom?: Uint8Array | undefined;
}

/** TRL's SFTConfig in camelCase. Supervised fine-tuning: imitates the answers in the rows. */
export interface SFTArgs extends Omit<TrainArgs, 'disableDropout'> {
  /**
   * Of rows with prompt and completion: only the completion counts.
   * @default true
   */
  completionOnlyLoss?: boolean | null | undefined;
  /**
   * Of rows with messages: only the assistant's messages count.
   * @default false
   */
  assistantOnlyLoss?: boolean | undefined;
  /**
   * nll: the negative log-likelihood. dft: each token's is weighed by its own probability (Dynamic Fine-Tuning, Wu et al. 2025).
   * @default 'nll'
   */
  lossType?: 'nll' | 'dft' | undefined;
  /**
   * Share of the loss that is the mean over the whole vocabulary, of nll.
   * @default 0
   */
  labelSmoothingFactor?: number | undefined;
  /** NEFTune: noise of this size, divided by √(tokens · width), on the embeddings while learning. 5 is usual. */
  neftuneNoiseAlpha?: number | null | undefined;
  /**
   * Short rows share a sequence of max_length tokens, each by itself: faster where lengths differ.
   * @default false
   */
  packing?: boolean | undefined;
  /**
   * bfd: longer rows are cut; bfd_split: into several; wrapped: one after the other, and rows see those before them.
   * @default 'bfd'
   */
  packingStrategy?: 'bfd' | 'bfd_split' | 'wrapped' | undefined;
  /** Whether rows for evaluation are packed; not set: as packing. */
  evalPacking?: boolean | null | undefined;
  /**
   * The rows of a batch are laid one after the other, however long that is. Without it, where that is up to 1,024 tokens.
   * @default false
   */
  paddingFree?: boolean | undefined;
  /**
   * Which part of a row longer than max_length is kept.
   * @default 'keep_start'
   */
  truncationMode?: 'keep_start' | 'keep_end' | undefined;
  /**
   * Rows in one pass; more need more memory. TRL: 8, for datasets of thousands of rows.
   * @default 1
   */
  perDeviceTrainBatchSize?: number | undefined;
  /**
   * Rows in a new random order every epoch, or as they come. Not in TRL.
   * @default true
   */
  shuffle?: boolean | undefined;
  /**
   * Size of an update. 5e-5 to 5e-4 suits LoRA. TRL: 2e-5, for all weights.
   * @default 0.0002
   */
  learningRate?: number | undefined;
  /**
   * Longer gradients are shortened to this; 0: never.
   * @default 1
   */
  maxGradNorm?: number | undefined;
}

/** TRL's DPOConfig in camelCase. Direct preference optimization: prefers the better of two answers, measured against a reference policy. */
export interface DPOArgs extends TrainArgs {
  /**
   * How tightly answers are held to the reference.
   * @default 0.1
   */
  beta?: number | undefined;
  /**
   * What is made of a pair's two rewards; several are added with loss_weights. docs/methods.md has the formulas.
   * @default 'sigmoid'
   */
  lossType?: 'sigmoid' | 'hinge' | 'ipo' | 'exo_pair' | 'nca_pair' | 'robust' | 'bco_pair' | 'sppo_hard' | 'aot' | 'aot_unpaired' | 'apo_zero' | 'apo_down' | 'discopop' | 'sft' | 'sigmoid_norm' | ('sigmoid' | 'hinge' | 'ipo' | 'exo_pair' | 'nca_pair' | 'robust' | 'bco_pair' | 'sppo_hard' | 'aot' | 'aot_unpaired' | 'apo_zero' | 'apo_down' | 'discopop' | 'sft' | 'sigmoid_norm')[] | undefined;
  /** Weights of several losses; not set: 1 each. */
  lossWeights?: number[] | null | undefined;
  /**
   * Share of rankings taken to be mistaken, of robust, exo_pair, aot and aot_unpaired. The other losses leave it out of account, as in TRL.
   * @default 0
   */
  labelSmoothing?: number | undefined;
  /**
   * The divergence that holds the policy to its reference.
   * @default 'reverse_kl'
   */
  fDivergenceType?: 'reverse_kl' | 'forward_kl' | 'js_divergence' | 'alpha_divergence' | undefined;
  /**
   * The α of alpha_divergence.
   * @default 0.5
   */
  fAlphaDivergenceCoef?: number | undefined;
  /**
   * The temperature of discopop.
   * @default 0.05
   */
  discopopTau?: number | undefined;
  /** Tokens of the longer answer beyond the length of the shorter one count so much (LD-DPO); not set: as all others. */
  ldAlpha?: number | null | undefined;
  /**
   * A pair counts as much as its answers are likely under the policy (WPO).
   * @default false
   */
  useWeighting?: boolean | undefined;
  /** What the policy is measured against: the base model, or the adapter that training starts from. Not set: that adapter where it changes the model, else the base. Not in TRL, where handing over a PeftModel means init. */
  reference?: 'base' | 'init' | null | undefined;
  /**
   * Size of an update. 5e-5 to 5e-4 suits LoRA. TRL: 2e-5, for all weights.
   * @default 0.0001
   */
  learningRate?: number | undefined;
  /**
   * Rows in one pass; more need more memory. TRL: 8, for datasets of thousands of rows.
   * @default 1
   */
  perDeviceTrainBatchSize?: number | undefined;
  /**
   * Rows in a new random order every epoch, or as they come. Not in TRL.
   * @default true
   */
  shuffle?: boolean | undefined;
  /**
   * Longer gradients are shortened to this; 0: never.
   * @default 1
   */
  maxGradNorm?: number | undefined;
}

/** TRL's KTOConfig in camelCase. Kahneman–Tversky optimization: answers judged one by one, good or bad, measured against a reference policy. */
export interface KTOArgs extends Omit<TrainArgs, 'reportKl'> {
  /**
   * How tightly answers are held to the reference.
   * @default 0.1
   */
  beta?: number | undefined;
  /**
   * Weight of good answers.
   * @default 1
   */
  desirableWeight?: number | undefined;
  /**
   * Weight of bad answers. Weight times number should be 1 to 1.33 times as much for good answers as for bad ones.
   * @default 1
   */
  undesirableWeight?: number | undefined;
  /**
   * With or without the KL of mismatched pairs.
   * @default 'kto'
   */
  lossType?: 'kto' | 'apo_zero_unpaired' | undefined;
  /** What the policy is measured against: the base model, or the adapter that training starts from. Not set: that adapter where it changes the model, else the base. Not in TRL, where handing over a PeftModel means init. */
  reference?: 'base' | 'init' | null | undefined;
  /**
   * Size of an update. 5e-5 to 5e-4 suits LoRA. TRL: 2e-5, for all weights.
   * @default 0.0001
   */
  learningRate?: number | undefined;
  /**
   * Rows in one pass; more need more memory. TRL: 8, for datasets of thousands of rows.
   * @default 4
   */
  perDeviceTrainBatchSize?: number | undefined;
  /**
   * Rows in a new random order every epoch, or as they come. Not in TRL.
   * @default false
   */
  shuffle?: boolean | undefined;
  /**
   * Longer gradients are shortened to this; 0: never.
   * @default 1
   */
  maxGradNorm?: number | undefined;
}

/** TRL's ORPOConfig in camelCase. Odds ratio preference optimization: imitates the better of two answers and makes the other one less likely, without a reference policy. */
export interface ORPOArgs extends TrainArgs {
  /**
   * Weight of the odds ratio beside the imitation (the paper's λ).
   * @default 0.1
   */
  beta?: number | undefined;
  /**
   * Size of an update. 5e-5 to 5e-4 suits LoRA. TRL: 2e-5, for all weights.
   * @default 0.0001
   */
  learningRate?: number | undefined;
  /**
   * Rows in one pass; more need more memory. TRL: 8, for datasets of thousands of rows.
   * @default 1
   */
  perDeviceTrainBatchSize?: number | undefined;
  /**
   * Rows in a new random order every epoch, or as they come. Not in TRL.
   * @default true
   */
  shuffle?: boolean | undefined;
  /**
   * Longer gradients are shortened to this; 0: never.
   * @default 1
   */
  maxGradNorm?: number | undefined;
}

/** TRL's CPOConfig in camelCase. Contrastive preference optimization, and SimPO: prefers the better of two answers without a reference policy, and imitates it. */
export interface CPOArgs extends TrainArgs {
  /**
   * How sharply the two answers are told apart. SimPO: 2.
   * @default 0.1
   */
  beta?: number | undefined;
  /**
   * Weight of imitating the chosen answers.
   * @default 1
   */
  cpoAlpha?: number | undefined;
  /**
   * What is made of the two answers' log-probabilities.
   * @default 'sigmoid'
   */
  lossType?: 'sigmoid' | 'hinge' | 'ipo' | 'simpo' | 'alphapo' | undefined;
  /**
   * Share of rankings taken to be mistaken, of sigmoid and simpo.
   * @default 0
   */
  labelSmoothing?: number | undefined;
  /**
   * SimPO: by how much the chosen answer's reward must be the larger one.
   * @default 0.5
   */
  simpoGamma?: number | undefined;
  /**
   * AlphaPO: bends the log-probabilities; 0: not at all.
   * @default 0
   */
  alpha?: number | undefined;
  /**
   * Size of an update. 5e-5 to 5e-4 suits LoRA. TRL: 2e-5, for all weights.
   * @default 0.0001
   */
  learningRate?: number | undefined;
  /**
   * Rows in one pass; more need more memory. TRL: 8, for datasets of thousands of rows.
   * @default 1
   */
  perDeviceTrainBatchSize?: number | undefined;
  /**
   * Rows in a new random order every epoch, or as they come. Not in TRL.
   * @default true
   */
  shuffle?: boolean | undefined;
  /**
   * Longer gradients are shortened to this; 0: never.
   * @default 1
   */
  maxGradNorm?: number | undefined;
}

/** TRL's RewardConfig in camelCase. Reward model: an adapter with a head that scores whole answers, so that the better one has the higher score. */
export interface RewardArgs extends Omit<TrainArgs, 'maxLength' | 'reportKl'> {
  /** Weight of keeping the scores of a row around 0; TRL suggests 0.01. */
  centerRewardsCoefficient?: number | null | undefined;
  /**
   * Tied answers of a ranking: the mean loss of the orders that agree with it, or the loss of their summed probability. Not in TRL.
   * @default 'mean'
   */
  ties?: 'mean' | 'marginal' | undefined;
  /**
   * Rows with longer sequences are left out; null: those longer than the context are.
   * @default 1024
   */
  maxLength?: number | null | undefined;
  /**
   * Size of an update. 5e-5 to 5e-4 suits LoRA. TRL: 2e-5, for all weights.
   * @default 0.0001
   */
  learningRate?: number | undefined;
  /**
   * Rows in one pass; more need more memory. TRL: 8, for datasets of thousands of rows.
   * @default 1
   */
  perDeviceTrainBatchSize?: number | undefined;
  /**
   * Rows in a new random order every epoch, or as they come. Not in TRL.
   * @default true
   */
  shuffle?: boolean | undefined;
  /**
   * Longer gradients are shortened to this; 0: never.
   * @default 1
   */
  maxGradNorm?: number | undefined;
}

/** TRL's GRPOConfig in camelCase. Group relative policy optimization: answers that are better than the others to the same prompt become likelier. */
export interface GRPOArgs extends Omit<TrainArgs, 'maxLength'> {
  /** Completions of each prompt, which are compared with each other. Not set: as many as the rows bring, or else 8 (RLOO: 2). */
  numGenerations?: number | null | undefined;
  /**
   * Tokens that a sampled completion may have; one that has no end by then is cut.
   * @default 256
   */
  maxCompletionLength?: number | undefined;
  /**
   * Logits are divided by it, in sampling and in all that is learned.
   * @default 1
   */
  temperature?: number | undefined;
  /**
   * Only the likeliest tokens that hold this share.
   * @default 1
   */
  topP?: number | undefined;
  /**
   * Only so many of the likeliest tokens; 0: all.
   * @default 0
   */
  topK?: number | undefined;
  /** Only tokens at least this likely, relative to the likeliest. */
  minP?: number | null | undefined;
  /**
   * Above 1, tokens that were there before become less likely while sampling; the loss does not know of it.
   * @default 1
   */
  repetitionPenalty?: number | undefined;
  /**
   * Weight of the divergence from the reference; 0: there is none.
   * @default 0
   */
  beta?: number | undefined;
  /**
   * The divergence is multiplied by the ratio, as DeepSeek-V3.2 has it; false: the GRPO paper's.
   * @default true
   */
  useBiasCorrectionKl?: boolean | undefined;
  /**
   * What a token counts: dapo, all tokens of an update the same; grpo, bnpo, dr_grpo: see docs/methods.md.
   * @default 'dapo'
   */
  lossType?: 'grpo' | 'dr_grpo' | 'bnpo' | 'dapo' | undefined;
  /**
   * Advantages are divided by the standard deviation of their group's rewards, of the round's, or by nothing.
   * @default 'group'
   */
  scaleRewards?: 'group' | 'batch' | 'none' | undefined;
  /**
   * A ratio for every token, or one for a whole completion (GSPO).
   * @default 'token'
   */
  importanceSamplingLevel?: 'token' | 'sequence' | undefined;
  /**
   * How often a round is learned before the next one is sampled.
   * @default 1
   */
  numIterations?: number | undefined;
  /**
   * Ratios of the present policy and the one that wrote below 1 − epsilon (and above 1 + epsilon) stop learning.
   * @default 0.2
   */
  epsilon?: number | undefined;
  /** The bound above; not set: epsilon. */
  epsilonHigh?: number | null | undefined;
  /** Ratios above this are cut on both sides (INTELLECT-2); not set: never. */
  delta?: number | null | undefined;
  /**
   * Completions that did not end by themselves teach nothing; their rewards still count in their group.
   * @default false
   */
  maskTruncatedCompletions?: boolean | undefined;
  /** Micro-batches of a round; not set: gradient_accumulation_steps. */
  stepsPerGeneration?: number | null | undefined;
  /** Completions of a round, in place of steps_per_generation. */
  generationBatchSize?: number | null | undefined;
  /** Weights of several judges, whose rewards are added; not set: 1 each. */
  rewardWeights?: number[] | null | undefined;
  /** Stops where kl/base, the exact distance to the base model, is above this. Not in TRL. */
  stopKl?: number | null | undefined;
  /** Stops where entropy is below this: there is hardly more than one answer left. Not in TRL. */
  stopEntropy?: number | null | undefined;
  /** Stops where completions/mean_length is above this. Not in TRL. */
  stopLength?: number | null | undefined;
  /** Stops where completions/mean_length is below this. Not in TRL. */
  stopLengthBelow?: number | null | undefined;
  /** Stops where completions/repetition is above this. Not in TRL. */
  stopRepetition?: number | null | undefined;
  /** Stops where reward is at least this: what was wanted is reached. Not in TRL. */
  stopReward?: number | null | undefined;
  /**
   * TRL's name of shuffle: rows are taken as they come where either is off.
   * @default true
   */
  shuffleDataset?: boolean | undefined;
  /** What the policy is measured against: the base model, or the adapter that training starts from. Not set: that adapter where it changes the model, else the base. Not in TRL, where handing over a PeftModel means init. */
  reference?: 'base' | 'init' | null | undefined;
  /**
   * Rows in one pass; more need more memory. TRL: 8, for datasets of thousands of rows.
   * @default 8
   */
  perDeviceTrainBatchSize?: number | undefined;
  /**
   * Size of an update. 5e-5 to 5e-4 suits LoRA. TRL: 2e-5, for all weights.
   * @default 0.0001
   */
  learningRate?: number | undefined;
  /**
   * Rows in a new random order every epoch, or as they come. Not in TRL.
   * @default true
   */
  shuffle?: boolean | undefined;
  /**
   * Longer gradients are shortened to this; 0: never.
   * @default 1
   */
  maxGradNorm?: number | undefined;
}

/** TRL's RLOOConfig in camelCase. REINFORCE leave-one-out: answers become likelier as far as they are better than the mean of the others to the same prompt. */
export interface RLOOArgs extends Omit<TrainArgs, 'maxLength'> {
  /** Completions of each prompt, which are compared with each other. Not set: as many as the rows bring, or else 8 (RLOO: 2). */
  numGenerations?: number | null | undefined;
  /**
   * Tokens that a sampled completion may have; one that has no end by then is cut.
   * @default 256
   */
  maxCompletionLength?: number | undefined;
  /**
   * Logits are divided by it, in sampling and in all that is learned.
   * @default 1
   */
  temperature?: number | undefined;
  /**
   * Only the likeliest tokens that hold this share.
   * @default 1
   */
  topP?: number | undefined;
  /**
   * Only so many of the likeliest tokens; 0: all.
   * @default 0
   */
  topK?: number | undefined;
  /** Only tokens at least this likely, relative to the likeliest. */
  minP?: number | null | undefined;
  /**
   * Above 1, tokens that were there before become less likely while sampling; the loss does not know of it.
   * @default 1
   */
  repetitionPenalty?: number | undefined;
  /**
   * What a nat of divergence from the reference takes off the reward; 0: nothing.
   * @default 0.05
   */
  beta?: number | undefined;
  /**
   * Advantages of a round have the mean 0 and the standard deviation 1.
   * @default false
   */
  normalizeAdvantages?: boolean | undefined;
  /** Rewards are held between these two numbers. */
  rewardClipRange?: number[] | null | undefined;
  /**
   * How often a round is learned before the next one is sampled.
   * @default 1
   */
  numIterations?: number | undefined;
  /**
   * Ratios of the present policy and the one that wrote below 1 − epsilon (and above 1 + epsilon) stop learning.
   * @default 0.2
   */
  epsilon?: number | undefined;
  /** The bound above; not set: epsilon. */
  epsilonHigh?: number | null | undefined;
  /**
   * Completions that did not end by themselves teach nothing; their rewards still count in their group.
   * @default false
   */
  maskTruncatedCompletions?: boolean | undefined;
  /** Micro-batches of a round; not set: gradient_accumulation_steps. */
  stepsPerGeneration?: number | null | undefined;
  /** Completions of a round, in place of steps_per_generation. */
  generationBatchSize?: number | null | undefined;
  /** Weights of several judges, whose rewards are added; not set: 1 each. */
  rewardWeights?: number[] | null | undefined;
  /** Stops where kl/base, the exact distance to the base model, is above this. Not in TRL. */
  stopKl?: number | null | undefined;
  /** Stops where entropy is below this: there is hardly more than one answer left. Not in TRL. */
  stopEntropy?: number | null | undefined;
  /** Stops where completions/mean_length is above this. Not in TRL. */
  stopLength?: number | null | undefined;
  /** Stops where completions/mean_length is below this. Not in TRL. */
  stopLengthBelow?: number | null | undefined;
  /** Stops where completions/repetition is above this. Not in TRL. */
  stopRepetition?: number | null | undefined;
  /** Stops where reward is at least this: what was wanted is reached. Not in TRL. */
  stopReward?: number | null | undefined;
  /**
   * TRL's name of shuffle: rows are taken as they come where either is off.
   * @default true
   */
  shuffleDataset?: boolean | undefined;
  /** What the policy is measured against: the base model, or the adapter that training starts from. Not set: that adapter where it changes the model, else the base. Not in TRL, where handing over a PeftModel means init. */
  reference?: 'base' | 'init' | null | undefined;
  /**
   * Rows in one pass; more need more memory. TRL: 8, for datasets of thousands of rows.
   * @default 8
   */
  perDeviceTrainBatchSize?: number | undefined;
  /**
   * Size of an update. 5e-5 to 5e-4 suits LoRA. TRL: 2e-5, for all weights.
   * @default 0.0001
   */
  learningRate?: number | undefined;
  /**
   * Rows in a new random order every epoch, or as they come. Not in TRL.
   * @default true
   */
  shuffle?: boolean | undefined;
  /**
   * Longer gradients are shortened to this; 0: never.
   * @default 1
   */
  maxGradNorm?: number | undefined;
}

/** TRL's OnlineDPOConfig in camelCase. Online DPO: of two answers that the policy writes, the one with the higher reward is preferred. */
export interface OnlineDPOArgs extends Omit<TrainArgs, 'maxLength'> {
  /**
   * How tightly answers are held to the reference.
   * @default 0.1
   */
  beta?: number | undefined;
  /**
   * What is made of a pair's log ratios.
   * @default 'sigmoid'
   */
  lossType?: 'sigmoid' | 'ipo' | undefined;
  /**
   * Tokens that a sampled completion may have; one that has no end by then is cut.
   * @default 64
   */
  maxNewTokens?: number | undefined;
  /**
   * Of sampling alone.
   * @default 0.9
   */
  temperature?: number | undefined;
  /**
   * Only the likeliest tokens that hold this share.
   * @default 1
   */
  topP?: number | undefined;
  /**
   * Only so many of the likeliest tokens; 0: all.
   * @default 0
   */
  topK?: number | undefined;
  /** Only tokens at least this likely, relative to the likeliest. */
  minP?: number | null | undefined;
  /**
   * Above 1, tokens that were there before become less likely while sampling; the loss does not know of it.
   * @default 1
   */
  repetitionPenalty?: number | undefined;
  /** Taken off the reward of a completion that did not end by itself. */
  missingEosPenalty?: number | null | undefined;
  /** Weights of several judges, whose rewards are added; not set: 1 each. */
  rewardWeights?: number[] | null | undefined;
  /** Stops where kl/base, the exact distance to the base model, is above this. Not in TRL. */
  stopKl?: number | null | undefined;
  /** Stops where entropy is below this: there is hardly more than one answer left. Not in TRL. */
  stopEntropy?: number | null | undefined;
  /** Stops where completions/mean_length is above this. Not in TRL. */
  stopLength?: number | null | undefined;
  /** Stops where completions/mean_length is below this. Not in TRL. */
  stopLengthBelow?: number | null | undefined;
  /** Stops where completions/repetition is above this. Not in TRL. */
  stopRepetition?: number | null | undefined;
  /** Stops where reward is at least this: what was wanted is reached. Not in TRL. */
  stopReward?: number | null | undefined;
  /** What the policy is measured against: the base model, or the adapter that training starts from. Not set: that adapter where it changes the model, else the base. Not in TRL, where handing over a PeftModel means init. */
  reference?: 'base' | 'init' | null | undefined;
  /**
   * Rows in one pass; more need more memory. TRL: 8, for datasets of thousands of rows.
   * @default 4
   */
  perDeviceTrainBatchSize?: number | undefined;
  /**
   * Size of an update. 5e-5 to 5e-4 suits LoRA. TRL: 2e-5, for all weights.
   * @default 0.0001
   */
  learningRate?: number | undefined;
  /**
   * Rows in a new random order every epoch, or as they come. Not in TRL.
   * @default true
   */
  shuffle?: boolean | undefined;
  /**
   * Longer gradients are shortened to this; 0: never.
   * @default 1
   */
  maxGradNorm?: number | undefined;
}

/** TRL's PPOConfig in camelCase. Proximal policy optimization: a critic foresees what an answer will be worth, and tokens that turn out better become likelier. */
export interface PPOArgs extends Omit<TrainArgs, 'maxLength'> {
  /**
   * How often a round is learned before the next one is sampled.
   * @default 4
   */
  numPpoEpochs?: number | undefined;
  /**
   * Updates into which a round is split.
   * @default 1
   */
  numMiniBatches?: number | undefined;
  /**
   * Tokens that a sampled completion may have; one that has no end by then is cut.
   * @default 53
   */
  responseLength?: number | undefined;
  /**
   * Logits are divided by it, in sampling and in all that is learned.
   * @default 0.7
   */
  temperature?: number | undefined;
  /**
   * Weight of the divergence from the reference, of every token.
   * @default 0.05
   */
  klCoef?: number | undefined;
  /**
   * How that divergence is estimated from a token.
   * @default 'k1'
   */
  klEstimator?: 'k1' | 'k3' | undefined;
  /**
   * kl_coef grows where the divergence is above target, and falls where it is below. As TRL had it before its version 0.12.
   * @default false
   */
  adapKlCtrl?: boolean | undefined;
  /**
   * Divergence of a whole answer that adap_kl_ctrl aims at, in nats.
   * @default 6
   */
  target?: number | undefined;
  /**
   * Answers over which adap_kl_ctrl acts.
   * @default 10000
   */
  horizon?: number | undefined;
  /**
   * Ratios of the present policy and the one that wrote stop learning outside 1 ± this.
   * @default 0.2
   */
  cliprange?: number | undefined;
  /**
   * Weight of the critic's loss.
   * @default 0.1
   */
  vfCoef?: number | undefined;
  /**
   * How far a value may move in a round.
   * @default 0.2
   */
  cliprangeValue?: number | undefined;
  /**
   * What a reward counts one token earlier.
   * @default 1
   */
  gamma?: number | undefined;
  /**
   * How far advantages look ahead: 0, one token; 1, to the end.
   * @default 0.95
   */
  lam?: number | undefined;
  /**
   * Rewards are divided by their standard deviation over a round.
   * @default false
   */
  whitenRewards?: boolean | undefined;
  /** Taken from the score of an answer that did not end by itself. */
  missingEosPenalty?: number | null | undefined;
  /** Reward model that the critic starts from: an adapter's name, on the command line its folder. Not set: a new adapter with a new head. */
  initCritic?: string | null | undefined;
  /** Weights of several judges, whose rewards are added; not set: 1 each. */
  rewardWeights?: number[] | null | undefined;
  /** Stops where kl/base, the exact distance to the base model, is above this. Not in TRL. */
  stopKl?: number | null | undefined;
  /** Stops where entropy is below this: there is hardly more than one answer left. Not in TRL. */
  stopEntropy?: number | null | undefined;
  /** Stops where completions/mean_length is above this. Not in TRL. */
  stopLength?: number | null | undefined;
  /** Stops where completions/mean_length is below this. Not in TRL. */
  stopLengthBelow?: number | null | undefined;
  /** Stops where completions/repetition is above this. Not in TRL. */
  stopRepetition?: number | null | undefined;
  /** Stops where reward is at least this: what was wanted is reached. Not in TRL. */
  stopReward?: number | null | undefined;
  /** What the policy is measured against: the base model, or the adapter that training starts from. Not set: that adapter where it changes the model, else the base. Not in TRL, where handing over a PeftModel means init. */
  reference?: 'base' | 'init' | null | undefined;
  /**
   * Rows in one pass; more need more memory. TRL: 8, for datasets of thousands of rows.
   * @default 8
   */
  perDeviceTrainBatchSize?: number | undefined;
  /**
   * Size of an update. 5e-5 to 5e-4 suits LoRA. TRL: 2e-5, for all weights.
   * @default 0.0001
   */
  learningRate?: number | undefined;
  /**
   * Longer gradients are shortened to this; 0: never.
   * @default 0
   */
  maxGradNorm?: number | undefined;
  /**
   * Rows in a new random order every epoch, or as they come. Not in TRL.
   * @default true
   */
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
  entropy?: number;
  'rewards/chosen'?: number;
  'rewards/rejected'?: number;
  'rewards/margins'?: number;
  'rewards/accuracies'?: number;
  'logps/chosen'?: number;
  'logps/rejected'?: number;
  nll_loss?: number;
  /** ln σ of the log odds. */
  log_odds_ratio?: number;
  /** The log odds: above 0 where the chosen answer is the likelier one. */
  log_odds_chosen?: number;
  /** The lowest score of a micro-batch. */
  min_reward?: number;
  /** The mean score. */
  mean_reward?: number;
  /** The highest score. */
  max_reward?: number;
  /** Share of strict pairs whose better answer has the higher score. */
  accuracy?: number;
  /** By how much, in the mean over those pairs. */
  margin?: number;
  /** Mean of (1 − σ(better − worse))² of those pairs; 0.25 says nothing. Not in TRL. */
  brier?: number;
  'kl/base'?: number;
  'clip_ratio/low_mean'?: number;
  'clip_ratio/low_min'?: number;
  'clip_ratio/high_mean'?: number;
  'clip_ratio/high_max'?: number;
  'clip_ratio/region_mean'?: number;
  num_tokens?: number;
  'completions/mean_length'?: number;
  'completions/min_length'?: number;
  'completions/max_length'?: number;
  'completions/clipped_ratio'?: number;
  'completions/mean_terminated_length'?: number;
  'completions/min_terminated_length'?: number;
  'completions/max_terminated_length'?: number;
  'completions/repetition'?: number;
  'rewards/reward/mean'?: number;
  'rewards/reward/std'?: number;
  reward?: number;
  reward_std?: number;
  frac_reward_zero_std?: number;
  'objective/scores'?: number;
  /** Mean of chosen minus rejected. */
  'objective/scores_margin'?: number;
  'objective/kl'?: number;
  'objective/entropy'?: number;
  'objective/non_score_reward'?: number;
  'objective/rlhf_reward'?: number;
  /** Share of completions that ended by themselves. */
  'val/contain_eos_token'?: number;
  /** The field. */
  beta?: number;
  /** Of the policy. */
  'loss/policy_avg'?: number;
  /** Of the critic. */
  'loss/value_avg'?: number;
  /** Half the mean square of ln ρ: how far this round has moved the policy. */
  'policy/approxkl_avg'?: number;
  /** Share of tokens whose ratio is clipped. */
  'policy/clipfrac_avg'?: number;
  /** Share of values that are clipped. */
  'val/clipfrac_avg'?: number;
  /** Mean of ρ. */
  'val/ratio'?: number;
  /** What the round was weighed with. Not in TRL. */
  'objective/kl_coef'?: number;
  /** Ends in the round's answers. */
  'val/num_eos_tokens'?: number;
  /** TRL's name of entropy. */
  'policy/entropy_avg'?: number;
}

/** What the engine calls an argument, and what it takes. */
export interface Arg {
  name: string;
  kind: 'number' | 'whole' | 'switch' | 'switchOr' | 'choice' | 'choices' | 'text' | 'names' | 'wholes' | 'numbers' | 'patterns';
  low?: number;
  high?: number;
  choices?: readonly string[];
  nullable?: boolean;
}

/** Arguments of all trainers, but for those that a method is without. */
export const SHARED: Readonly<Record<string, Arg>> = {
  numTrainEpochs: { name: 'num_train_epochs', kind: 'number', low: 0, high: 1e9 },
  maxSteps: { name: 'max_steps', kind: 'whole', low: -1, high: 1.099511627776e12 },
  perDeviceTrainBatchSize: { name: 'per_device_train_batch_size', kind: 'whole', low: 1, high: 4096 },
  gradientAccumulationSteps: { name: 'gradient_accumulation_steps', kind: 'whole', low: 1, high: 1048576 },
  maxLength: { name: 'max_length', kind: 'whole', low: 2, high: 16777216, nullable: true },
  disableDropout: { name: 'disable_dropout', kind: 'switch', nullable: true },
  seed: { name: 'seed', kind: 'whole', low: 0, high: 4.294967295e9 },
  dataSeed: { name: 'data_seed', kind: 'whole', low: 0, high: 4.294967295e9, nullable: true },
  shuffle: { name: 'shuffle', kind: 'switch' },
  learningRate: { name: 'learning_rate', kind: 'number', low: 0, high: 1000 },
  lrSchedulerType: { name: 'lr_scheduler_type', kind: 'choice', choices: ['linear', 'cosine', 'constant', 'constant_with_warmup'] },
  warmupSteps: { name: 'warmup_steps', kind: 'number', low: 0, high: 1e12 },
  warmupRatio: { name: 'warmup_ratio', kind: 'number', low: 0, high: 1, nullable: true },
  optim: { name: 'optim', kind: 'choice', choices: ['adamw_torch_fused', 'adamw_torch', 'adamw_hf', 'adamw', 'adamw_torch_xla', 'adamw_torch_npu_fused', 'adamw_apex_fused', 'paged_adamw', 'paged_adamw_32bit', 'adamw_8bit', 'adamw_bnb_8bit', 'paged_adamw_8bit'] },
  weightDecay: { name: 'weight_decay', kind: 'number', low: 0, high: 1000 },
  maxGradNorm: { name: 'max_grad_norm', kind: 'number', low: 0, high: 1e9 },
  adamBeta1: { name: 'adam_beta1', kind: 'number', low: 0, high: 0.9999999 },
  adamBeta2: { name: 'adam_beta2', kind: 'number', low: 0, high: 0.9999999 },
  adamEpsilon: { name: 'adam_epsilon', kind: 'number', low: 0, high: 1 },
  gradientCheckpointing: { name: 'gradient_checkpointing', kind: 'switch', nullable: true },
  fp16: { name: 'fp16', kind: 'switch' },
  activationMemory: { name: 'activation_memory', kind: 'whole', low: 1, high: 1.125899906842624e15, nullable: true },
  full: { name: 'full', kind: 'switch' },
  evalSplit: { name: 'eval_split', kind: 'number', low: 1e-6, high: 0.999, nullable: true },
  evalStrategy: { name: 'eval_strategy', kind: 'choice', choices: ['no', 'steps', 'epoch'], nullable: true },
  evalSteps: { name: 'eval_steps', kind: 'number', low: 1e-9, high: 1e12, nullable: true },
  evalOnStart: { name: 'eval_on_start', kind: 'switch' },
  perDeviceEvalBatchSize: { name: 'per_device_eval_batch_size', kind: 'whole', low: 1, high: 4096 },
  loadBestModelAtEnd: { name: 'load_best_model_at_end', kind: 'switch' },
  metricForBestModel: { name: 'metric_for_best_model', kind: 'text', nullable: true },
  greaterIsBetter: { name: 'greater_is_better', kind: 'switch', nullable: true },
  earlyStoppingPatience: { name: 'early_stopping_patience', kind: 'whole', low: 1, high: 1048576, nullable: true },
  earlyStoppingThreshold: { name: 'early_stopping_threshold', kind: 'number', low: 0, high: 1e12 },
  reportKl: { name: 'report_kl', kind: 'switch' },
};

/** Each method's own arguments, and the shared ones that it does not have, with the reason. */
export const ARGS: Record<MethodName, { own: Readonly<Record<string, Arg>>; without: Readonly<Record<string, string>> }> = {
  sft: {
    own: {
      completionOnlyLoss: { name: 'completion_only_loss', kind: 'switch', nullable: true },
      assistantOnlyLoss: { name: 'assistant_only_loss', kind: 'switch' },
      lossType: { name: 'loss_type', kind: 'choice', choices: ['nll', 'dft'] },
      labelSmoothingFactor: { name: 'label_smoothing_factor', kind: 'number', low: 0, high: 0.999999 },
      neftuneNoiseAlpha: { name: 'neftune_noise_alpha', kind: 'number', low: 0, high: 1000000, nullable: true },
      packing: { name: 'packing', kind: 'switch' },
      packingStrategy: { name: 'packing_strategy', kind: 'choice', choices: ['bfd', 'bfd_split', 'wrapped'] },
      evalPacking: { name: 'eval_packing', kind: 'switch', nullable: true },
      paddingFree: { name: 'padding_free', kind: 'switch' },
      truncationMode: { name: 'truncation_mode', kind: 'choice', choices: ['keep_start', 'keep_end'] },
    },
    without: {
      disableDropout: 'lora_dropout is all the dropout there is',
    },
  },
  dpo: {
    own: {
      beta: { name: 'beta', kind: 'number', low: 0, high: 1000000 },
      lossType: { name: 'loss_type', kind: 'choices', choices: ['sigmoid', 'hinge', 'ipo', 'exo_pair', 'nca_pair', 'robust', 'bco_pair', 'sppo_hard', 'aot', 'aot_unpaired', 'apo_zero', 'apo_down', 'discopop', 'sft', 'sigmoid_norm'] },
      lossWeights: { name: 'loss_weights', kind: 'numbers', nullable: true },
      labelSmoothing: { name: 'label_smoothing', kind: 'number', low: 0, high: 0.5 },
      fDivergenceType: { name: 'f_divergence_type', kind: 'choice', choices: ['reverse_kl', 'forward_kl', 'js_divergence', 'alpha_divergence'] },
      fAlphaDivergenceCoef: { name: 'f_alpha_divergence_coef', kind: 'number', low: -100, high: 100 },
      discopopTau: { name: 'discopop_tau', kind: 'number', low: 1e-6, high: 1000000 },
      ldAlpha: { name: 'ld_alpha', kind: 'number', low: 0, high: 1, nullable: true },
      useWeighting: { name: 'use_weighting', kind: 'switch' },
      reference: { name: 'reference', kind: 'choice', choices: ['base', 'init'], nullable: true },
    },
    without: {},
  },
  kto: {
    own: {
      beta: { name: 'beta', kind: 'number', low: 0, high: 1000000 },
      desirableWeight: { name: 'desirable_weight', kind: 'number', low: 0, high: 1000000 },
      undesirableWeight: { name: 'undesirable_weight', kind: 'number', low: 0, high: 1000000 },
      lossType: { name: 'loss_type', kind: 'choice', choices: ['kto', 'apo_zero_unpaired'] },
      reference: { name: 'reference', kind: 'choice', choices: ['base', 'init'], nullable: true },
    },
    without: {
      reportKl: 'kl is a metric of its own here: that of mismatched pairs',
    },
  },
  orpo: {
    own: {
      beta: { name: 'beta', kind: 'number', low: 0, high: 1000000 },
    },
    without: {},
  },
  cpo: {
    own: {
      beta: { name: 'beta', kind: 'number', low: 0, high: 1000000 },
      cpoAlpha: { name: 'cpo_alpha', kind: 'number', low: 0, high: 1000000 },
      lossType: { name: 'loss_type', kind: 'choice', choices: ['sigmoid', 'hinge', 'ipo', 'simpo', 'alphapo'] },
      labelSmoothing: { name: 'label_smoothing', kind: 'number', low: 0, high: 0.5 },
      simpoGamma: { name: 'simpo_gamma', kind: 'number', low: 0, high: 1000000 },
      alpha: { name: 'alpha', kind: 'number', low: -100, high: 100 },
    },
    without: {},
  },
  reward: {
    own: {
      centerRewardsCoefficient: { name: 'center_rewards_coefficient', kind: 'number', low: 0, high: 1000000, nullable: true },
      ties: { name: 'ties', kind: 'choice', choices: ['mean', 'marginal'] },
      maxLength: { name: 'max_length', kind: 'whole', low: 2, high: 16777216, nullable: true },
    },
    without: {
      maxLength: 'it has its own',
      reportKl: 'a reward model has no distribution to be far from the base\'s',
    },
  },
  grpo: {
    own: {
      numGenerations: { name: 'num_generations', kind: 'whole', low: 2, high: 64, nullable: true },
      maxCompletionLength: { name: 'max_completion_length', kind: 'whole', low: 1, high: 16777216 },
      temperature: { name: 'temperature', kind: 'number', low: 0.01, high: 100 },
      topP: { name: 'top_p', kind: 'number', low: 1e-9, high: 1 },
      topK: { name: 'top_k', kind: 'whole', low: 0, high: 1048576 },
      minP: { name: 'min_p', kind: 'number', low: 0, high: 1, nullable: true },
      repetitionPenalty: { name: 'repetition_penalty', kind: 'number', low: 0.001, high: 1000 },
      beta: { name: 'beta', kind: 'number', low: 0, high: 1000000 },
      useBiasCorrectionKl: { name: 'use_bias_correction_kl', kind: 'switch' },
      lossType: { name: 'loss_type', kind: 'choice', choices: ['grpo', 'dr_grpo', 'bnpo', 'dapo'] },
      scaleRewards: { name: 'scale_rewards', kind: 'choice', choices: ['group', 'batch', 'none'] },
      importanceSamplingLevel: { name: 'importance_sampling_level', kind: 'choice', choices: ['token', 'sequence'] },
      numIterations: { name: 'num_iterations', kind: 'whole', low: 1, high: 1000 },
      epsilon: { name: 'epsilon', kind: 'number', low: 0, high: 1 },
      epsilonHigh: { name: 'epsilon_high', kind: 'number', low: 0, high: 1000000, nullable: true },
      delta: { name: 'delta', kind: 'number', low: 1e-6, high: 1000000, nullable: true },
      maskTruncatedCompletions: { name: 'mask_truncated_completions', kind: 'switch' },
      stepsPerGeneration: { name: 'steps_per_generation', kind: 'whole', low: 1, high: 1048576, nullable: true },
      generationBatchSize: { name: 'generation_batch_size', kind: 'whole', low: 1, high: 1048576, nullable: true },
      rewardWeights: { name: 'reward_weights', kind: 'numbers', nullable: true },
      stopKl: { name: 'stop_kl', kind: 'number', low: -1e30, high: 1e30, nullable: true },
      stopEntropy: { name: 'stop_entropy', kind: 'number', low: -1e30, high: 1e30, nullable: true },
      stopLength: { name: 'stop_length', kind: 'number', low: -1e30, high: 1e30, nullable: true },
      stopLengthBelow: { name: 'stop_length_below', kind: 'number', low: -1e30, high: 1e30, nullable: true },
      stopRepetition: { name: 'stop_repetition', kind: 'number', low: -1e30, high: 1e30, nullable: true },
      stopReward: { name: 'stop_reward', kind: 'number', low: -1e30, high: 1e30, nullable: true },
      shuffleDataset: { name: 'shuffle_dataset', kind: 'switch' },
      reference: { name: 'reference', kind: 'choice', choices: ['base', 'init'], nullable: true },
    },
    without: {
      maxLength: 'prompts are never cut, and completions have a limit of their own',
    },
  },
  rloo: {
    own: {
      numGenerations: { name: 'num_generations', kind: 'whole', low: 2, high: 64, nullable: true },
      maxCompletionLength: { name: 'max_completion_length', kind: 'whole', low: 1, high: 16777216 },
      temperature: { name: 'temperature', kind: 'number', low: 0.01, high: 100 },
      topP: { name: 'top_p', kind: 'number', low: 1e-9, high: 1 },
      topK: { name: 'top_k', kind: 'whole', low: 0, high: 1048576 },
      minP: { name: 'min_p', kind: 'number', low: 0, high: 1, nullable: true },
      repetitionPenalty: { name: 'repetition_penalty', kind: 'number', low: 0.001, high: 1000 },
      beta: { name: 'beta', kind: 'number', low: 0, high: 1000000 },
      normalizeAdvantages: { name: 'normalize_advantages', kind: 'switch' },
      rewardClipRange: { name: 'reward_clip_range', kind: 'numbers', nullable: true },
      numIterations: { name: 'num_iterations', kind: 'whole', low: 1, high: 1000 },
      epsilon: { name: 'epsilon', kind: 'number', low: 0, high: 1 },
      epsilonHigh: { name: 'epsilon_high', kind: 'number', low: 0, high: 1000000, nullable: true },
      maskTruncatedCompletions: { name: 'mask_truncated_completions', kind: 'switch' },
      stepsPerGeneration: { name: 'steps_per_generation', kind: 'whole', low: 1, high: 1048576, nullable: true },
      generationBatchSize: { name: 'generation_batch_size', kind: 'whole', low: 1, high: 1048576, nullable: true },
      rewardWeights: { name: 'reward_weights', kind: 'numbers', nullable: true },
      stopKl: { name: 'stop_kl', kind: 'number', low: -1e30, high: 1e30, nullable: true },
      stopEntropy: { name: 'stop_entropy', kind: 'number', low: -1e30, high: 1e30, nullable: true },
      stopLength: { name: 'stop_length', kind: 'number', low: -1e30, high: 1e30, nullable: true },
      stopLengthBelow: { name: 'stop_length_below', kind: 'number', low: -1e30, high: 1e30, nullable: true },
      stopRepetition: { name: 'stop_repetition', kind: 'number', low: -1e30, high: 1e30, nullable: true },
      stopReward: { name: 'stop_reward', kind: 'number', low: -1e30, high: 1e30, nullable: true },
      shuffleDataset: { name: 'shuffle_dataset', kind: 'switch' },
      reference: { name: 'reference', kind: 'choice', choices: ['base', 'init'], nullable: true },
    },
    without: {
      maxLength: 'prompts are never cut, and completions have a limit of their own',
    },
  },
  online_dpo: {
    own: {
      beta: { name: 'beta', kind: 'number', low: 0, high: 1000000 },
      lossType: { name: 'loss_type', kind: 'choice', choices: ['sigmoid', 'ipo'] },
      maxNewTokens: { name: 'max_new_tokens', kind: 'whole', low: 1, high: 16777216 },
      temperature: { name: 'temperature', kind: 'number', low: 0.01, high: 100 },
      topP: { name: 'top_p', kind: 'number', low: 1e-9, high: 1 },
      topK: { name: 'top_k', kind: 'whole', low: 0, high: 1048576 },
      minP: { name: 'min_p', kind: 'number', low: 0, high: 1, nullable: true },
      repetitionPenalty: { name: 'repetition_penalty', kind: 'number', low: 0.001, high: 1000 },
      missingEosPenalty: { name: 'missing_eos_penalty', kind: 'number', low: 0, high: 1000000, nullable: true },
      rewardWeights: { name: 'reward_weights', kind: 'numbers', nullable: true },
      stopKl: { name: 'stop_kl', kind: 'number', low: -1e30, high: 1e30, nullable: true },
      stopEntropy: { name: 'stop_entropy', kind: 'number', low: -1e30, high: 1e30, nullable: true },
      stopLength: { name: 'stop_length', kind: 'number', low: -1e30, high: 1e30, nullable: true },
      stopLengthBelow: { name: 'stop_length_below', kind: 'number', low: -1e30, high: 1e30, nullable: true },
      stopRepetition: { name: 'stop_repetition', kind: 'number', low: -1e30, high: 1e30, nullable: true },
      stopReward: { name: 'stop_reward', kind: 'number', low: -1e30, high: 1e30, nullable: true },
      reference: { name: 'reference', kind: 'choice', choices: ['base', 'init'], nullable: true },
    },
    without: {
      maxLength: 'prompts are never cut, and completions have a limit of their own',
    },
  },
  ppo: {
    own: {
      numPpoEpochs: { name: 'num_ppo_epochs', kind: 'whole', low: 1, high: 1000 },
      numMiniBatches: { name: 'num_mini_batches', kind: 'whole', low: 1, high: 1048576 },
      responseLength: { name: 'response_length', kind: 'whole', low: 1, high: 16777216 },
      temperature: { name: 'temperature', kind: 'number', low: 0.01, high: 100 },
      klCoef: { name: 'kl_coef', kind: 'number', low: 0, high: 1000000 },
      klEstimator: { name: 'kl_estimator', kind: 'choice', choices: ['k1', 'k3'] },
      adapKlCtrl: { name: 'adap_kl_ctrl', kind: 'switch' },
      target: { name: 'target', kind: 'number', low: 1e-9, high: 1e9 },
      horizon: { name: 'horizon', kind: 'number', low: 1, high: 1e12 },
      cliprange: { name: 'cliprange', kind: 'number', low: 0, high: 1 },
      vfCoef: { name: 'vf_coef', kind: 'number', low: 0, high: 1000000 },
      cliprangeValue: { name: 'cliprange_value', kind: 'number', low: 0, high: 1000000 },
      gamma: { name: 'gamma', kind: 'number', low: 0, high: 1 },
      lam: { name: 'lam', kind: 'number', low: 0, high: 1 },
      whitenRewards: { name: 'whiten_rewards', kind: 'switch' },
      missingEosPenalty: { name: 'missing_eos_penalty', kind: 'number', low: 0, high: 1000000, nullable: true },
      initCritic: { name: 'init_critic', kind: 'text', nullable: true },
      rewardWeights: { name: 'reward_weights', kind: 'numbers', nullable: true },
      stopKl: { name: 'stop_kl', kind: 'number', low: -1e30, high: 1e30, nullable: true },
      stopEntropy: { name: 'stop_entropy', kind: 'number', low: -1e30, high: 1e30, nullable: true },
      stopLength: { name: 'stop_length', kind: 'number', low: -1e30, high: 1e30, nullable: true },
      stopLengthBelow: { name: 'stop_length_below', kind: 'number', low: -1e30, high: 1e30, nullable: true },
      stopRepetition: { name: 'stop_repetition', kind: 'number', low: -1e30, high: 1e30, nullable: true },
      stopReward: { name: 'stop_reward', kind: 'number', low: -1e30, high: 1e30, nullable: true },
      reference: { name: 'reference', kind: 'choice', choices: ['base', 'init'], nullable: true },
    },
    without: {
      maxLength: 'prompts are never cut, and completions have a limit of their own',
    },
  },
};

/** Fields of `peftConfig`. */
export const PEFT: Readonly<Record<string, Arg>> = {
  peftType: { name: 'peft_type', kind: 'choice', choices: ['LORA', 'PROMPT_TUNING', 'P_TUNING', 'PREFIX_TUNING'] },
  r: { name: 'r', kind: 'whole', low: 1, high: 4096 },
  loraAlpha: { name: 'lora_alpha', kind: 'number', low: 0, high: 1e38 },
  loraDropout: { name: 'lora_dropout', kind: 'number', low: 0, high: 0.999999 },
  useRslora: { name: 'use_rslora', kind: 'switch' },
  useDora: { name: 'use_dora', kind: 'switch' },
  targetModules: { name: 'target_modules', kind: 'names' },
  initLoraWeights: { name: 'init_lora_weights', kind: 'switchOr', choices: ['gaussian', 'orthogonal'] },
  excludeModules: { name: 'exclude_modules', kind: 'names', nullable: true },
  layersToTransform: { name: 'layers_to_transform', kind: 'wholes', nullable: true },
  layersPattern: { name: 'layers_pattern', kind: 'names', nullable: true },
  rankPattern: { name: 'rank_pattern', kind: 'patterns' },
  alphaPattern: { name: 'alpha_pattern', kind: 'patterns' },
  numVirtualTokens: { name: 'num_virtual_tokens', kind: 'whole', low: 1, high: 4096 },
  promptTuningInit: { name: 'prompt_tuning_init', kind: 'choice', choices: ['RANDOM', 'TEXT', 'SAMPLE_VOCAB'] },
  promptTuningInitText: { name: 'prompt_tuning_init_text', kind: 'text', nullable: true },
  tokenizerNameOrPath: { name: 'tokenizer_name_or_path', kind: 'text', nullable: true },
  encoderHiddenSize: { name: 'encoder_hidden_size', kind: 'whole', low: 1, high: 65536, nullable: true },
  encoderReparameterizationType: { name: 'encoder_reparameterization_type', kind: 'choice', choices: ['MLP', 'LSTM'] },
  encoderNumLayers: { name: 'encoder_num_layers', kind: 'whole', low: 1, high: 16 },
  encoderDropout: { name: 'encoder_dropout', kind: 'number', low: 0, high: 0.999999 },
  prefixProjection: { name: 'prefix_projection', kind: 'switch' },
  initWeights: { name: 'init_weights', kind: 'choice', choices: ['zero'], nullable: true },
};
