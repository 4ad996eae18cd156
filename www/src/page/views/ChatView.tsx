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

function Sampling() {
  const s = settings.value;
  return (
    <div class="sampling" role="group" aria-label="Sampling">
      <Slider
        label="temperature"
        min={0}
        max={2}
        step={0.05}
        value={s.temperature}
        onInput={(v) => change({ temperature: v })}
        format={(v) => (v === 0 ? 'greedy' : v.toFixed(2))}
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
        All sampling settings
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
    ? 'A model is being loaded'
    : !model.value
      ? 'Load a model first'
      : activity.value === 'learning'
        ? 'The model is learning; pause it to ask something'
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
      aria-label="Ask"
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
          <Button small tone="quiet" icon="close" aria-label="Dismiss" onClick={() => (askError.value = null)} />
        </div>
      )}
      <div class="composer-box">
        <textarea
          ref={area}
          aria-label="Your question"
          placeholder={why ?? 'Ask something…'}
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
          <Button icon="stop" tone="primary" class="round" aria-label="Stop answering" onClick={stopAnswering} />
        ) : (
          <Button
            icon="send"
            tone="primary"
            class="round"
            type="submit"
            aria-label="Ask"
            title={why ?? 'Ask (Enter)'}
            disabled={!canAsk.value || !draft.value.trim()}
          />
        )}
      </div>
      <div class="row wrap composer-options">
        {compare ? (
          <small class="muted">base and {active.value}, side by side</small>
        ) : (
          <Segments
            legend="Answers"
            showLegend
            small
            value={s.n}
            choices={[2, 3, 4, 5, 6].map((v) => ({ value: v, label: String(v), say: `${v} answers` }))}
            onPick={(n) => change({ n })}
          />
        )}
        {active.value !== null && <Switch label="Compare with base" checked={s.compare} onChange={(v) => change({ compare: v })} />}
        <span class="narrow-only">
          <AdapterSwitch />
        </span>
        <span class="grow" />
        <Pop label="Sampling">
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
        <h1 tabIndex={-1}>{chat ? chat.title : 'New chat'}</h1>
        <span class="grow" />
        {chat && <Button small tone="quiet" icon="edit" aria-label="Rename this chat" onClick={() => setRenaming(true)} />}
        <Button small tone="quiet" icon="list" class="narrow-only shrinks" aria-label="Chats" onClick={() => setListing(true)}>
          Chats
        </Button>
        <Button small icon="plus" class="shrinks" aria-label="New chat" disabled={live.value !== null} onClick={newChat}>
          New chat
        </Button>
      </header>
      <div class="transcript">
        {turns.length === 0 ? <Welcome /> : turns.map((t, i) => <TurnView key={t.id} turn={t} last={i === turns.length - 1} />)}
        <div ref={end} />
      </div>
      {(model.value || turns.length > 0 || draft.value !== '') && <Composer />}
      {renaming && chat && (
        <NameDialog
          title="Rename this chat"
          label="Name"
          value={chat.title}
          onSave={(t) => renameChat(chat.id, t)}
          onClose={() => setRenaming(false)}
        />
      )}
      {listing && (
        <Dialog title="Chats" onClose={() => setListing(false)}>
          <ChatList onPick={() => setListing(false)} />
        </Dialog>
      )}
    </div>
  );
}
