import { useEffect, useState } from 'preact/hooks';
import { breathe } from '../model/breathe.ts';
import { exportIdeals, exportJudged, exportPreferences, importRows, pairsIn, saidIn, textOf, type ImportResult } from '../model/dataset.ts';
import { codeOf, cut, PageError } from '../model/errors.ts';
import { allTied, circled, formatOrder } from '../model/ranking.ts';
import type { Content, FeedbackRow } from '../model/types.ts';
import { putBack, takeOut } from '../state/chats.ts';
import { useDrops } from '../state/drops.ts';
import { addRows, counts, inspected, rows } from '../state/feedback.ts';
import { announce, report, toast } from '../state/notices.ts';
import { go } from '../state/router.ts';
import { Button, Dialog, Empty, FilePick, Long, Segments } from '../ui/basic.tsx';
import { many, offerFile, when } from '../ui/format.ts';

const PAGE = 50;

const promptText = (row: FeedbackRow): string => {
  if (row.kind !== 'ideal') return lastWords(row.prompt);
  if ('input_ids' in row.row) return `${row.row.input_ids.length} token ids`;
  if ('text' in row.row) return row.row.text;
  if ('messages' in row.row) return lastWords(row.row.messages.filter((m) => m.role === 'user'));
  return lastWords(row.row.prompt);
};
/** The last question of a conversation says most about it. */
const lastWords = (t: Content): string =>
  Array.isArray(t) ? saidIn(t.findLast((m) => m.role === 'user') ?? t.at(-1)) : typeof t === 'string' ? t : `${t.ids.length} token ids`;
const answerText = (row: FeedbackRow): string => {
  if (row.kind === 'judged') return `${row.label ? 'good' : 'bad'}: ${textOf(row.completion)}`;
  if (row.kind === 'preference')
    return allTied(row.ranks)
      ? 'all equal'
      : formatOrder(row.ranks) +
          (row.ranks.includes(null) ? `, ${row.ranks.flatMap((r, i) => (r === null ? [circled(i)] : [])).join(' ')} not placed` : '');
  if ('input_ids' in row.row) return row.row.labels ? 'with labels' : 'no labels';
  if ('text' in row.row) return 'the whole text';
  return 'messages' in row.row ? saidIn(row.row.messages.findLast((m) => m.role === 'assistant')) : textOf(row.row.completion);
};
const KINDS = { preference: ['Ranking', 'ranking'], ideal: ['Ideal answer', 'ideal'], judged: ['Judged answer', 'judged'] } as const;
const sourceText = (row: FeedbackRow): string => (row.source.from === 'chat' ? 'chat' : row.source.name);

function Inspect({ row, onClose, onDelete }: { row: FeedbackRow; onClose(): void; onDelete(): void }) {
  return (
    <Dialog title={KINDS[row.kind][0]} onClose={onClose}>
      <div class="inspect">
        <small class="muted">
          {when(row.created)} · {sourceText(row)}
        </small>
        {row.kind === 'preference' ? (
          <>
            <h3>prompt</h3>
            <pre>
              <Long text={textOf(row.prompt)} />
            </pre>
            {row.answers
              .map((a, i) => ({ a, i, rank: row.ranks[i] ?? null }))
              .sort((p, q) => (p.rank ?? Infinity) - (q.rank ?? Infinity) || p.i - q.i)
              .map(({ a, i, rank }) => (
                <div key={i}>
                  <h3>
                    <span class={`number tint-${i}`}>{i + 1}</span> {rank === null ? 'not placed' : `place ${rank}`}
                  </h3>
                  <pre>
                    <Long text={textOf(a)} />
                  </pre>
                </div>
              ))}
          </>
        ) : row.kind === 'judged' ? (
          <>
            <h3>prompt</h3>
            <pre>
              <Long text={textOf(row.prompt)} />
            </pre>
            <h3>{row.label ? 'a good answer' : 'a bad answer'}</h3>
            <pre>
              <Long text={textOf(row.completion)} />
            </pre>
          </>
        ) : 'input_ids' in row.row ? (
          <>
            <h3>input_ids</h3>
            <pre>
              <Long text={row.row.input_ids.join(' ')} />
            </pre>
            {row.row.labels && (
              <>
                <h3>labels</h3>
                <pre>
                  <Long text={row.row.labels.join(' ')} />
                </pre>
              </>
            )}
          </>
        ) : 'text' in row.row ? (
          <>
            <h3>text</h3>
            <pre>
              <Long text={row.row.text} />
            </pre>
          </>
        ) : 'messages' in row.row ? (
          row.row.messages.map((m, i) => (
            <div key={i}>
              <h3>{m.role}</h3>
              <pre>
                <Long text={saidIn(m)} />
              </pre>
            </div>
          ))
        ) : (
          <>
            <h3>prompt</h3>
            <pre>
              <Long text={textOf(row.row.prompt)} />
            </pre>
            <h3>completion</h3>
            <pre>
              <Long text={textOf(row.row.completion)} />
            </pre>
          </>
        )}
      </div>
      <div class="row end">
        <Button small tone="danger" icon="trash" onClick={onDelete}>
          Delete this row
        </Button>
      </div>
    </Dialog>
  );
}

function Review({ name, result, onDone }: { name: string; result: ImportResult; onDone(take: boolean): void }) {
  const { rows: good, refused } = result;
  return (
    <Dialog title={`Import ${name}`} onClose={() => onDone(false)}>
      <p role="alert">
        {refused.length === 1 ? 'One line' : `${refused.length} lines`} of {name} cannot be used
        {good.length ? `; ${good.length === 1 ? 'one is' : `${good.length} are`} fine` : ''}. Nothing has been imported yet.
      </p>
      <ul class="refused">
        {refused.slice(0, 20).map((r) => (
          <li key={r.line}>
            <b>line {r.line}</b>: {r.column && <code>{cut(r.column, 80)}</code>} {cut(r.reason, 300)}
          </li>
        ))}
        {refused.length > 20 && <li class="muted">… and {refused.length - 20} more</li>}
      </ul>
      <div class="row end wrap">
        <Button onClick={() => onDone(false)}>Cancel</Button>
        {good.length > 0 && (
          <Button tone="primary" onClick={() => onDone(true)}>
            {good.length === 1 ? 'Import the one good row' : `Import the ${good.length} good rows`}
          </Button>
        )}
      </div>
    </Dialog>
  );
}

type Filter = 'all' | FeedbackRow['kind'];

/** The newest first; a search through many rows goes in slices and shows what it has found when it is through. */
function useFound(all: FeedbackRow[], filter: Filter, search: string): FeedbackRow[] {
  const [found, setFound] = useState<FeedbackRow[]>(() => all.toReversed());
  useEffect(() => {
    let over = false;
    void (async () => {
      const words = search.toLowerCase();
      const hits: FeedbackRow[] = [];
      const rest = breathe();
      for (let i = all.length - 1; i >= 0; i--) {
        const r = all[i]!;
        if (
          (filter === 'all' || r.kind === filter) &&
          (words === '' || `${promptText(r)} ${answerText(r)} ${sourceText(r)}`.toLowerCase().includes(words))
        )
          hits.push(r);
        const pause = rest();
        if (pause) await pause;
        if (over) return;
      }
      setFound(hits);
    })();
    return () => void (over = true);
  }, [all, filter, search]);
  return found;
}

export function FeedbackView() {
  const [filter, setFilter] = useState<Filter>('all');
  const [search, setSearch] = useState('');
  const [page, setPage] = useState(0);
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const [review, setReview] = useState<{ name: string; result: ImportResult } | null>(null);
  const all = rows.value;
  const found = useFound(all, filter, search);
  const pages = Math.max(1, Math.ceil(found.length / PAGE));
  const at = Math.min(page, pages - 1);
  const shown = found.slice(at * PAGE, (at + 1) * PAGE);
  const { pairs, rankings, ideals, judged } = counts.value;

  const take = (name: string, result: ImportResult): void => {
    addRows(result.rows);
    toast(`${many(result.rows.length, 'row')} imported from ${name}`);
    announce(`${many(result.rows.length, 'row')} imported`);
  };
  const importFiles = async (files: File[]): Promise<void> => {
    for (const file of files) {
      try {
        const result = await importRows(file);
        if (result.refused.length) setReview({ name: file.name, result });
        else take(file.name, result);
      } catch (e) {
        // An empty file says nothing about the rows that are here.
        const empty = codeOf(e) === 'empty-dataset';
        report(empty ? new PageError('empty-file', `${file.name} holds no rows; nothing was imported.`, { cause: e }) : e);
      }
    }
  };
  useDrops('feedback', ({ files }) => void importFiles(files));
  const exported = (name: string, make: (all: FeedbackRow[]) => Promise<string[]>): void =>
    void make(all).then(
      (parts) => offerFile(name, parts, 'application/jsonl'),
      (e: unknown) => report(e),
    );
  const remove = (ids: string[]): void => {
    const gone = takeOut(ids);
    setChosen(new Set());
    if (gone.length) toast(`${many(gone.length, 'row')} deleted`, { label: 'Undo', run: () => putBack(gone) });
  };
  const select = (id: string, on: boolean): void => {
    const next = new Set(chosen);
    if (on) next.add(id);
    else next.delete(id);
    setChosen(next);
  };
  const seen = inspected.value === null ? null : (all.find((r) => r.id === inspected.value) ?? null);
  const whole = shown.length > 0 && shown.every((r) => chosen.has(r.id));

  return (
    <div class="page wide">
      <header class="view-head">
        <h1 tabIndex={-1}>Feedback</h1>
        <span class="grow" />
        <FilePick label="Import" accept=".jsonl,.json,.ndjson,.csv,.tsv" multiple onFiles={(f) => void importFiles(f)} />
      </header>
      <p class="lede">
        {rankings} {rankings === 1 ? 'ranking' : 'rankings'} ({pairs} {pairs === 1 ? 'pair' : 'pairs'}) and {ideals} ideal{' '}
        {ideals === 1 ? 'answer' : 'answers'}
        {judged > 0 && `, ${judged} judged one by one`}, as JSONL in the columns that TRL reads.
      </p>
      {all.length === 0 ? (
        <Empty icon="feedback" title="No feedback yet">
          <p>Rank answers in a chat, edit one into the ideal answer, or drop a JSONL file here.</p>
          <Button icon="chat" onClick={() => go('chat')}>
            To the chat
          </Button>
        </Empty>
      ) : (
        <>
          <div class="row wrap tools">
            <Segments
              legend="Show"
              small
              value={filter}
              choices={[
                { value: 'all', label: 'All' },
                { value: 'preference', label: 'Rankings' },
                { value: 'ideal', label: 'Ideal answers' },
                ...(judged > 0 ? [{ value: 'judged' as const, label: 'Judged' }] : []),
              ]}
              onPick={(f) => (setFilter(f), setPage(0))}
            />
            <input
              type="search"
              placeholder="Search"
              aria-label="Search the feedback"
              value={search}
              onInput={(e) => (setSearch(e.currentTarget.value), setPage(0))}
            />
            <span class="grow" />
            <Button
              small
              icon="download"
              disabled={pairs === 0}
              title="prompt, chosen, rejected: one line for each pair"
              onClick={() => exported('preferences.jsonl', exportPreferences)}
            >
              Export pairs
            </Button>
            <Button
              small
              icon="download"
              disabled={ideals === 0}
              title="prompt, completion: one line for each ideal answer"
              onClick={() => exported('ideal-answers.jsonl', exportIdeals)}
            >
              Export ideal answers
            </Button>
            {judged > 0 && (
              <Button
                small
                icon="download"
                title="prompt, completion, label: one line for each judged answer"
                onClick={() => exported('judged-answers.jsonl', exportJudged)}
              >
                Export judged
              </Button>
            )}
          </div>
          {chosen.size > 0 && (
            <div class="row chosen-bar" role="status">
              {chosen.size} chosen
              <Button small tone="danger" icon="trash" onClick={() => remove([...chosen])}>
                Delete chosen
              </Button>
              <Button small tone="quiet" onClick={() => setChosen(new Set())}>
                Clear
              </Button>
            </div>
          )}
          <table class="feedback-table" role="table">
            <thead role="rowgroup">
              <tr role="row">
                <th role="columnheader" scope="col" class="pick">
                  <input
                    type="checkbox"
                    aria-label="Choose all on this page"
                    checked={whole}
                    onChange={(e) => setChosen(new Set(e.currentTarget.checked ? shown.map((r) => r.id) : []))}
                  />
                </th>
                <th role="columnheader" scope="col">
                  Kind
                </th>
                <th role="columnheader" scope="col">
                  Prompt
                </th>
                <th role="columnheader" scope="col">
                  Order or answer
                </th>
                <th role="columnheader" scope="col" class="num">
                  Pairs
                </th>
                <th role="columnheader" scope="col">
                  From
                </th>
                <th role="columnheader" scope="col">
                  <span class="sr-only">Actions</span>
                </th>
              </tr>
            </thead>
            <tbody role="rowgroup">
              {shown.map((r) => (
                <tr role="row" key={r.id} class={chosen.has(r.id) ? 'on' : ''}>
                  <td role="cell" class="pick">
                    <input
                      type="checkbox"
                      aria-label={`Choose: ${promptText(r).slice(0, 60)}`}
                      checked={chosen.has(r.id)}
                      onChange={(e) => select(r.id, e.currentTarget.checked)}
                    />
                  </td>
                  <td role="cell" class="kind">
                    <span class={`tag tag-${r.kind}`}>{KINDS[r.kind][1]}</span>
                  </td>
                  <td role="cell" class="long">
                    <button type="button" class="link" onClick={() => (inspected.value = r.id)}>
                      {promptText(r).slice(0, 160) || '(empty)'}
                    </button>
                  </td>
                  <td role="cell" class="long what">
                    {answerText(r).slice(0, 160)}
                  </td>
                  <td role="cell" class="num">
                    {r.kind === 'preference' ? pairsIn(r) : '–'}
                  </td>
                  <td role="cell" class="from muted">
                    {sourceText(r)}
                  </td>
                  <td role="cell" class="act">
                    <Button
                      small
                      tone="quiet"
                      icon="trash"
                      aria-label={`Delete: ${promptText(r).slice(0, 60)}`}
                      onClick={() => remove([r.id])}
                    />
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
          {shown.length === 0 && <p class="muted none">Nothing matches.</p>}
          {pages > 1 && (
            <nav class="row pager" aria-label="Pages of the table">
              <Button small disabled={at === 0} onClick={() => setPage(at - 1)}>
                Previous
              </Button>
              <span>
                {at + 1} of {pages}
              </span>
              <Button small disabled={at === pages - 1} onClick={() => setPage(at + 1)}>
                Next
              </Button>
            </nav>
          )}
        </>
      )}
      {seen && (
        <Inspect row={seen} onClose={() => (inspected.value = null)} onDelete={() => ((inspected.value = null), remove([seen.id]))} />
      )}
      {review && (
        <Review
          name={review.name}
          result={review.result}
          onDone={(yes) => {
            if (yes) take(review.name, review.result);
            setReview(null);
          }}
        />
      )}
    </div>
  );
}
