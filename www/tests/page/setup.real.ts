import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { servePage, www } from './server.ts';

/** The page as it ships, with the model that scripts/fetch-model.sh fetched (or FLEDGLING_MODEL). */
export default async function setup(): Promise<() => void> {
  const model = process.env['FLEDGLING_MODEL'] ?? resolve(www, '../.cache/models/SmolLM2-135M-Instruct.Q4_1.gguf');
  if (!existsSync(model)) throw new Error(`no model at ${model}: run "make model", or set FLEDGLING_MODEL`);
  if (!existsSync(resolve(www, 'pkg/fledgling_bg.wasm'))) throw new Error('www/pkg is empty: run "make wasm"');
  const page = await servePage('production', [model]);
  process.env['FLEDGLING_PAGE'] = page.url;
  return () => page.close();
}
