// A loaded model: chat, candidates, adapters.
import { Connection } from './connection.ts';
import { inputOf, request, type Input } from './convert.ts';
import type { EngineEvent } from './engine.ts';
import { FledglingError, fromWire } from './errors.ts';
import { ChatCompletions } from './openai.ts';
import { Stream } from './stream.ts';
import type {
  AdapterFiles,
  AdapterInfo,
  Candidate,
  CandidateEvent,
  Counters,
  GenerateOptions,
  LoadOptions,
  Memory,
  Message,
  ModelInfo,
  ModelSource,
  Score,
  ScoreOptions,
} from './types.ts';

/** Keeps the connection out of the public type; trainers need it. */
const connections = new WeakMap<Model, Connection>();

/** @internal */
export function connectionOf(model: Model): Connection {
  const c = connections.get(model);
  if (!c) throw new FledglingError('bad-config', 'expected a Model made by Model.load()');
  return c;
}

/** A model in this browser's GPU. */
export class Model {
  readonly info: ModelInfo;
  /** The same model for code written against OpenAI's `chat.completions.create`. */
  readonly chatCompletions: ChatCompletions;
  #connection: Connection;

  private constructor(connection: Connection, info: ModelInfo) {
    this.#connection = connection;
    this.info = info;
    this.chatCompletions = new ChatCompletions(this);
    connections.set(this, connection);
  }

  /**
   * Loads a model. The weights go straight to the GPU; a downloaded file is kept in the browser's storage and checked
   * by its hash when it comes from there.
   */
  static async load(source: ModelSource, o: LoadOptions = {}): Promise<Model> {
    if (o.signal?.aborted) throw new FledglingError('aborted', 'loading was aborted before it began');
    const from = source instanceof Blob || Array.isArray(source) ? (source as Blob | File[]) : absolute(source as string | URL);
    const connection = await Connection.open(o.worker ?? true);
    try {
      const info = await connection.job(
        'loading',
        (engine, job) =>
          engine.load(job, from, {
            cache: o.cache ?? true,
            sha256: o.sha256,
            name: o.name,
            contextLength: o.contextLength,
            kvCacheDtype: o.kvCacheDtype,
            quantize: o.quantize,
            candidates: o.candidates,
            kernel: o.kernel,
            device: o.device,
            threads: o.threads,
          }),
        {
          signal: o.signal,
          onEvent: (e) => {
            if (e.type === 'progress') o.onProgress?.(e.progress);
            else if (e.type === 'warning') o.onWarning?.(fromWire(e.error));
          },
        },
      );
      return new Model(connection, info);
    } catch (e) {
      await connection.abandon();
      throw e;
    }
  }

  /** Continues a chat: an async iterable of pieces of text; `.result` is the whole answer. */
  chat(messages: readonly Message[], o: GenerateOptions = {}): Stream<string, Candidate> {
    return this.#one(messages, o);
  }

  /** Continues a text or token ids as they stand, without the chat template. */
  generate(prompt: string | readonly number[], o: GenerateOptions = {}): Stream<string, Candidate> {
    return this.#one(prompt, o);
  }

  /** Several answers to one chat, decoded together from one prefill. */
  generateCandidates(messages: readonly Message[], o: GenerateOptions & { n: number }): Stream<CandidateEvent, Candidate[]> {
    return new Stream((push, signal) => this.#run(messages, o.n, o, signal, push), o.signal);
  }

  /**
   * Judges a text, a chat or token ids: ln p of every token but the first, given those before it, and the logits after chosen
   * positions. Perplexity is `Math.exp(-mean(logprobs))`.
   */
  score(input: string | readonly Message[] | readonly number[], o: ScoreOptions = {}): Promise<Score> {
    const request = { ...inputOf(input), positions: [...(o.positions ?? [])], ...(o.adapter === undefined ? {} : { adapter: o.adapter }) };
    return this.#connection.call((e) => e.score(request));
  }

  /** Tokens of a text, or of a chat in the model's template with the beginning of an answer. */
  countTokens(input: string | readonly Message[]): Promise<number> {
    const plain = typeof input === 'string' ? input : input.map(({ role, content }) => ({ role, content }));
    return this.#connection.call((e) => e.countTokens(plain));
  }

  /** An adapter (the active one without a name) as a PEFT folder. */
  saveAdapter(name?: string): Promise<AdapterFiles> {
    return this.#connection.call((e) => e.saveAdapter(name));
  }

  /** Adds an adapter from a PEFT folder; `setAdapter` switches it on. */
  loadAdapter(files: AdapterFiles, name: string): Promise<AdapterInfo> {
    return this.#connection.call((e) => e.loadAdapter(files, name));
  }

  setAdapter(name: string): Promise<void> {
    return this.#connection.call((e) => e.setAdapter(name));
  }

  /** Back to the base model; the adapters stay loaded. */
  disableAdapter(): Promise<void> {
    return this.#connection.call((e) => e.setAdapter(undefined));
  }

  removeAdapter(name: string): Promise<void> {
    return this.#connection.call((e) => e.removeAdapter(name));
  }

  /** Adds an adapter into the weights for good. */
  mergeAdapter(name: string): Promise<void> {
    return this.#connection.call((e) => e.mergeAdapter(name));
  }

  adapters(): Promise<AdapterInfo[]> {
    return this.#connection.call((e) => e.adapters());
  }

  memory(): Promise<Memory> {
    return this.#connection.call((e) => e.memory());
  }

  /** Dispatches, submits, allocations, compiled pipelines since the device was opened. */
  counters(): Promise<Counters> {
    return this.#connection.call((e) => e.counters());
  }

  /** Gives the GPU memory back and ends the Worker. Whatever still runs ends with an error. */
  dispose(): Promise<void> {
    return this.#connection.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  #one(input: Input, o: GenerateOptions): Stream<string, Candidate> {
    return new Stream(async (push, signal) => {
      const all = await this.#run(input, 1, o, signal, (e) => {
        if (e.text) push(e.text);
      });
      const first = all[0];
      if (!first) throw new FledglingError('internal', 'the engine returned no candidate');
      return first;
    }, o.signal);
  }

  async #run(input: Input, n: number, o: GenerateOptions, signal: AbortSignal, push: (e: CandidateEvent) => void): Promise<Candidate[]> {
    const r = request(input, n, o);
    const onEvent = (e: EngineEvent) => {
      if (e.type === 'token') push(e.event);
    };
    return this.#connection.job('generation', (engine, job) => engine.generate(job, r, signal.aborted), { signal, onEvent });
  }
}

/** The Worker's base address is not the page's. */
function absolute(source: string | URL): string {
  const base = typeof document === 'undefined' ? globalThis.location?.href : document.baseURI;
  try {
    return new URL(source, base).href;
  } catch {
    throw new FledglingError('bad-config', `source: ${JSON.stringify(String(source))} is neither an address nor a file`);
  }
}
