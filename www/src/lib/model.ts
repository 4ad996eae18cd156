// A loaded model: chat, candidates, adapters.
import { adapterFiles } from './adapters.ts';
import { Connection, tell } from './connection.ts';
import { inputOf, request, type Input } from './convert.ts';
import type { EngineEvent, EngineLoad } from './engine.ts';
import { FledglingError, fromWire, type WireError } from './errors.ts';
import { Line } from './line.ts';
import { ChatCompletions } from './openai.ts';
import { filesAt } from './node.ts';
import { bad, isPlain, name, shown, take } from './options/check.ts';
import { ADAPTER, CANDIDATES, COMBINE, GENERATE, LOAD, SCORE } from './options/tables.ts';
import { isNode } from './places.ts';
import { sourceOf } from './sources.ts';
import { Stream } from './stream.ts';
import { Tokenizer } from './tokenizer.ts';
import type {
  AdapterFiles,
  AdapterInfo,
  AdapterSource,
  Candidate,
  CandidateEvent,
  CombineOptions,
  Counters,
  GenerateOptions,
  InputMessage,
  LoadOptions,
  Memory,
  ModelInfo,
  ModelSource,
  Score,
  ScoreOptions,
} from './types.ts';

/** Keeps the line out of the public type; trainers need it. */
const lines = new WeakMap<Model, Line>();

/** @internal */
export function lineOf(model: Model): Line {
  const line = typeof model === 'object' && model !== null ? lines.get(model) : undefined;
  if (!line) throw bad('model', `expected a Model made by Model.load(), found ${shown(model)}`);
  return line;
}

/** Name of an adapter. */
function named(given: unknown): void {
  if (!name.ok(given)) throw bad('name', `expected the name of an adapter (${name.takes}), found ${shown(given)}`);
}

/** A warning goes to who asked for it, or to the console. */
export function warned(wire: WireError, onWarning: LoadOptions['onWarning']): unknown {
  const warning = fromWire(wire);
  if (onWarning) return tell('onWarning', onWarning, warning);
  console.warn(`fledgling: ${warning.code}: ${warning.message}`);
  return undefined;
}

/** A model in this browser's GPU. */
export class Model {
  readonly info: ModelInfo;
  readonly tokenizer: Tokenizer;
  /** The same model for code written against OpenAI's `chat.completions.create`. */
  readonly chatCompletions: ChatCompletions;
  /**
   * Continues a chat: an async iterable of pieces of text; `.result` is the whole answer. `chat.completions.create` is there, too, for code written
   * against OpenAI's.
   */
  readonly chat: ((messages: readonly InputMessage[], o?: GenerateOptions) => Stream<string, Candidate>) & { completions: ChatCompletions };
  #line: Line;

  private constructor(line: Line, info: ModelInfo) {
    this.#line = line;
    this.info = info;
    this.tokenizer = new Tokenizer(line);
    this.chatCompletions = new ChatCompletions(this);
    const chat = (messages: readonly InputMessage[], o: GenerateOptions = {}) => this.#one('chat()', messages, o, true);
    this.chat = Object.assign(chat, { completions: this.chatCompletions });
    lines.set(this, line);
  }

  /**
   * Loads a model. The weights go straight to the GPU; a downloaded file is kept in the browser's storage and checked
   * by its hash when it comes from there.
   */
  static async load(source: ModelSource, o: LoadOptions = {}): Promise<Model> {
    const given = take('Model.load()', o, LOAD) as LoadOptions;
    if (given.signal?.aborted) throw new FledglingError('aborted', 'loading was aborted before it began');
    const from = (isNode ? await filesAt(source) : undefined) ?? sourceOf(source);
    const { cache, stallMs, sha256, contextLength, kvCacheDtype, mask, quantize, candidates, kernel, device, threads } = given;
    const load: EngineLoad = {
      ...{
        cache: cache ?? true,
        stallMs,
        sha256,
        name: given.name,
        contextLength,
        kvCacheDtype,
        mask,
        quantize,
        candidates,
        kernel,
        device,
        threads,
      },
    };
    const connection = await Connection.open(given);
    try {
      const info = await connection.job('loading', (engine, job) => engine.load(job, from, load), {
        signal: given.signal,
        onEvent: (e) => {
          if (e.type === 'progress') return tell('onProgress', given.onProgress, e.progress);
          return e.type === 'warning' ? warned(e.error, given.onWarning) : undefined;
        },
      });
      const origin = { source: from, load, recover: given.recover ?? true, onDeviceLost: given.onDeviceLost };
      return new Model(new Line(connection, origin, info), info);
    } catch (e) {
      await connection.abandon();
      throw e;
    }
  }

  /** Continues a text or token ids as they stand, without the chat template. */
  generate(prompt: string | readonly number[], o: GenerateOptions = {}): Stream<string, Candidate> {
    return this.#one('generate()', prompt, o, false);
  }

  /** Several answers to one chat (or to a text or token ids as they stand), decoded together from one prefill. */
  generateCandidates(input: Input, o: GenerateOptions & { n: number }): Stream<CandidateEvent, Candidate[]> {
    const ready = attempt(() => {
      const { n, ...given } = take('generateCandidates()', o, CANDIDATES) as unknown as GenerateOptions & { n: number };
      if (n === undefined) throw bad('n', 'expected a whole number from 1 to 64, found undefined');
      return { given, r: request(inputOf(input), n, given) };
    });
    return new Stream((push, signal) => this.#run(ready, signal, push), ready.value?.given.signal);
  }

  /**
   * Judges a text, a chat or token ids: ln p of every token but the first, given those before it, and the logits after chosen
   * positions. Perplexity is `Math.exp(-mean(logprobs))`. With a reward model as `adapter`: the score that it gives to the whole.
   */
  async score(input: string | readonly InputMessage[] | readonly number[], o: ScoreOptions = {}): Promise<Score> {
    const { positions = [], adapter } = take('score()', o, SCORE) as ScoreOptions;
    const asked = { ...inputOf(input), positions: [...positions], ...(adapter === undefined ? {} : { adapter }) };
    return this.#line.call((e) => e.score(asked));
  }

  /** Tokens of a text, or of a chat in the model's template with the beginning of an answer. */
  async countTokens(input: string | readonly InputMessage[]): Promise<number> {
    const { prompt, messages, input_ids } = inputOf(input);
    return input_ids ? input_ids.length : this.#line.call((e) => e.countTokens(prompt ?? messages!));
  }

  /** An adapter (the active one without a name) as a PEFT folder. */
  async saveAdapter(name?: string): Promise<AdapterFiles> {
    if (name !== undefined) named(name);
    return this.#line.call((e) => e.saveAdapter(name));
  }

  /** Adds an adapter from a PEFT folder, wherever it is; `setAdapter` switches it on. */
  async loadAdapter(source: AdapterSource, name: string, o: { signal?: AbortSignal | undefined } = {}): Promise<AdapterInfo> {
    named(name);
    const { signal } = take('loadAdapter()', o, ADAPTER) as typeof o;
    const files = await adapterFiles(source, signal);
    const info = await this.#line.call((e) => e.loadAdapter(files, name));
    this.#line.keep(name, files);
    return info;
  }

  async setAdapter(name: string): Promise<void> {
    named(name);
    await this.#line.call((e) => e.setAdapter(name));
    this.#line.active(name);
  }

  /** Back to the base model; the adapters stay loaded. */
  async disableAdapter(): Promise<void> {
    await this.#line.call((e) => e.setAdapter(undefined));
    this.#line.active(undefined);
  }

  async removeAdapter(name: string): Promise<void> {
    named(name);
    await this.#line.call((e) => e.removeAdapter(name));
    this.#line.forget(name);
  }

  /** Adds an adapter into the weights for good. */
  async mergeAdapter(name: string): Promise<void> {
    named(name);
    await this.#line.call((e) => e.mergeAdapter(name));
    this.#line.forget(name, true);
  }

  /** Adds a weighted combination of LoRA adapters, as PEFT's `add_weighted_adapter` makes it: `combineAdapters({ a: 0.7, b: 0.3 }, 'both')`. */
  async combineAdapters(adapters: Record<string, number>, name: string, o: CombineOptions = {}): Promise<AdapterInfo> {
    named(name);
    const { combinationType = 'svd', svdRank } = take('combineAdapters()', o, COMBINE) as CombineOptions;
    const parts: Record<string, number> = {};
    if (!isPlain(adapters)) throw bad('adapters', `expected an object of names and weights, found ${shown(adapters)}`);
    for (const [part, weight] of Object.entries(adapters)) {
      if (typeof weight !== 'number' || !Number.isFinite(weight))
        throw bad(`adapters.${part}`, `expected a number, found ${shown(weight)}`);
      parts[part] = weight;
    }
    const info = await this.#line.call((e) => e.combineAdapters(name, parts, combinationType, svdRank ?? undefined));
    this.#line.keep(name, await this.saveAdapter(name));
    return info;
  }

  adapters(): Promise<AdapterInfo[]> {
    return this.#line.call((e) => e.adapters());
  }

  memory(): Promise<Memory> {
    return this.#line.call((e) => e.memory());
  }

  /** Dispatches, submits, allocations, compiled pipelines since the device was opened. */
  counters(): Promise<Counters> {
    return this.#line.call((e) => e.counters());
  }

  /**
   * Gives the GPU memory back and ends the Worker, after `wait` milliseconds (10,000) also one that does not answer. Whatever still runs ends with
   * an error.
   */
  dispose(wait?: number): Promise<void> {
    return this.#line.connection.close(wait);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  #one(what: string, input: Input, o: GenerateOptions, chat: boolean): Stream<string, Candidate> {
    const ready = attempt(() => {
      const given = take(what, o, GENERATE) as GenerateOptions;
      return { given, r: request(inputOf(input, chat), 1, given) };
    });
    return new Stream(async (push, signal) => {
      const all = await this.#run(ready, signal, (e) => {
        if (e.text) push(e.text);
      });
      const first = all[0];
      if (!first) throw new FledglingError('internal', 'the engine returned no candidate');
      return first;
    }, ready.value?.given.signal);
  }

  async #run(ready: Ready, signal: AbortSignal, push: (e: CandidateEvent) => void): Promise<Candidate[]> {
    if (!ready.value) throw ready.error;
    const { r, given } = ready.value;
    // An answer that begins anew after a loss of the device is the same one, by its seed: what was told already is not told again.
    let told: number[] = [];
    let again: number[] = [];
    const onEvent = (e: EngineEvent) => {
      if (e.type !== 'token') return;
      const { index, text, done } = e.event;
      const skip = Math.min(text.length, again[index] ?? 0);
      again[index] = (again[index] ?? 0) - skip;
      told[index] = (told[index] ?? 0) + text.length - skip;
      if (skip < text.length || done || text === '') push(skip ? { index, done, text: text.slice(skip) } : e.event);
    };
    let begun = false;
    const body: Parameters<Line['job']>[1] = (engine, job) => {
      if (begun) again = told.slice();
      begun = true;
      return engine.generate(job, r, signal.aborted, given.queue ?? true);
    };
    const all = (await this.#line.job('generation', body, { signal, onEvent })) as Candidate[];
    told = [];
    return all;
  }
}

interface Ready {
  value?: { given: GenerateOptions; r: ReturnType<typeof request> };
  error?: unknown;
}

/** A stream is handed out whatever happens: what is wrong with a request comes out of it. */
function attempt(body: () => NonNullable<Ready['value']>): Ready {
  try {
    return { value: body() };
  } catch (error) {
    return { error };
  }
}
