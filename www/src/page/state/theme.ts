import { computed, effect, signal } from '@preact/signals';
import { settings } from './settings.ts';

const dark = matchMedia('(prefers-color-scheme: dark)');
const systemDark = signal(dark.matches);
dark.addEventListener('change', (e) => (systemDark.value = e.matches));

/** The theme in force. */
export const theme = computed<'light' | 'dark'>(() =>
  settings.value.theme === 'system' ? (systemDark.value ? 'dark' : 'light') : settings.value.theme,
);

effect(() => {
  document.documentElement.dataset['theme'] = theme.value;
  document
    .querySelector<HTMLMetaElement>('meta[name="theme-color"]')
    ?.setAttribute('content', theme.value === 'dark' ? '#171a17' : '#f6f4ee');
});
