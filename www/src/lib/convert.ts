// camelCase options of JavaScript → snake_case configs of the engine.
import { FledglingError } from './errors.ts';
import { ARGS, PEFT } from './generated/methods.ts';
import type { GenerateOptions, Message, MethodName, TrainArgs } from './types.ts';
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

/** Arguments of any trainer. */
export type AnyArgs = Omit<TrainArgs, 'reportKl'>;

/** How many letters differ, for names that somebody meant. */
function distance(a: string, b: string): number {
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) row.push(Math.min(last[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1), last[j]! + 1, row[j - 1]! + 1));
    last = row;
  }
  return last[b.length]!;
}

/** Arguments under the engine's names; what they may be is the engine's to say, and so is every default. */
function named(of: string, args: object, names: Readonly<Record<string, string>>, others: string[]): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(args)) {
    if (value === undefined || others.includes(key)) continue;
    const name = Object.hasOwn(names, key) ? names[key] : undefined;
    if (name === undefined) {
      const plain = (s: string): string => s.replaceAll('_', '').toLowerCase().slice(0, 64);
      const most = Math.min(3, Math.max(1, Math.floor(plain(key).length / 4)));
      const near = [...Object.keys(names), ...others]
        .map((k) => ({ k, d: distance(plain(key), plain(k)) }))
        .filter((n) => n.d <= most)
        .sort((a, b) => a.d - b.d)[0];
      throw new FledglingError('bad-config', `${key}: is not an argument of ${of}${near ? ` (did you mean ${near.k}?)` : ''}`);
    }
    out[name] = value;
  }
  return out;
}

export function trainArgs(method: MethodName, a: AnyArgs): object {
  const others = ['peftConfig', 'adapterName', 'resumeFrom'];
  return {
    ...named(`${method.toUpperCase()}Trainer`, a, ARGS[method], others),
    adapter_name: a.adapterName ?? 'default',
    peft_config: named('peftConfig', a.peftConfig ?? {}, PEFT, []),
  };
}

/** Rows as they are, which the engine judges; lists of numbers may be typed arrays. */
export function columns(rows: readonly object[]): object[] {
  const plain = (v: unknown): unknown => (ArrayBuffer.isView(v) ? Array.from(v as unknown as ArrayLike<number>) : v);
  return rows.map((row) =>
    typeof row === 'object' && row !== null ? Object.fromEntries(Object.entries(row).map(([k, v]) => [k, plain(v)])) : row,
  );
}
