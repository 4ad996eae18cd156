import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { servePage } from './server.ts';

/** One build and one server for all specs; the "model" on offer is a file of a few bytes. */
export default async function setup(): Promise<() => void> {
  const folder = mkdtempSync(join(tmpdir(), 'fledgling-'));
  const model = join(folder, 'SmolLM2-135M-Instruct.Q4_1.gguf');
  writeFileSync(model, 'GGUF' + '\0'.repeat(2000));
  const page = await servePage('test', [model]);
  process.env['FLEDGLING_PAGE'] = page.url;
  return () => {
    page.close();
    rmSync(folder, { recursive: true, force: true });
  };
}
