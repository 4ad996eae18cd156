// What a caller gives, checked by the tables of options/, in the snake_case words of the engine.
import type { MethodName, GenerateOptions, TrainArgs } from './types.ts';
import { FledglingError } from './errors.ts';
import { bad, entries, isList, nameOf, shown, take } from './options/check.ts';
import { plain } from './options/plain.ts';
import { PEFT_NAMES, PEFT_RULES, trainerTable } from './options/tables.ts';
import type { InputMessage } from './types.ts';
import type { WasmInput, WasmRequest } from './wasm.ts';

function defined<T extends object>(o: T): T {
  return Object.fromEntries(Object.entries(o).filter(([, v]) => v !== undefined)) as T;
}

/** A chat, a text or token ids, in the engine's words. */
export type Input = string | readonly InputMessage[] | readonly number[];

/** One message of a chat; what other fields say would be lost. */
function messageOf(path: string, given: unknown): { role: string; content: string } {
  const found: Record<string, unknown> = Object.fromEntries(entries(path, given).filter(([, v]) => v !== undefined && v !== null));
  for (const key of ['role', 'content'] as const) {
    const value = found[key];
    if (typeof value === 'string' && (key === 'content' || value !== '')) continue;
    const parts = isList(value) ? ' (parts of a message are not supported: join their texts)' : '';
    throw bad(`${path}.${key}`, `expected a text, found ${shown(value)}${parts}`);
  }
  const other = Object.keys(found).find((key) => key !== 'role' && key !== 'content');
  if (other !== undefined) throw bad(`${path}.${nameOf(other)}`, 'is not supported: a message has role and content');
  return { role: found['role'] as string, content: found['content'] as string };
}

export function messagesOf(given: unknown): { role: string; content: string }[] {
  if (!isList(given)) throw bad('messages', `expected a list of messages, found ${shown(given)}`);
  if (given.length === 0) throw bad('messages', 'expected at least one message, found an empty array');
  return Array.from({ length: given.length }, (_, i) => messageOf(`messages[${i}]`, given[i]));
}

function idsOf(given: readonly number[]): number[] {
  const wrong = given.findIndex((id) => !Number.isInteger(id) || id < 0 || id > 0xffff_ffff);
  if (wrong >= 0) throw bad(`inputIds[${wrong}]`, `expected a token id, found ${shown(given[wrong])}`);
  return [...given];
}

export function inputOf(input: Input, chat: boolean | undefined = undefined): Pick<WasmInput, 'messages' | 'prompt' | 'input_ids'> {
  if (chat !== true) {
    if (typeof input === 'string') return { prompt: input };
    if (ArrayBuffer.isView(input)) return { input_ids: idsOf(Array.from(input as unknown as ArrayLike<number>)) };
    if (isList(input) && input.length > 0 && input.every((v): v is number => typeof v === 'number')) return { input_ids: idsOf(input) };
    const expected = 'a text or a list of token ids';
    if (chat === false) throw bad('prompt', `expected ${expected}, found ${shown(input)}`);
    if (!isList(input)) throw bad('input', `expected ${expected}, or a list of messages, found ${shown(input)}`);
  }
  return { messages: messagesOf(input) as NonNullable<WasmInput['messages']> };
}

/** A request of the engine; `o` was taken by its table. Without a seed, every call draws its own. */
export function request(input: Pick<WasmInput, 'messages' | 'prompt' | 'input_ids'>, n: number, o: GenerateOptions): WasmRequest {
  const r: WasmRequest = defined({
    n,
    max_new_tokens: o.maxNewTokens ?? 256,
    temperature: o.temperature ?? 0,
    top_k: o.topK,
    top_p: o.topP,
    min_p: o.minP,
    repetition_penalty: o.repetitionPenalty,
    no_repeat_ngram_size: o.noRepeatNgramSize,
    num_beams: o.numBeams,
    length_penalty: o.lengthPenalty,
    early_stopping: o.earlyStopping === undefined ? undefined : (String(o.earlyStopping) as WasmRequest['early_stopping']),
    prompt_lookup_num_tokens: o.promptLookupNumTokens,
    max_matching_ngram_size: o.maxMatchingNgramSize,
    top_logprobs: o.topLogprobs,
    seed: o.seed ?? (Math.random() * 0x1_0000_0000) >>> 0,
    stop_strings: [...(o.stopStrings ?? [])],
    ignore_eos: o.ignoreEos,
    adapter: o.adapter,
  });
  return { ...r, ...input };
}

/** Arguments of any trainer. */
export type AnyArgs = Pick<TrainArgs, 'peftConfig' | 'adapterName' | 'resumeFrom'>;

const renamed = (given: Record<string, unknown>, names: Readonly<Record<string, string>>): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(given)
      .filter(([key]) => Object.hasOwn(names, key))
      .map(([key, value]) => [names[key], plain(key, value)]),
  );

/** The class of a method's trainer. */
export const trainerName = (method: MethodName): string =>
  method === 'online_dpo' ? 'OnlineDPOTrainer' : `${method.toUpperCase()}Trainer`;

/** A trainer's arguments, once as the caller's and once as the engine's. */
export function trainArgs(method: MethodName, given: unknown): { args: AnyArgs; engine: object } {
  const { rules, names } = trainerTable(method);
  const what = trainerName(method);
  const args = take(what, given, rules);
  const peft = take('peftConfig', args['peftConfig'], PEFT_RULES, 'peftConfig');
  return {
    args: args as AnyArgs,
    engine: {
      ...renamed(args, names),
      adapter_name: args['adapterName'] ?? 'default',
      peft_config: renamed(peft, PEFT_NAMES),
    },
  };
}

/** Rows as they are, which the engine judges; lists of numbers may be typed arrays. */
export function columns(rows: unknown): object[] {
  if (!isList(rows)) throw bad('rows', `expected a list of rows, found ${shown(rows)}`);
  return Array.from({ length: rows.length }, (_, i) => {
    const row: unknown = rows[i];
    if (typeof row !== 'object' || row === null || isList(row))
      throw new FledglingError('bad-row', `row ${i}: expected an object of columns, found ${shown(row)}`);
    try {
      return plain(`rows[${i}]`, row) as object;
    } catch (e) {
      throw new FledglingError('bad-row', (e as Error).message, { cause: e });
    }
  });
}
