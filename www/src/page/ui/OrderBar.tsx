// The overall order of the answers, best first: ③ > ④ > ② > ① = ⑤. It can be changed by dragging a number onto another
// (tie) or between two, by clicking the signs between them, and by keyboard (arrows move, = ties, Home and End).
import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import { insertBeside, move, moveTo, orderOf, placesOf, sayOrder, tieWith, toggleSeparator, toggleTie, type Order } from '../model/ranking.ts';
import type { Places } from '../model/types.ts';
import { announce } from '../state/notices.ts';

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

export function OrderBar({ places, judged, onChange, describedBy }: { places: Places; judged: boolean; onChange(p: Places): void; describedBy: string }) {
  const order = orderOf(places);
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

  const apply = (next: Order, answer: number): void => {
    refocus.current = answer;
    const now = placesOf(next);
    onChange(now);
    announce(`Order: ${sayOrder(now)}`);
  };

  const onKeyDown = (e: KeyboardEvent, answer: number): void => {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const next =
      e.key === 'ArrowLeft' || e.key === 'ArrowUp' ? move(order, answer, -1)
      : e.key === 'ArrowRight' || e.key === 'ArrowDown' ? move(order, answer, 1)
      : e.key === 'Home' ? moveTo(order, answer, 'best')
      : e.key === 'End' ? moveTo(order, answer, 'worst')
      : e.key === '=' || e.key === 't' ? toggleTie(order, answer)
      : null;
    if (!next) return;
    e.preventDefault();
    apply(next, answer);
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
    if (!target) return;
    apply(target.how === 'tie' ? tieWith(order, answer, target.other) : insertBeside(order, answer, target.other, target.how), answer);
  };

  const flat = order.flat();
  const groupEnd = new Set<number>();
  let seen = 0;
  for (const g of order) groupEnd.add((seen += g.length) - 1);

  return (
    <div class={`order ${judged ? '' : 'unjudged'} ${drag ? 'dragging' : ''}`} ref={bar} role="group" aria-label={`Overall order, best first: ${judged ? sayOrder(places) : 'not judged yet'}`}>
      {flat.map((answer, k) => {
        const held = drag?.answer === answer;
        const hint = drag?.target?.other === answer ? `drop-${drag.target.how}` : '';
        return [
          <button
            key={`chip-${answer}`}
            type="button"
            class={`chip tint-${answer} ${held ? 'held' : ''} ${hint}`}
            data-answer={answer}
            aria-label={`Answer ${answer + 1}, place ${order.findIndex((g) => g.includes(answer)) + 1} of ${order.length}`}
            aria-describedby={describedBy}
            aria-roledescription="movable answer"
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
          </button>,
          k < flat.length - 1 && (
            <button
              key={`sign-${k}`}
              type="button"
              class="sign"
              aria-label={groupEnd.has(k) ? `Answer ${answer + 1} is better than answer ${flat[k + 1]! + 1}. Make them equal` : `Answer ${answer + 1} equals answer ${flat[k + 1]! + 1}. Make answer ${answer + 1} better`}
              title={groupEnd.has(k) ? 'better than (click to make equal)' : 'equal (click to make better)'}
              onClick={() => {
                const now = placesOf(toggleSeparator(order, k));
                onChange(now);
                announce(`Order: ${sayOrder(now)}`);
              }}
            >
              {groupEnd.has(k) ? '>' : '='}
            </button>
          ),
        ];
      })}
    </div>
  );
}
