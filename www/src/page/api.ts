// The one door from the page to the engine: the package's public interface and nothing behind it.
// (The fast UI tests replace `../lib/index.ts` by an engine without a GPU; nothing else changes.)
export * from '../lib/index.ts';
