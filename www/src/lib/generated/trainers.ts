// Made from src/tune/methods by `UPDATE=1 cargo test --test generated`: change the table, not this file.
import type { Model } from '../model.ts';
import { Trainer } from '../trainer.ts';
import type { DPORow, PromptRow, RewardRow, SFTRow, UnpairedRow } from '../types.ts';
import type { CPOArgs, DPOArgs, GRPOArgs, KTOArgs, ORPOArgs, OnlineDPOArgs, PPOArgs, RLOOArgs, RewardArgs, SFTArgs } from './methods.ts';

/** Supervised fine-tuning: imitates the answers in the rows. */
export class SFTTrainer extends Trainer<SFTRow, SFTArgs> {
  constructor(model: Model, args: SFTArgs = {}) {
    super(model, 'sft', args);
  }
}

/** Direct preference optimization: prefers the better of two answers, measured against a reference policy. */
export class DPOTrainer extends Trainer<DPORow, DPOArgs> {
  constructor(model: Model, args: DPOArgs = {}) {
    super(model, 'dpo', args);
  }
}

/** Kahneman–Tversky optimization: answers judged one by one, good or bad, measured against a reference policy. */
export class KTOTrainer extends Trainer<UnpairedRow, KTOArgs> {
  constructor(model: Model, args: KTOArgs = {}) {
    super(model, 'kto', args);
  }
}

/** Odds ratio preference optimization: imitates the better of two answers and makes the other one less likely, without a reference policy. */
export class ORPOTrainer extends Trainer<DPORow, ORPOArgs> {
  constructor(model: Model, args: ORPOArgs = {}) {
    super(model, 'orpo', args);
  }
}

/** Contrastive preference optimization, and SimPO: prefers the better of two answers without a reference policy, and imitates it. */
export class CPOTrainer extends Trainer<DPORow, CPOArgs> {
  constructor(model: Model, args: CPOArgs = {}) {
    super(model, 'cpo', args);
  }
}

/** Reward model: an adapter with a head that scores whole answers, so that the better one has the higher score. */
export class RewardTrainer extends Trainer<RewardRow, RewardArgs> {
  constructor(model: Model, args: RewardArgs = {}) {
    super(model, 'reward', args);
  }
}

/** Group relative policy optimization: answers that are better than the others to the same prompt become likelier. */
export class GRPOTrainer extends Trainer<PromptRow, GRPOArgs> {
  constructor(model: Model, args: GRPOArgs = {}) {
    super(model, 'grpo', args);
  }
}

/** REINFORCE leave-one-out: answers become likelier as far as they are better than the mean of the others to the same prompt. */
export class RLOOTrainer extends Trainer<PromptRow, RLOOArgs> {
  constructor(model: Model, args: RLOOArgs = {}) {
    super(model, 'rloo', args);
  }
}

/** Online DPO: of two answers that the policy writes, the one with the higher reward is preferred. */
export class OnlineDPOTrainer extends Trainer<PromptRow, OnlineDPOArgs> {
  constructor(model: Model, args: OnlineDPOArgs = {}) {
    super(model, 'online_dpo', args);
  }
}

/** Proximal policy optimization: a critic foresees what an answer will be worth, and tokens that turn out better become likelier. */
export class PPOTrainer extends Trainer<PromptRow, PPOArgs> {
  constructor(model: Model, args: PPOArgs = {}) {
    super(model, 'ppo', args);
  }
}

/** The trainer of each method. */
export const TRAINERS = {
  sft: SFTTrainer,
  dpo: DPOTrainer,
  kto: KTOTrainer,
  orpo: ORPOTrainer,
  cpo: CPOTrainer,
  reward: RewardTrainer,
  grpo: GRPOTrainer,
  rloo: RLOOTrainer,
  online_dpo: OnlineDPOTrainer,
  ppo: PPOTrainer,
} as const;
