// camelCase options of JavaScript → snake_case configs of the engine, with every default in one place.
import { FledglingError } from './errors.ts';
import type { DPOArgs, GenerateOptions, Message, PeftConfig, TrainArgs } from './types.ts';
import type { WasmInput, WasmRequest } from './wasm.ts';

function defined<T extends object>(o: T): T {
  return Object.fromEntries(Object.entries(o).filter(([, v]) => v !== undefined)) as T;
}

/** Seeds are 32-bit; without one, every call draws its own. */
function seedOf(seed: number | undefined): number {
  return seed === undefined ? (Math.random() * 0x1_0000_0000) >>> 0 : seed >>> 0;
}

/** A chat, a text or token ids, in the engine's words. */
export type Input = string | readonly Message[] | readonly number[];

export function inputOf(input: Input): Pick<WasmInput, 'messages' | 'prompt' | 'input_ids'> {
  if (typeof input === 'string') return { prompt: input };
  // An empty list is a chat without messages; the engine says what is wrong with it.
  if (input.length > 0 && input.every((v): v is number => typeof v === 'number')) {
    const bad = input.findIndex((id) => !Number.isInteger(id) || id < 0 || id > 0xffff_ffff);
    if (bad >= 0) throw new FledglingError('bad-config', `inputIds[${bad}]: expected a token id, found ${String(input[bad])}`);
    return { input_ids: [...input] };
  }
  return { messages: (input as readonly Message[]).map(({ role, content }) => ({ role, content })) };
}

export function request(input: Input, n: number, o: GenerateOptions): WasmRequest {
  const number = (field: keyof GenerateOptions, low: number, high: number) => {
    const v = o[field] as number | undefined;
    if (v !== undefined && !(typeof v === 'number' && v >= low && v <= high)) {
      throw new FledglingError('bad-config', `${field}: expected a number from ${low} to ${high}, found ${String(v)}`);
    }
    return v;
  };
  if (!Number.isInteger(n) || n < 1 || n > 64)
    throw new FledglingError('bad-config', `n: expected a whole number from 1 to 64, found ${n}`);
  const r: WasmRequest = defined({
    n,
    max_new_tokens: number('maxNewTokens', 1, 1_000_000) ?? 256,
    temperature: number('temperature', 0, 100) ?? 0,
    top_k: number('topK', 0, 1_000_000),
    top_p: number('topP', 0, 1),
    min_p: number('minP', 0, 1),
    repetition_penalty: number('repetitionPenalty', 0.01, 100),
    seed: seedOf(o.seed),
    stop_strings: o.stopStrings ?? [],
    ignore_eos: o.ignoreEos,
    adapter: o.adapter,
  });
  return { ...r, ...inputOf(input) };
}

function peft(p: PeftConfig): object {
  return defined({
    r: p.r ?? 8,
    lora_alpha: p.loraAlpha ?? 16,
    lora_dropout: p.loraDropout ?? 0,
    target_modules: p.targetModules ?? 'all-linear',
    exclude_modules: p.excludeModules,
    layers_to_transform: p.layersToTransform,
    layers_pattern: p.layersPattern,
    use_rslora: p.useRslora ?? false,
    rank_pattern: p.rankPattern ?? {},
    alpha_pattern: p.alphaPattern ?? {},
  });
}

export function trainArgs(method: 'sft' | 'dpo', a: DPOArgs & TrainArgs): object {
  return defined({
    learning_rate: a.learningRate ?? (method === 'dpo' ? 5e-5 : 2e-4),
    num_train_epochs: a.numTrainEpochs ?? 3,
    max_steps: a.maxSteps ?? -1,
    per_device_train_batch_size: a.perDeviceTrainBatchSize ?? 1,
    gradient_accumulation_steps: a.gradientAccumulationSteps ?? 1,
    warmup_steps: a.warmupSteps ?? 0,
    warmup_ratio: a.warmupRatio,
    lr_scheduler_type: a.lrSchedulerType ?? 'linear',
    weight_decay: a.weightDecay ?? 0,
    adam_beta1: a.adamBeta1 ?? 0.9,
    adam_beta2: a.adamBeta2 ?? 0.999,
    adam_epsilon: a.adamEpsilon ?? 1e-8,
    max_grad_norm: a.maxGradNorm ?? 1,
    seed: (a.seed ?? 42) >>> 0,
    data_seed: a.dataSeed,
    max_length: a.maxLength === undefined ? 1024 : a.maxLength,
    completion_only_loss: a.completionOnlyLoss ?? true,
    assistant_only_loss: a.assistantOnlyLoss,
    shuffle: a.shuffle ?? true,
    gradient_checkpointing: a.gradientCheckpointing,
    fp16: a.fp16,
    activation_memory: a.activationMemory,
    report_kl: a.reportKl,
    adapter_name: a.adapterName ?? 'default',
    peft_config: peft(a.peftConfig ?? {}),
    ...(method === 'dpo' ? { beta: a.beta ?? 0.1, label_smoothing: a.labelSmoothing ?? 0, loss_type: a.lossType ?? 'sigmoid' } : {}),
  });
}

/** Rows as they are, which the engine judges; lists of numbers may be typed arrays. */
export function columns(rows: readonly object[]): object[] {
  const plain = (v: unknown): unknown => (ArrayBuffer.isView(v) ? Array.from(v as unknown as ArrayLike<number>) : v);
  return rows.map((row) =>
    typeof row === 'object' && row !== null ? Object.fromEntries(Object.entries(row).map(([k, v]) => [k, plain(v)])) : row,
  );
}
