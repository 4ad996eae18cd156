import { useEffect, useState } from 'preact/hooks';
import { cachedModels, deleteCachedModel, type CachedModel } from '../api.ts';
import { HUGGING_FACE, hostSource } from '../model/hosts.ts';
import { hostsInForce, kept, modelName, refreshKept } from '../state/engine.ts';
import { allowHosts, enforced } from '../state/hosts.ts';
import { announce, report, toast } from '../state/notices.ts';
import { ALL_DELETED, forgetAll, saveState, tellOthers } from '../state/saver.ts';
import { change, settings } from '../state/settings.ts';
import { removeKept } from '../storage/models.ts';
import { persist, removeAll, usage, type Usage } from '../storage/opfs.ts';
import { Button, Dialog, Segments, Slider, Switch } from '../ui/basic.tsx';
import { bytes } from '../ui/format.ts';
import { Weights } from './Weights.tsx';
import { between, LANGUAGES, t, type Language } from '../i18n/language.ts';

function Hosts() {
  const [typed, setTyped] = useState('');
  const [wrong, setWrong] = useState('');
  const hosts = settings.value.modelHosts;
  const inForce = enforced(hosts);
  const add = (more: string[]): void => void allowHosts([...hosts, ...more]).catch((e: unknown) => report(e));
  return (
    <section class="card" aria-labelledby="hosts">
      <h2 id="hosts">{t('Hosts for models')}</h2>
      <p class="muted">
        {t(
          'The browser lets this page talk to its own server and to the hosts listed here, and to nobody else: the list is part of the page’s {policy}.',
          {
            policy: 'Content-Security-Policy',
          },
        )}
        {between()}
        {t('Changing it reloads the page.')}
      </p>
      {!inForce && (
        <p class="notice block" role="status">
          {t('The saved list is not in force yet; reload the page. In force now: {hosts}.', {
            hosts: hostsInForce().join(', ') || t('this server only'),
          })}
        </p>
      )}
      <ul class="hosts">
        {hosts.map((h) => (
          <li key={h}>
            <code>{h}</code>
            <Button
              small
              tone="quiet"
              icon="trash"
              aria-label={t('No longer allow {host}', { host: h })}
              onClick={() => void allowHosts(hosts.filter((x) => x !== h)).catch((e: unknown) => report(e))}
            />
          </li>
        ))}
        {hosts.length === 0 && <li class="muted">{t('none: this server only')}</li>}
      </ul>
      <form
        class="row wrap address"
        onSubmit={(e) => {
          e.preventDefault();
          const source = hostSource(typed);
          if (source) add([source]);
          else
            setWrong(
              t('“{typed}” is not a host that can be allowed: expected https://example.org, or http://localhost with a port.', { typed }),
            );
        }}
      >
        <input
          type="text"
          inputMode="url"
          aria-label={t('Host to allow')}
          placeholder="https://example.org"
          spellcheck={false}
          value={typed}
          aria-invalid={wrong !== ''}
          onInput={(e) => (setTyped(e.currentTarget.value), setWrong(''))}
        />
        <Button type="submit" icon="plus" disabled={!typed.trim()}>
          {t('Allow')}
        </Button>
        {!HUGGING_FACE.every((h) => hosts.includes(h)) && (
          <Button tone="quiet" onClick={() => add(HUGGING_FACE)}>
            {t('Allow Hugging Face')}
          </Button>
        )}
      </form>
      {wrong && (
        <p class="field-error" role="alert">
          {wrong}
        </p>
      )}
    </section>
  );
}

function Storage() {
  const [used, setUsed] = useState<Usage | null>(null);
  const [cached, setCached] = useState<CachedModel[]>([]);
  const [asking, setAsking] = useState(false);
  const look = (): void => {
    void usage().then(setUsed);
    void cachedModels().then(setCached);
    void refreshKept();
  };
  useEffect(look, []);
  return (
    <section class="card" aria-labelledby="storage">
      <h2 id="storage">{t('Storage')}</h2>
      {used && (
        <>
          <p class="muted">
            {t('{used} used of {quota} that the browser grants.', { used: bytes(used.used), quota: bytes(used.quota) })}
            {between()}
            {used.persistent ? t('The browser keeps it until you delete it.') : t('The browser may clear it when it runs short of space.')}
          </p>
          <meter aria-label={t('Storage in use')} min={0} max={used.quota || 1} high={(used.quota || 1) * 0.9} value={used.used} />
        </>
      )}
      <p class="muted">
        {saveState.value === 'saved'
          ? t('Everything is saved.')
          : saveState.value === 'saving'
            ? t('Saving…')
            : t('Some changes are not saved yet.')}
      </p>
      <h3>{t('Models')}</h3>
      <ul class="hosts">
        {cached.map((m) => (
          <li key={m.address}>
            <span>
              {modelName(m.address)}{' '}
              <small class="muted">
                {bytes(m.bytes)}
                {m.complete ? '' : t(', incomplete')}
              </small>
            </span>
            <Button
              small
              tone="quiet"
              icon="trash"
              aria-label={t('Delete the download {name}', { name: modelName(m.address) })}
              onClick={() =>
                void deleteCachedModel(m.address)
                  .then(() => (toast(t('Download deleted')), look()))
                  .catch((e: unknown) => report(e))
              }
            />
          </li>
        ))}
        {kept.value.map((k) => (
          <li key={k.source}>
            <span>
              {k.name}{' '}
              <small class="muted">
                {bytes(k.bytes)}, {t('your own file')}
              </small>
            </span>
            <Button
              small
              tone="quiet"
              icon="trash"
              aria-label={t('Delete the copy of {name}', { name: k.name })}
              onClick={() =>
                void removeKept(k.source)
                  .then(() => (toast(t('Copy deleted')), look()))
                  .catch((e: unknown) => report(e))
              }
            />
          </li>
        ))}
        {cached.length + kept.value.length === 0 && <li class="muted">{t('none')}</li>}
      </ul>
      <div class="row wrap">
        {used && !used.persistent && (
          <Button
            icon="lock"
            onClick={() =>
              void persist().then((ok) => {
                announce(ok ? t('Storage is persistent now') : t('The browser did not agree'));
                if (!ok) toast(t('The browser did not agree; it decides by how often you visit'));
                look();
              })
            }
          >
            {t('Ask the browser to keep it')}
          </Button>
        )}
        <Button tone="danger" icon="trash" onClick={() => setAsking(true)}>
          {t('Delete everything')}
        </Button>
      </div>
      {asking && (
        <Dialog title={t('Delete everything?')} onClose={() => setAsking(false)}>
          <p>{t('Chats, feedback, adapters, settings and downloaded models of this page are gone for good.')}</p>
          <div class="row end">
            <Button onClick={() => setAsking(false)}>{t('Keep it all')}</Button>
            <Button
              tone="danger"
              icon="trash"
              onClick={() =>
                void (async () => {
                  try {
                    forgetAll();
                    await removeAll();
                    for (const m of await cachedModels()) await deleteCachedModel(m.address);
                    // Other tabs would write again what they still hold.
                    tellOthers(ALL_DELETED);
                    location.reload();
                  } catch (e) {
                    report(e);
                    setAsking(false);
                  }
                })()
              }
            >
              {t('Delete everything')}
            </Button>
          </div>
        </Dialog>
      )}
    </section>
  );
}

export function SettingsView() {
  const s = settings.value;
  return (
    <div class="page">
      <header class="view-head">
        <h1 tabIndex={-1}>{t('Settings')}</h1>
      </header>
      <section class="card" aria-labelledby="look">
        <h2 id="look">{t('Appearance')}</h2>
        <Segments
          legend={t('Theme')}
          value={s.theme}
          choices={[
            { value: 'system', label: t('System'), icon: 'auto' },
            { value: 'light', label: t('Light'), icon: 'sun' },
            { value: 'dark', label: t('Dark'), icon: 'moon' },
          ]}
          onPick={(theme) => change({ theme })}
        />
        <Segments
          legend={t('Language')}
          showLegend
          small
          value={s.language}
          choices={[
            { value: 'system', label: t('As the browser') },
            ...Object.entries(LANGUAGES).map(([value, label]) => ({ value: value as Language, label })),
          ]}
          onPick={(language) => change({ language })}
        />
      </section>
      <section class="card" aria-labelledby="judging">
        <h2 id="judging">{t('Weights of the criteria')}</h2>
        <p class="muted">
          {t('How much each counts towards the overall order, which is what trains. An order set by hand stays as you set it.')}
        </p>
        <Weights />
      </section>
      <section class="card" aria-labelledby="sampling">
        <h2 id="sampling">{t('Answers')}</h2>
        <div class="stack">
          <label class="stacked">
            {t('System prompt of new chats')}{' '}
            <textarea
              rows={3}
              value={s.system}
              placeholder={t('none: the model’s own default')}
              onInput={(e) => change({ system: e.currentTarget.value })}
            />
          </label>
          <div class="weights">
            <Slider
              label="temperature"
              min={0}
              max={2}
              step={0.05}
              value={s.temperature}
              onInput={(v) => change({ temperature: v })}
              format={(v) => (v === 0 ? t('greedy') : v.toFixed(2))}
            />
            <Slider
              label="top_p"
              min={0.05}
              max={1}
              step={0.05}
              value={s.topP}
              onInput={(v) => change({ topP: v })}
              format={(v) => v.toFixed(2)}
            />
            <Slider
              label="top_k"
              min={0}
              max={200}
              step={1}
              value={s.topK}
              onInput={(v) => change({ topK: v })}
              format={(v) => (v === 0 ? t('off') : String(v))}
            />
            <Slider
              label="min_p"
              min={0}
              max={0.5}
              step={0.01}
              value={s.minP}
              onInput={(v) => change({ minP: v })}
              format={(v) => (v === 0 ? t('off') : v.toFixed(2))}
            />
            <Slider
              label="repetition_penalty"
              min={1}
              max={2}
              step={0.05}
              value={s.repetitionPenalty}
              onInput={(v) => change({ repetitionPenalty: v })}
              format={(v) => (v === 1 ? t('off') : v.toFixed(2))}
            />
            <Slider
              label="max_new_tokens"
              min={8}
              max={1024}
              step={8}
              value={s.maxNewTokens}
              onInput={(v) => change({ maxNewTokens: v })}
            />
          </div>
          <label class="stacked">
            {t('Seed')}{' '}
            <input
              type="text"
              inputMode="numeric"
              class="short"
              placeholder={t('a new one for each question')}
              value={s.seed ?? ''}
              onChange={(e) => {
                const v = e.currentTarget.value.trim();
                const n = Number(v);
                change({ seed: v === '' || !Number.isInteger(n) || n < 0 || n > 2 ** 32 - 1 ? null : n });
                e.currentTarget.value = settings.value.seed === null ? '' : String(settings.value.seed);
              }}
            />
          </label>
        </div>
      </section>
      <section class="card" aria-labelledby="opening">
        <h2 id="opening">{t('Models')}</h2>
        <Switch label={t('Load the last model by itself on opening')} checked={s.openLast} onChange={(v) => change({ openLast: v })} />
        <Segments
          legend={t('Compute on')}
          small
          showLegend
          value={s.device}
          choices={[
            { value: 'auto', label: t('Auto'), say: t('The graphics card; where there is only a software one, whichever is faster') },
            { value: 'gpu', label: t('Graphics'), say: t('The graphics card') },
            { value: 'cpu', label: t('Processor'), say: t('The processor') },
          ]}
          onPick={(device) => change({ device })}
        />
        <small class="muted">
          {t('Counts from the next load on.')} <a href="#/bench">{t('Measure this device')}</a>
        </small>
      </section>
      <Hosts />
      <Storage />
    </div>
  );
}
