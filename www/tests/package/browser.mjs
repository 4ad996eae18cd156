// Chromium with a software WebGPU adapter.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { chromeArgs, findChrome } from '../../scripts/chrome.mjs';

/** `FLEDGLING_WEBGPU=native` uses the GPU at hand in place of SwiftShader; `CHROME` names another browser. */
export async function launch(args = []) {
  const profile = mkdtempSync(join(tmpdir(), 'fledgling-'));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: findChrome(),
    headless: true,
    args: [...chromeArgs({ software: process.env.FLEDGLING_WEBGPU !== 'native' }), ...args],
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
