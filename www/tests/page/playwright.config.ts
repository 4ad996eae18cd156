import { defineConfig } from '@playwright/test';
import { args, executablePath } from './chromium.ts';

/** The fast suite: the page's own behaviour, on an engine without a GPU. */
export default defineConfig({
  testDir: '.',
  testMatch: '*.spec.ts',
  testIgnore: ['real.spec.ts', 'engine.spec.ts', 'crash.engine.spec.ts', 'pictures.spec.ts'],
  globalSetup: './setup.ts',
  fullyParallel: true,
  workers: 2,
  // Much here waits for a clock, and machines that test are busy: a second try is allowed, and named at the end of `make test`.
  retries: 1,
  timeout: 60_000,
  expect: { timeout: 10_000 },
  reporter: [['list']],
  outputDir: '../../node_modules/.page-tests',
  use: {
    headless: true,
    locale: 'en-US',
    channel: undefined,
    viewport: { width: 1280, height: 860 },
    launchOptions: { executablePath, args },
  },
});
