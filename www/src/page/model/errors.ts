// Errors the page itself can cause or meet. The engine's own (FledglingError) carry a `code` in the same way.
import { t, type Plain } from '../i18n/language.ts';

/** Something a person, a file or the browser's storage did; `code` is stable and in kebab case. */
export class PageError extends Error {
  constructor(
    readonly code: string,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = 'PageError';
  }
}

export interface Described {
  code: string;
  title: string;
  detail: string;
  hint: string;
}

// Title and advice by code; the detail always comes from the error itself, which knows what and where.
const WORDS: Record<string, [title: Plain, hint: Plain | '']> = {
  'webgpu-unavailable': [
    'This browser offers no WebGPU',
    'Use a current Chrome, Edge, Safari 26 or Firefox with WebGPU switched on, on a page served from https or localhost.',
  ],
  'device-lost': ['The graphics device was lost', 'Load the model again. Chats, feedback, adapters and the last checkpoint are safe.'],
  'worker-failed': ['The engine stopped', 'Load the model again. Chats, feedback, adapters and the last checkpoint are safe.'],
  'not-answering': [
    'The engine did not answer and was ended',
    'Load the model again. Chats, feedback, adapters and the last checkpoint are safe.',
  ],
  'fewer-threads': ['Not all threads of the processor started', 'Everything works, only more slowly.'],
  internal: [
    'The engine broke down',
    'This is a fault of fledgling. Load the model again: chats, feedback, adapters and the last checkpoint are safe.',
  ],
  disposed: ['This model is no longer loaded', 'Load a model, then try again.'],
  'out-of-memory': ['Not enough graphics memory', 'Close other tabs, or choose a smaller model, a shorter max_length or fewer answers.'],
  gpu: ['The graphics adapter refused a computation', 'Load the model again; a newer browser or driver may help.'],
  'bad-shape': ['Something of the wrong size came up', 'The file may be damaged, or made for another model.'],
  'not-finite': ['A number went out of bounds', 'While learning, a smaller learning_rate helps; in a file, its weights are damaged.'],
  'bad-file': ['This file cannot be read as a model', 'Choose a GGUF file that is whole, or all files of a safetensors folder.'],
  'bad-template': ['The chat template of this model cannot be used', 'Another file of the same model may have a template that works.'],
  'unsupported-architecture': [
    'This kind of model is not supported yet',
    'Decoders work: Llama, Mistral, SmolLM, Qwen, Gemma, Phi-3 and -4, Pythia, OLMo 2, Granite, StableLM, StarCoder 2, Command R, GLM-4.',
  ],
  'wrong-model': ['Another model is loaded', 'A checkpoint fits only the very model that it was made with.'],
  'context-overflow': ['The prompt is longer than the model can read', 'Shorten it, or start a new chat.'],
  'empty-dataset': ['There is nothing to learn from yet', 'Rank some answers, edit one into the ideal answer, or import a dataset.'],
  'empty-file': ['This file is empty', 'A dataset has one row in each line, in the columns that TRL reads.'],
  'unknown-file': ['This page does not know such files', 'Drop it on the view that it is for, or choose another file.'],
  'no-pairs': ['Every ranking here is a tie', 'A tie says nothing about which answer is better. Put at least one answer above another.'],
  'bad-row': ['A row of the dataset cannot be used', 'Mend or remove the row named above.'],
  aborted: ['Stopped', ''],
  busy: ['The model is busy', 'Wait for the present answer or training run, or stop it.'],
  'quota-exceeded': [
    'The browser’s storage is full',
    'What you see is still here in this tab. Free some space in Settings, then save again.',
  ],
  'storage-unavailable': [
    'This browser keeps no files for the page',
    'Private windows often do not. Export your feedback before you close the tab.',
  ],
  'storage-failed': ['A file of this page could not be read or written', 'What you see is still here in this tab; try to save it again.'],
  'storage-corrupt': ['A saved file was damaged', 'It was set aside, not deleted; everything else was read.'],
  'storage-cleared': [
    'The storage of this page was cleared while it was open',
    'What was only on disk is gone: downloads are fetched again, your own model files have to be chosen again.',
  ],
  io: ['A file could not be read', 'It may have been moved, changed or closed; choose it again.'],
  network: [
    'The file could not be fetched',
    'Check the address and the connection, then try again; the download goes on where it stopped.',
  ],
  'host-not-allowed': [
    'This host is not allowed',
    'Allow the host in Settings first. The page reloads so that the browser enforces the new list.',
  ],
  'redirect-not-allowed': [
    'The download was handed on to a host that is not allowed',
    'Allow that host in Settings. The page reloads so that the browser enforces the new list.',
  ],
  'file-changed': ['The file changed while it was being fetched', 'Nothing of it was kept. Try again.'],
  'hash-mismatch': ['The file is not the one that was expected', 'Fetch it again, or choose another file.'],
  'bad-adapter': ['This adapter cannot be used', 'It must be a PEFT LoRA adapter made for the model that is loaded.'],
  'bad-config': ['A setting is out of range', 'Correct the value named above.'],
};

/** Longest message that is shown: what a file or a server put into it may have no end. */
const DETAIL = 700;
export const cut = (text: string, most: number): string => (text.length <= most ? text : `${text.slice(0, most)}…`);

/** Turns anything thrown into words: what happened, where, and what to do. */
export function describe(error: unknown): Described {
  const e = error as { code?: unknown; message?: unknown; name?: unknown } | null;
  const abort = e?.name === 'AbortError';
  const code = abort ? 'aborted' : typeof e?.code === 'string' ? e.code : 'unexpected';
  const detail = cut(typeof e?.message === 'string' ? e.message : String(error), DETAIL);
  const [title, hint] = Object.hasOwn(WORDS, code) ? WORDS[code]! : (['Something went wrong', ''] as const);
  return { code, title: t(title), detail, hint: hint && t(hint) };
}

export const isAbort = (error: unknown): boolean => describe(error).code === 'aborted';

export const codeOf = (error: unknown): string => describe(error).code;
