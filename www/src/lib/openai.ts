// OpenAI's chat.completions.create on top of Model, for code that switches engines.
import { FledglingError } from './errors.ts';
import type { Model } from './model.ts';
import type { Candidate, CandidateEvent, GenerateOptions, Message } from './types.ts';

export interface ChatCompletionRequest {
  messages: Message[];
  model?: string;
  stream?: boolean;
  temperature?: number;
  top_p?: number;
  max_tokens?: number;
  max_completion_tokens?: number;
  n?: number;
  seed?: number;
  stop?: string | string[] | null;
  stream_options?: { include_usage?: boolean };
}

export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
}

export interface ChatCompletion {
  id: string;
  object: 'chat.completion';
  created: number;
  model: string;
  choices: { index: number; message: { role: 'assistant'; content: string }; finish_reason: 'stop' | 'length' }[];
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
  signal?: AbortSignal;
}

let nextId = 1;

export class ChatCompletions {
  #model: Model;

  constructor(model: Model) {
    this.#model = model;
  }

  create(request: ChatCompletionRequest & { stream: true }, options?: RequestOptions): Promise<AsyncIterable<ChatCompletionChunk>>;
  create(request: ChatCompletionRequest & { stream?: false }, options?: RequestOptions): Promise<ChatCompletion>;
  async create(request: ChatCompletionRequest, options: RequestOptions = {}): Promise<ChatCompletion | AsyncIterable<ChatCompletionChunk>> {
    const head = { id: `chatcmpl-${nextId++}`, created: Math.floor(Date.now() / 1000), model: request.model ?? this.#model.info.name };
    const stop = request.stop ?? undefined;
    const o: GenerateOptions & { n: number } = {
      n: request.n ?? 1,
      // OpenAI's default temperature is 1, not greedy.
      temperature: request.temperature ?? 1,
      topP: request.top_p,
      maxNewTokens: request.max_completion_tokens ?? request.max_tokens,
      seed: request.seed,
      stopStrings: typeof stop === 'string' ? [stop] : stop,
      signal: options.signal,
    };
    const stream = this.#model.generateCandidates(request.messages, o);
    if (request.stream) return chunks(stream, head, request.stream_options?.include_usage ?? false);
    const all = await stream.result;
    return {
      ...head,
      object: 'chat.completion',
      choices: all.map((c, index) => ({ index, message: { role: 'assistant', content: c.text }, finish_reason: reason(c) })),
      usage: usage(all),
    };
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
