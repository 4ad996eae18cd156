import { capable, model } from '../state/engine.ts';
import { Icon } from '../ui/icons.tsx';

/** Above every view, wherever somebody arrives, until a model runs all the same. */
export function NoWebGPU() {
  const able = capable.value;
  if (able?.webgpu !== false || model.value) return null;
  return (
    <div class="notice error block banner" role="alert" data-code="webgpu-unavailable">
      <Icon name="warn" />
      <div>
        <b>This browser offers no WebGPU</b>
        <p>
          {sentence(able.reason ?? 'No suitable graphics adapter was found')} Models compute on the processor instead: small ones work,
          slowly. Your chats and feedback are there either way.
        </p>
        <details>
          <summary>What helps</summary>
          <p>
            A current Chrome or Edge has WebGPU; so do Safari 26 and Firefox on most systems. The page must come from <code>https://</code>{' '}
            or <code>localhost</code>. On Linux, Chrome may need <code>chrome://flags/#enable-unsafe-webgpu</code>.
          </p>
        </details>
      </div>
    </div>
  );
}

/** As the engine words it, with a capital and a full stop. */
function sentence(text: string): string {
  return text[0]!.toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? '' : '.');
}
