import { useState } from 'preact/hooks';
import { loadAfterReload } from '../state/boot.ts';
import { cancelLoad, capable, info, load, loadError, loading, memory, model, modelName, offers, unload } from '../state/engine.ts';
import { go } from '../state/router.ts';
import { allowHosts } from '../state/hosts.ts';
import { settings } from '../state/settings.ts';
import { Button, dropzone, FilePick } from '../ui/basic.tsx';
import { bytes, count, duration } from '../ui/format.ts';
import { Icon } from '../ui/icons.tsx';

const ACCEPT = '.gguf,.safetensors';

async function use(source: string | File, name: string): Promise<void> {
  if (await load(source, name)) go('chat');
}

function NoWebGPU({ reason }: { reason: string }) {
  return (
    <div class="notice error block" role="alert" data-code="webgpu-unavailable">
      <Icon name="warn" />
      <div>
        <b>This browser offers no WebGPU</b>
        <p>{reason}</p>
        <p class="muted">
          fledgling computes on the graphics card through WebGPU. A current Chrome or Edge has it; so do Safari 26 and Firefox on most systems. The page must come from <code>https://</code> or <code>localhost</code>. On Linux,
          Chrome may need <code>chrome://flags/#enable-unsafe-webgpu</code>. Your chats and feedback can be read and exported without it.
        </p>
      </div>
    </div>
  );
}

function Progress() {
  const l = loading.value!;
  const share = l.total > 0 ? l.loaded / l.total : 0;
  const left = l.rate > 0 && l.total > 0 ? (l.total - l.loaded) / l.rate : NaN;
  return (
    <div class="card load-progress" aria-live="off">
      <header>
        <b>{l.name}</b>
        <span class="grow" />
        <Button small icon="close" onClick={cancelLoad}>
          Cancel
        </Button>
      </header>
      <progress aria-label={`Loading ${l.name}`} max={1} value={l.total > 0 ? share : undefined} />
      <div class="row wrap muted numbers">
        <span>
          {bytes(l.loaded)}
          {l.total > 0 && ` of ${bytes(l.total)} (${Math.floor(share * 100)} %)`}
        </span>
        <span class="grow" />
        <span>{l.status === 'done' ? 'preparing kernels…' : l.fromCache ? 'from this browser’s storage' : l.rate > 0 ? `${bytes(l.rate)}/s${Number.isFinite(left) ? `, ${duration(left)} left` : ''}` : 'starting…'}</span>
      </div>
    </div>
  );
}

function Loaded() {
  const i = info.value!;
  const m = memory.value;
  const facts: [string, string][] = [
    ['Architecture', `${i.architecture}, ${i.layers} layers × ${i.hiddenSize}`],
    ['Parameters', count(i.parameters)],
    ['Weights', `${i.quantization}, ${bytes(i.fileBytes)}`],
    ['Context', `${i.contextLength} tokens, ${count(i.vocabSize)} symbols`],
    ['Computes on', [i.adapter.name || i.adapter.vendor || 'unnamed adapter', i.adapter.isSoftware ? 'software' : i.adapter.backend].filter(Boolean).join(' · ')],
    ['Graphics memory', bytes(m?.gpuBytes ?? i.gpuBytes)],
    ['wasm memory', bytes(m?.wasmBytes ?? i.wasmBytes)],
    ['SHA-256', i.sha256 ? `${i.sha256.slice(0, 16)}…` : '–'],
  ];
  return (
    <section class="card loaded" aria-label="Model in use">
      <header>
        <span class="dot on" />
        <b>{i.name}</b>
        <span class="grow" />
        <Button small tone="quiet" onClick={() => void unload()}>
          Unload
        </Button>
        <Button small tone="primary" icon="chat" onClick={() => go('chat')}>
          Chat
        </Button>
      </header>
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
  const off = able?.webgpu === false || loading.value !== null;
  const error = loadError.value;
  const host = ((): string | null => {
    try {
      return new URL(address).origin;
    } catch {
      return null;
    }
  })();
  return (
    <div class="page" {...dropzone((files) => !off && files[0] && void use(files[0], modelName(files[0].name)))}>
      <header class="view-head">
        <h1 tabIndex={-1}>Model</h1>
      </header>
      <p class="lede">A language model runs and learns on your own machine. Weights are fetched once and kept in this browser; what you write never leaves it.</p>
      {able?.webgpu === false && <NoWebGPU reason={able.reason ?? 'No suitable graphics adapter was found.'} />}
      {error && (
        <div class="notice error block" role="alert" data-code={error.code}>
          <Icon name="warn" />
          <div>
            <b>{error.title}</b>
            <p>{error.detail}</p>
            <p class="muted">{error.hint}</p>
            {error.code === 'host-not-allowed' && host && (
              <Button
                small
                icon="lock"
                onClick={() => {
                  loadAfterReload(address, modelName(address));
                  void allowHosts([...settings.value.modelHosts, host]);
                }}
              >
                {`Allow ${host} and reload`}
              </Button>
            )}
          </div>
        </div>
      )}
      {loading.value ? <Progress /> : model.value && <Loaded />}

      {offers.value.length > 0 && (
        <section aria-labelledby="on-offer">
          <h2 id="on-offer">On offer here</h2>
          <ul class="offers">
            {offers.value.map((o) => (
              <li key={o.url} class="card offer">
                <div>
                  <b>{o.name}</b>
                  <small class="muted">{bytes(o.bytes)}</small>
                </div>
                <Button tone={model.value ? 'plain' : 'primary'} icon="download" disabled={off} aria-label={`Load ${o.name}`} onClick={() => void use(o.url, o.name)}>
                  Load
                </Button>
              </li>
            ))}
          </ul>
        </section>
      )}

      <section aria-labelledby="own-file">
        <h2 id="own-file">Your own file</h2>
        <div class="drop">
          <Icon name="file" size={26} />
          <p>
            Drop a <b>.gguf</b> or <b>.safetensors</b> file anywhere on this page
          </p>
          <FilePick label="Choose a file" accept={ACCEPT} disabled={off} onFiles={(f) => void use(f[0]!, modelName(f[0]!.name))} />
        </div>
      </section>

      <section aria-labelledby="by-address">
        <h2 id="by-address">An address</h2>
        <form
          class="row address"
          onSubmit={(e) => {
            e.preventDefault();
            if (address.trim()) void use(address.trim(), modelName(address.trim()));
          }}
        >
          <input type="text" inputMode="url" aria-label="Address of a model file" placeholder="https://…/model.gguf" value={address} spellcheck={false} onInput={(e) => setAddress(e.currentTarget.value)} />
          <Button type="submit" icon="download" disabled={off || !address.trim()}>
            Load
          </Button>
        </form>
        <p class="hint">
          <Icon name="lock" size={14} /> Besides this server, the page may fetch from {settings.value.modelHosts.length ? settings.value.modelHosts.join(', ') : 'no other host'}. <a href="#/settings">Change</a>
        </p>
      </section>

      <p class="hint adapter-line">
        {able === null
          ? 'Looking for a graphics adapter…'
          : able.webgpu && able.adapter
            ? `Graphics adapter: ${[able.adapter.name || able.adapter.vendor, able.adapter.isSoftware ? 'a software one: everything works, slowly' : able.adapter.backend].filter(Boolean).join(' · ')}`
            : ''}
      </p>
    </div>
  );
}
