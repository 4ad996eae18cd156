import type { ComponentChildren } from 'preact';
import { useId, useState } from 'preact/hooks';
import { rowsOf } from '../model/effect.ts';
import { fieldsFor, formOf, METHOD_NAMES, problem, type Field } from '../model/learnArgs.ts';
import type { Method, Setting } from '../model/types.ts';
import { adapters } from '../state/adapters.ts';
import { askAfterLearning, live } from '../state/ask.ts';
import { activity, canAsk, loading, model } from '../state/engine.ts';
import { estimate, gauging, roughly } from '../state/estimate.ts';
import { counts } from '../state/feedback.ts';
import { change, changeLearn, LEARN_DEFAULTS, settings } from '../state/settings.ts';
import { flush } from '../state/saver.ts';
import {
  discardInterrupted,
  elsewhere,
  misfit,
  pause,
  pausing,
  resumable,
  resume,
  resumeInterrupted,
  run,
  start,
  stop,
} from '../state/training.ts';
import { nextVersion } from '../storage/versions.ts';
import { Button, Dialog, Segments } from '../ui/basic.tsx';
import { duration, value, when } from '../ui/format.ts';
import { Icon } from '../ui/icons.tsx';
import { Headline, RunCharts } from './RunCharts.tsx';
import { rich, said, t, type Plain } from '../i18n/language.ts';

function Input({ field, method }: { field: Field; method: Method }) {
  const id = useId();
  const stored = settings.value.learn[method][field.key] ?? null;
  // What is being typed, also when it is no number yet; the setting follows every valid state.
  const [typed, setTyped] = useState<string | null>(null);
  const set = (v: Setting): void => changeLearn(method, { [field.key]: v });
  const wrong = problem(field, stored);
  const common = { id, 'aria-describedby': `${id}-help`, 'aria-invalid': wrong !== null };
  let control: ComponentChildren;
  if (field.kind === 'choice') {
    control = (
      <select {...common} value={String(stored)} onChange={(e) => set(e.currentTarget.value)}>
        {field.choices!.map((c) => (
          <option key={c}>{c}</option>
        ))}
      </select>
    );
  } else if (field.kind === 'switch') {
    control = <input {...common} type="checkbox" checked={stored as boolean} onChange={(e) => set(e.currentTarget.checked)} />;
  } else if (field.kind === 'text') {
    control = <input {...common} type="text" spellcheck={false} value={String(stored)} onInput={(e) => set(e.currentTarget.value)} />;
  } else {
    control = (
      <input
        {...common}
        type="text"
        inputMode="decimal"
        value={typed ?? String(stored)}
        onInput={(e) => {
          const text = e.currentTarget.value;
          setTyped(text);
          set(text.trim() === '' ? NaN : Number(text.replace(',', '.')));
        }}
        onBlur={() => setTyped(null)}
      />
    );
  }
  return (
    <div class="field">
      <label for={id}>
        <code>{field.name}</code>
      </label>
      {control}
      <small id={`${id}-help`} class={wrong ? 'field-error' : 'muted'}>
        {wrong ?? said(field.help)}
      </small>
    </div>
  );
}

/** Beginning anew deletes the checkpoint of a run that could still go on. */
function AskFirst({ onClose }: { onClose(): void }) {
  const r = run.value;
  const last = r?.metrics.at(-1);
  const then = (what: () => Promise<void>): void => {
    onClose();
    void what();
  };
  return (
    <Dialog title={t('An earlier run can still go on')} onClose={onClose}>
      <p>
        {last
          ? t('{name} stopped at step {step} of {steps} and has a checkpoint. Beginning a new run deletes it.', {
              name: r!.adapterName,
              step: last.step,
              steps: last.totalSteps,
            })
          : t('{name} stopped and has a checkpoint. Beginning a new run deletes it.', { name: r?.adapterName ?? '' })}
      </p>
      <div class="row end wrap">
        <Button onClick={onClose}>{t('Cancel')}</Button>
        {!misfit.value && (
          <Button icon="play" onClick={() => then(() => resumeInterrupted())}>
            {t('Go on with it')}
          </Button>
        )}
        <Button tone="danger" icon="learn" onClick={() => then(start)}>
          {t('Delete it and learn anew')}
        </Button>
      </div>
    </Dialog>
  );
}

/** What there is to learn from. */
function Data({ kind }: { kind: 'sft' | 'preference' | 'unpaired' }) {
  const { pairs, rankings, ideals, judgements } = counts.value;
  if (kind === 'sft') return <>{rich('{bold} ideal {n|answer|answers}', { n: ideals, bold: <b>{ideals}</b> })}</>;
  if (kind === 'unpaired') return <>{rich('{bold} good or bad {n|answer|answers}', { n: judgements, bold: <b>{judgements}</b> })}</>;
  return (
    <>
      {rich('{pairs} {n|pair|pairs} from {rankings} {m|ranking|rankings}', {
        n: pairs,
        m: rankings,
        pairs: <b>{pairs}</b>,
        rankings: <b>{rankings}</b>,
      })}
    </>
  );
}

/** How long it will take here, in minutes. */
function Duration() {
  const e = estimate.value;
  if (!e) return gauging.value ? <span class="muted"> {t('· measuring your device…')}</span> : null;
  return (
    <span class="muted">
      {' '}
      ·{' '}
      {e.measured === 'run'
        ? t('{time} on this device, as the last run went', { time: roughly(e.seconds) })
        : t('{time} on this device', { time: roughly(e.seconds) })}
    </span>
  );
}

function Setup() {
  const { method, adapterName, learn } = settings.value;
  const args = learn[method];
  const name = useId();
  const form = formOf(method);
  const found = { sft: counts.value.ideals, preference: counts.value.pairs, unpaired: counts.value.judgements };
  const rows = found[form.rows];
  const known = adapters.value.find((a) => a.name === adapterName);
  const fields = fieldsFor(method);
  const [asking, setAsking] = useState(false);
  // A run that can still go on would lose its checkpoint.
  const begin = (): void => (resumable.value ? setAsking(true) : void start());
  const changed = fields.some((f) => args[f.key] !== LEARN_DEFAULTS[method][f.key]);
  return (
    <section class="card setup" aria-label={t('What to learn')}>
      <Segments
        legend={t('Method')}
        value={method}
        choices={METHOD_NAMES.map((m) => ({ value: m, label: said(formOf(m).learns), say: `${formOf(m).title}: ${said(formOf(m).what)}` }))}
        onPick={(m) => change({ method: m })}
      />
      <p class="summary">
        <Data kind={form.rows} /> · {form.title}
        <Duration />
      </p>
      <div class="fields">
        <div class="field">
          <label for={name}>{t('Adapter')}</label>
          <input
            id={name}
            type="text"
            list={`${name}-list`}
            spellcheck={false}
            value={adapterName}
            onInput={(e) => change({ adapterName: e.currentTarget.value })}
            aria-describedby={`${name}-help`}
          />
          <datalist id={`${name}-list`}>
            {adapters.value.map((a) => (
              <option key={a.name} value={a.name} />
            ))}
          </datalist>
          <small id={`${name}-help`} class="muted">
            {known
              ? t('It learns on from v{version} and becomes v{next}; Adapters can go back to v{version}.', {
                  version: known.version,
                  next: nextVersion(known.versions),
                })
              : t('A new adapter; the model itself stays as it is.')}
          </small>
        </div>
        {fields
          .filter((f) => f.basic)
          .map((f) => (
            <Input key={`${method}-${f.key}`} field={f} method={method} />
          ))}
      </div>
      <details class="advanced">
        <summary>
          {t('Advanced')} {changed && <small class="muted">{t('· changed')}</small>}
        </summary>
        {form.groups.map((group) => {
          const own = fields.filter((f) => f.group === group && !f.basic);
          return (
            own.length > 0 && (
              <fieldset key={group} class="group">
                <legend>{said({ en: group, zh: '' })}</legend>
                <div class="fields">
                  {own.map((f) => (
                    <Input key={`${method}-${f.key}`} field={f} method={method} />
                  ))}
                </div>
              </fieldset>
            )
          );
        })}
        <Button small tone="quiet" icon="again" disabled={!changed} onClick={() => changeLearn(method, LEARN_DEFAULTS[method])}>
          {t('Back to the defaults')}
        </Button>
      </details>
      <div class="row wrap">
        <Button
          tone="primary"
          icon="learn"
          disabled={!model.value || loading.value !== null || activity.value !== 'idle' || elsewhere.value}
          onClick={begin}
        >
          {t('Learn')}
        </Button>
        {elsewhere.value && <small class="muted">{t('Another tab of this page is learning. One run at a time.')}</small>}
        {!model.value && <small class="muted">{rich('{link} first', { link: <a href="#/model">{t('Load a model')}</a> })}</small>}
        {model.value && rows === 0 && (
          <small class="muted">
            {rich(form.rows === 'sft' ? 'Edit an answer into the ideal one, or {link}.' : 'Rank some answers in a chat, or {link}.', {
              link: <a href="#/feedback">{t('import a dataset')}</a>,
            })}
          </small>
        )}
      </div>
      {asking && <AskFirst onClose={() => setAsking(false)} />}
    </section>
  );
}

const STATUS: Record<string, Plain> = {
  starting: 'Preparing',
  running: 'Learning',
  paused: 'Paused',
  done: 'Learnt',
  unsaved: 'Learnt, not saved',
  cancelled: 'Cancelled',
  failed: 'Failed',
  interrupted: 'Interrupted',
};

/** The dot beside it; grey for what is not listed. */
const LAMP: Record<string, string> = { starting: 'busy', running: 'busy', done: 'on', failed: 'bad', unsaved: 'bad' };

/** A run that was cut off: by closing the page, or by an error. */
function Unfinished() {
  const r = run.value!;
  const last = r.metrics.at(-1);
  const failed = r.status === 'failed';
  if (failed && !resumable.value) return <p class="field-error">{r.error}</p>;
  return (
    <div class="notice block" role="status">
      <Icon name={failed ? 'warn' : 'pause'} />
      <div>
        <b>
          {!failed
            ? t('The page was closed before this run ended')
            : last
              ? t('It failed after step {step}', { step: last.step })
              : t('It failed')}
        </b>
        {failed && <p class="field-error">{r.error}</p>}
        <p>
          {!resumable.value
            ? t('No checkpoint had been saved yet, so it can only begin anew.')
            : failed
              ? t('A checkpoint with optimizer, schedule and position was saved; the run can go on from there.')
              : t('A checkpoint with optimizer, schedule and position was saved; the run can go on from there as if nothing had happened.')}
        </p>
        <div class="row wrap">
          {resumable.value && (
            <Button
              tone="primary"
              small
              icon="play"
              disabled={!model.value || misfit.value !== null || activity.value !== 'idle'}
              onClick={() => void resumeInterrupted()}
            >
              {t('Go on')}
            </Button>
          )}
          <Button small onClick={() => void discardInterrupted()}>
            {t('Discard')}
          </Button>
          {resumable.value && !model.value && <small class="muted">{t('{model} must be loaded first.', { model: r.model })}</small>}
        </div>
        {resumable.value && misfit.value && <small class="field-error">{misfit.value}</small>}
      </div>
    </div>
  );
}

/** Minutes of learning are thrown away by one click on the wrong button. */
function AskToCancel({ onClose }: { onClose(): void }) {
  const r = run.value!;
  const last = r.metrics.at(-1)!;
  const known = adapters.value.some((a) => a.name === r.adapterName);
  const end = (how: 'keep' | 'discard'): void => {
    onClose();
    stop(how);
  };
  return (
    <Dialog title={t('Stop learning?')} onClose={onClose}>
      <p>
        {t('{name} has learnt for {step} of {steps} steps. You can keep what it has learnt so far, or throw that away: {outcome}', {
          name: r.adapterName,
          step: last.step,
          steps: last.totalSteps,
          outcome: known ? t('then it is again what it was before this run.') : t('then there is no such adapter.'),
        })}
      </p>
      <div class="row end wrap">
        <Button onClick={onClose}>{t('Go on learning')}</Button>
        <Button tone="danger" icon="trash" onClick={() => end('discard')}>
          {t('Throw it away')}
        </Button>
        <Button tone="primary" icon="check" onClick={() => end('keep')}>
          {t('Keep what was learnt')}
        </Button>
      </div>
    </Dialog>
  );
}

function Running() {
  const r = run.value!;
  const last = r.metrics.at(-1);
  const going = activity.value === 'learning' || activity.value === 'paused';
  const total = last?.totalSteps ?? 0;
  const [asking, setAsking] = useState(false);
  const figures: [name: string, shown: string, what: string][] = [
    [t('step'), last ? `${last.step} / ${total}` : '–', t('changes made to the adapter, of all')],
    [t('epoch'), last ? value(last.epoch) : '–', t('times that all of the data was seen')],
    [t('tokens/s'), value(last?.tokens_per_second), t('pieces of words that it learns from in a second')],
    going
      ? [t('time left'), duration(last?.seconds_left ?? NaN), t('at the present pace')]
      : [t('took'), r.ended ? duration((r.ended - r.started) / 1000) : '–', t('from the first step to the last')],
  ];
  return (
    <section class={`card run ${r.status}`} aria-label={t('Training run')}>
      <header>
        <span class={`dot ${LAMP[r.status] ?? ''}`} />
        <b>{t(STATUS[r.status]!)}</b>
        <span class="muted">
          {r.method.toUpperCase()} → {r.adapterName}
        </span>
        <span class="grow" />
        {going && (
          <>
            {activity.value === 'paused' ? (
              <Button small icon="play" onClick={() => void resume()}>
                {t('Resume')}
              </Button>
            ) : (
              <Button small icon="pause" disabled={r.status === 'starting' || pausing.value} onClick={() => void pause()}>
                {pausing.value ? t('Pausing…') : t('Pause')}
              </Button>
            )}
            <Button
              small
              icon="check"
              disabled={r.metrics.length === 0}
              title={t('End here and keep the adapter as it is now')}
              onClick={() => stop('keep')}
            >
              {t('Finish now')}
            </Button>
            <Button
              small
              tone="danger"
              icon="close"
              title={t('End and put the adapter back to what it was')}
              onClick={() => (r.metrics.length > 0 ? setAsking(true) : stop('discard'))}
            >
              {t('Cancel')}
            </Button>
          </>
        )}
      </header>

      {pausing.value && (
        <p class="hint" role="status">
          {t('It pauses after this step.')}
        </p>
      )}
      {going && asking && <AskToCancel onClose={() => setAsking(false)} />}
      {going && <progress aria-label={t('Steps done')} max={1} value={last && total > 0 ? last.step / total : undefined} />}
      <dl class="stats">
        {figures.map(([name, shown, what]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{shown}</dd>
            <dd class="what">{what}</dd>
          </div>
        ))}
      </dl>

      {elsewhere.value && (
        <p class="hint" role="status">
          {t('This run goes on in another tab; pause or cancel it there.')}
        </p>
      )}
      {!going && !elsewhere.value && (r.status === 'interrupted' || r.status === 'failed') && <Unfinished />}
      {r.status === 'unsaved' && (
        <div class="row wrap done-line warn">
          <span>
            {rich('{name} is active, but found no room on disk. Free some space, then save it; until then, keep this tab open.', {
              name: <b>{r.adapterName}</b>,
            })}
          </span>
          <span class="grow" />
          <Button small tone="primary" icon="again" onClick={() => void flush(true)}>
            {t('Save again')}
          </Button>
        </div>
      )}
      {r.status === 'done' && (
        <div class="row wrap done-line">
          <span>{rich('{name} is active. Ask again to see what changed.', { name: <b>{r.adapterName}</b> })}</span>
          <span class="grow" />
          <Button
            small
            tone="primary"
            icon="again"
            disabled={!canAsk.value || live.value !== null || !adapters.value.some((a) => a.name === r.adapterName && a.loaded)}
            onClick={() => void askAfterLearning(r.adapterName)}
          >
            {t('Ask again')}
          </Button>
        </div>
      )}
      {r.metrics.length > 0 && !going && <Headline run={r} />}
      {r.metrics.length > 0 && <RunCharts run={r} />}
      <small class="muted">
        {t('Begun {when} on {model} · {rows}', { when: when(r.started), model: r.model, rows: rowsOf(r.method, r.rows) })}
      </small>
    </section>
  );
}

export function LearnView() {
  const busy = activity.value === 'learning' || activity.value === 'paused';
  // What wants something of the person comes first.
  const status = run.value?.status;
  const first = elsewhere.value || status === 'interrupted' || status === 'unsaved' || (status === 'failed' && resumable.value);
  return (
    <div class="page">
      <header class="view-head">
        <h1 tabIndex={-1}>{t('Learn')}</h1>
      </header>
      <p class="lede">{t('Your judgements become a small adapter (LoRA) beside the model. It can be switched off at any time.')}</p>
      {busy && run.value ? (
        <Running />
      ) : (
        <>
          {run.value && first && <Running />}
          <Setup />
          {run.value && !first && <Running />}
        </>
      )}
    </div>
  );
}
