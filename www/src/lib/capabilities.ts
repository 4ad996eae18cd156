// What this browser can do, asked without loading anything.
import { why } from './errors.ts';
import { isNode } from './places.ts';
import type { Capabilities } from './types.ts';

/** Whether a model can run here, and if not, why not. */
export async function capabilities(): Promise<Capabilities> {
  if (isNode) return { webgpu: false, reason: 'Node has no WebGPU; the processor does the work there' };
  if (!globalThis.isSecureContext) {
    return { webgpu: false, reason: 'WebGPU needs a secure address: https, or localhost' };
  }
  const gpu = (navigator as { gpu?: GPU }).gpu;
  if (!gpu) return { webgpu: false, reason: 'this browser has no WebGPU; a current Chrome, Edge, Safari or Firefox has it' };
  let adapter: GPUAdapter | null = null;
  try {
    adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' });
  } catch (e) {
    return { webgpu: false, reason: `the browser refused a GPU adapter: ${why(e)}` };
  }
  if (!adapter)
    return { webgpu: false, reason: 'the browser found no usable GPU; hardware acceleration may be switched off in its settings' };
  const { vendor, architecture, device, description } = adapter.info;
  const name = description || device || [vendor, architecture].filter(Boolean).join(' ') || 'unnamed adapter';
  const fallback = (adapter.info as { isFallbackAdapter?: boolean }).isFallbackAdapter ?? false;
  return {
    webgpu: true,
    adapter: {
      name,
      vendor,
      backend: 'WebGPU',
      isSoftware: fallback || /swiftshader|llvmpipe|lavapipe|basic render/i.test(`${name} ${vendor} ${architecture}`),
      features: [...adapter.features].filter((f) => ['shader-f16', 'subgroups', 'timestamp-query'].includes(f)),
    },
  };
}
