import { cancelLoad, load, loadError, loading, model, unloaded } from '../state/engine.ts';
import { sentence } from '../state/notices.ts';
import { recovering, useProcessor } from '../state/recovery.ts';
import { go, route } from '../state/router.ts';
import { Button } from '../ui/basic.tsx';
import { Icon } from '../ui/icons.tsx';
import { t } from '../i18n/language.ts';

/** After these the processor may do what the graphics card does not. */
const OF_THE_CARD = new Set(['webgpu-unavailable', 'device-lost', 'out-of-memory', 'gpu']);

function Back() {
  const r = recovering.value!;
  const l = loading.value;
  return (
    <div class="notice block banner" role="status">
      <Icon name="again" />
      <div>
        <b>{r.why.title}</b>
        <p>
          {t('{name} is being loaded again by itself{percent}{attempt}; then what was under way goes on. Nothing that was saved is lost.', {
            name: r.name,
            percent: l && l.total > 0 ? ` (${Math.floor((100 * l.loaded) / l.total)} %)` : '',
            attempt: r.attempt > 1 ? t(', attempt {attempt} of 3', { attempt: r.attempt }) : '',
          })}
        </p>
        <div class="row wrap">
          <Button small onClick={cancelLoad}>
            {t('Not now')}
          </Button>
        </div>
      </div>
    </div>
  );
}

/** Above every view but the models', which says it itself: what could not be loaded, why, and what to do. */
export function Trouble() {
  if (recovering.value) return <Back />;
  const error = loadError.value;
  const was = unloaded.value;
  if (!error || !was || model.value || loading.value || route.value === 'model') return null;
  return (
    <div class="notice error block banner" role="alert" data-code={error.code}>
      <Icon name="warn" />
      <div>
        <b>{error.title}</b>
        <p>
          {sentence(error.detail)} <span class="muted">{error.hint}</span>
        </p>
        <div class="row wrap">
          <Button small tone="primary" icon="again" onClick={() => void load(was.source, was.name)}>
            {t('Try again')}
          </Button>
          {OF_THE_CARD.has(error.code) && (
            <Button small onClick={() => void useProcessor(was)}>
              {t('Use the processor')}
            </Button>
          )}
          <Button small icon="model" onClick={() => go('model')}>
            {t('Choose a model')}
          </Button>
        </div>
      </div>
    </div>
  );
}
