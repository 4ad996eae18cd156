import { build as viteBuild, defineConfig, type Plugin } from 'vite';
import { fileURLToPath } from 'node:url';
import { HEADER_POLICY, HEADERS, META_POLICY } from './src/page/model/csp.ts';

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

/** The policy as a <meta>, and every header as headers.json for the server (scripts/serve.mjs), from one definition. */
function policy(): Plugin {
  return {
    name: 'fledgling-policy',
    apply: 'build',
    // In place of a comment and not as a tag: Vite would escape the quotes, and the service worker looks for the policy as it is.
    transformIndexHtml: (html) =>
      html.replace(/<!-- Content-Security-Policy.*?-->/, `<meta http-equiv="Content-Security-Policy" content="${META_POLICY}" />`),
    generateBundle() {
      this.emitFile({
        type: 'asset',
        fileName: 'headers.json',
        source: JSON.stringify({ ...HEADERS, 'Content-Security-Policy': HEADER_POLICY }, null, 2),
      });
    },
  };
}

/** The service worker is a file of its own without imports, at a name that never changes. */
function serviceWorker(): Plugin {
  let outDir = '';
  return {
    name: 'fledgling-service-worker',
    apply: 'build',
    configResolved: (c) => void (outDir = c.build.outDir),
    async closeBundle() {
      await viteBuild({
        configFile: false,
        root: here('.'),
        publicDir: false,
        logLevel: 'warn',
        build: {
          outDir,
          emptyOutDir: false,
          lib: { entry: here('src/page/sw.ts'), formats: ['iife'], name: 'sw', fileName: () => 'sw.js' },
        },
      });
    },
  };
}

export default defineConfig(({ mode }) => ({
  root: here('.'),
  base: './',
  plugins: [policy(), serviceWorker()],
  // The fast UI tests run the whole page on an engine without a GPU; nothing but this mode ever names it.
  resolve:
    mode === 'test'
      ? { alias: [{ find: /^\.\/lib\/index\.ts$|^\.\.\/lib\/index\.ts$/, replacement: here('tests/page/fake-engine.ts') }] }
      : {},
  worker: { format: 'es' },
  build: {
    target: 'es2022',
    outDir: here(mode === 'test' ? 'dist/page-test' : 'dist/page'),
    emptyOutDir: true,
    modulePreload: { polyfill: false },
    // Inlined assets would need data: in the policy.
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 1500,
  },
  // In development the policy is off (hot reloading injects styles); isolation is as in production.
  server: { headers: HEADERS },
}));
