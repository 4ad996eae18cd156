// The browser of the tests and its flags: one finder for all of them, that of scripts/env.sh.
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** Path of the Chrome or Chromium at hand (`CHROME` names another); throws where there is none. */
export function findChrome() {
  try {
    return execFileSync('bash', [fileURLToPath(new URL('../../scripts/chrome.sh', import.meta.url))], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    }).trim();
  } catch (e) {
    throw new Error(
      String(e.stderr ?? e.message)
        .trim()
        .replace(/^error: /, ''),
    );
  }
}

const QUIET = [
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-quic',
  '--no-sandbox',
];
const NATIVE = process.platform === 'linux' ? ['--enable-features=Vulkan', '--use-angle=vulkan'] : [];

/** A browser that makes no requests of its own, with WebGPU on SwiftShader, or on the GPU at hand. */
export const chromeArgs = ({ software = true } = {}) => [
  ...QUIET,
  '--enable-unsafe-webgpu',
  ...(software ? ['--use-webgpu-adapter=swiftshader'] : NATIVE),
];
