import type { RefObject } from 'preact';
import { useEffect, useId, useMemo, useRef, useState } from 'preact/hooks';
import { difference, type Piece } from '../model/diff.ts';
import { allTied, circled, formatOrder, pairCount, ranksOf, standing } from '../model/ranking.ts';
import { CRITERIA, type Answer, type Comparison, type Turn } from '../model/types.ts';
import { active, adapters } from '../state/adapters.ts';
import { askAgain, live } from '../state/ask.ts';
import { continuing, judge, judged, judgementOf, orderByCriteria, pairsOfTurn, pickOf, setIdeal } from '../state/chats.ts';
import { canAsk } from '../state/engine.ts';
import { go } from '../state/router.ts';
import { change, settings } from '../state/settings.ts';
import { Button, Long, Switch } from '../ui/basic.tsx';
import { useCovered } from '../ui/covered.ts';

import { Icon } from '../ui/icons.tsx';
import { OrderBar } from '../ui/OrderBar.tsx';
import { AnswerCard, speed } from './AnswerCard.tsx';
import { Weights } from './Weights.tsx';
import { rich, t } from '../i18n/language.ts';

function OrderPanel({ turn, last }: { turn: Turn; last: boolean }) {
  const panel = useCovered<HTMLElement>('--order', last);
  const hint = useId();
  const said = judgementOf(turn);
  const any = judged(turn);
  const ranks = ranksOf(said);
  const pairs = pairsOfTurn(turn);
  const { groups, free, aside } = standing(said);
  const rated = CRITERIA.some((c) => turn.ratings[c].some((v) => v !== null));
  const verdict = !any
    ? t('Which is best?')
    : pairs > 0
      ? t('{pairs} {pairs|pair|pairs} for DPO', { pairs })
      : pairCount(ranks) > 0
        ? t('These say the same: nothing to learn from')
        : allTied(ranks)
          ? t('All equal: nothing to learn from')
          : rated && turn.orderBy === 'criteria'
            ? t('Rate one more to compare')
            : t('Place one more to compare');

  const names = free.map(circled).join(' ');
  const middle = groups[0] === free ? t('better') : groups.at(-1) === free ? t('worse') : t('in between');
  return (
    <>
      <section ref={panel} class="order-panel" aria-label={t('Overall order')}>
        <div class="order-line">
          <span class="order-title">{t('Order')}</span>
          <OrderBar said={said} judged={any} describedBy={hint} onChange={(j) => judge(turn.id, j)} />
          <span class="grow" />
          <span class={`verdict ${any && pairs === 0 ? 'warn' : ''}`}>{verdict}</span>
          {pairs > 0 && (
            <Button small tone="primary" icon="learn" onClick={() => go('learn')}>
              {t('Learn from this')}
            </Button>
          )}
        </div>
      </section>
      <div class="order-more">
        {any && free.length > 0 && (
          <p class="hint unplaced">
            {aside.length > 0
              ? t('{names} {n|has|have} no place yet and {n|is|are} in no pair.', { names, n: free.length })
              : free.length > 1
                ? t('{names} have no place of their own: they count as {middle}, not against each other.', { names, middle })
                : t('{names} has no place of its own: it counts as {middle}.', { names, middle })}
          </p>
        )}
        {/* One line at a time: where something is open, that; the keys are read to screen readers all the same. */}
        <p id={hint} class={any && free.length > 0 ? 'sr-only' : 'hint'}>
          {rich(
            'Drag a number, or focus it and press {left} {right}; {tie} ties, {del} takes it out. On an answer, {first}…{last} sets its place.',
            {
              left: <kbd>←</kbd>,
              right: <kbd>→</kbd>,
              tie: <kbd>=</kbd>,
              del: <kbd>Del</kbd>,
              first: <kbd>1</kbd>,
              last: <kbd>{turn.answers.length}</kbd>,
            },
          )}
        </p>
        <div class="row wrap">
          <Switch label={t('Judge by criteria')} checked={settings.value.showCriteria} onChange={(v) => change({ showCriteria: v })} />
          {settings.value.showCriteria && (
            <details class="weigh">
              <summary>{t('Weights')}</summary>
              <Weights />
            </details>
          )}
          {turn.orderBy === 'hand' && (
            <Button small tone="quiet" icon="again" onClick={() => orderByCriteria(turn.id)}>
              {rated ? t('Order by criteria again') : t('Clear the order')}
            </Button>
          )}
          {turn.orderBy === 'criteria' && rated && <small class="muted">{t('follows your ratings')}</small>}
        </div>
      </div>
    </>
  );
}

function Side({
  title,
  kind,
  text,
  pieces,
  answer,
  busy,
}: {
  title: string;
  kind: 'base' | 'tuned';
  text: string;
  /** The text again, what the other side lacks set apart. */
  pieces?: Piece[];
  answer?: Answer;
  busy: boolean;
}) {
  return (
    <article
      class={`card side ${kind} ${busy ? 'streaming' : ''}`}
      aria-label={kind === 'base' ? t('Base model') : t('Adapter {name}', { name: title })}
      aria-busy={busy}
      tabIndex={0}
    >
      <header>
        <span class={`who ${kind}`}>{title}</span>
        <span class="grow" />
        {answer && <small class="muted">{speed(answer)}</small>}
      </header>
      <div class="text" dir="auto">
        {pieces ? pieces.map((p, i) => (p.own ? <mark key={i}>{p.text}</mark> : p.text)) : text}
        {busy && <span class="caret" aria-hidden="true" />}
      </div>
    </article>
  );
}

function Compared({ comparison, block }: { comparison: Comparison; block: RefObject<HTMLElement | null> }) {
  const { base, tuned } = comparison;
  const same = base.text === tuned.text;
  const { left, right, own, words } = useMemo(() => difference(base.text, tuned.text), [base.text, tuned.text]);
  return (
    <section ref={block} class="compared" aria-label={t('Base and tuned, asked again')}>
      <h2>
        {t('Asked again, greedily')}{' '}
        <small class={same ? 'muted' : 'changed'}>{same ? t('the same answer') : t('the answer changed')}</small>
      </h2>
      <div class="cards cols-2">
        <Side title={t('base')} kind="base" text={base.text} pieces={left} answer={base} busy={false} />
        <Side title={tuned.adapter ?? t('tuned')} kind="tuned" text={tuned.text} pieces={right} answer={tuned} busy={false} />
      </div>
      {!same && (
        <p class="hint">
          {rich(
            '{mark}: what only this side says; {fresh} of the {n} {n|word|words} of {adapter} are new, {gone} of the {of} of base are gone.',
            {
              mark: <mark>{t('Underlined')}</mark>,
              fresh: own[1],
              n: words[1],
              adapter: tuned.adapter ?? t('the adapter'),
              gone: own[0],
              of: words[0],
            },
          )}
        </p>
      )}
    </section>
  );
}

function AskAgain({ turn }: { turn: Turn }) {
  const usable = adapters.value.filter((a) => a.loaded);
  const [chosen, setChosen] = useState<string | null>(null);
  if (usable.length === 0) return null;
  const adapter = usable.some((a) => a.name === chosen) ? chosen! : (active.value ?? usable[0]!.name);
  return (
    <div class="row wrap ask-again">
      <Button small icon="again" disabled={!canAsk.value || live.value !== null} onClick={() => void askAgain(turn.id, adapter)}>
        {t('Ask again: base and tuned')}
      </Button>
      {usable.length > 1 && (
        <select aria-label={t('Adapter to compare with the base model')} value={adapter} onChange={(e) => setChosen(e.currentTarget.value)}>
          {usable.map((a) => (
            <option key={a.name} value={a.name}>
              {a.name}
            </option>
          ))}
        </select>
      )}
    </div>
  );
}

/** One question with its answers. Earlier turns fold to the answer that the chat went on with. */
export function TurnView({ turn, last }: { turn: Turn; last: boolean }) {
  const [unfolded, setUnfolded] = useState(false);
  const now = live.value?.turn === turn.id ? live.value : null;
  const answering = now?.where === 'answers' ? now : null;
  const comparing = now?.where === 'compare' ? now : null;
  const compared = useRef<HTMLElement>(null);
  // The block grows below what is being read: it comes into view when it begins, and once more when all of it is there.
  const came = useRef(false);
  useEffect(() => {
    if (!comparing && !came.current) return;
    came.current = comparing !== null;
    // An earlier question must not fold over what was asked of it.
    if (comparing) setUnfolded(true);
    const frame = requestAnimationFrame(() => compared.current?.scrollIntoView({ block: 'nearest' }));
    return () => cancelAnimationFrame(frame);
  }, [comparing !== null]);
  const open = last || unfolded || now !== null;
  const n = turn.answers.length;
  const pick = pickOf(turn);

  return (
    <section class="turn" aria-label={t('Question: {prompt}', { prompt: turn.prompt.slice(0, 80) })} data-turn={turn.id}>
      <div class="prompt" dir="auto">
        <Long text={turn.prompt} />
      </div>
      {!open ? (
        <div class="folded">
          <div class="text" dir="auto">
            {continuing(turn)}
          </div>
          <div class="row wrap">
            <Button small tone="quiet" icon="list" aria-expanded="false" onClick={() => setUnfolded(true)}>
              {t('Show all {n} answers', { n })}
            </Button>
            {judged(turn) && (
              <small class="muted">{((ranks) => (allTied(ranks) ? t('all equal') : formatOrder(ranks)))(ranksOf(judgementOf(turn)))}</small>
            )}
            {turn.ideal && <small class="muted">{t('· ideal answer saved')}</small>}
          </div>
        </div>
      ) : (
        <>
          <div class={`cards cols-${n === 4 ? 2 : Math.min(n, 3)}`}>
            {turn.answers.map((a, i) => (
              <AnswerCard
                key={i}
                turn={turn}
                index={i}
                text={answering ? answering.texts[i]!.value : a.text}
                streaming={answering !== null}
                done={answering?.done[i]?.value ?? true}
                label={answering ? answering.labels[i]! : a.adapter}
                continues={i === pick && !(turn.ideal && turn.picked === null)}
                open={true}
              />
            ))}
          </div>
          {!answering && <OrderPanel turn={turn} last={last} />}
          {turn.ideal && (
            <section class="ideal" aria-label={t('Ideal answer')}>
              <header>
                <Icon name="edit" size={16} /> <b>{t('Ideal answer')}</b>{' '}
                <small class="muted">{t('from {answer} · an example for SFT', { answer: circled(turn.ideal.from) })}</small>
                <span class="grow" />
                <Button small tone="quiet" icon="trash" aria-label={t('Remove the ideal answer')} onClick={() => setIdeal(turn.id, null)} />
              </header>
              <div class="text" dir="auto">
                {turn.ideal.text}
              </div>
            </section>
          )}
          {turn.comparisons.slice(-1).map((c) => !comparing && <Compared key={c.at} comparison={c} block={compared} />)}
          {comparing && (
            <section ref={compared} class="compared" aria-label={t('Base and tuned, asked again')}>
              <div class="cards cols-2">
                <Side title={t('base')} kind="base" text={comparing.texts[0]!.value} busy={!comparing.done[0]!.value} />
                <Side title={comparing.labels[1]!} kind="tuned" text={comparing.texts[1]!.value} busy={!comparing.done[1]!.value} />
              </div>
            </section>
          )}
          {!now && <AskAgain turn={turn} />}
          {!last && (
            <Button small tone="quiet" aria-expanded="true" onClick={() => setUnfolded(false)}>
              {t('Fold')}
            </Button>
          )}
        </>
      )}
    </section>
  );
}
