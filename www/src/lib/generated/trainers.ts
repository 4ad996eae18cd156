// Made from src/tune/methods by `UPDATE=1 cargo test --test generated`: change the table, not this file.
import { Trainer } from '../trainer.ts';
import type { DPORow, SFTRow, UnpairedRow } from '../types.ts';
import type { DPOArgs, KTOArgs, ORPOArgs, SFTArgs } from './methods.ts';

/** Supervised fine-tuning: imitates the answers in the rows. */
export class SFTTrainer extends Trainer<SFTRow, SFTArgs> {
  readonly method = 'sft';
}

/** Direct preference optimization: prefers the better of two answers, measured against a reference policy. */
export class DPOTrainer extends Trainer<DPORow, DPOArgs> {
  readonly method = 'dpo';
}

/** Kahneman–Tversky optimization: answers judged one by one, good or bad, measured against a reference policy. */
export class KTOTrainer extends Trainer<UnpairedRow, KTOArgs> {
  readonly method = 'kto';
}

/** Odds ratio preference optimization: imitates the better of two answers and makes the other one less likely, without a reference policy. */
export class ORPOTrainer extends Trainer<DPORow, ORPOArgs> {
  readonly method = 'orpo';
}

/** The trainer of each method. */
export const TRAINERS = {
  sft: SFTTrainer,
  dpo: DPOTrainer,
  kto: KTOTrainer,
  orpo: ORPOTrainer,
} as const;
