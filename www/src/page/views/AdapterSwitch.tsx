import { activate, active, offered } from '../state/adapters.ts';
import { activity } from '../state/engine.ts';
import { Switch } from '../ui/basic.tsx';
import { t } from '../i18n/language.ts';

/** Who answers: the adapter that was used last, or the base model. Nothing where there is no adapter to switch on. */
export function AdapterSwitch() {
  const name = offered.value;
  if (name === null) return null;
  return (
    <Switch
      label={t('Adapter {name}', { name })}
      help={active.value === null ? t('off: the base model answers') : undefined}
      checked={active.value !== null}
      disabled={activity.value !== 'idle'}
      onChange={(on) => void activate(on ? name : null)}
    />
  );
}
