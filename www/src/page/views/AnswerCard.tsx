import { useEffect, useId, useRef, useState } from 'preact/hooks';
import { CRITERIA, type Answer, type Criterion, type Turn } from '../model/types.ts';
import { pairCount, ranksOf } from '../model/ranking.ts';
import { judgementOf, placeAnswer, setIdeal, setRating, updateTurn } from '../state/chats.ts';
import { settings } from '../state/settings.ts';
import { announce, toast } from '../state/notices.ts';
import { Button, Segments } from '../ui/basic.tsx';
import { Icon } from '../ui/icons.tsx';
import { t, type Plain } from '../i18n/language.ts';

const ORDINAL = ['1st', '2nd', '3rd', '4th', '5th', '6th'] as const satisfies Plain[];
const WORDS = ['poor', 'weak', 'fair', 'good', 'excellent'] as const satisfies Plain[];

/** Five dots to rate one answer by one criterion; clicking the present rating, or Delete, takes it back. */
function Rating({
  criterion,
  answer,
  value,
  onRate,
}: {
  criterion: Criterion;
  answer: number;
  value: number | null;
  onRate(v: number | null): void;
}) {
  const name = useId();
  return (
    <fieldset
      class="rating"
      onKeyDown={(e) => {
        if (e.key !== 'Delete' && e.key !== 'Backspace') return;
        e.preventDefault();
        onRate(null);
        announce(t('{criterion}: no rating', { criterion: t(criterion) }));
      }}
    >
      <legend>
        {t(criterion)}
        <span class="sr-only"> – {t('answer {n}', { n: answer + 1 })}</span>
      </legend>
      <div class="dots">
        {WORDS.map((word, i) => (
          <label key={word} class={value !== null && i < value ? 'on' : ''} title={`${t(criterion)}: ${t(word)}`}>
            <input
              type="radio"
              name={name}
              aria-label={`${i + 1}, ${t(word)}`}
              checked={value === i + 1}
              onChange={() => onRate(i + 1)}
              onClick={() => value === i + 1 && onRate(null)}
            />
          </label>
        ))}
      </div>
    </fieldset>
  );
}

function Editor({ text, onSave, onCancel }: { text: string; onSave(t: string): void; onCancel(): void }) {
  const ref = useRef<HTMLTextAreaElement>(null);
  const [value, setValue] = useState(text);
  useEffect(() => {
    const area = ref.current!;
    area.focus();
    area.setSelectionRange(area.value.length, area.value.length);
  }, []);
  const save = (): void => void (value.trim() && onSave(value));
  return (
    <div class="editor">
      <textarea
        ref={ref}
        aria-label={t('The ideal answer')}
        value={value}
        rows={Math.min(16, Math.max(5, value.split('\n').length + 2))}
        onInput={(e) => setValue(e.currentTarget.value)}
        onKeyDown={(e) => {
          if (e.key === 'Escape') onCancel();
          if (e.key === 'Enter' && (e.ctrlKey || e.metaKey)) save();
        }}
      />
      <div class="row">
        <Button tone="primary" small icon="check" disabled={!value.trim()} onClick={save}>
          {t('Save as ideal')}
        </Button>
        <Button small tone="quiet" onClick={onCancel}>
          {t('Cancel')}
        </Button>
      </div>
    </div>
  );
}

export const speed = (a: Answer): string => (a.seconds > 0 && a.tokens > 0 ? `${(a.tokens / a.seconds).toFixed(1)} tok/s` : '');
const ENDED: Partial<Record<Answer['finishReason'], Plain>> = { length: 'cut at max_new_tokens', abort: 'stopped', error: 'broke off' };

/** One answer among several: its text, its place, its ratings, and what can be made of it. */
export function AnswerCard({
  turn,
  index,
  text,
  streaming,
  done,
  label,
  continues,
  open,
}: {
  turn: Turn;
  index: number;
  text: string;
  streaming: boolean;
  done: boolean;
  label: string | null;
  continues: boolean;
  open: boolean;
}) {
  const [editing, setEditing] = useState(false);
  const edit = useRef<HTMLButtonElement>(null);
  const answer = turn.answers[index]!;
  const n = turn.answers.length;
  const ranks = ranksOf(judgementOf(turn));
  const compared = pairCount(ranks) > 0;
  // What follows from the ratings of one answer alone is no place.
  const place = turn.orderBy === 'hand' || compared ? (turn.places[index] ?? null) : null;
  const stopEditing = (): void => {
    setEditing(false);
    requestAnimationFrame(() => edit.current?.focus());
  };
  const put = (p: number | null): void => {
    placeAnswer(turn.id, index, p);
    announce(
      p === null
        ? t('Answer {index} is not placed', { index: index + 1 })
        : t('Answer {index} placed {ordinal}', { index: index + 1, ordinal: t(ORDINAL[p - 1]!) }),
    );
  };
  const best = compared && place !== null && ranks[index] === 1;

  return (
    <article
      class={`card answer ${streaming && !done ? 'streaming' : ''} ${best ? 'best' : ''}`}
      aria-label={t('Answer {index}', { index: index + 1 })}
      aria-busy={streaming && !done}
      tabIndex={0}
      onKeyDown={(e) => {
        if (e.target !== e.currentTarget || streaming || e.ctrlKey || e.metaKey || e.altKey) return;
        const digit = Number(e.key);
        if (digit >= 1 && digit <= n) put(digit);
        else if ((e.key === 'Delete' || e.key === 'Backspace') && place !== null) put(null);
        else if (e.key === 'e') setEditing(true);
        else return;
        e.preventDefault();
      }}
    >
      <header>
        <span class={`number tint-${index}`} aria-hidden="true">
          {index + 1}
        </span>
        <span class={`who ${label === null ? 'base' : 'tuned'}`}>{label ?? t('base')}</span>
        {place !== null && !streaming && <span class="rank">{t(ORDINAL[place - 1]!)}</span>}
        <span class="grow" />
        {!streaming && <small class="muted">{speed(answer)}</small>}
      </header>

      {editing ? (
        <Editor
          text={text}
          onCancel={stopEditing}
          onSave={(written) => {
            setIdeal(turn.id, { text: written, from: index });
            stopEditing();
            toast(t('Saved as the ideal answer: one more example for SFT'));
          }}
        />
      ) : (
        <div class="text" dir="auto">
          {text}
          {streaming && !done && <span class="caret" aria-hidden="true" />}
          {!streaming && text === '' && <i class="muted">{t('(no words)')}</i>}
        </div>
      )}
      {!streaming && ENDED[answer.finishReason] && <small class="muted ended">{t(ENDED[answer.finishReason]!)}</small>}

      {open && !streaming && !editing && (
        <footer>
          <Segments<number>
            legend={t('place')}
            sayLegend={t(' of answer {index}', { index: index + 1 })}
            small
            value={place}
            choices={ORDINAL.slice(0, n).map((o, i) => ({
              value: i + 1,
              label: String(i + 1),
              say: t('{ordinal} place', { ordinal: t(o) }),
            }))}
            onPick={put}
            onClear={() => put(null)}
            showLegend
          />
          {settings.value.showCriteria && (
            <div class="ratings">
              {CRITERIA.map((c) => (
                <Rating
                  key={c}
                  criterion={c}
                  answer={index}
                  value={turn.ratings[c][index] ?? null}
                  onRate={(v) => setRating(turn.id, c, index, v)}
                />
              ))}
            </div>
          )}
          <div class="row actions">
            <button ref={edit} type="button" class="button quiet small" onClick={() => setEditing(true)}>
              <Icon name="edit" size={16} />
              <span>{t('Edit into ideal')}</span>
            </button>
            <Button
              tone="quiet"
              small
              icon="copy"
              aria-label={t('Copy answer {index}', { index: index + 1 })}
              title={t('Copy')}
              onClick={() => void navigator.clipboard.writeText(text).then(() => toast(t('Copied')))}
            />
            <span class="grow" />
            {turn.continued === null &&
              (continues ? (
                <span class="continues" title={t('The next question follows this answer')}>
                  <Icon name="check" size={14} /> {t('continues')}
                </span>
              ) : (
                <Button
                  tone="quiet"
                  small
                  icon="next"
                  title={t('Let the next question follow this answer')}
                  aria-label={t('Continue the chat with answer {index}', { index: index + 1 })}
                  onClick={() => updateTurn(turn.id, (t) => ({ ...t, picked: index }))}
                >
                  {t('Continue')}
                </Button>
              ))}
          </div>
        </footer>
      )}
    </article>
  );
}
