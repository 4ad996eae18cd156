// Chromium with a software WebGPU adapter.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const FLAGS = [
  '--no-sandbox', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync',
  '--enable-unsafe-webgpu', '--js-flags=--expose-gc',
];

/** `FLEDGLING_WEBGPU=native` uses the GPU at hand in place of SwiftShader; `CHROMIUM` names another browser. */
export async function launch() {
  const profile = mkdtempSync(join(tmpdir(), 'fledgling-'));
  const software = process.env.FLEDGLING_WEBGPU !== 'native';
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    headless: true,
    args: software ? [...FLAGS, '--use-webgpu-adapter=swiftshader'] : [...FLAGS, '--enable-features=Vulkan', '--use-angle=vulkan'],
  });
  return {
    context,
    async page(url) {
      const page = await context.newPage();
      page.setDefaultTimeout(600_000);
      page.on('console', (m) => {
        if (['error', 'warning'].includes(m.type()) || process.env.DEBUG) console.log(`  [page] ${m.text()}`);
      });
      page.on('pageerror', (e) => console.log(`  [page] ${e.message}`));
      await page.goto(url);
      return page;
    },
    async close() {
      await context.close();
      rmSync(profile, { recursive: true, force: true });
    },
  };
}
