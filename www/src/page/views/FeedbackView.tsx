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
import { offerFile, when } from '../ui/format.ts';
import { t, type Plain } from '../i18n/language.ts';

const PAGE = 50;

const promptText = (row: FeedbackRow): string => {
  if (row.kind !== 'ideal') return lastWords(row.prompt);
  if ('input_ids' in row.row) return t('{n} token ids', { n: row.row.input_ids.length });
  if ('text' in row.row) return row.row.text;
  if ('messages' in row.row) return lastWords(row.row.messages.filter((m) => m.role === 'user'));
  return lastWords(row.row.prompt);
};
/** The last question of a conversation says most about it. */
const lastWords = (c: Content): string =>
  Array.isArray(c)
    ? saidIn(c.findLast((m) => m.role === 'user') ?? c.at(-1))
    : typeof c === 'string'
      ? c
      : t('{n} token ids', { n: c.ids.length });
const answerText = (row: FeedbackRow): string => {
  if (row.kind === 'judged') return `${row.label ? t('good') : t('bad')}: ${textOf(row.completion)}`;
  if (row.kind === 'preference')
    return allTied(row.ranks)
      ? t('all equal')
      : formatOrder(row.ranks) +
          (row.ranks.includes(null)
            ? t(', {names} not placed', { names: row.ranks.flatMap((r, i) => (r === null ? [circled(i)] : [])).join(' ') })
            : '');
  if ('input_ids' in row.row) return row.row.labels ? t('with labels') : t('no labels');
  if ('text' in row.row) return t('the whole text');
  return 'messages' in row.row ? saidIn(row.row.messages.findLast((m) => m.role === 'assistant')) : textOf(row.row.completion);
};
const KINDS = {
  preference: ['Ranking', 'ranking'],
  ideal: ['Ideal answer', 'ideal'],
  judged: ['Judged answer', 'judged'],
} as const satisfies Record<FeedbackRow['kind'], [Plain, Plain]>;
const sourceText = (row: FeedbackRow): string => (row.source.from === 'chat' ? t('chat') : row.source.name);

function Inspect({ row, onClose, onDelete }: { row: FeedbackRow; onClose(): void; onDelete(): void }) {
  return (
    <Dialog title={t(KINDS[row.kind][0])} onClose={onClose}>
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
                    <span class={`number tint-${i}`}>{i + 1}</span> {rank === null ? t('not placed') : t('place {rank}', { rank })}
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
            <h3>{row.label ? t('a good answer') : t('a bad answer')}</h3>
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
          {t('Delete this row')}
        </Button>
      </div>
    </Dialog>
  );
}

function Review({ name, result, onDone }: { name: string; result: ImportResult; onDone(take: boolean): void }) {
  const { rows: good, refused } = result;
  const which = { bad: refused.length === 1 ? t('One line') : t('{n} lines', { n: refused.length }), name };
  return (
    <Dialog title={t('Import {name}', { name })} onClose={() => onDone(false)}>
      <p role="alert">
        {good.length > 0
          ? t('{bad} of {name} cannot be used; {good} fine. Nothing has been imported yet.', {
              ...which,
              good: good.length === 1 ? t('one is') : t('{n} are', { n: good.length }),
            })
          : t('{bad} of {name} cannot be used. Nothing has been imported yet.', which)}
      </p>
      <ul class="refused">
        {refused.slice(0, 20).map((r) => (
          <li key={r.line}>
            <b>{t('line {n}', { n: r.line })}</b>: {r.column && <code>{cut(r.column, 80)}</code>} {cut(r.reason, 300)}
          </li>
        ))}
        {refused.length > 20 && <li class="muted">{t('… and {n} more', { n: refused.length - 20 })}</li>}
      </ul>
      <div class="row end wrap">
        <Button onClick={() => onDone(false)}>{t('Cancel')}</Button>
        {good.length > 0 && (
          <Button tone="primary" onClick={() => onDone(true)}>
            {good.length === 1 ? t('Import the one good row') : t('Import the {n} good rows', { n: good.length })}
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
    toast(t('{n} {n|row|rows} imported from {name}', { n: result.rows.length, name }));
    announce(t('{n} {n|row|rows} imported', { n: result.rows.length }));
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
        report(
          empty ? new PageError('empty-file', t('{name} holds no rows; nothing was imported.', { name: file.name }), { cause: e }) : e,
        );
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
    if (gone.length) toast(t('{n} {n|row|rows} deleted', { n: gone.length }), { label: t('Undo'), run: () => putBack(gone) });
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
        <h1 tabIndex={-1}>{t('Feedback')}</h1>
        <span class="grow" />
        <FilePick label={t('Import')} accept=".jsonl,.json,.ndjson,.csv,.tsv" multiple onFiles={(f) => void importFiles(f)} />
      </header>
      <p class="lede">
        {t(
          '{r} {r|ranking|rankings} ({p} {p|pair|pairs}) and {i} ideal {i|answer|answers}{judged}, as JSONL in the columns that TRL reads.',
          {
            r: rankings,
            p: pairs,
            i: ideals,
            judged: judged > 0 ? t(', {judged} judged one by one', { judged }) : '',
          },
        )}
      </p>
      {all.length === 0 ? (
        <Empty icon="feedback" title={t('No feedback yet')}>
          <p>{t('Rank answers in a chat, edit one into the ideal answer, or drop a JSONL file here.')}</p>
          <Button icon="chat" onClick={() => go('chat')}>
            {t('To the chat')}
          </Button>
        </Empty>
      ) : (
        <>
          <div class="row wrap tools">
            <Segments
              legend={t('Show')}
              small
              value={filter}
              choices={[
                { value: 'all', label: t('All') },
                { value: 'preference', label: t('Rankings') },
                { value: 'ideal', label: t('Ideal answers') },
                ...(judged > 0 ? [{ value: 'judged' as const, label: t('Judged') }] : []),
              ]}
              onPick={(f) => (setFilter(f), setPage(0))}
            />
            <input
              type="search"
              placeholder={t('Search')}
              aria-label={t('Search the feedback')}
              value={search}
              onInput={(e) => (setSearch(e.currentTarget.value), setPage(0))}
            />
            <span class="grow" />
            <Button
              small
              icon="download"
              disabled={pairs === 0}
              title={t('prompt, chosen, rejected: one line for each pair')}
              onClick={() => exported('preferences.jsonl', exportPreferences)}
            >
              {t('Export pairs')}
            </Button>
            <Button
              small
              icon="download"
              disabled={ideals === 0}
              title={t('prompt, completion: one line for each ideal answer')}
              onClick={() => exported('ideal-answers.jsonl', exportIdeals)}
            >
              {t('Export ideal answers')}
            </Button>
            {judged > 0 && (
              <Button
                small
                icon="download"
                title={t('prompt, completion, label: one line for each judged answer')}
                onClick={() => exported('judged-answers.jsonl', exportJudged)}
              >
                {t('Export judged')}
              </Button>
            )}
          </div>
          {chosen.size > 0 && (
            <div class="row chosen-bar" role="status">
              {t('{n} chosen', { n: chosen.size })}{' '}
              <Button small tone="danger" icon="trash" onClick={() => remove([...chosen])}>
                {t('Delete chosen')}
              </Button>
              <Button small tone="quiet" onClick={() => setChosen(new Set())}>
                {t('Clear')}
              </Button>
            </div>
          )}
          <table class="feedback-table" role="table">
            <thead role="rowgroup">
              <tr role="row">
                <th role="columnheader" scope="col" class="pick">
                  <input
                    type="checkbox"
                    aria-label={t('Choose all on this page')}
                    checked={whole}
                    onChange={(e) => setChosen(new Set(e.currentTarget.checked ? shown.map((r) => r.id) : []))}
                  />
                </th>
                <th role="columnheader" scope="col">
                  {t('Kind')}
                </th>
                <th role="columnheader" scope="col">
                  {t('Prompt')}
                </th>
                <th role="columnheader" scope="col">
                  {t('Order or answer')}
                </th>
                <th role="columnheader" scope="col" class="num">
                  {t('Pairs')}
                </th>
                <th role="columnheader" scope="col">
                  {t('From')}
                </th>
                <th role="columnheader" scope="col">
                  <span class="sr-only">{t('Actions')}</span>
                </th>
              </tr>
            </thead>
            <tbody role="rowgroup">
              {shown.map((r) => (
                <tr role="row" key={r.id} class={chosen.has(r.id) ? 'on' : ''}>
                  <td role="cell" class="pick">
                    <input
                      type="checkbox"
                      aria-label={t('Choose: {what}', { what: promptText(r).slice(0, 60) })}
                      checked={chosen.has(r.id)}
                      onChange={(e) => select(r.id, e.currentTarget.checked)}
                    />
                  </td>
                  <td role="cell" class="kind">
                    <span class={`tag tag-${r.kind}`}>{t(KINDS[r.kind][1])}</span>
                  </td>
                  <td role="cell" class="long">
                    <button type="button" class="link" onClick={() => (inspected.value = r.id)}>
                      {promptText(r).slice(0, 160) || t('(empty)')}
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
                      aria-label={t('Delete: {what}', { what: promptText(r).slice(0, 60) })}
                      onClick={() => remove([r.id])}
                    />
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
          {shown.length === 0 && <p class="muted none">{t('Nothing matches.')}</p>}
          {pages > 1 && (
            <nav class="row pager" aria-label={t('Pages of the table')}>
              <Button small disabled={at === 0} onClick={() => setPage(at - 1)}>
                {t('Previous')}
              </Button>
              <span>{t('{page} of {pages}', { page: at + 1, pages })}</span>
              <Button small disabled={at === pages - 1} onClick={() => setPage(at + 1)}>
                {t('Next')}
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
