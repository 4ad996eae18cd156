// Kernels that SwiftShader compiles in a tenth of the time of those it is fastest with. Every device compiles its own, and none of these tests needs
// their speed. The page has no field for them: it finds what it could have measured.
import { chromium, expect, type Page } from '@playwright/test';
// @ts-expect-error: plain JavaScript without types
import { SHORT } from '../package/kernels.mjs';
// @ts-expect-error: plain JavaScript without types
import { serve } from '../package/server.mjs';
import { args, executablePath } from './chromium.ts';

/** The name under which the engine keeps what it measured on this browser's adapter. */
export async function tuningNote(www: string): Promise<string> {
  const files = new Map([['/index.html', Buffer.from('<!doctype html><title>kernels</title>')]]);
  const server = (await serve({ root: www, files })) as { origin: string; close(): Promise<void> };
  const browser = await chromium.launch({ executablePath, args });
  try {
    const page = await browser.newPage();
    await page.goto(`${server.origin}/index.html`);
    return await page.evaluate<string>(`(async () => {
      const engine = await import('/pkg/fledgling.js');
      await engine.default();
      const { vendor, architecture, device, description } = (await navigator.gpu.requestAdapter()).info;
      const name = description || device || [vendor, architecture].filter(Boolean).join(' ');
      return 'tuning-' + (await engine.tuning_key()) + '-' + name.replace(/[^\\w.-]+/g, '_').slice(0, 80) + '.json';
    })()`);
  } finally {
    await browser.close();
    await server.close();
  }
}

const notes = (page: Page): Promise<string[]> =>
  page.evaluate(async () => {
    let dir = await navigator.storage.getDirectory();
    for (const name of ['fledgling', 'models']) dir = await dir.getDirectoryHandle(name, { create: true });
    const names: string[] = [];
    for await (const name of dir.keys()) if (name.startsWith('tuning-')) names.push(name);
    return names;
  });

/** Before a model is loaded. */
export async function shortKernels(page: Page): Promise<void> {
  await notes(page);
  await page.evaluate(
    async ([name, text]) => {
      let dir = await navigator.storage.getDirectory();
      for (const part of ['fledgling', 'models']) dir = await dir.getDirectoryHandle(part);
      const w = await (await dir.getFileHandle(name!, { create: true })).createWritable();
      await w.write(text!);
      await w.close();
    },
    [process.env['FLEDGLING_TUNING']!, JSON.stringify(SHORT)],
  );
}

/** Behind it: the engine found them, and kept nothing under another name. */
export const foundKernels = async (page: Page): Promise<void> => expect(await notes(page)).toEqual([process.env['FLEDGLING_TUNING']]);
