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
        {wrong ?? field.help.en}
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
    <Dialog title="An earlier run can still go on" onClose={onClose}>
      <p>
        {r?.adapterName} stopped{last ? ` at step ${last.step} of ${last.totalSteps}` : ''} and has a checkpoint. Beginning a new run
        deletes it.
      </p>
      <div class="row end wrap">
        <Button onClick={onClose}>Cancel</Button>
        {!misfit.value && (
          <Button icon="play" onClick={() => then(() => resumeInterrupted())}>
            Go on with it
          </Button>
        )}
        <Button tone="danger" icon="learn" onClick={() => then(start)}>
          Delete it and learn anew
        </Button>
      </div>
    </Dialog>
  );
}

/** What there is to learn from. */
function Data({ kind }: { kind: 'sft' | 'preference' | 'unpaired' }) {
  const { pairs, rankings, ideals, judgements } = counts.value;
  if (kind === 'sft')
    return (
      <>
        <b>{ideals}</b> ideal {ideals === 1 ? 'answer' : 'answers'}
      </>
    );
  if (kind === 'unpaired')
    return (
      <>
        <b>{judgements}</b> good or bad {judgements === 1 ? 'answer' : 'answers'}
      </>
    );
  return (
    <>
      <b>{pairs}</b> {pairs === 1 ? 'pair' : 'pairs'} from <b>{rankings}</b> {rankings === 1 ? 'ranking' : 'rankings'}
    </>
  );
}

/** How long it will take here, in minutes. */
function Duration() {
  const e = estimate.value;
  if (!e) return gauging.value ? <span class="muted"> · measuring your device…</span> : null;
  return (
    <span class="muted">
      {' '}
      · {roughly(e.seconds)} on this device
      {e.measured === 'run' ? ', as the last run went' : ''}
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
    <section class="card setup" aria-label="What to learn">
      <Segments
        legend="Method"
        value={method}
        choices={METHOD_NAMES.map((m) => ({ value: m, label: formOf(m).learns.en, say: `${formOf(m).title}: ${formOf(m).what.en}` }))}
        onPick={(m) => change({ method: m })}
      />
      <p class="summary">
        <Data kind={form.rows} /> · {form.title}
        <Duration />
      </p>
      <div class="fields">
        <div class="field">
          <label for={name}>Adapter</label>
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
              ? `It learns on from v${known.version} and becomes v${nextVersion(known.versions)}; Adapters can go back to v${known.version}.`
              : 'A new adapter; the model itself stays as it is.'}
          </small>
        </div>
        {fields
          .filter((f) => f.basic)
          .map((f) => (
            <Input key={`${method}-${f.key}`} field={f} method={method} />
          ))}
      </div>
      <details class="advanced">
        <summary>Advanced {changed && <small class="muted">· changed</small>}</summary>
        {form.groups.map((group) => {
          const own = fields.filter((f) => f.group === group && !f.basic);
          return (
            own.length > 0 && (
              <fieldset key={group} class="group">
                <legend>{group}</legend>
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
          Back to the defaults
        </Button>
      </details>
      <div class="row wrap">
        <Button
          tone="primary"
          icon="learn"
          disabled={!model.value || loading.value !== null || activity.value !== 'idle' || elsewhere.value}
          onClick={begin}
        >
          Learn
        </Button>
        {elsewhere.value && <small class="muted">Another tab of this page is learning. One run at a time.</small>}
        {!model.value && (
          <small class="muted">
            <a href="#/model">Load a model</a> first
          </small>
        )}
        {model.value && rows === 0 && (
          <small class="muted">
            {form.rows === 'sft' ? 'Edit an answer into the ideal one' : 'Rank some answers in a chat'}, or{' '}
            <a href="#/feedback">import a dataset</a>.
          </small>
        )}
      </div>
      {asking && <AskFirst onClose={() => setAsking(false)} />}
    </section>
  );
}

const STATUS: Record<string, string> = {
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
        <b>{failed ? `It failed${last ? ` after step ${last.step}` : ''}` : 'The page was closed before this run ended'}</b>
        {failed && <p class="field-error">{r.error}</p>}
        <p>
          {resumable.value
            ? `A checkpoint with optimizer, schedule and position was saved; the run can go on from there${failed ? '.' : ' as if nothing had happened.'}`
            : 'No checkpoint had been saved yet, so it can only begin anew.'}
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
              Go on
            </Button>
          )}
          <Button small onClick={() => void discardInterrupted()}>
            Discard
          </Button>
          {resumable.value && !model.value && <small class="muted">{r.model} must be loaded first.</small>}
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
    <Dialog title="Stop learning?" onClose={onClose}>
      <p>
        {r.adapterName} has learnt for {last.step} of {last.totalSteps} steps. You can keep what it has learnt so far, or throw that away:{' '}
        {known ? 'then it is again what it was before this run.' : 'then there is no such adapter.'}
      </p>
      <div class="row end wrap">
        <Button onClick={onClose}>Go on learning</Button>
        <Button tone="danger" icon="trash" onClick={() => end('discard')}>
          Throw it away
        </Button>
        <Button tone="primary" icon="check" onClick={() => end('keep')}>
          Keep what was learnt
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
    ['step', last ? `${last.step} / ${total}` : '–', 'changes made to the adapter, of all'],
    ['epoch', last ? value(last.epoch) : '–', 'times that all of the data was seen'],
    ['tokens/s', value(last?.tokens_per_second), 'pieces of words that it learns from in a second'],
    going
      ? ['time left', duration(last?.seconds_left ?? NaN), 'at the present pace']
      : ['took', r.ended ? duration((r.ended - r.started) / 1000) : '–', 'from the first step to the last'],
  ];
  return (
    <section class={`card run ${r.status}`} aria-label="Training run">
      <header>
        <span class={`dot ${LAMP[r.status] ?? ''}`} />
        <b>{STATUS[r.status]}</b>
        <span class="muted">
          {r.method.toUpperCase()} → {r.adapterName}
        </span>
        <span class="grow" />
        {going && (
          <>
            {activity.value === 'paused' ? (
              <Button small icon="play" onClick={() => void resume()}>
                Resume
              </Button>
            ) : (
              <Button small icon="pause" disabled={r.status === 'starting' || pausing.value} onClick={() => void pause()}>
                {pausing.value ? 'Pausing…' : 'Pause'}
              </Button>
            )}
            <Button
              small
              icon="check"
              disabled={r.metrics.length === 0}
              title="End here and keep the adapter as it is now"
              onClick={() => stop('keep')}
            >
              Finish now
            </Button>
            <Button
              small
              tone="danger"
              icon="close"
              title="End and put the adapter back to what it was"
              onClick={() => (r.metrics.length > 0 ? setAsking(true) : stop('discard'))}
            >
              Cancel
            </Button>
          </>
        )}
      </header>

      {pausing.value && (
        <p class="hint" role="status">
          It pauses after this step.
        </p>
      )}
      {going && asking && <AskToCancel onClose={() => setAsking(false)} />}
      {going && <progress aria-label="Steps done" max={1} value={last && total > 0 ? last.step / total : undefined} />}
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
          This run goes on in another tab; pause or cancel it there.
        </p>
      )}
      {!going && !elsewhere.value && (r.status === 'interrupted' || r.status === 'failed') && <Unfinished />}
      {r.status === 'unsaved' && (
        <div class="row wrap done-line warn">
          <span>
            <b>{r.adapterName}</b> is active, but found no room on disk. Free some space, then save it; until then, keep this tab open.
          </span>
          <span class="grow" />
          <Button small tone="primary" icon="again" onClick={() => void flush(true)}>
            Save again
          </Button>
        </div>
      )}
      {r.status === 'done' && (
        <div class="row wrap done-line">
          <span>
            <b>{r.adapterName}</b> is active. Ask again to see what changed.
          </span>
          <span class="grow" />
          <Button
            small
            tone="primary"
            icon="again"
            disabled={!canAsk.value || live.value !== null || !adapters.value.some((a) => a.name === r.adapterName && a.loaded)}
            onClick={() => void askAfterLearning(r.adapterName)}
          >
            Ask again
          </Button>
        </div>
      )}
      {r.metrics.length > 0 && !going && <Headline run={r} />}
      {r.metrics.length > 0 && <RunCharts run={r} />}
      <small class="muted">
        Begun {when(r.started)} on {r.model} · {rowsOf(r.method, r.rows)}
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
        <h1 tabIndex={-1}>Learn</h1>
      </header>
      <p class="lede">Your judgements become a small adapter (LoRA) beside the model. It can be switched off at any time.</p>
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
