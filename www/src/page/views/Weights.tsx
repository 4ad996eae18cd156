import { CRITERIA } from '../model/types.ts';
import { reweigh } from '../state/chats.ts';
import { change, settings } from '../state/settings.ts';
import { Slider } from '../ui/basic.tsx';
import { t } from '../i18n/language.ts';

/** Weights of the criteria; moving one reorders what follows from ratings at once. */
export function Weights() {
  const { weights } = settings.value;
  return (
    <div class="weights" role="group" aria-label={t('Weights of the criteria')}>
      {CRITERIA.map((c) => (
        <Slider
          key={c}
          label={t(c)}
          min={0}
          max={10}
          step={1}
          value={weights[c]}
          onInput={(v) => {
            change({ weights: { ...weights, [c]: v } });
            void reweigh();
          }}
        />
      ))}
    </div>
  );
}
