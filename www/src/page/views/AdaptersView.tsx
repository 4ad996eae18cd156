import { useState } from 'preact/hooks';
import type { AdapterFiles } from '../api.ts';
import { cut, PageError } from '../model/errors.ts';
import { rowsOf, sayEffect } from '../model/effect.ts';
import { formOf } from '../model/learnArgs.ts';
import type { Version } from '../model/types.ts';
import { unzipNamed, zipFolder } from '../model/zip.ts';
import {
  activate,
  active,
  adapters,
  addAdapter,
  exportFiles,
  freeName,
  removeAdapter,
  removeVersion,
  renameAdapter,
  type StoredAdapter,
  useVersion,
} from '../state/adapters.ts';
import { useDrops } from '../state/drops.ts';
import { activity, info, model } from '../state/engine.ts';
import { live } from '../state/ask.ts';
import { report, toast } from '../state/notices.ts';
import { Button, Dialog, FilePick, NameDialog } from '../ui/basic.tsx';
import { bytes, offerFile, value, when } from '../ui/format.ts';
import { t } from '../i18n/language.ts';

const CONFIG = 'adapter_config.json';
const WEIGHTS = 'adapter_model.safetensors';
/** A configuration larger than this is none. */
const LARGEST_CONFIG = 1 << 20;
/** An adapter larger than this is refused unread: it would be larger than the models this page loads. */
const LARGEST = 2 ** 31;

/** The two files of a PEFT folder from what was chosen or dropped: both files, or one .zip with them. */
async function peftFolder(files: File[]): Promise<{ name: string; files: AdapterFiles }> {
  const zip = files.find((f) => f.name.toLowerCase().endsWith('.zip'));
  if (zip) {
    if (zip.size > LARGEST)
      throw new PageError(
        'bad-adapter',
        t('{name} has {size} bytes; at most {most} are read.', { name: zip.name, size: zip.size, most: LARGEST }),
      );
    const found = await unzipNamed(zip, [
      { name: CONFIG, largest: LARGEST_CONFIG },
      { name: WEIGHTS, largest: LARGEST },
    ]);
    const config = found.get(CONFIG);
    const weights = found.get(WEIGHTS);
    if (!config || !weights)
      throw new PageError(
        'bad-adapter',
        config || weights
          ? t('{name} holds no PEFT folder: expected {CONFIG} and {WEIGHTS}, found only {found}.', {
              name: zip.name,
              CONFIG,
              WEIGHTS,
              found: config ? CONFIG : WEIGHTS,
            })
          : t('{name} holds no PEFT folder: expected {CONFIG} and {WEIGHTS}.', { name: zip.name, CONFIG, WEIGHTS }),
      );
    return { name: zip.name.replace(/\.zip$/i, ''), files: { [CONFIG]: new TextDecoder().decode(config), [WEIGHTS]: weights } };
  }
  const config = files.find((f) => f.name === CONFIG);
  const weights = files.find((f) => f.name === WEIGHTS);
  if (!config || !weights)
    throw new PageError(
      'bad-adapter',
      t('Expected both {CONFIG} and {WEIGHTS} (or a .zip with them), found {found}.', {
        CONFIG,
        WEIGHTS,
        found: cut(files.map((f) => f.name).join(', '), 200),
      }),
    );
  if (config.size > LARGEST_CONFIG)
    throw new PageError(
      'bad-adapter',
      t('{name} has {size} bytes; at most {most} are read.', { name: config.name, size: config.size, most: LARGEST_CONFIG }),
    );
  if (weights.size > LARGEST)
    throw new PageError(
      'bad-adapter',
      t('{name} has {size} bytes; at most {most} are read.', { name: weights.name, size: weights.size, most: LARGEST }),
    );
  return { name: 'adapter', files: { [CONFIG]: await config.text(), [WEIGHTS]: new Uint8Array(await weights.arrayBuffer()) } };
}

/** Downloads a PEFT folder as one zip. */
async function download(name: string): Promise<void> {
  const files = await exportFiles(name);
  offerFile(
    `${name}.zip`,
    await zipFolder(name, { [CONFIG]: new TextEncoder().encode(files[CONFIG]), [WEIGHTS]: files[WEIGHTS] }),
    'application/zip',
  );
}

/** What a version came of: the data, the loss, and what it does. */
const madeOf = (v: Version): string =>
  [
    v.method
      ? v.rows
        ? t('{method} on {rows}', { method: formOf(v.method).title, rows: rowsOf(v.method, v.rows) })
        : formOf(v.method).title
      : t('from files'),
    v.loss && t('loss {from} → {to}', { from: value(v.loss[0]), to: value(v.loss[1]) }),
    sayEffect(v),
  ]
    .filter(Boolean)
    .join(' · ');

function VersionList({ a, locked }: { a: StoredAdapter; locked: boolean }) {
  return (
    <details class="versions">
      <summary>{t('{n} {n|version|versions}', { n: a.versions.length })}</summary>
      <ul aria-label={t('Versions of {name}', { name: a.name })}>
        {a.versions.toReversed().map((v) => (
          <li key={v.n}>
            <span>
              <b>v{v.n}</b> {v.n === a.version && <span class="tag">{t('in use')}</span>}
              <small class="muted">
                {when(v.at)} · {madeOf(v)}
              </small>
            </span>
            {v.n !== a.version && (
              <span class="row">
                <Button
                  small
                  icon="again"
                  disabled={locked}
                  aria-label={t('Use v{n} of {name}', { n: v.n, name: a.name })}
                  onClick={() => void useVersion(a.name, v.n).catch((e: unknown) => report(e))}
                >
                  {t('Use')}
                </Button>
                <Button
                  small
                  tone="quiet"
                  icon="trash"
                  aria-label={t('Delete v{n} of {name}', { n: v.n, name: a.name })}
                  title={t('Delete')}
                  disabled={locked}
                  onClick={() => void removeVersion(a.name, v.n).catch((e: unknown) => report(e))}
                />
              </span>
            )}
          </li>
        ))}
      </ul>
    </details>
  );
}

function Row({ a, locked }: { a: StoredAdapter; locked: boolean }) {
  const [renaming, setRenaming] = useState(false);
  const [deleting, setDeleting] = useState(false);
  const on = active.value === a.name;
  const now = a.versions.find((v) => v.n === a.version);
  return (
    <li class={`card adapter ${on ? 'on' : ''}`}>
      <label class="adapter-pick">
        <input type="radio" name="adapter" checked={on} disabled={!a.loaded || locked} onChange={() => void activate(a.name)} />
        <span>
          <b>{a.name}</b>
          <small class="muted">
            {`LoRA r ${a.r}, alpha ${a.loraAlpha}`} ·{' '}
            {a.targetModules.length > 4 ? t('{n} modules', { n: a.targetModules.length }) : a.targetModules.join(', ') || t('no modules')} ·{' '}
            {bytes(a.bytes)}
          </small>
          {now && (
            <small>
              v{a.version} · {when(now.at)} · {madeOf(now)}
            </small>
          )}
          {a.at === 0 && <small class="field-error">{t('not saved: it found no room on disk')}</small>}
          {a.error && <small class="field-error">{a.error}</small>}
          {!a.loaded && !a.error && model.value && <small class="muted">{t('not loaded')}</small>}
        </span>
      </label>
      <div class="row">
        <Button
          small
          tone="quiet"
          icon="edit"
          aria-label={t('Rename {name}', { name: a.name })}
          title={t('Rename')}
          disabled={locked}
          onClick={() => setRenaming(true)}
        />
        <Button
          small
          tone="quiet"
          icon="download"
          aria-label={t('Download {name}', { name: a.name })}
          title={t('Download as a PEFT folder (.zip)')}
          onClick={() => void download(a.name).catch((e: unknown) => report(e))}
        />
        <Button
          small
          tone="quiet"
          icon="trash"
          aria-label={t('Delete {name}', { name: a.name })}
          title={t('Delete')}
          disabled={locked}
          onClick={() => setDeleting(true)}
        />
      </div>
      {a.versions.length > 1 && <VersionList a={a} locked={locked} />}
      {renaming && (
        <NameDialog
          title={t('Rename this adapter')}
          label={t('Name')}
          value={a.name}
          onSave={(n) => renameAdapter(a.name, n)}
          onClose={() => setRenaming(false)}
        />
      )}
      {deleting && (
        <Dialog title={t('Delete {name}?', { name: a.name })} onClose={() => setDeleting(false)}>
          <p>{t('What this adapter has learnt is gone for good. Download it first to keep a copy.')}</p>
          <div class="row end">
            <Button onClick={() => setDeleting(false)}>{t('Keep it')}</Button>
            <Button
              tone="danger"
              icon="trash"
              onClick={() => {
                setDeleting(false);
                void removeAdapter(a.name)
                  .then(() => toast(t('{name} deleted', { name: a.name })))
                  .catch((e: unknown) => report(e));
              }}
            >
              {t('Delete')}
            </Button>
          </div>
        </Dialog>
      )}
    </li>
  );
}

export function AdaptersView() {
  const [incoming, setIncoming] = useState<{ name: string; files: AdapterFiles } | null>(null);
  const locked = live.value !== null || activity.value !== 'idle';
  const take = async (files: File[]): Promise<void> => {
    try {
      setIncoming(await peftFolder(files));
    } catch (e) {
      report(e);
    }
  };
  useDrops('adapters', ({ files }) => void take(files));
  return (
    <div class="page">
      <header class="view-head">
        <h1 tabIndex={-1}>{t('Adapters')}</h1>
        <span class="grow" />
        <FilePick label={t('Load from files')} accept=".json,.safetensors,.zip" multiple onFiles={(f) => void take(f)} />
      </header>
      <p class="lede">{t('What was learnt, as PEFT folders. One is active at a time; none means the model as it came.')}</p>
      <ul class="adapters" aria-label={t('Active adapter')}>
        <li class={`card adapter ${active.value === null ? 'on' : ''}`}>
          <label class="adapter-pick">
            <input type="radio" name="adapter" checked={active.value === null} disabled={locked} onChange={() => void activate(null)} />
            <span>
              <b>{t('Base model')}</b>
              <small class="muted">
                {info.value ? info.value.name : t('no model loaded')} · {t('adapters off')}
              </small>
            </span>
          </label>
        </li>
        {adapters.value.map((a) => (
          <Row key={a.name} a={a} locked={locked} />
        ))}
      </ul>
      {adapters.value.length === 0 && (
        <p class="muted none">
          {t('No adapter yet. Learn from your feedback, or load a PEFT folder: {CONFIG} and {WEIGHTS}.', { CONFIG, WEIGHTS })}
        </p>
      )}
      {incoming && (
        <NameDialog
          title={t('Load an adapter')}
          label={t('Name')}
          value={freeName(incoming.name)}
          onSave={async (name) => {
            if (adapters.value.some((a) => a.name === name))
              throw new PageError('bad-config', t('There is already an adapter called {name}.', { name }));
            await addAdapter(name, incoming.files);
            toast(t('{name} loaded', { name }));
          }}
          onClose={() => setIncoming(null)}
        />
      )}
    </div>
  );
}
