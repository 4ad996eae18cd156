// Each number of a run in one plain sentence: what it is. Which way is good comes from the table of methods.
import { t, type Plain } from '../i18n/language.ts';
import type { Method } from './types.ts';

const LOSS: Partial<Record<Method, Plain>> = {
  sft: 'How much your ideal answers surprise the model, word by word.',
  kto: 'How far the model is from telling good answers from bad ones.',
};

const SAYINGS: Record<string, Plain> = {
  loss: 'How far the model is from preferring your choice: 0.69 is a coin toss.',
  kl: 'How far the model has moved from the one that you loaded: a few nats are plenty.',
  entropy: 'How undecided the model is about the next word: at 0 it always says the same.',
  'rewards/chosen': 'How much more likely the better and the worse answers have become than they were.',
  'rewards/margins': 'How clearly the better answers are preferred to the worse ones.',
  'rewards/accuracies': 'In which share of the pairs your choice is preferred: 1 is all of them.',
  nll_loss: 'How much the better answers surprise the model, word by word.',
  log_odds_chosen: 'How much likelier the better answer is than the worse one: above 0 it is.',
  learning_rate: 'How large the step is that each update takes.',
  grad_norm: 'How strongly the data pulls at the adapter: jumps by tens mean that the steps are too large.',
  tokens_per_second: 'How fast this device learns.',
};

/** Null where there is none in plain words: then the table's own serves. */
export function sayingOf(method: Method, key: string): string | null {
  const saying = (key === 'loss' ? LOSS[method] : undefined) ?? SAYINGS[key];
  return saying ? t(saying) : null;
}

export const DIRECTION = { up: 'Higher is better.', down: 'Lower is better.', '': '' } as const;
