// The overall order of the answers, best first: ③ > ④ > ② > ① = ⑤. It can be changed by dragging a number onto another
// (tie) or between two, by clicking the signs between them, and by keyboard (arrows move, = ties, Home and End, Delete).
// Answers without a place of their own are dashed: in the order where the places of the others leave no choice, else behind it.
import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import { sayStanding, standing, step, toggleSign, type Judgement, type Step } from '../model/ranking.ts';
import { announce } from '../state/notices.ts';
import { t } from '../i18n/language.ts';

type Target = { other: number; how: 'before' | 'after' | 'tie' };

/** Where a dragged chip would land: the nearest other chip, its outer thirds before and after, its middle a tie. */
function targetAt(bar: HTMLElement, dragged: number, px: number, py: number): Target | null {
  let best: Target | null = null;
  let nearest = Infinity;
  for (const chip of bar.querySelectorAll<HTMLElement>('.chip')) {
    const other = Number(chip.dataset['answer']);
    if (other === dragged) continue;
    const r = chip.getBoundingClientRect();
    const dx = px - (r.left + r.width / 2);
    const dy = py - (r.top + r.height / 2);
    const distance = dx * dx + 4 * dy * dy;
    if (distance >= nearest || Math.abs(dy) > 90) continue;
    nearest = distance;
    best = { other, how: Math.abs(dx) < r.width * 0.3 ? 'tie' : dx < 0 ? 'before' : 'after' };
  }
  return best;
}

const KEYS: Record<string, Step> = {
  ArrowLeft: 'better',
  ArrowUp: 'better',
  ArrowRight: 'worse',
  ArrowDown: 'worse',
  Home: 'best',
  End: 'worst',
  '=': 'tie',
  t: 'tie',
  Delete: 'unplace',
  Backspace: 'unplace',
};

export function OrderBar({
  said,
  judged,
  onChange,
  describedBy,
}: {
  said: Judgement;
  judged: boolean;
  onChange(j: Judgement): void;
  describedBy: string;
}) {
  const { groups, free, aside } = standing(said);
  const bar = useRef<HTMLDivElement>(null);
  const refocus = useRef<number | null>(null);
  const [drag, setDrag] = useState<{ answer: number; x: number; y: number; target: Target | null } | null>(null);
  const start = useRef<{ answer: number; x: number; y: number; pointer: number } | null>(null);

  // Moving a node in the document takes the focus from it; it is given back before anything is painted.
  useLayoutEffect(() => {
    if (refocus.current === null) return;
    bar.current?.querySelector<HTMLElement>(`.chip[data-answer="${refocus.current}"]`)?.focus();
    refocus.current = null;
  });

  const tell = (next: Judgement): void => {
    onChange(next);
    announce(next.places.every((p) => p === null) ? t('No order') : t('Order: {order}', { order: sayStanding(standing(next)) }));
  };
  const take = (answer: number, how: Step): void => {
    const next = step(said, answer, how);
    if (!next) return;
    refocus.current = answer;
    tell(next);
  };

  const onKeyDown = (e: KeyboardEvent, answer: number): void => {
    const how = KEYS[e.key];
    if (!how || e.ctrlKey || e.metaKey || e.altKey) return;
    e.preventDefault();
    take(answer, how);
  };

  const onPointerMove = (e: PointerEvent): void => {
    const s = start.current;
    if (!s || !bar.current) return;
    const x = e.clientX - s.x;
    const y = e.clientY - s.y;
    // A few pixels of tremble are still a click.
    if (!drag && x * x + y * y < 25) return;
    setDrag({ answer: s.answer, x, y, target: targetAt(bar.current, s.answer, e.clientX, e.clientY) });
  };

  const onPointerUp = (): void => {
    start.current = null;
    if (!drag) return;
    setDrag(null);
    const { answer, target } = drag;
    if (target) take(answer, target.how === 'tie' ? { with: target.other } : { beside: target.other, side: target.how });
  };

  const chip = (answer: number, place: number | null) => {
    const held = drag?.answer === answer;
    const hint = drag?.target?.other === answer ? `drop-${drag.target.how}` : '';
    return (
      <button
        key={`chip-${answer}`}
        type="button"
        class={`chip tint-${answer} ${free.includes(answer) ? 'free' : ''} ${held ? 'held' : ''} ${hint}`}
        data-answer={answer}
        aria-label={
          free.includes(answer)
            ? t('Answer {n}, not placed', { n: answer + 1 })
            : t('Answer {n}, place {place} of {places}', { n: answer + 1, place: place!, places: groups.length })
        }
        aria-describedby={describedBy}
        aria-roledescription={t('movable answer')}
        style={held ? { transform: `translate(${drag.x}px, ${drag.y}px)` } : { transform: '' }}
        onKeyDown={(e) => onKeyDown(e, answer)}
        onPointerDown={(e) => {
          if (e.button !== 0) return;
          e.currentTarget.setPointerCapture(e.pointerId);
          start.current = { answer, x: e.clientX, y: e.clientY, pointer: e.pointerId };
        }}
        onPointerMove={onPointerMove}
        onPointerUp={onPointerUp}
        onPointerCancel={() => {
          start.current = null;
          setDrag(null);
        }}
      >
        {answer + 1}
      </button>
    );
  };

  const flat = groups.flat();
  const groupEnd = new Set<number>();
  let seen = 0;
  for (const g of groups) groupEnd.add((seen += g.length) - 1);

  return (
    <div
      class={`order ${judged ? '' : 'unjudged'} ${drag ? 'dragging' : ''}`}
      ref={bar}
      role="group"
      aria-label={t('Overall order, best first: {order}', { order: judged ? sayStanding({ groups, free, aside }) : t('not judged yet') })}
    >
      {flat.map((answer, k) => {
        const next = flat[k + 1];
        const better = groupEnd.has(k);
        return [
          chip(answer, groups.findIndex((g) => g.includes(answer)) + 1),
          next === undefined ? null : !better && free.includes(answer) ? (
            // Between two that nobody has placed there is nothing to say.
            <i key={`sign-${k}`} class="sign none" aria-hidden="true">
              ·
            </i>
          ) : (
            <button
              key={`sign-${k}`}
              type="button"
              class="sign"
              aria-label={
                better
                  ? t('Answer {answer} is better than answer {next}. Make them equal', { answer: answer + 1, next: next + 1 })
                  : t('Answer {answer} equals answer {next}. Make answer {answer} better', { answer: answer + 1, next: next + 1 })
              }
              title={better ? t('better than (click to make equal)') : t('equal (click to make better)')}
              onClick={() => tell(toggleSign(said, k))}
            >
              {better ? '>' : '='}
            </button>
          ),
        ];
      })}
      {aside.length > 0 && (
        <span class="aside">
          <small>{t('not placed')}</small>
          {aside.map((answer) => chip(answer, null))}
        </span>
      )}
    </div>
  );
}
