import { render } from 'preact';
import { App } from './app.tsx';
import { boot } from './state/boot.ts';
import { report } from './state/notices.ts';

addEventListener('unhandledrejection', (e) => report(e.reason));

render(<App />, document.getElementById('app')!);
boot().catch((e: unknown) => report(e));
