// Asking: n candidates side by side, or base and tuned side by side.
import { signal, type Signal } from '@preact/signals';
import type { Candidate, GenerateOptions, Message, Model } from '../api.ts';
import { codeOf, describe, isAbort, PageError, type Described } from '../model/errors.ts';
import type { Answer } from '../model/types.ts';
import { active } from './adapters.ts';
import { addTurn, chatFile, chats, current, currentId, judged, newChat, promptOf, removeTurn, updateTurn } from './chats.ts';
import { activity, canAsk, complain, endHung, gone, model, PATIENCE, refreshMemory } from './engine.ts';
import { rows } from './feedback.ts';
import { announce } from './notices.ts';
import { recovered } from './recovery.ts';
import { go } from './router.ts';
import { writeFirst } from './saver.ts';
import { change, settings } from './settings.ts';
import { t } from '../i18n/language.ts';

/** Texts that are still being written, by turn; one signal each, so that a new token redraws one card. */
export interface Live {
  turn: string;
  /** 'answers' replaces the turn's own cards, 'compare' the block base | tuned below them. */
  where: 'answers' | 'compare';
  texts: Signal<string>[];
  done: Signal<boolean>[];
  labels: (string | null)[];
}

export const live = signal<Live | null>(null);
export const askError = signal<Described | null>(null);
/** Text of the composer; comes back when a question could not be asked. */
export const draft = signal('');

let controller: AbortController | null = null;
/** Ends the answer; a model that does not answer to that either is ended itself, and comes back. */
export function stopAnswering(): void {
  const mine = controller;
  const engine = model.value;
  if (!mine) return;
  mine.abort();
  setTimeout(() => {
    if (controller === mine && engine !== null && engine === model.value) endHung('answering');
  }, PATIENCE);
}

/** One seed for all answers to one question: what base and tuned say differs by the adapter alone. */
const seedOf = (): number => settings.value.seed ?? Math.floor(Math.random() * 2 ** 31);

function options(seed: number, part: Partial<GenerateOptions>): GenerateOptions {
  const s = settings.value;
  return {
    maxNewTokens: s.maxNewTokens,
    temperature: s.temperature,
    ...(s.topP < 1 ? { topP: s.topP } : {}),
    ...(s.topK > 0 ? { topK: s.topK } : {}),
    ...(s.minP > 0 ? { minP: s.minP } : {}),
    ...(s.repetitionPenalty !== 1 ? { repetitionPenalty: s.repetitionPenalty } : {}),
    seed,
    ...part,
  };
}

const answerOf = (c: Candidate): Answer => ({
  text: c.text,
  adapter: c.adapter,
  finishReason: c.finishReason,
  tokens: c.tokenIds.length,
  seconds: c.seconds.decode,
});
const cutShort = (text: string, adapter: string | null, why: 'abort' | 'error'): Answer => ({
  text,
  adapter,
  finishReason: why,
  tokens: 0,
  seconds: 0,
});

/**
 * Gathers pieces and shows them once a frame, however fast they come. An answer that is made again, after the engine died, has the same seed
 * and begins with the same words: what is there stays, and the answer goes on behind it.
 */
function painter(texts: Signal<string>[]): { add(i: number, piece: string): void; flush(): void } {
  const buffers = texts.map(() => '');
  let frame = 0;
  const flush = (): void => {
    cancelAnimationFrame(frame);
    frame = 0;
    buffers.forEach((b, i) => {
      const text = texts[i]!;
      if (!text.value.startsWith(b)) text.value = b;
    });
  };
  return {
    add(i, piece) {
      buffers[i] += piece;
      // Hidden tabs get no frames; the text is shown when the stream ends.
      if (!frame) frame = requestAnimationFrame(flush);
    },
    flush,
  };
}

/** Runs `work` on the model; where the engine dies meanwhile, again when it is back. */
async function surviving<T>(stop: AbortSignal, work: (engine: Model) => Promise<T>): Promise<T> {
  for (;;) {
    const engine = model.value;
    if (!engine) throw new PageError('disposed', t('The model is no longer loaded.'));
    try {
      return await work(engine);
    } catch (e) {
      if (!gone(e, engine)) throw e;
      const stopped = new Promise<false>((done) => stop.addEventListener('abort', () => done(false), { once: true }));
      const back = !stop.aborted && (await Promise.race([recovered(), stopped]));
      if (stop.aborted) throw new PageError('aborted', t('The answer was stopped.'));
      if (!back) throw e;
    }
  }
}

function begin(turn: string, where: Live['where'], labels: (string | null)[]): Live {
  const next: Live = { turn, where, labels, texts: labels.map(() => signal('')), done: labels.map(() => signal(false)) };
  live.value = next;
  controller = new AbortController();
  activity.value = 'answering';
  askError.value = null;
  return next;
}

function end(was: typeof activity.value): void {
  live.value = null;
  controller = null;
  if (activity.value === 'answering') activity.value = was;
  void refreshMemory();
}

function failed(error: unknown): void {
  if (!gone(error) && !isAbort(error)) askError.value = describe(error);
}

/** While answers are written, what is there is saved now and then: a tab that is closed keeps it, marked as stopped. */
const SAVE_EVERY = 3000;
function keepPartly(now: Live): () => void {
  const timer = setInterval(() => {
    if (now.texts.every((t) => t.value === '')) return;
    updateTurn(now.turn, (t) => ({ ...t, answers: now.texts.map((text, i) => cutShort(text.value, now.labels[i] ?? null, 'abort')) }));
  }, SAVE_EVERY);
  return () => clearInterval(timer);
}

/** Base and tuned one after the other: both use the same weights on the GPU. What one of them has said stays when the engine dies in the other. */
async function inOrder(
  now: Live,
  labels: (string | null)[],
  messages: Message[],
  how: (label: string | null) => GenerateOptions,
  stop: AbortSignal,
): Promise<Answer[]> {
  const answers: Answer[] = [];
  for (const [i, label] of labels.entries()) {
    const answer = await surviving(stop, async (model) => {
      const paint = painter(now.texts);
      for (const [k, done] of answers.entries()) paint.add(k, done.text);
      try {
        const stream = model.chat(messages, how(label));
        for await (const piece of stream) paint.add(i, piece);
        return answerOf(await stream.result);
      } finally {
        paint.flush();
      }
    });
    answers.push({ ...answer, adapter: label });
    now.done[i]!.value = true;
  }
  return answers;
}

/** Asks the prompt at the end of the present chat: n candidates, or base and the active adapter. */
export async function ask(prompt: string): Promise<void> {
  const engine = model.value;
  if (!engine || live.value || !canAsk.value) return;
  const s = settings.value;
  // The one that is in use with this model, which is not always the one that was chosen.
  const adapter = active.value;
  const seed = seedOf();
  const compare = s.compare && adapter !== null;
  const messages = promptOf(current.value, { ask: prompt });
  const was = activity.value;
  const labels = compare ? [null, adapter] : Array<string | null>(s.n).fill(adapter);
  const turn = addTurn(
    prompt,
    labels.map((l) => cutShort('', l, 'abort')),
  );
  const now = begin(turn.id, 'answers', labels);
  const stop = controller!.signal;
  const kept = keepPartly(now);
  // A suggestion that was clicked leaves what is being typed alone.
  if (draft.value.trim() === prompt.trim()) draft.value = '';
  announce(compare ? t('The base model and the adapter are answering') : t('{n} answers are being written', { n: s.n }));
  try {
    // A tab that dies from here on has the question on disk.
    await writeFirst(chatFile(turn.id));
    let answers: Answer[];
    if (compare) {
      answers = await inOrder(now, labels, messages, (label) => options(seed, { adapter: label, signal: stop }), stop);
    } else {
      answers = await surviving(stop, async (model) => {
        const paint = painter(now.texts);
        try {
          const stream = model.generateCandidates(messages, { ...options(seed, { adapter, signal: stop }), n: s.n });
          for await (const event of stream) {
            paint.add(event.index, event.text);
            if (event.done) now.done[event.index]!.value = true;
          }
          return (await stream.result).map(answerOf);
        } finally {
          paint.flush();
        }
      });
    }
    if (answers.every((a) => a.text === '' && a.finishReason === 'abort')) giveBack(turn.id, prompt);
    else updateTurn(turn.id, (t) => ({ ...t, answers }));
    announce(t('All answers are complete'));
  } catch (e) {
    failed(e);
    const partly = now.texts.map((t, i) => cutShort(t.value, labels[i]!, isAbort(e) || codeOf(e) === 'disposed' ? 'abort' : 'error'));
    if (partly.every((a) => a.text === '')) giveBack(turn.id, prompt);
    else updateTurn(turn.id, (t) => ({ ...t, answers: partly }));
  } finally {
    kept();
    end(was);
  }
}

/** Nothing came of it: the turn goes, the question returns to the composer. */
function giveBack(turn: string, prompt: string): void {
  removeTurn(turn);
  if (draft.value === '') draft.value = prompt;
}

/** The ranked or rewritten question that was asked last; in the present chat, if there is one. */
function lastTaught(): { chat: string; turn: string } | null {
  const here = current.value;
  for (const chat of here ? [here, ...chats.value] : chats.value) {
    const turn = chat.turns.findLast((t) => judged(t) || t.ideal !== null);
    if (turn) return { chat: chat.id, turn: turn.id };
  }
  return null;
}

/** The first question of the dataset, where none was asked in a chat. */
function firstQuestion(): string | null {
  for (const row of rows.value) {
    const prompt =
      row.kind !== 'ideal' ? row.prompt : 'prompt' in row.row ? row.row.prompt : 'messages' in row.row ? row.row.messages : null;
    if (typeof prompt === 'string') return prompt;
    const said = Array.isArray(prompt) ? prompt.find((m) => m.role === 'user')?.content : null;
    if (typeof said === 'string' && said !== '') return said;
  }
  return null;
}

/** After a run: asks what it has learnt from once more, of the base model and of the adapter, and shows both. */
export async function askAfterLearning(adapter: string): Promise<void> {
  change({ compare: true });
  const taught = lastTaught();
  go('chat');
  if (taught) {
    currentId.value = taught.chat;
    return askAgain(taught.turn, adapter);
  }
  const question = firstQuestion();
  if (question === null) return;
  newChat();
  await ask(question);
}

/** Asks the prompt of an earlier turn again, greedily, of the base model and of an adapter. */
export async function askAgain(turnId: string, adapter: string): Promise<void> {
  const engine = model.value;
  if (!engine || live.value || !canAsk.value) return;
  const seed = seedOf();
  const messages = promptOf(current.value, { turn: turnId });
  const was = activity.value;
  const labels = [null, adapter];
  const now = begin(turnId, 'compare', labels);
  const stop = controller!.signal;
  announce(t('The base model and the adapter are answering'));
  try {
    const pair = await inOrder(now, labels, messages, (label) => options(seed, { temperature: 0, adapter: label, signal: stop }), stop);
    const [base, tuned] = pair as [Answer, Answer];
    if (!stop.aborted) updateTurn(turnId, (t) => ({ ...t, comparisons: [...t.comparisons, { at: Date.now(), base, tuned }] }));
    announce(base.text === tuned.text ? t('Both answers are the same') : t('Both answers are complete and differ'));
  } catch (e) {
    if (!isAbort(e)) complain(e);
  } finally {
    end(was);
  }
}
