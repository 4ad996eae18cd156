import { useState } from 'preact/hooks';
import type { AdapterDescription } from '../api.ts';
import { chosenModel } from '../model/modelFiles.ts';
import { loadAfterReload } from '../state/boot.ts';
import { useDrops } from '../state/drops.ts';
import {
  activity,
  canLoad,
  capable,
  hostsInForce,
  info,
  keeping,
  kept,
  load,
  loadError,
  loading,
  memory,
  model,
  modelName,
  offers,
  refreshKept,
  unload,
  unloaded,
  type Source,
} from '../state/engine.ts';
import { neededFor } from '../model/hosts.ts';
import { useProcessor } from '../state/recovery.ts';
import { describe, PageError } from '../model/errors.ts';
import { go } from '../state/router.ts';
import { allowHosts } from '../state/hosts.ts';
import { report, toast } from '../state/notices.ts';
import { settings } from '../state/settings.ts';
import { removeKept } from '../storage/models.ts';
import { Button, FilePick } from '../ui/basic.tsx';
import { bytes, count } from '../ui/format.ts';
import { Icon } from '../ui/icons.tsx';
import { Progress } from './Progress.tsx';
import { listOf, rich, t } from '../i18n/language.ts';

async function use(source: Source, name: string): Promise<void> {
  if (await load(source, name)) go('chat');
}

/** Files that were chosen or dropped: one GGUF, or a folder of safetensors. */
async function useFiles(files: readonly File[], folder?: string): Promise<void> {
  try {
    if (!canLoad.value && activity.value === 'idle') throw new PageError('busy', t('Another model is being loaded.'));
    const chosen = chosenModel(files, folder);
    await use(chosen.files, chosen.name);
  } catch (e) {
    loadError.value = describe(e);
  }
}

const described = (a: AdapterDescription): string =>
  [a.name || a.vendor, a.isSoftware ? t('a software one: everything works, slowly') : a.backend].filter(Boolean).join(' · ');

function Loaded() {
  const i = info.value!;
  const m = memory.value;
  const cpu = i.adapter.device === 'cpu';
  const facts: [string, string][] = [
    [
      t('Architecture'),
      t('{architecture}, {layers} layers × {size}', { architecture: i.architecture, layers: i.layers, size: i.hiddenSize }),
    ],
    [t('Parameters'), count(i.parameters)],
    [t('Weights'), `${i.quantization}, ${bytes(i.fileBytes)}`],
    [t('Context'), t('{length} tokens, {vocabulary} symbols', { length: i.contextLength, vocabulary: count(i.vocabSize) })],
    [
      t('Computes on'),
      [i.adapter.name || i.adapter.vendor || t('unnamed adapter'), cpu ? '' : i.adapter.isSoftware ? t('software') : i.adapter.backend]
        .filter(Boolean)
        .join(' · '),
    ],
    [cpu ? t('Model memory') : t('Graphics memory'), bytes(m?.gpuBytes ?? i.gpuBytes)],
    [t('wasm memory'), bytes(m?.wasmBytes ?? i.wasmBytes)],
    ['SHA-256', i.sha256 ? `${i.sha256.slice(0, 16)}…` : '–'],
  ];
  return (
    <section class="card loaded" aria-label={t('Model in use')}>
      <header>
        <span class="dot on" />
        <b>{i.name}</b>
        <span class="grow" />
        <Button small tone="quiet" onClick={() => void unload()}>
          {t('Unload')}
        </Button>
        <Button small tone="primary" icon="chat" onClick={() => go('chat')}>
          {t('Chat')}
        </Button>
      </header>
      {keeping.value && (
        <p class="hint" role="status">
          {t('Keeping a copy in this browser… {percent} %', { percent: Math.floor(100 * keeping.value.share) })}
        </p>
      )}
      {i.adapter.reason && <p class="hint">{i.adapter.reason}</p>}
      <dl class="facts">
        {facts.map(([k, v]) => (
          <div key={k}>
            <dt>{k}</dt>
            <dd>{v}</dd>
          </div>
        ))}
      </dl>
    </section>
  );
}

export function ModelView() {
  const [address, setAddress] = useState('');
  const able = capable.value;
  const off = !canLoad.value;
  const error = loadError.value;
  useDrops('model', ({ files, folder }) => void useFiles(files, folder));
  const refused = error && ['host-not-allowed', 'redirect-not-allowed'].includes(error.code) ? unloaded.value : null;
  const from = refused && typeof refused.source === 'string' && URL.canParse(refused.source) ? new URL(refused.source) : null;
  // All that the download needs at once: a host that hands it on, and the one that has the files.
  const missing = from ? neededFor(from.origin).filter((h) => !hostsInForce().includes(h)) : [];
  return (
    <div class="page">
      <header class="view-head">
        <h1 tabIndex={-1}>{t('Model')}</h1>
      </header>
      <p class="lede">
        {t(
          'A language model runs and learns on your own machine. Weights are fetched once and kept in this browser; what you write never leaves it.',
        )}
      </p>
      {error && (
        <div class="notice error block" role="alert" data-code={error.code}>
          <Icon name="warn" />
          <div>
            <b>{error.title}</b>
            <p>{error.detail}</p>
            <p class="muted">{error.hint}</p>
            {['webgpu-unavailable', 'device-lost', 'out-of-memory', 'gpu'].includes(error.code) && unloaded.value && (
              <Button small onClick={() => void useProcessor(unloaded.value!)}>
                {t('Use the processor')}
              </Button>
            )}
            {from && (
              <div class="row wrap">
                {missing.length > 0 && (
                  <Button
                    small
                    icon="lock"
                    onClick={() => {
                      loadAfterReload(from.href, refused!.name);
                      void allowHosts([...settings.value.modelHosts, ...missing]).catch((e: unknown) => report(e));
                    }}
                  >
                    {t('Allow {hosts} and reload', { hosts: listOf(missing) })}
                  </Button>
                )}
                {error.code === 'redirect-not-allowed' && (
                  <Button small icon="settings" onClick={() => go('settings')}>
                    {t('Hosts in Settings')}
                  </Button>
                )}
              </div>
            )}
          </div>
        </div>
      )}
      {loading.value && <Progress />}
      {model.value && !loading.value && <Loaded />}
      {activity.value !== 'idle' && model.value && (
        <p class="hint" role="status">
          {activity.value === 'answering'
            ? t('The model is answering: another can be loaded when that has ended. Unloading stops the answer.')
            : t(
                'The model is learning: another can be loaded when that has ended. Unloading stops the run; it can go on from its checkpoint.',
              )}
        </p>
      )}

      {offers.value.length > 0 && (
        <section aria-labelledby="on-offer">
          <h2 id="on-offer">{t('On offer here')}</h2>
          <ul class="offers">
            {offers.value.map((o) => (
              <li key={o.url} class="card offer">
                <div>
                  <b>{o.name}</b>
                  <small class="muted">{bytes(o.bytes)}</small>
                </div>
                <Button
                  tone={model.value ? 'plain' : 'primary'}
                  icon="download"
                  disabled={off}
                  aria-label={t('Load {name}', { name: o.name })}
                  onClick={() => void use(o.url, o.name)}
                >
                  {t('Load')}
                </Button>
              </li>
            ))}
          </ul>
        </section>
      )}

      {kept.value.length > 0 && (
        <section aria-labelledby="kept">
          <h2 id="kept">{t('Kept in this browser')}</h2>
          <ul class="offers">
            {kept.value.map((k) => (
              <li key={k.source} class="card offer">
                <div>
                  <b>{k.name}</b>
                  <small class="muted">
                    {bytes(k.bytes)} · {k.files.length > 1 ? t('your own folder, {n} files', { n: k.files.length }) : t('your own file')}
                  </small>
                </div>
                <span class="grow" />
                <Button
                  small
                  tone="quiet"
                  icon="trash"
                  aria-label={t('Delete the copy of {name}', { name: k.name })}
                  title={t('Delete the copy')}
                  onClick={() =>
                    void removeKept(k.source)
                      .then(() => (toast(t('Copy deleted')), refreshKept()))
                      .catch((e: unknown) => report(e))
                  }
                />
                <Button
                  icon="file"
                  disabled={off}
                  aria-label={t('Load {name}', { name: k.name })}
                  onClick={() => void use(k.source, k.name)}
                >
                  {t('Load')}
                </Button>
              </li>
            ))}
          </ul>
        </section>
      )}

      <section aria-labelledby="own-file">
        <h2 id="own-file">{t('Your own file')}</h2>
        <div class="drop">
          <Icon name="file" size={26} />
          <p>
            {rich('Drop a {gguf} file, or a folder with {safetensors}, anywhere on this page', {
              gguf: <b>.gguf</b>,
              safetensors: <b>model.safetensors</b>,
            })}
          </p>
          <div class="row wrap">
            <FilePick
              label={t('Choose files')}
              accept=".gguf,.safetensors,.json,.jinja"
              multiple
              disabled={off}
              onFiles={(f) => void useFiles(f)}
            />
            <FilePick
              label={t('Choose a folder')}
              accept=""
              folder
              icon="list"
              tone="quiet"
              disabled={off}
              onFiles={(f) => void useFiles(f)}
            />
          </div>
          <small>{t('A copy is kept in this browser, so that it is there after a reload.')}</small>
        </div>
      </section>

      <section aria-labelledby="by-address">
        <h2 id="by-address">{t('An address')}</h2>
        <form
          class="row address"
          onSubmit={(e) => {
            e.preventDefault();
            if (address.trim()) void use(address.trim(), modelName(address.trim()));
          }}
        >
          <input
            type="text"
            inputMode="url"
            aria-label={t('Address of a model file')}
            placeholder="https://…/model.gguf"
            value={address}
            spellcheck={false}
            onInput={(e) => setAddress(e.currentTarget.value)}
          />
          <Button type="submit" icon="download" disabled={off || !address.trim()}>
            {t('Load')}
          </Button>
        </form>
        <p class="hint">
          <Icon name="lock" size={14} />{' '}
          {settings.value.modelHosts.length
            ? t('Besides this server, the page may fetch from {hosts}.', { hosts: settings.value.modelHosts.join(', ') })
            : t('Besides this server, the page may fetch from no other host.')}{' '}
          <a href="#/settings">{t('Change')}</a>
        </p>
      </section>

      <p class="hint adapter-line">
        {able === null
          ? t('Looking for a graphics adapter…')
          : able.webgpu && able.adapter
            ? t('Graphics adapter: {adapter}', { adapter: described(able.adapter) })
            : t('No graphics adapter: models compute on the processor.')}
      </p>
    </div>
  );
}
