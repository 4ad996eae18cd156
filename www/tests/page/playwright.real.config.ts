import { defineConfig } from '@playwright/test';
import fast from './playwright.config.ts';

/** The one test on the real engine and the real model, in Chromium on a software adapter: minutes, not seconds. */
export default defineConfig({
  ...fast,
  testMatch: 'real.spec.ts',
  testIgnore: [],
  globalSetup: './setup.real.ts',
  workers: 1,
  timeout: 60 * 60_000,
});
