// OpenAI's chat.completions.create on top of Model, for code that switches engines.
import { FledglingError } from './errors.ts';
import type { Model } from './model.ts';
import { bad, entries, take } from './options/check.ts';
import { COMPLETION, REQUEST, STREAM_OPTIONS } from './options/tables.ts';
import type { Candidate, CandidateEvent, GenerateOptions, InputMessage } from './types.ts';

/** `null` is the same as left out. What is not here (tools, response_format, penalties) is refused by name. */
export interface ChatCompletionRequest {
  messages: readonly InputMessage[];
  model?: string | undefined;
  /** @default false */
  stream?: boolean | null | undefined;
  /** @default 1 */
  temperature?: number | null | undefined;
  /** @default 1 */
  top_p?: number | null | undefined;
  max_tokens?: number | null | undefined;
  /** @default 256 */
  max_completion_tokens?: number | null | undefined;
  /** @default 1 */
  n?: number | null | undefined;
  /** A whole number from 0 to 2³² − 1. */
  seed?: number | null | undefined;
  stop?: string | readonly string[] | null | undefined;
  /**
   * Tells each token's log-probability; not while it streams.
   * @default false
   */
  logprobs?: boolean | null | undefined;
  /** With `logprobs`: so many of the likeliest tokens in the place of each, at most 20. */
  top_logprobs?: number | null | undefined;
  stream_options?: { include_usage?: boolean | undefined } | null | undefined;
  user?: string | undefined;
}

export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
}

/** A token and its natural log-probability; `bytes` is null where its text is no whole character. */
export interface TopLogprob {
  token: string;
  logprob: number;
  bytes: number[] | null;
}

export interface TokenLogprob extends TopLogprob {
  top_logprobs: TopLogprob[];
}

export interface ChatChoice {
  index: number;
  message: { role: 'assistant'; content: string };
  finish_reason: 'stop' | 'length';
  /** Where the request asked for them. */
  logprobs?: { content: TokenLogprob[]; refusal: null };
}

export interface ChatCompletion {
  id: string;
  object: 'chat.completion';
  created: number;
  model: string;
  choices: ChatChoice[];
  usage: Usage;
}

export interface ChatCompletionChunk {
  id: string;
  object: 'chat.completion.chunk';
  created: number;
  model: string;
  choices: { index: number; delta: { role?: 'assistant'; content?: string }; finish_reason: 'stop' | 'length' | null }[];
  usage?: Usage;
}

export interface RequestOptions {
  signal?: AbortSignal | undefined;
}

let nextId = 1;

export class ChatCompletions {
  #model: Model;

  constructor(model: Model) {
    this.#model = model;
  }

  create(request: ChatCompletionRequest & { stream: true }, options?: RequestOptions): Promise<AsyncIterable<ChatCompletionChunk>>;
  create(request: ChatCompletionRequest & { stream?: false | null | undefined }, options?: RequestOptions): Promise<ChatCompletion>;
  create(request: ChatCompletionRequest, options?: RequestOptions): Promise<ChatCompletion | AsyncIterable<ChatCompletionChunk>>;
  async create(given: ChatCompletionRequest, options: RequestOptions = {}): Promise<ChatCompletion | AsyncIterable<ChatCompletionChunk>> {
    const there = entries('request', given).map(([key, value]) => [key, value === null ? undefined : value]);
    const request = take('chat.completions.create()', Object.fromEntries(there), COMPLETION) as unknown as ChatCompletionRequest;
    const { signal } = take('chat.completions.create()', options, REQUEST) as RequestOptions;
    take('stream_options', request.stream_options, STREAM_OPTIONS, 'stream_options');
    const head = { id: `chatcmpl-${nextId++}`, created: Math.floor(Date.now() / 1000), model: request.model ?? this.#model.info.name };
    const stop = request.stop ?? undefined;
    if (request.top_logprobs && !request.logprobs) throw bad('top_logprobs', 'needs logprobs: true');
    if (request.logprobs && request.stream) throw bad('logprobs', 'are told of whole answers: expected stream: false');
    const o: GenerateOptions & { n: number } = {
      n: request.n ?? 1,
      // OpenAI's default temperature is 1, not greedy.
      temperature: request.temperature ?? 1,
      topP: request.top_p ?? undefined,
      maxNewTokens: request.max_completion_tokens ?? request.max_tokens ?? undefined,
      seed: request.seed ?? undefined,
      stopStrings: typeof stop === 'string' ? [stop] : stop,
      topLogprobs: request.top_logprobs ?? undefined,
      signal,
    };
    const stream = this.#model.generateCandidates(request.messages, o);
    if (request.stream) return chunks(stream, head, request.stream_options?.include_usage ?? false);
    const all = await stream.result;
    const choices: ChatChoice[] = all.map((c, index) => ({
      index,
      message: { role: 'assistant', content: c.text },
      finish_reason: reason(c),
    }));
    if (request.logprobs) {
      const said = await this.#said(all);
      choices.forEach((choice, i) => {
        choice.logprobs = { content: said(all[i]!), refusal: null };
      });
    }
    return { ...head, object: 'chat.completion', choices, usage: usage(all) };
  }

  /** What is told of the tokens of an answer, once the text of each is known. */
  async #said(all: Candidate[]): Promise<(c: Candidate) => TokenLogprob[]> {
    const ids = new Set(all.flatMap((c) => [...c.tokenIds, ...c.topLogprobs.flat().map((t) => t.tokenId)]));
    const texts = new Map<number, string>();
    for (const id of ids) texts.set(id, await this.#model.tokenizer.decode([id]));
    const one = (id: number, logprob: number): TopLogprob => {
      const token = texts.get(id) ?? '';
      return { token, logprob, bytes: token.includes('\ufffd') ? null : [...new TextEncoder().encode(token)] };
    };
    return (c) =>
      c.tokenIds.map((id, t) => ({
        ...one(id, c.logprobs[t] ?? 0),
        top_logprobs: (c.topLogprobs[t] ?? []).map((top) => one(top.tokenId, top.logprob)),
      }));
  }
}

async function* chunks(
  stream: AsyncIterable<CandidateEvent> & { result: Promise<Candidate[]> },
  head: { id: string; created: number; model: string },
  withUsage: boolean,
): AsyncIterable<ChatCompletionChunk> {
  const object = 'chat.completion.chunk' as const;
  const begun = new Set<number>();
  for await (const { index, text } of stream) {
    const delta = begun.has(index) ? { content: text } : { role: 'assistant' as const, content: text };
    begun.add(index);
    if (text || delta.role) yield { ...head, object, choices: [{ index, delta, finish_reason: null }] };
  }
  const all = await stream.result;
  for (const [index, c] of all.entries()) yield { ...head, object, choices: [{ index, delta: {}, finish_reason: reason(c) }] };
  if (withUsage) yield { ...head, object, choices: [], usage: usage(all) };
}

function reason(c: Candidate): 'stop' | 'length' {
  if (c.finishReason === 'abort') throw new FledglingError('aborted', 'the completion was aborted');
  return c.finishReason;
}

function usage(all: Candidate[]): Usage {
  const prompt_tokens = all[0]?.promptTokens ?? 0;
  const completion_tokens = all.reduce((n, c) => n + c.tokenIds.length, 0);
  return { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens };
}
