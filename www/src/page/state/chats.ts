import { computed, signal } from '@preact/signals';
import type { Message } from '../api.ts';
import { newId } from '../model/dataset.ts';
import { allTied, emptyRatings, normalise, orderOf, placesFromRatings } from '../model/ranking.ts';
import type { Answer, Chat, Criterion, Places, PreferenceRow, Turn } from '../model/types.ts';
import { list, readJson } from '../storage/opfs.ts';
import { putRow, removeRows } from './feedback.ts';
import { report } from './notices.ts';
import { save } from './saver.ts';
import { settings } from './settings.ts';

const FOLDER = 'chats';
const file = (id: string): string => `${FOLDER}/${id}.json`;

/** All chats, the last used first. */
export const chats = signal<Chat[]>([]);
export const currentId = signal<string | null>(null);
export const current = computed(() => chats.value.find((c) => c.id === currentId.value) ?? null);

export async function loadChats(): Promise<void> {
  const found: Chat[] = [];
  for (const name of await list(FOLDER)) {
    if (!name.endsWith('.json')) continue;
    try {
      const chat = await readJson<Chat>(`${FOLDER}/${name}`);
      if (chat) found.push(chat);
    } catch (e) {
      report(e);
    }
  }
  chats.value = found.sort((a, b) => b.updated - a.updated);
  if (!current.value) currentId.value = chats.value[0]?.id ?? null;
}

function put(chat: Chat): void {
  chats.value = [chat, ...chats.value.filter((c) => c.id !== chat.id)].sort((a, b) => b.updated - a.updated);
  // Reads the chat at the moment of writing, so that several edits make one file.
  save(file(chat.id), () => {
    const latest = chats.value.find((c) => c.id === chat.id);
    return latest ? JSON.stringify(latest) : null;
  });
}

export function newChat(): void {
  currentId.value = null;
}

export function removeChat(id: string): Chat | null {
  const chat = chats.value.find((c) => c.id === id) ?? null;
  chats.value = chats.value.filter((c) => c.id !== id);
  if (currentId.value === id) currentId.value = chats.value[0]?.id ?? null;
  save(file(id), () => null);
  return chat;
}

export function restoreChat(chat: Chat): void {
  put(chat);
  currentId.value = chat.id;
}

export function renameChat(id: string, title: string): void {
  const chat = chats.value.find((c) => c.id === id);
  if (chat && title.trim()) put({ ...chat, title: title.trim() });
}

/** Adds a turn to the present chat, which is begun when there is none. */
export function addTurn(prompt: string, answers: Answer[]): Turn {
  const n = answers.length;
  const turn: Turn = {
    id: newId(),
    prompt,
    answers,
    places: Array<null>(n).fill(null),
    orderBy: 'criteria',
    ratings: emptyRatings(n),
    ideal: null,
    picked: null,
    continued: null,
    comparisons: [],
  };
  const now = Date.now();
  const chat: Chat = current.value ?? { id: newId(), title: prompt.replace(/\s+/g, ' ').slice(0, 60), created: now, updated: now, system: settings.value.system, turns: [] };
  const turns = chat.turns.map((t) => (t.continued === null ? { ...t, continued: continuing(t) } : t));
  currentId.value = chat.id;
  put({ ...chat, updated: now, turns: [...turns, turn] });
  return turn;
}

export function updateTurn(turnId: string, fn: (turn: Turn) => Turn): void {
  const chat = chats.value.find((c) => c.turns.some((t) => t.id === turnId));
  if (!chat) return;
  put({ ...chat, updated: Date.now(), turns: chat.turns.map((t) => (t.id === turnId ? fn(t) : t)) });
}

export function removeTurn(turnId: string): void {
  const chat = chats.value.find((c) => c.turns.some((t) => t.id === turnId));
  if (!chat) return;
  const turns = chat.turns.filter((t) => t.id !== turnId);
  if (turns.length === 0) removeChat(chat.id);
  else put({ ...chat, turns });
}

/** Index of the answer that continues the chat. */
export const pickOf = (turn: Turn): number => turn.picked ?? orderOf(turn.places)[0]?.[0] ?? 0;
export const continuing = (turn: Turn): string => turn.continued ?? (turn.picked === null && turn.ideal ? turn.ideal.text : (turn.answers[pickOf(turn)]?.text ?? ''));

/** The conversation up to and including the prompt of one turn (or a new prompt at the end). */
export function promptOf(chat: Chat | null, upTo: { turn: string } | { ask: string }): Message[] {
  const out: Message[] = [];
  const system = chat?.system ?? settings.value.system;
  if (system.trim()) out.push({ role: 'system', content: system });
  for (const turn of chat?.turns ?? []) {
    out.push({ role: 'user', content: turn.prompt });
    if ('turn' in upTo && turn.id === upTo.turn) return out;
    out.push({ role: 'assistant', content: continuing(turn) });
  }
  if ('ask' in upTo) out.push({ role: 'user', content: upTo.ask });
  return out;
}

// ---- what a person says about the answers; each change goes straight into the feedback dataset ----

const chatOf = (turnId: string): Chat | null => chats.value.find((c) => c.turns.some((t) => t.id === turnId)) ?? null;
const preferenceId = (turnId: string): string => `preference-${turnId}`;
const idealId = (turnId: string): string => `ideal-${turnId}`;

/** True once a person has said anything about the order, even "all the same". */
export const judged = (turn: Turn): boolean => turn.orderBy === 'hand' || turn.places.some((p) => p !== null);

function syncPreference(turnId: string): void {
  const chat = chatOf(turnId);
  const turn = chat?.turns.find((t) => t.id === turnId);
  if (!chat || !turn) return;
  if (!judged(turn)) return void removeRows([preferenceId(turnId)]);
  const rated = Object.values(turn.ratings).some((r) => r.some((v) => v !== null));
  const row: PreferenceRow = {
    kind: 'preference',
    id: preferenceId(turnId),
    created: Date.now(),
    prompt: promptOf(chat, { turn: turnId }),
    answers: turn.answers.map((a) => a.text),
    ranks: normalise(turn.places),
    ...(rated ? { ratings: turn.ratings } : {}),
    source: { from: 'chat', chat: chat.id, turn: turnId },
  };
  putRow(row);
}

/** Sets the overall order by hand; it stays as it is when ratings change later. */
export function setPlaces(turnId: string, places: Places): void {
  updateTurn(turnId, (t) => ({ ...t, places, orderBy: 'hand' }));
  syncPreference(turnId);
}

export function setRating(turnId: string, criterion: Criterion, answer: number, value: number | null): void {
  updateTurn(turnId, (t) => {
    const column = t.ratings[criterion].map((v, i) => (i === answer ? value : v));
    const ratings = { ...t.ratings, [criterion]: column };
    return { ...t, ratings, ...(t.orderBy === 'criteria' ? { places: placesFromRatings(ratings, settings.value.weights, t.answers.length) } : {}) };
  });
  syncPreference(turnId);
}

/** Lets the order follow from the ratings again (no ratings: no order). */
export function orderByCriteria(turnId: string): void {
  updateTurn(turnId, (t) => ({ ...t, orderBy: 'criteria', places: placesFromRatings(t.ratings, settings.value.weights, t.answers.length) }));
  syncPreference(turnId);
}

/** New weights reorder the turns of the present chat whose order follows from the criteria. */
export function reweigh(): void {
  for (const turn of current.value?.turns ?? []) {
    if (turn.orderBy !== 'criteria' || !judged(turn)) continue;
    const places = placesFromRatings(turn.ratings, settings.value.weights, turn.answers.length);
    if (places.join() === turn.places.join()) continue;
    updateTurn(turn.id, (t) => ({ ...t, places }));
    syncPreference(turn.id);
  }
}

export const tiedAndJudged = (turn: Turn): boolean => judged(turn) && allTied(turn.places);

export function setIdeal(turnId: string, ideal: Turn['ideal']): void {
  updateTurn(turnId, (t) => ({ ...t, ideal }));
  const chat = chatOf(turnId);
  if (!chat) return;
  if (!ideal) return void removeRows([idealId(turnId)]);
  putRow({
    kind: 'ideal',
    id: idealId(turnId),
    created: Date.now(),
    row: { prompt: promptOf(chat, { turn: turnId }), completion: [{ role: 'assistant', content: ideal.text }] },
    source: { from: 'chat', chat: chat.id, turn: turnId },
  });
}
