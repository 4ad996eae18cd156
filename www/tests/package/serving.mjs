// What `make demo` does with a model: scripts/serve.mjs offers files and folders, scripts/fetch-model.sh finds them.
import { execFile } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { makeServer } from '../../../scripts/serve.mjs';
import { equal, ok, test } from './check.mjs';
import { tinyGguf } from './gguf.mjs';
import { serve } from './server.mjs';

const run = promisify(execFile);
const at = (path) => fileURLToPath(new URL(`../../../${path}`, import.meta.url));
const llama = at('tests/fixtures/models/llama');

export async function servingTests(temp) {
  const root = join(temp, 'served');
  mkdirSync(root);
  writeFileSync(join(root, 'index.html'), 'page');
  writeFileSync(join(temp, 'tiny.gguf'), tinyGguf().bytes);
  writeFileSync(join(temp, 'secret.json'), '{}');

  await test('serve: models are files or folders, and nothing beside them', async () => {
    const server = makeServer({ root, models: [join(temp, 'tiny.gguf'), llama] });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    const origin = `http://127.0.0.1:${server.address().port}`;
    const status = async (path, o) => (await fetch(origin + path, o)).status;
    try {
      const list = await (await fetch(`${origin}/models/`)).json();
      equal(
        list.map((m) => m.file),
        ['tiny.gguf', 'llama/'],
        'offered',
      );
      ok(
        list.every((m) => m.bytes > 1000),
        JSON.stringify(list),
      );
      equal((await (await fetch(`${origin}/models/llama/config.json`)).json()).model_type, 'llama', 'config.json');
      for (const path of ['/models/tiny.gguf', '/models/llama/model.safetensors', '/models/llama%2Fmodel.safetensors']) {
        equal(
          [await status(path), await status(path, { headers: { range: 'bytes=5-' } }), await status(path, { method: 'HEAD' })],
          [200, 206, 200],
          path,
        );
      }
      // expected.safetensors lies in the folder, too, and may be had; what is no part of a model may not.
      for (const path of [
        '/models/llama/',
        '/models/llama',
        '/models/llama/tokenizer.json',
        '/models/llama/..%2Fqwen2%2Fconfig.json',
        '/models/llama/..%2F..%2Fops.json',
        '/models/tiny.gguf/',
        '/models/..%2Fsecret.json',
        '/models/other/config.json',
      ]) {
        equal(await status(path), 404, path);
      }
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });

  const fetchModel = async (MODEL) => {
    const r = await run('bash', [at('scripts/fetch-model.sh')], { env: { ...process.env, MODEL } }).catch((e) => e);
    return { status: r.code ?? 0, path: r.stdout.trim().split('\n').pop(), error: r.stderr };
  };
  await test('MODEL=: files and folders are found, what is no model is refused at once', async () => {
    equal((await fetchModel(join(temp, 'tiny.gguf'))).path, join(temp, 'tiny.gguf'), 'a file');
    equal((await fetchModel(llama)).path, llama, 'a folder');
    equal((await fetchModel(join(llama, 'model.safetensors'))).path, llama, 'the weights of a folder');
    for (const [what, says] of [
      ['no-such-file.gguf', 'neither a file nor a folder'],
      [join(temp, 'secret.json'), 'no GGUF file'],
      [root, 'has no config.json'],
      [join(llama, 'expected.safetensors'), 'give the folder'],
    ]) {
      const r = await fetchModel(what);
      ok(r.status === 1 && r.error.includes(says) && r.error.includes(what), `${what}: ${JSON.stringify(r)}`);
    }
  });

  await test('MODEL=: two addresses that end in the same name are two models; a folder has an address, too', async () => {
    const files = new Map([
      ['/a/model.gguf', tinyGguf().bytes],
      ['/b/model.gguf', tinyGguf({ ff: 160 }).bytes],
      ['/text.gguf', Buffer.from('not found')],
    ]);
    const server = await serve({ root: at('tests/fixtures/models/'), files });
    const found = [];
    try {
      for (const path of ['/a/model.gguf', '/b/model.gguf', '/llama/', '/a/model.gguf']) {
        const r = await fetchModel(server.origin + path);
        equal(r.status, 0, `${path}: ${r.error}`);
        found.push(r.path);
      }
      equal(
        [0, 1].map((i) => readFileSync(found[i]).equals([...files.values()][i])),
        [true, true],
        'bytes',
      );
      equal([readdirSync(found[2]).toSorted(), found[3]], [['config.json', 'model.safetensors'], found[0]], 'folder, and the first again');
      equal(server.log.filter((l) => l.url === '/a/model.gguf').length, 1, 'requests');
      for (const path of ['/text.gguf', '/none.gguf', '/llama/model.safetensors', '/none/'])
        ok((await fetchModel(server.origin + path)).status === 1, path);
    } finally {
      for (const path of found) rmSync(dirname(path), { recursive: true, force: true });
      await server.close();
    }
  });
}
