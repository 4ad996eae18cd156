import { live } from '../state/ask.ts';
import { chats, currentId, removeChat, restoreChat } from '../state/chats.ts';
import { toast } from '../state/notices.ts';
import { go } from '../state/router.ts';
import { Button } from '../ui/basic.tsx';
import { t } from '../i18n/language.ts';

export function ChatList({ onPick }: { onPick?: () => void }) {
  return (
    <ul class="chat-list">
      {chats.value.map((c) => (
        <li key={c.id} class={c.id === currentId.value ? 'on' : ''}>
          <button
            type="button"
            class="chat-name"
            aria-current={c.id === currentId.value ? 'true' : undefined}
            disabled={live.value !== null}
            onClick={() => {
              currentId.value = c.id;
              go('chat');
              onPick?.();
            }}
          >
            {c.title}
          </button>
          <Button
            small
            tone="quiet"
            icon="trash"
            aria-label={t('Delete the chat {title}', { title: c.title })}
            disabled={live.value !== null}
            onClick={() => {
              const gone = removeChat(c.id);
              if (gone) toast(t('Chat deleted; its feedback stays'), { label: t('Undo'), run: () => restoreChat(gone) });
            }}
          />
        </li>
      ))}
      {chats.value.length === 0 && <li class="muted none">{t('No chats yet')}</li>}
    </ul>
  );
}
