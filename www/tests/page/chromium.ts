import { existsSync } from 'node:fs';

/** The browser of the system; none is ever downloaded. */
export const executablePath: string =
  [
    process.env['CHROME'] ?? '',
    '/usr/bin/chromium',
    '/usr/bin/chromium-browser',
    '/usr/bin/google-chrome',
    '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
    '/Applications/Chromium.app/Contents/MacOS/Chromium',
  ].find((p) => p !== '' && existsSync(p)) ?? 'chromium';

/** WebGPU on a software adapter, and a browser that makes no requests of its own. */
export const args = [
  '--no-sandbox',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--enable-unsafe-webgpu',
  '--use-webgpu-adapter=swiftshader',
];
