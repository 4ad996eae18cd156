import { defineConfig } from '@playwright/test';
import fast from './playwright.config.ts';

/** The test on the real engine and the real model (and the pictures of the README, when asked for), in Chromium on a software adapter: minutes, not seconds. */
export default defineConfig({
  ...fast,
  testMatch: ['real.spec.ts', 'pictures.spec.ts'],
  testIgnore: [],
  globalSetup: './setup.real.ts',
  workers: 1,
  timeout: 60 * 60_000,
});
