import { defineConfig } from '@playwright/test';
import fast from './playwright.config.ts';

/** The page as it ships, on the real engine and a tiny model, in Chromium on a software adapter: a minute or two. */
export default defineConfig({
  ...fast,
  testMatch: ['engine.spec.ts', 'crash.engine.spec.ts'],
  testIgnore: [],
  globalSetup: './setup.engine.ts',
  workers: 1,
  // What waits is told when it is there; on a busy machine a software adapter compiles for minutes.
  timeout: 20 * 60_000,
  expect: { timeout: 5 * 60_000 },
});
