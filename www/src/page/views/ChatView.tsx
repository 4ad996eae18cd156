import { useEffect, useRef, useState } from 'preact/hooks';
import { active } from '../state/adapters.ts';
import { ask, askError, draft, live, stopAnswering } from '../state/ask.ts';
import { current, newChat, renameChat } from '../state/chats.ts';
import { activity, canAsk, loading, model } from '../state/engine.ts';
import { change, settings } from '../state/settings.ts';
import { Button, Dialog, NameDialog, Segments, Slider, Switch } from '../ui/basic.tsx';
import { useCovered } from '../ui/covered.ts';
import { Icon } from '../ui/icons.tsx';
import { Pop } from '../ui/Pop.tsx';
import { AdapterSwitch } from './AdapterSwitch.tsx';
import { ChatList } from './ChatList.tsx';
import { TurnView } from './TurnView.tsx';
import { Welcome } from './Welcome.tsx';
import { t } from '../i18n/language.ts';

function Sampling() {
  const s = settings.value;
  return (
    <div class="sampling" role="group" aria-label={t('Sampling')}>
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
      <Slider label="max_new_tokens" min={8} max={1024} step={8} value={s.maxNewTokens} onInput={(v) => change({ maxNewTokens: v })} />
      <a href="#/settings" class="more">
        {t('All sampling settings')}
      </a>
    </div>
  );
}

function Composer() {
  const form = useCovered<HTMLFormElement>('--covered');
  const area = useRef<HTMLTextAreaElement>(null);
  const busy = live.value !== null;
  const s = settings.value;
  const compare = s.compare && active.value !== null;
  const why = loading.value
    ? t('A model is being loaded')
    : !model.value
      ? t('Load a model first')
      : activity.value === 'learning'
        ? t('The model is learning; pause it to ask something')
        : null;
  const grow = (): void => {
    const a = area.current;
    if (!a) return;
    a.style.height = 'auto';
    a.style.height = `${Math.min(a.scrollHeight, 220)}px`;
  };
  useEffect(grow, [draft.value]);
  const send = (): void => {
    const text = draft.value.trim();
    if (text && canAsk.value && !busy) void ask(text);
  };
  return (
    <form
      ref={form}
      class="composer"
      aria-label={t('Ask')}
      onSubmit={(e) => {
        e.preventDefault();
        send();
      }}
    >
      {askError.value && (
        <div class="inline-error" role="alert" data-code={askError.value.code}>
          <Icon name="warn" size={18} />
          <div>
            <b>{askError.value.title}.</b> {askError.value.detail} <span class="muted">{askError.value.hint}</span>
          </div>
          <Button small tone="quiet" icon="close" aria-label={t('Dismiss')} onClick={() => (askError.value = null)} />
        </div>
      )}
      <div class="composer-box">
        <textarea
          ref={area}
          aria-label={t('Your question')}
          placeholder={why ?? t('Ask something…')}
          rows={1}
          value={draft.value}
          onInput={(e) => (draft.value = e.currentTarget.value)}
          onKeyDown={(e) => {
            if (e.key === 'Enter' && !e.shiftKey && !e.isComposing) {
              e.preventDefault();
              send();
            }
          }}
        />
        {busy ? (
          <Button icon="stop" tone="primary" class="round" aria-label={t('Stop answering')} onClick={stopAnswering} />
        ) : (
          <Button
            icon="send"
            tone="primary"
            class="round"
            type="submit"
            aria-label={t('Ask')}
            title={why ?? t('Ask (Enter)')}
            disabled={!canAsk.value || !draft.value.trim()}
          />
        )}
      </div>
      <div class="row wrap composer-options">
        {compare ? (
          <small class="muted">{t('base and {name}, side by side', { name: active.value! })}</small>
        ) : (
          <Segments
            legend={t('Answers')}
            showLegend
            small
            value={s.n}
            choices={[2, 3, 4, 5, 6].map((v) => ({ value: v, label: String(v), say: t('{n} answers', { n: v }) }))}
            onPick={(n) => change({ n })}
          />
        )}
        {active.value !== null && <Switch label={t('Compare with base')} checked={s.compare} onChange={(v) => change({ compare: v })} />}
        <span class="narrow-only">
          <AdapterSwitch />
        </span>
        <span class="grow" />
        <Pop label={t('Sampling')}>
          <Sampling />
        </Pop>
      </div>
    </form>
  );
}

export function ChatView() {
  const chat = current.value;
  const [listing, setListing] = useState(false);
  const [renaming, setRenaming] = useState(false);
  const end = useRef<HTMLDivElement>(null);
  const turns = chat?.turns ?? [];
  // A new question comes into view; tokens do not scroll, so that reading is not disturbed.
  useEffect(() => {
    if (live.value) document.querySelector(`[data-turn="${live.value.turn}"]`)?.scrollIntoView({ block: 'start' });
  }, [turns.length]);
  return (
    <div class="chat">
      <header class="view-head">
        <h1 tabIndex={-1}>{chat ? chat.title : t('New chat')}</h1>
        <span class="grow" />
        {chat && <Button small tone="quiet" icon="edit" aria-label={t('Rename this chat')} onClick={() => setRenaming(true)} />}
        <Button small tone="quiet" icon="list" class="narrow-only shrinks" aria-label={t('Chats')} onClick={() => setListing(true)}>
          {t('Chats')}
        </Button>
        <Button small icon="plus" class="shrinks" aria-label={t('New chat')} disabled={live.value !== null} onClick={newChat}>
          {t('New chat')}
        </Button>
      </header>
      <div class="transcript">
        {turns.length === 0 ? <Welcome /> : turns.map((t, i) => <TurnView key={t.id} turn={t} last={i === turns.length - 1} />)}
        <div ref={end} />
      </div>
      {(model.value || turns.length > 0 || draft.value !== '') && <Composer />}
      {renaming && chat && (
        <NameDialog
          title={t('Rename this chat')}
          label={t('Name')}
          value={chat.title}
          onSave={(t) => renameChat(chat.id, t)}
          onClose={() => setRenaming(false)}
        />
      )}
      {listing && (
        <Dialog title={t('Chats')} onClose={() => setListing(false)}>
          <ChatList onPick={() => setListing(false)} />
        </Dialog>
      )}
    </div>
  );
}
