import { capable } from '../state/engine.ts';
import { Icon } from '../ui/icons.tsx';

/** Above every view, wherever somebody arrives. */
export function NoWebGPU() {
  const able = capable.value;
  if (able?.webgpu !== false) return null;
  return (
    <div class="notice error block no-webgpu" role="alert" data-code="webgpu-unavailable">
      <Icon name="warn" />
      <div>
        <b>This browser offers no WebGPU</b>
        <p>{able.reason ?? 'No suitable graphics adapter was found.'} Without it no model can run here; your chats and feedback can be read and exported all the same.</p>
        <details>
          <summary>What helps</summary>
          <p>
            A current Chrome or Edge has WebGPU; so do Safari 26 and Firefox on most systems. The page must come from <code>https://</code> or <code>localhost</code>. On Linux, Chrome may need{' '}
            <code>chrome://flags/#enable-unsafe-webgpu</code>.
          </p>
        </details>
      </div>
    </div>
  );
}
