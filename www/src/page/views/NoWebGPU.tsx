import { capable, model } from '../state/engine.ts';
import { Icon } from '../ui/icons.tsx';
import { between, rich, t } from '../i18n/language.ts';

/** Above every view, wherever somebody arrives, until a model runs all the same. */
export function NoWebGPU() {
  const able = capable.value;
  if (able?.webgpu !== false || model.value) return null;
  return (
    <div class="notice error block banner" role="alert" data-code="webgpu-unavailable">
      <Icon name="warn" />
      <div>
        <b>{t('This browser offers no WebGPU')}</b>
        <p>
          {able.reason ? sentence(able.reason) : t('No suitable graphics adapter was found.')}{' '}
          {t('Models compute on the processor instead: small ones work, slowly. Your chats and feedback are there either way.')}
        </p>
        <details>
          <summary>{t('What helps')}</summary>
          <p>
            {t('A current Chrome or Edge has WebGPU; so do Safari 26 and Firefox on most systems.')}
            {between()}
            {rich('The page must come from {https} or {localhost}. On Linux, Chrome may need {flag}.', {
              https: <code>https://</code>,
              localhost: <code>localhost</code>,
              flag: <code>chrome://flags/#enable-unsafe-webgpu</code>,
            })}
          </p>
        </details>
      </div>
    </div>
  );
}

/** As the engine words it, with a capital and a full stop. */
function sentence(text: string): string {
  return text[0]!.toUpperCase() + text.slice(1) + (/[.!?。！？]$/.test(text) ? '' : '.');
}
