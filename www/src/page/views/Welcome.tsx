import { useState } from 'preact/hooks';
import { ask } from '../state/ask.ts';
import { canAsk, canLoad, kept, load, loading, model, offers, type Source } from '../state/engine.ts';
import { settings } from '../state/settings.ts';
import { Button } from '../ui/basic.tsx';
import { bytes, plainName } from '../ui/format.ts';
import { Icon, Mark, type IconName } from '../ui/icons.tsx';
import { Progress } from './Progress.tsx';
import { between, t, type Plain } from '../i18n/language.ts';

const STARTERS: Plain[] = [
  'Explain in one sentence why the sky is blue.',
  'Write a two-line poem about a bird leaving its nest.',
  'How do I keep a houseplant alive?',
];

const STEPS: [icon: IconName, title: Plain, what: Plain][] = [
  ['chat', 'Ask', 'Every question gets several answers.'],
  ['list', 'Rank', 'You say which are better.'],
  ['learn', 'Learn', 'Minutes later it answers your way.'],
];

/** The model to begin with: the one that was used last, else what is offered here, else one that was kept. */
function first(): { source: Source; name: string; bytes: number | null } | null {
  const last = settings.value.lastModel;
  const offer = offers.value.find((o) => o.url === last?.source) ?? (last ? undefined : offers.value[0]);
  if (offer) return { source: offer.url, name: offer.name, bytes: offer.bytes };
  const own = kept.value.find((k) => k.source === last?.source) ?? (last ? undefined : kept.value[0]);
  if (own) return { source: own.source, name: own.name, bytes: own.bytes };
  return last ? { ...last, bytes: null } : null;
}

const SHORT: Plain[] = ['Water it when the top of the soil is dry, and give it a bright place.'];
const LONG: Plain[] = [
  'Keeping a houseplant alive involves many factors.',
  'First of all, there is light. Second, there is water. Third, there is soil. It is important to note that …',
];

/** What the whole is about, with answers that were written beforehand: something to try while the model is on its way. */
function Example() {
  const [picked, setPicked] = useState<'short' | 'long' | null>(null);
  const answers = [
    ['long', LONG],
    ['short', SHORT],
  ] as const;
  return (
    <section class="card example" aria-labelledby="example">
      <h3 id="example">{t('Try it meanwhile, with answers written beforehand')}</h3>
      <p class="prompt">{t('How do I keep a houseplant alive?')}</p>
      <div class="cards cols-2">
        {answers.map(([kind, text]) => (
          <button
            key={kind}
            type="button"
            class={`card pick ${picked === kind ? 'on' : ''}`}
            aria-pressed={picked === kind}
            onClick={() => setPicked(kind)}
          >
            <span class="text">{text.map((s) => t(s)).join(between())}</span>
            <small>{picked === null ? t('This one is better') : picked === kind ? t('1st: your choice') : t('2nd')}</small>
          </button>
        ))}
      </div>
      <p role="status">
        {picked === null
          ? t('Which answer is better?')
          : t('That is one pair. A few of them, then Learn: asked “How do I clean a window?”, the model answers {answer}', {
              answer:
                picked === 'short'
                  ? t('“With warm water and a drop of vinegar; wipe it dry.” – short, as you chose.')
                  : t('“Cleaning a window involves many factors. First of all …” – at length, as you chose.'),
            })}
      </p>
    </section>
  );
}

/** Before the first question: what this is, what it costs, and one button. */
export function Welcome() {
  const one = first();
  if (model.value)
    return (
      <div class="welcome">
        <Mark size={64} />
        <h2>{t('Ask, rank, teach.')}</h2>
        <p>{t('Every question gets several answers. Say which are better, press Learn, and ask again: the next answers are different.')}</p>
        <ul class="starters" aria-label={t('Some first questions')}>
          {STARTERS.map((s) => (
            <li key={s}>
              <button type="button" disabled={!canAsk.value} onClick={() => void ask(t(s))}>
                {t(s)}
              </button>
            </li>
          ))}
        </ul>
      </div>
    );
  return (
    <div class="welcome">
      <Mark size={56} />
      <h2>{t('A language model that learns from you, in this tab')}</h2>
      <ol class="steps">
        {STEPS.map(([icon, title, what]) => (
          <li key={title}>
            <Icon name={icon} />
            <b>{t(title)}</b>
            <span>{t(what)}</span>
          </li>
        ))}
      </ol>
      {loading.value ? (
        <>
          <Progress />
          <Example />
        </>
      ) : (
        <>
          {one ? (
            <Button tone="primary" icon="download" class="large" disabled={!canLoad.value} onClick={() => void load(one.source, one.name)}>
              {t('Load {name}', { name: plainName(one.name) })}
              {one.bytes === null ? '' : ` · ${bytes(one.bytes)}`}
            </Button>
          ) : (
            <a class="button primary large" href="#/model">
              {t('Choose a model')}
            </a>
          )}
          <p class="costs">
            <Icon name="lock" size={16} />{' '}
            {one ? t('It is fetched once and stays in this browser.') : t('A model is fetched once and stays in this browser.')}
            {between()}
            {t('It computes on this machine: nothing that you write leaves it. No account, no charge.')}
          </p>
          {one && (
            <a class="more" href="#/model">
              {t('Another model, or a file of your own')}
            </a>
          )}
        </>
      )}
    </div>
  );
}
