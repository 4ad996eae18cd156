// fledgling: a Transformer that runs and learns in a browser tab.
export { cachedModels, deleteCachedModel } from './cache.ts';
export { capabilities } from './capabilities.ts';
export { FledglingError, type ErrorCode } from './errors.ts';
export { measureDevice } from './measure.ts';
export { Model } from './model.ts';
export type {
  ChatChoice,
  ChatCompletion,
  ChatCompletionChunk,
  ChatCompletionRequest,
  ChatCompletions,
  RequestOptions,
  TokenLogprob,
  TopLogprob,
  Usage,
} from './openai.ts';
export { rankingToPairs, readRows, writeRows } from './rows.ts';
export { Stream } from './stream.ts';
export type { ChatTemplateOptions, DecodeOptions, EncodeOptions, Tokenizer } from './tokenizer.ts';
export * from './generated/trainers.ts';
export type * from './types.ts';
