// Made from src/tune/methods by `UPDATE=1 cargo test --test generated`: change the table, not this file.
import type { Model } from '../model.ts';
import { Trainer } from '../trainer.ts';
import type { DPORow, RewardRow, SFTRow, UnpairedRow } from '../types.ts';
import type { CPOArgs, DPOArgs, KTOArgs, ORPOArgs, RewardArgs, SFTArgs } from './methods.ts';

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

/** The trainer of each method. */
export const TRAINERS = {
  sft: SFTTrainer,
  dpo: DPOTrainer,
  kto: KTOTrainer,
  orpo: ORPOTrainer,
  cpo: CPOTrainer,
  reward: RewardTrainer,
} as const;
