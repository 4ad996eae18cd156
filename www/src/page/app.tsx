import { signal } from '@preact/signals';
import { Component, type ComponentChildren } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { nextTask } from './model/breathe.ts';
import { active } from './state/adapters.ts';
import { ready } from './state/boot.ts';
import { newChat } from './state/chats.ts';
import { dragging } from './state/drops.ts';
import { activity, info, loading, memory } from './state/engine.ts';
import { counts } from './state/feedback.ts';
import { announcement, dismiss, notices, report } from './state/notices.ts';
import { go, navigations, route, type Route } from './state/router.ts';
import { flush, saveState } from './state/saver.ts';
import { change } from './state/settings.ts';
import { theme } from './state/theme.ts';
import { lastStep } from './state/training.ts';
import { live } from './state/ask.ts';
import { Button } from './ui/basic.tsx';
import { bytes } from './ui/format.ts';
import { Icon, Mark, type IconName } from './ui/icons.tsx';
import { AdapterSwitch } from './views/AdapterSwitch.tsx';
import { ChatList } from './views/ChatList.tsx';
import { NoWebGPU } from './views/NoWebGPU.tsx';
import { Trouble } from './views/Trouble.tsx';
import { LANGUAGES, language, t, type Plain } from './i18n/language.ts';

type View = () => ComponentChildren;
// Each view is a script of its own: evaluating all of them at once would hold up the first picture.
const VIEWS: Record<Route, { title: Plain; icon: IconName; load: () => Promise<View> }> = {
  chat: { title: 'Chat', icon: 'chat', load: () => import('./views/ChatView.tsx').then((m) => m.ChatView) },
  learn: { title: 'Learn', icon: 'learn', load: () => import('./views/LearnView.tsx').then((m) => m.LearnView) },
  feedback: { title: 'Feedback', icon: 'feedback', load: () => import('./views/FeedbackView.tsx').then((m) => m.FeedbackView) },
  adapters: { title: 'Adapters', icon: 'adapters', load: () => import('./views/AdaptersView.tsx').then((m) => m.AdaptersView) },
  model: { title: 'Model', icon: 'model', load: () => import('./views/ModelView.tsx').then((m) => m.ModelView) },
  settings: { title: 'Settings', icon: 'settings', load: () => import('./views/SettingsView.tsx').then((m) => m.SettingsView) },
  bench: { title: 'Measure', icon: 'play', load: () => import('./views/BenchView.tsx').then((m) => m.BenchView) },
};

/** Measuring is reached from the settings. */
const IN_NAV = (Object.keys(VIEWS) as Route[]).filter((name) => name !== 'bench');

const loadedViews = signal<Partial<Record<Route, View>>>({});
async function loadView(name: Route): Promise<void> {
  const view = await VIEWS[name].load();
  if (!loadedViews.value[name]) loadedViews.value = { ...loadedViews.value, [name]: view };
}

/** The view in sight first, then the others one by one, so that every later navigation is immediate. */
export async function loadViews(): Promise<void> {
  await loadView(route.value);
  for (const name of Object.keys(VIEWS) as Route[]) {
    await nextTask();
    await loadView(name);
  }
}

function badge(to: Route): string {
  if (to === 'feedback') {
    const { rankings, ideals, judged } = counts.value;
    const all = rankings + ideals + judged;
    return all > 0 ? String(all) : '';
  }
  if (to === 'learn' && (activity.value === 'learning' || activity.value === 'paused')) {
    const m = lastStep.value;
    return m ? `${Math.floor((100 * m.step) / m.totalSteps)} %` : '…';
  }
  return '';
}

function Nav() {
  return (
    <nav class="nav" aria-label={t('Main')}>
      {IN_NAV.map((to) => {
        const { title, icon } = VIEWS[to];
        const extra = badge(to);
        return (
          <a key={to} href={`#/${to}`} class={route.value === to ? 'on' : ''} aria-current={route.value === to ? 'page' : undefined}>
            <Icon name={icon} />
            <span class="nav-title">{t(title)}</span>
            {extra && <span class="badge">{extra}</span>}
          </a>
        );
      })}
    </nav>
  );
}

function ThemeToggle() {
  const next = theme.value === 'dark' ? 'light' : 'dark';
  return (
    <Button
      tone="quiet"
      icon={theme.value === 'dark' ? 'sun' : 'moon'}
      aria-label={next === 'dark' ? t('Switch to the dark theme') : t('Switch to the light theme')}
      title={next === 'dark' ? t('Dark theme') : t('Light theme')}
      onClick={() => change({ theme: next })}
    />
  );
}

/** To the other language, named in that language. */
function LanguageToggle() {
  const other = language() === 'en' ? 'zh' : 'en';
  return (
    <Button
      tone="quiet"
      class="tongue"
      lang={other === 'zh' ? 'zh-CN' : 'en'}
      title={LANGUAGES[other]}
      onClick={() => change({ language: other })}
    >
      {other === 'zh' ? '中文' : 'EN'}
    </Button>
  );
}

/** Which model, and who speaks: base or adapter. */
function ModelChip() {
  const i = info.value;
  const l = loading.value;
  if (l) {
    return (
      <a class="chip-model" href="#/model">
        <span class="dot busy" />
        <span class="chip-text">
          <b>{l.name}</b>
          <small title={l.note}>
            {l.note
              ? t('waiting for the server')
              : l.total > 0
                ? t('loading {percent} %', { percent: Math.floor((100 * l.loaded) / l.total) })
                : l.loaded > 0
                  ? t('loading')
                  : t('measuring your device…')}
          </small>
        </span>
      </a>
    );
  }
  if (!i) {
    return (
      <a class="chip-model" href="#/model">
        <span class="dot" />
        <span class="chip-text">
          <b>{t('No model')}</b>
          <small>{t('choose one')}</small>
        </span>
      </a>
    );
  }
  return (
    <a class="chip-model" href="#/model">
      <span class={`dot ${live.value || activity.value === 'learning' ? 'busy' : 'on'}`} />
      <span class="chip-text">
        <b>
          <span class="sr-only">{t('Model')} </span>
          {i.name}
        </b>
        <small>
          {active.value ?? t('base')}
          {memory.value && ` · ${bytes(memory.value.gpuBytes)}`}
        </small>
      </span>
    </a>
  );
}

/** Whether all is on disk; where it is not, the way to try again. */
function SaveNote() {
  const state = saveState.value;
  return (
    <small class={`save ${state}`} role="status">
      {state === 'saving' && t('saving…')}
      {state === 'failed' && (
        <button type="button" class="link" title={t('Try to save again')} onClick={() => void flush(true)}>
          {t('not saved')}
        </button>
      )}
    </small>
  );
}

function Notices() {
  return (
    <div class="notices">
      <div role="status" aria-live="polite" class="toasts">
        {notices.value
          .filter((n) => n.tone === 'info')
          .map((n) => (
            <div key={n.id} class="notice toast">
              <span>{n.title}</span>
              {n.actions.map((a) => (
                <Button key={a.label} small tone="quiet" onClick={() => (dismiss(n.id), a.run())}>
                  {a.label}
                </Button>
              ))}
            </div>
          ))}
      </div>
      <div class="toasts">
        {notices.value
          .filter((n) => n.tone === 'error')
          .toReversed()
          .map((n) => (
            <div key={n.id} class="notice error" role="alert" data-code={n.code ?? undefined}>
              <Icon name="warn" />
              <div>
                <b>{n.title}</b>
                <p>{n.detail}</p>
                {n.actions.length > 0 && (
                  <div class="row wrap">
                    {n.actions.map((a) => (
                      <Button key={a.label} small onClick={() => (dismiss(n.id), a.run())}>
                        {a.label}
                      </Button>
                    ))}
                  </div>
                )}
              </div>
              <Button small tone="quiet" icon="close" aria-label={t('Dismiss')} onClick={() => dismiss(n.id)} />
            </div>
          ))}
      </div>
    </div>
  );
}

/** A fault in one view leaves the rest of the page, and everything saved, untouched. */
class Guard extends Component<{ children: ComponentChildren }, { broken: boolean }> {
  override state = { broken: false };
  override componentDidCatch(error: unknown): void {
    report(error);
    this.setState({ broken: true });
  }
  render() {
    if (!this.state.broken) return this.props.children;
    return (
      <div class="page">
        <h1 tabIndex={-1}>{t('This view could not be shown')}</h1>
        <p>
          <Button onClick={() => this.setState({ broken: false })}>{t('Try again')}</Button>
        </p>
      </div>
    );
  }
}

export function App() {
  const main = useRef<HTMLElement>(null);
  const here = VIEWS[route.value];
  const View = loadedViews.value[route.value];
  useEffect(() => {
    document.title = `${t(here.title)} · fledgling`;
  }, [route.value, View === undefined, language()]);
  useEffect(() => {
    main.current?.scrollTo(0, 0);
    // After a navigation the reader starts at the new heading; the first view leaves the focus alone.
    if (navigations.value > 0) main.current?.querySelector<HTMLElement>('h1')?.focus({ preventScroll: true });
  }, [route.value, View === undefined]);
  return (
    <div class="app" data-save={saveState.value}>
      {/* biome-ignore lint/a11y/useValidAnchor: a link within the page; the address holds the view, so the focus is moved by hand */}
      <a class="skip" href="#main" onClick={(e) => (e.preventDefault(), main.current?.focus())}>
        {t('Skip to the content')}
      </a>
      <header class="rail">
        <div class="brand">
          <a href="#/chat" class="wordmark" aria-label={t('fledgling, to the chat')}>
            <Mark />
            <span>fledgling</span>
          </a>
          <span class="grow" />
          <span class="narrow-only">
            <SaveNote />
            <ModelChip />
          </span>
          <LanguageToggle />
          <ThemeToggle />
        </div>
        <Nav />
        <section class="rail-chats" aria-label={t('Chats')}>
          <div class="rail-title">
            <span>{t('Chats')}</span>
            <Button
              small
              tone="quiet"
              icon="plus"
              aria-label={t('New chat')}
              disabled={live.value !== null}
              onClick={() => {
                newChat();
                go('chat');
              }}
            />
          </div>
          <ChatList />
        </section>
        <div class="rail-foot">
          <ModelChip />
          <AdapterSwitch />
          <SaveNote />
        </div>
      </header>
      <main id="main" ref={main} tabIndex={-1} aria-busy={!ready.value || !View}>
        <NoWebGPU />
        <Trouble />
        {ready.value && View && (
          <Guard key={route.value}>
            <View />
          </Guard>
        )}
      </main>
      {dragging.value && (
        <div class="drop-here" aria-hidden="true">
          {t('Drop a model, a dataset or an adapter')}
        </div>
      )}
      <Notices />
      <div class="sr-only" role="log" aria-live="polite" aria-atomic="true">
        {announcement.value}
      </div>
    </div>
  );
}
