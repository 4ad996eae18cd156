// Chats, a file each. Several tabs may hold the same one: what each has changed is merged when it is written.
import { computed, signal } from '@preact/signals';
import type { Message } from '../api.ts';
import { breathe } from '../model/breathe.ts';
import { newId, pairsIn } from '../model/dataset.ts';
import { PageError } from '../model/errors.ts';
import { equal, mergeChat } from '../model/merge.ts';
import { allTied, emptyRatings, inferRest, orderOf, pairCount, placesFromRatings, ranksOf, type Judgement } from '../model/ranking.ts';
import type { Answer, Chat, Criterion, FeedbackRow, IdealRow, PreferenceRow, Turn } from '../model/types.ts';
import { CHAT } from '../schema/stored.ts';
import { list, readFile } from '../storage/opfs.ts';
import { alone, changed, know } from '../storage/shared.ts';
import { fitFile, storedText } from '../storage/stored.ts';
import { addRows, putRow, removeRows } from './feedback.ts';
import { report } from './notices.ts';
import { dirty, onStorageCleared, save } from './saver.ts';
import { settings } from './settings.ts';
import { t } from '../i18n/language.ts';

const FOLDER = 'chats';
const file = (id: string): string => `${FOLDER}/${id}.json`;

/** All chats, the last used first. */
export const chats = signal<Chat[]>([]);
export const currentId = signal<string | null>(null);
export const current = computed(() => chats.value.find((c) => c.id === currentId.value) ?? null);

/** A question whose answers have not begun. What is read of one is of a tab that was closed over it, or of one that still waits. */
const unanswered = (t: Turn): boolean => t.answers.every((a) => a.text === '' && a.finishReason === 'abort');
const answeredOf = (chat: Chat): Chat =>
  chat.turns.some(unanswered) ? { ...chat, turns: chat.turns.filter((t) => !unanswered(t)) } : chat;

/** Each chat as this tab last knew it to be on disk, without such questions: so they are always this tab's own addition. */
const base = new Map<string, Chat>();

/** A chat as it is stored. It is called what its file is called, whatever stands in it: so no two are one. */
async function chatFrom(path: string, from: File | null): Promise<{ chat: Chat | null; trouble: PageError | null }> {
  const { value, trouble } = await fitFile(CHAT, path, from);
  const id = path.slice(FOLDER.length + 1).replace(/\.json$/, '');
  return { chat: value && { ...value, id }, trouble };
}

/** A file that was copied has the questions of another: they get ids of their own. Returns the chats that this changed. */
function ownIds(all: Chat[]): string[] {
  const seen = new Set<string>();
  const touched: string[] = [];
  for (const [i, chat] of all.entries()) {
    const turns = chat.turns.map((t) => (seen.has(t.id) ? { ...t, id: newId() } : t));
    for (const t of turns) seen.add(t.id);
    if (turns.every((t, k) => t === chat.turns[k])) continue;
    all[i] = { ...chat, turns };
    touched.push(chat.id);
  }
  return touched;
}

/** Reads all chats. A question that was never answered is dropped; that of the newest chat is given back. */
export async function loadChats(): Promise<string | null> {
  const found: Chat[] = [];
  const cut: Chat[] = [];
  /** Those whose original was set aside: what was read of them takes its place. */
  const again: string[] = [];
  const troubles: PageError[] = [];
  for (const name of await list(FOLDER)) {
    if (!name.endsWith('.json')) continue;
    const path = `${FOLDER}/${name}`;
    try {
      const from = await readFile(path);
      const { chat, trouble } = await chatFrom(path, from);
      know(path, from);
      if (trouble) {
        troubles.push(trouble);
        again.push(path.slice(FOLDER.length + 1, -5));
      }
      if (!chat) continue;
      const answered = answeredOf(chat);
      base.set(chat.id, answered);
      found.push(answered);
      if (answered !== chat) cut.push(chat);
    } catch (e) {
      report(e);
    }
  }
  if (troubles.length === 1) report(troubles[0], [], FOLDER);
  else if (troubles.length > 1)
    report(
      new PageError(
        'storage-corrupt',
        t('{n} chats do not fit: {message} The others likewise.', { n: troubles.length, message: troubles[0]!.message }),
      ),
      [],
      FOLDER,
    );
  found.sort((a, b) => b.updated - a.updated);
  again.push(...ownIds(found));
  const newest = cut.find((c) => c.id === found[0]?.id);
  chats.value = found.filter((c) => c.turns.length > 0);
  if (!current.value) currentId.value = (found[0] && newest && found[0].turns.length === 0 ? null : chats.value[0]?.id) ?? null;
  for (const id of new Set([...cut.map((c) => c.id), ...again])) write(id);
  return newest?.turns.findLast(unanswered)?.prompt ?? null;
}

const show = (chat: Chat): void =>
  void (chats.value = [chat, ...chats.value.filter((c) => c.id !== chat.id)].sort((a, b) => b.updated - a.updated));

/** Takes over what another tab has written; this tab's own changes since then stay. */
async function take(id: string, from: File | null): Promise<void> {
  const path = file(id);
  const { chat: got, trouble } = await chatFrom(path, from);
  if (trouble) report(trouble, [], path);
  know(path, from);
  const mine = chats.value.find((c) => c.id === id);
  const was = base.get(id);
  if (!got) {
    base.delete(id);
    // Deleted elsewhere: gone here as well, unless it was changed here. What somebody damaged is not deleted.
    if (trouble) write(id);
    else if (mine && was && equal(mine, was)) forget(id);
    return;
  }
  const theirs = answeredOf(got);
  if (mine || !was || !equal(was, theirs)) {
    const merged = mine ? mergeChat(was, mine, theirs) : theirs;
    if (merged.turns.length > 0 && !(mine && equal(merged, mine))) show(merged);
  }
  base.set(id, theirs);
}

/** Another tab wrote this file. With changes of one's own it is merged when these are written. */
export async function chatChanged(path: string): Promise<void> {
  if (dirty(path)) return;
  const id = path.slice(FOLDER.length + 1).replace(/\.json$/, '');
  await alone(path, async () => {
    const from = await changed(path);
    if (from !== undefined) await take(id, from);
  });
}

function write(id: string): void {
  let written: Chat | undefined;
  save(
    file(id),
    async () => {
      // A chat that was deleted here needs no merging.
      if (chats.value.some((c) => c.id === id)) {
        const from = await changed(file(id));
        if (from !== undefined) await take(id, from);
      }
      // Read at the moment of writing, so that several edits make one file.
      written = chats.value.find((c) => c.id === id);
      return written ? storedText(CHAT, written) : null;
    },
    () => void (written ? base.set(id, answeredOf(written)) : base.delete(id)),
  );
}

onStorageCleared(() => {
  base.clear();
  for (const chat of chats.value) write(chat.id);
});

function put(chat: Chat): void {
  show(chat);
  write(chat.id);
}

function forget(id: string): void {
  chats.value = chats.value.filter((c) => c.id !== id);
  if (currentId.value === id) currentId.value = chats.value[0]?.id ?? null;
}

export function newChat(): void {
  currentId.value = null;
}

export function removeChat(id: string): Chat | null {
  const chat = chats.value.find((c) => c.id === id) ?? null;
  forget(id);
  write(id);
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
    rest: null,
    orderBy: 'criteria',
    ratings: emptyRatings(n),
    ideal: null,
    picked: null,
    continued: null,
    comparisons: [],
  };
  const now = Date.now();
  const chat: Chat = current.value ?? {
    id: newId(),
    title: prompt.replace(/\s+/g, ' ').slice(0, 60),
    created: now,
    updated: now,
    system: settings.value.system,
    turns: [],
  };
  const turns = chat.turns.map((t) => (t.continued === null ? { ...t, continued: continuing(t) } : t));
  currentId.value = chat.id;
  put({ ...chat, updated: now, turns: [...turns, turn] });
  return turn;
}

export function updateTurn(turnId: string, fn: (turn: Turn) => Turn): void {
  const chat = chatOf(turnId);
  if (!chat) return;
  put({ ...chat, updated: Date.now(), turns: chat.turns.map((t) => (t.id === turnId ? fn(t) : t)) });
}

export function removeTurn(turnId: string): void {
  const chat = chatOf(turnId);
  if (!chat) return;
  const turns = chat.turns.filter((t) => t.id !== turnId);
  if (turns.length === 0) removeChat(chat.id);
  else put({ ...chat, turns });
}

// ---- how the answers of a turn stand ----

/** What was said about them. Ratings rank what is rated and nothing else; places by hand may also tell of the others. */
export const judgementOf = (t: Turn): Judgement => ({
  places: t.places,
  rest: t.orderBy === 'criteria' ? null : t.rest === undefined ? inferRest(t.places) : t.rest,
});

/** True once a person has said anything about the order, even "all the same". */
export const judged = (turn: Turn): boolean => turn.places.some((p) => p !== null);

/** Index of the answer that continues the chat: the best one, as soon as one is better than another. */
export function pickOf(turn: Turn): number {
  if (turn.picked !== null) return turn.picked;
  const ranks = ranksOf(judgementOf(turn));
  return pairCount(ranks) > 0 ? (orderOf(ranks)[0]?.[0] ?? 0) : 0;
}
export const continuing = (turn: Turn): string =>
  turn.continued ?? (turn.picked === null && turn.ideal ? turn.ideal.text : (turn.answers[pickOf(turn)]?.text ?? ''));

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

export const chatOf = (turnId: string): Chat | null => chats.value.find((c) => c.turns.some((t) => t.id === turnId)) ?? null;
/** The file of the chat that a turn is in. */
export const chatFile = (turnId: string): string => file(chatOf(turnId)?.id ?? '');
export const preferenceId = (turnId: string): string => `preference-${turnId}`;
export const idealId = (turnId: string): string => `ideal-${turnId}`;

/** A turn as a row of the dataset; null as long as no answer is better than another. */
export function preferenceOf(chat: Chat, turn: Turn): PreferenceRow | null {
  const rated = Object.values(turn.ratings).some((r) => r.some((v) => v !== null));
  const row: PreferenceRow = {
    kind: 'preference',
    id: preferenceId(turn.id),
    created: Date.now(),
    prompt: promptOf(chat, { turn: turn.id }),
    answers: turn.answers.map((a) => a.text),
    ranks: ranksOf(judgementOf(turn)),
    ...(rated ? { ratings: turn.ratings } : {}),
    source: { from: 'chat', chat: chat.id, turn: turn.id },
  };
  return pairsIn(row) > 0 ? row : null;
}

/** An ideal answer as a row of the dataset. */
export function idealOf(chat: Chat, turn: Turn): IdealRow | null {
  return (
    turn.ideal && {
      kind: 'ideal',
      id: idealId(turn.id),
      created: Date.now(),
      row: { prompt: promptOf(chat, { turn: turn.id }), completion: [{ role: 'assistant', content: turn.ideal.text }] },
      source: { from: 'chat', chat: chat.id, turn: turn.id },
    }
  );
}

/** Pairs that a turn gives for DPO. */
export const pairsOfTurn = (turn: Turn): number =>
  pairsIn({
    kind: 'preference',
    id: '',
    created: 0,
    prompt: '',
    answers: turn.answers.map((a) => a.text),
    ranks: ranksOf(judgementOf(turn)),
    source: { from: 'file', name: '' },
  });

function syncPreference(turnId: string): void {
  const chat = chatOf(turnId);
  const turn = chat?.turns.find((t) => t.id === turnId);
  if (!chat || !turn) return;
  const row = preferenceOf(chat, turn);
  if (row) putRow(row);
  else removeRows([preferenceId(turnId)]);
}

const byCriteria = (t: Turn): Turn => ({
  ...t,
  orderBy: 'criteria',
  rest: null,
  places: placesFromRatings(t.ratings, settings.value.weights, t.answers.length),
});

/** What has been said anew is in the dataset again. */
function listed(t: Turn, kind: 'preference' | 'ideal'): Turn {
  if (!t.unlisted?.includes(kind)) return t;
  const { unlisted, ...rest } = t;
  const left = unlisted.filter((k) => k !== kind);
  return left.length > 0 ? { ...rest, unlisted: left } : rest;
}

const kindOf = (row: FeedbackRow): 'preference' | 'ideal' => (row.kind === 'ideal' ? 'ideal' : 'preference');

/** Takes rows out of the dataset; their chats remember it, so that nothing puts them back. */
export function takeOut(ids: string[]): FeedbackRow[] {
  const gone = removeRows(ids);
  for (const row of gone)
    if (row.source.from === 'chat')
      updateTurn(row.source.turn, (t) => ({ ...t, unlisted: [...(listed(t, kindOf(row)).unlisted ?? []), kindOf(row)] }));
  return gone;
}

/** Undoes it. */
export function putBack(rows: FeedbackRow[]): void {
  addRows(rows);
  for (const row of rows) if (row.source.from === 'chat') updateTurn(row.source.turn, (t) => listed(t, kindOf(row)));
}

/** Sets the order by hand; it stays as it is when ratings change later. Without any place left, the ratings speak again. */
export function judge(turnId: string, { places, rest }: Judgement): void {
  updateTurn(turnId, (t) => listed(places.some((p) => p !== null) ? { ...t, places, rest, orderBy: 'hand' } : byCriteria(t), 'preference'));
  syncPreference(turnId);
}

/** Gives one answer a place (null: takes it back); what that tells about the others is worked out. */
export function placeAnswer(turnId: string, answer: number, place: number | null): void {
  const turn = chatOf(turnId)?.turns.find((t) => t.id === turnId);
  if (!turn) return;
  const places = turn.places.with(answer, place);
  judge(turnId, { places, rest: inferRest(places) });
}

export function setRating(turnId: string, criterion: Criterion, answer: number, value: number | null): void {
  updateTurn(turnId, (was) => {
    const t = listed(was, 'preference');
    const ratings = { ...t.ratings, [criterion]: t.ratings[criterion].map((v, i) => (i === answer ? value : v)) };
    return t.orderBy === 'criteria' ? byCriteria({ ...t, ratings }) : { ...t, ratings };
  });
  syncPreference(turnId);
}

/** Lets the order follow from the ratings again (no ratings: no order). */
export function orderByCriteria(turnId: string): void {
  updateTurn(turnId, (t) => listed(byCriteria(t), 'preference'));
  syncPreference(turnId);
}

let reweighing = 0;
/** New weights reorder every turn whose order follows from the criteria: the chat in sight at once, the others in slices. */
export async function reweigh(): Promise<void> {
  const turn = ++reweighing;
  const rest = breathe();
  const seen = currentId.value;
  for (const { id } of [...chats.value].sort((a, b) => Number(b.id === seen) - Number(a.id === seen))) {
    const chat = chats.value.find((c) => c.id === id);
    if (!chat) continue;
    const touched: string[] = [];
    const turns = chat.turns.map((t) => {
      if (t.orderBy !== 'criteria' || !judged(t)) return t;
      const next = byCriteria(t);
      if (next.places.join() === t.places.join()) return t;
      touched.push(t.id);
      return next;
    });
    if (touched.length > 0) {
      put({ ...chat, turns });
      touched.forEach(syncPreference);
    }
    const pause = rest();
    if (pause) await pause;
    // The slider moved on meanwhile.
    if (turn !== reweighing) return;
  }
}

/** Rankings in chats in which all answers are equal: they are no rows, but a person may wonder where they went. */
export const tiedTurns = (): number =>
  chats.value.reduce((n, c) => n + c.turns.filter((t) => judged(t) && allTied(ranksOf(judgementOf(t)))).length, 0);

export function setIdeal(turnId: string, ideal: Turn['ideal']): void {
  updateTurn(turnId, (t) => listed({ ...t, ideal }, 'ideal'));
  const chat = chatOf(turnId);
  const turn = chat?.turns.find((t) => t.id === turnId);
  if (!chat || !turn) return;
  const row = idealOf(chat, turn);
  if (row) putRow(row);
  else removeRows([idealId(turnId)]);
}
