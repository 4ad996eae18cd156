import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { tuningNote } from './kernels.ts';
import { servePage, www } from './server.ts';
import { tiny } from './tiny.ts';

/** The page as it ships, on the real engine, with a tiny model. */
export default async function setup(): Promise<() => void> {
  if (!existsSync(resolve(www, 'pkg/fledgling_bg.wasm'))) throw new Error('www/pkg is empty: run "make wasm"');
  const folder = mkdtempSync(join(tmpdir(), 'fledgling-'));
  const { bytes } = tiny();
  writeFileSync(join(folder, 'tiny.gguf'), bytes);
  process.env['FLEDGLING_TUNING'] = await tuningNote(www);
  // So slow that a busy machine, too, sees it on its way; it is never waited for.
  const page = await servePage('production', [join(folder, 'tiny.gguf')], { path: '/slow/tiny.gguf', bytes, piece: 16_384, ms: 2000 });
  process.env['FLEDGLING_PAGE'] = page.url;
  return () => {
    page.close();
    rmSync(folder, { recursive: true, force: true });
  };
}
