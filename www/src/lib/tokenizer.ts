// The model's tokenizer, in the words of Transformers.
import { messagesOf } from './convert.ts';
import type { Line } from './line.ts';
import { bad, flag, isList, shown, take } from './options/check.ts';
import type { InputMessage } from './types.ts';

export interface EncodeOptions {
  /**
   * With the tokens that belong around every text, such as a beginning of sequence.
   * @default true
   */
  addSpecialTokens?: boolean | undefined;
}

export interface DecodeOptions {
  /** @default false */
  skipSpecialTokens?: boolean | undefined;
}

export interface ChatTemplateOptions {
  /**
   * Ends with the beginning of an answer.
   * @default false
   */
  addGenerationPrompt?: boolean | undefined;
}

/** Texts to token ids and back. */
export class Tokenizer {
  #line: Line;

  /** @internal */
  constructor(line: Line) {
    this.#line = line;
  }

  /** The token ids of a text. */
  async encode(text: string, o: EncodeOptions = {}): Promise<number[]> {
    if (typeof text !== 'string') throw bad('text', `expected a text, found ${shown(text)}`);
    const { addSpecialTokens = true } = take('encode()', o, { addSpecialTokens: flag });
    return Array.from(await this.#line.call((e) => e.encode(text, addSpecialTokens as boolean)));
  }

  /** The text of token ids. */
  async decode(ids: readonly number[] | Uint32Array, o: DecodeOptions = {}): Promise<string> {
    const list = ArrayBuffer.isView(ids) ? Array.from(ids as Uint32Array) : ids;
    if (!isList(list)) throw bad('ids', `expected a list of token ids, found ${shown(ids)}`);
    const wrong = list.findIndex((id) => !Number.isInteger(id) || (id as number) < 0 || (id as number) > 0xffff_ffff);
    if (wrong >= 0) throw bad(`ids[${wrong}]`, `expected a token id, found ${shown(list[wrong])}`);
    const { skipSpecialTokens = false } = take('decode()', o, { skipSpecialTokens: flag });
    return this.#line.call((e) => e.decode(Uint32Array.from(list as number[]), skipSpecialTokens as boolean));
  }

  /** A chat as the model reads it: the text that its template makes. `encode(text, { addSpecialTokens: false })` gives its ids. */
  async applyChatTemplate(messages: readonly InputMessage[], o: ChatTemplateOptions = {}): Promise<string> {
    const chat = messagesOf(messages);
    const { addGenerationPrompt = false } = take('applyChatTemplate()', o, { addGenerationPrompt: flag });
    return this.#line.call((e) => e.render(chat as Parameters<typeof e.render>[0], addGenerationPrompt as boolean));
  }
}
