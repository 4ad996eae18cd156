// What held-out rows say of an adapter: the numbers that a training would report, without an update.
import { FledglingError } from './errors.ts';
import type { MethodName } from './generated/methods.ts';
import type { Line } from './line.ts';
import type { WasmSequence } from './wasm.ts';

/** Names as TRL logs them. */
export interface Evaluation {
  /** Of all rows, as a training would report it. */
  eval_loss: number;
  /** Tokens that were judged. */
  eval_tokens: number;
  eval_rows: number;
  'eval_rewards/chosen'?: number;
  'eval_rewards/rejected'?: number;
  'eval_rewards/margins'?: number;
  /** Share of rows whose chosen answer is the likelier one, compared with the reference. */
  'eval_rewards/accuracies'?: number;
  'eval_logps/chosen'?: number;
  'eval_logps/rejected'?: number;
}

export interface EvaluateOptions {
  /** Name of an adapter, `null` for the base model, left out for the trainer's. */
  adapter?: string | null | undefined;
  signal?: AbortSignal | undefined;
}

interface Asked {
  line: Line;
  method: MethodName;
  args: Record<string, unknown>;
  rows: WasmSequence[][];
  adapter: string | null;
  signal: AbortSignal | undefined;
}

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

export async function evaluated({ line, method, args, rows, adapter, signal }: Asked): Promise<Evaluation> {
  const judged = async (s: WasmSequence, by: string | null): Promise<{ logp: number; tokens: number }> => {
    if (signal?.aborted) throw new FledglingError('aborted', 'evaluation was aborted');
    const { logprobs } = await line.call((e) => e.score({ input_ids: s.ids, positions: [], adapter: by }));
    const counted = logprobs.filter((_, i) => s.judged[i + 1]);
    return { logp: counted.reduce((a, b) => a + b, 0), tokens: counted.length };
  };
  let tokens = 0;
  if (method === 'sft') {
    let logp = 0;
    for (const [s] of rows) {
      const found = await judged(s!, adapter);
      logp += found.logp;
      tokens += found.tokens;
    }
    return { eval_loss: -logp / tokens, eval_tokens: tokens, eval_rows: rows.length };
  }
  if (method !== 'dpo')
    throw new FledglingError('bad-config', `evaluate: ${method.toUpperCase()}Trainer has none; SFTTrainer and DPOTrainer do`);
  const beta = (args['beta'] as number | undefined) ?? 0.1;
  const smoothing = (args['labelSmoothing'] as number | undefined) ?? 0;
  const found: { loss: number; rewards: [number, number]; logps: [number, number] }[] = [];
  // ln σ(x), for an x of any size.
  const lnSigmoid = (x: number): number => (x < 0 ? x - Math.log1p(Math.exp(x)) : -Math.log1p(Math.exp(-x)));
  for (const row of rows) {
    const [chosen, rejected] = [await judged(row[0]!, adapter), await judged(row[1]!, adapter)];
    const base = adapter === null ? [chosen, rejected] : [await judged(row[0]!, null), await judged(row[1]!, null)];
    const rewards: [number, number] = [beta * (chosen.logp - base[0]!.logp), beta * (rejected.logp - base[1]!.logp)];
    const margin = rewards[0] - rewards[1];
    tokens += chosen.tokens + rejected.tokens;
    const loss = -(1 - smoothing) * lnSigmoid(margin) - smoothing * lnSigmoid(-margin);
    found.push({ loss, rewards, logps: [chosen.logp, rejected.logp] });
  }
  return {
    eval_loss: mean(found.map((f) => f.loss)),
    eval_tokens: tokens,
    eval_rows: rows.length,
    'eval_rewards/chosen': mean(found.map((f) => f.rewards[0])),
    'eval_rewards/rejected': mean(found.map((f) => f.rewards[1])),
    'eval_rewards/margins': mean(found.map((f) => f.rewards[0] - f.rewards[1])),
    'eval_rewards/accuracies': mean(found.map((f) => Number(f.rewards[0] > f.rewards[1]))),
    'eval_logps/chosen': mean(found.map((f) => f.logps[0])),
    'eval_logps/rejected': mean(found.map((f) => f.logps[1])),
  };
}
