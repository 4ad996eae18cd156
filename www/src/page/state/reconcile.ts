// What a chat says of its answers and what the dataset says of them are two files: one may have been lost, cut off or edited. Once they are read
// they are made to agree.
import { textOf } from '../model/dataset.ts';
import { equal } from '../model/merge.ts';
import { ranksOf } from '../model/ranking.ts';
import { CRITERIA, type Chat, type FeedbackRow, type IdealRow, type PreferenceRow, type Turn } from '../model/types.ts';
import { breathe } from '../model/breathe.ts';
import { chats, idealId, idealOf, judged, judgementOf, preferenceId, preferenceOf, updateTurn } from './chats.ts';
import { addRows, removeRows, rows } from './feedback.ts';
import { toast } from './notices.ts';
import { t } from '../i18n/language.ts';

/** What a row says, without when. */
const saidBy = (r: FeedbackRow): object => ({ ...r, created: 0 });

const answersOf = (row: PreferenceRow): string[] => row.answers.map(textOf);

/** A row for a turn that says nothing (any more): the turn takes it over, where it is about the same answers. */
function fromRanking(turn: Turn, row: PreferenceRow): Turn | null {
  const n = turn.answers.length;
  if (
    judged(turn) ||
    !equal(
      answersOf(row),
      turn.answers.map((a) => a.text),
    )
  )
    return null;
  if (row.ranks.some((r) => r !== null && !(Number.isInteger(r) && r >= 1 && r <= n))) return null;
  const fits = row.ratings && CRITERIA.every((c) => row.ratings![c].length === n);
  const next: Turn = { ...turn, places: row.ranks, rest: null, orderBy: 'hand', ...(fits ? { ratings: row.ratings! } : {}) };
  // The very same order must come of it.
  return equal(ranksOf(judgementOf(next)), row.ranks) ? next : null;
}

function fromIdeal(turn: Turn, row: IdealRow): Turn | null {
  const said = row.row;
  if (turn.ideal || !('completion' in said)) return null;
  return { ...turn, ideal: { text: textOf(said.completion), from: 0 } };
}

interface Found {
  put: FeedbackRow[];
  remove: string[];
  turns: Map<string, Turn>;
}

function compare(chat: Chat, turn: Turn, byId: Map<string, FeedbackRow>, found: Found): void {
  const sides = [
    { kind: 'preference', id: preferenceId(turn.id), expected: preferenceOf(chat, turn), says: judged(turn) },
    { kind: 'ideal', id: idealId(turn.id), expected: idealOf(chat, turn), says: turn.ideal !== null },
  ] as const;
  for (const { kind, id, expected, says } of sides) {
    const row = byId.get(id);
    if (expected) {
      const out = !row && turn.unlisted?.includes(kind);
      if (!out && !(row && equal(saidBy(row), saidBy(expected)))) found.put.push(row ? { ...expected, created: row.created } : expected);
    } else if (row) {
      const now = found.turns.get(turn.id) ?? turn;
      const taken = row.kind === 'preference' ? fromRanking(now, row) : row.kind === 'ideal' ? fromIdeal(now, row) : null;
      if (taken) found.turns.set(turn.id, taken);
      else if (says) found.remove.push(id);
    }
  }
}

export async function reconcile(): Promise<void> {
  const found: Found = { put: [], remove: [], turns: new Map() };
  const byId = new Map(rows.value.map((r) => [r.id, r]));
  const rest = breathe();
  for (const chat of chats.value) {
    for (const turn of chat.turns) {
      compare(chat, turn, byId, found);
      const pause = rest();
      if (pause) await pause;
    }
  }
  for (const [id, turn] of found.turns) updateTurn(id, () => turn);
  if (found.put.length > 0) addRows(found.put);
  if (found.remove.length > 0) removeRows(found.remove);
  const many = found.put.length + found.remove.length + found.turns.size;
  if (many > 0)
    toast(
      many === 1
        ? t('One judgement of chats and dataset did not agree: put right')
        : t('{n} judgements of chats and dataset did not agree: put right', { n: many }),
    );
}
