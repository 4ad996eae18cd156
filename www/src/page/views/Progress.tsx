import { cut } from '../model/errors.ts';
import { cancelLoad, loading } from '../state/engine.ts';
import { Button } from '../ui/basic.tsx';
import { bytes, duration } from '../ui/format.ts';
import { Icon } from '../ui/icons.tsx';
import { t } from '../i18n/language.ts';

/** How far the model is that is being loaded. */
export function Progress() {
  const l = loading.value!;
  const share = l.total > 0 ? l.loaded / l.total : 0;
  const left = l.rate > 0 && l.total > 0 ? (l.total - l.loaded) / l.rate : NaN;
  return (
    <div class="card load-progress" aria-live="off">
      <header>
        <b>{l.name}</b>
        <span class="grow" />
        <Button small icon="close" onClick={cancelLoad}>
          {t('Cancel')}
        </Button>
      </header>
      <progress aria-label={t('Loading {name}', { name: l.name })} max={1} value={l.total > 0 ? share : undefined} />
      <div class="row wrap muted numbers">
        <span>
          {l.total > 0
            ? t('{loaded} of {total} ({share} %)', { loaded: bytes(l.loaded), total: bytes(l.total), share: Math.floor(share * 100) })
            : l.loaded > 0 && bytes(l.loaded)}
        </span>
        <span class="grow" />
        <span>
          {l.status === 'initiate' && l.loaded === 0
            ? t('Measuring your device…')
            : l.status === 'done'
              ? t('preparing kernels…')
              : l.fromCache
                ? t('from this browser’s storage')
                : l.rate > 0
                  ? Number.isFinite(left)
                    ? t('{rate}/s, {time} left', { rate: bytes(l.rate), time: duration(left) })
                    : `${bytes(l.rate)}/s`
                  : t('starting…')}
        </span>
      </div>
      {l.note && (
        <p class="hint load-note" role="status">
          <Icon name="warn" size={16} /> {cut(l.note, 200)}
        </p>
      )}
    </div>
  );
}
