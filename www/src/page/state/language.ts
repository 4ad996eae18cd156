// Which language the page speaks: the one that was chosen, else the first of the browser's that it knows.
import { effect } from '@preact/signals';
import { LANGUAGES, speak, t, type Language } from '../i18n/language.ts';
import { report } from './notices.ts';
import { ready } from './boot.ts';
import { change, settings } from './settings.ts';

/** What was chosen last, for the first picture: the settings are read later. */
const CHOSEN = 'fledgling-language';

const known = (name: string | null): Language | null => (name !== null && Object.hasOwn(LANGUAGES, name) ? (name as Language) : null);

function ofBrowser(): Language {
  for (const name of navigator.languages) {
    const found = known(name.split('-')[0]!.toLowerCase());
    if (found) return found;
  }
  return 'en';
}

function remembered(): Language | null {
  try {
    return known(localStorage.getItem(CHOSEN));
  } catch {
    return null;
  }
}

async function use(language: Language): Promise<void> {
  await speak(language);
  document.documentElement.lang = language === 'zh' ? 'zh-CN' : 'en';
  document
    .querySelector('meta[name="description"]')
    ?.setAttribute('content', t('A language model that runs and learns in this tab: rank its answers, press Learn, ask again.'));
}

/** Before anything is drawn. */
export const firstLanguage = (): Promise<void> => use(remembered() ?? ofBrowser()).catch((e: unknown) => void report(e));

// From when the settings are known they are what counts, here and in every other tab.
effect(() => {
  if (!ready.value) return;
  const { language } = settings.value;
  try {
    if (language === 'system') localStorage.removeItem(CHOSEN);
    else localStorage.setItem(CHOSEN, language);
  } catch {
    // Without it only the first picture may be in another language.
  }
  void use(language === 'system' ? ofBrowser() : language).catch((e: unknown) => void report(e));
});

export const chooseLanguage = (language: Language | 'system'): void => change({ language });
