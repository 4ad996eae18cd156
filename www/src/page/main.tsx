import { render } from 'preact';
import { App, loadViews } from './app.tsx';
import { nextTask } from './model/breathe.ts';
import { boot } from './state/boot.ts';
import { complain } from './state/engine.ts';
import { watchDrops } from './state/drops.ts';
import { firstLanguage } from './state/language.ts';
import { report } from './state/notices.ts';

watchDrops();
addEventListener('unhandledrejection', (e) => complain(e.reason));

// Evaluating the scripts was one task; drawing is another.
void Promise.all([firstLanguage(), nextTask()]).then(() => {
  render(<App />, document.getElementById('app')!);
  loadViews().catch((e: unknown) => report(e));
  boot().catch((e: unknown) => report(e));
});
