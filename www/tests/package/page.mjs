// Helpers that live in the page under test: plain results that survive the way to the test.
// Loaded as a module with the package's address; everything hangs on `window.t`.
export function install(fledgling) {
  const models = new Map();
  const failure = (e) => ({ ok: false, code: e.code, message: e.message, typed: e instanceof fledgling.FledglingError });
  window.t = {
    fledgling,
    models,
    /** Loads under a key; `abortAt` aborts after so many bytes, or `abortAfter` so many ms. */
    async load(key, source, { abortAt, abortAfter, file, ...options } = {}) {
      const statuses = [];
      const warnings = [];
      let fromCache = false;
      let loaded = 0;
      let cancelled;
      const controller = new AbortController();
      if (abortAfter !== undefined) {
        setTimeout(() => {
          cancelled = performance.now();
          controller.abort();
        }, abortAfter);
      }
      if (file) source = new File([await (await fetch(source)).blob()], file);
      try {
        const model = await fledgling.Model.load(source, {
          ...options,
          signal: controller.signal,
          onWarning: (w) => warnings.push({ code: w.code, message: w.message }),
          onProgress: (p) => {
            if (statuses.at(-1) !== p.status) statuses.push(p.status);
            fromCache = fromCache || p.fromCache === true;
            loaded = p.loaded;
            if (abortAt !== undefined && p.loaded >= abortAt) controller.abort();
          },
        });
        models.set(key, model);
        return { ok: true, info: model.info, statuses, warnings, fromCache, loaded };
      } catch (e) {
        return { ...failure(e), statuses, warnings, fromCache, loaded, answeredIn: performance.now() - cancelled };
      }
    },
    /** Runs a body with a loaded model; an error comes back as data. */
    async run(key, body, argument) {
      try {
        return { ok: true, value: await body(models.get(key), fledgling, argument) };
      } catch (e) {
        return failure(e);
      }
    },
    async dispose(key) {
      await models.get(key)?.dispose();
      models.delete(key);
    },
    /** Forgets which kernels were the fastest: the next load measures again. */
    async forgetTuning() {
      const dir = await (await (await navigator.storage.getDirectory()).getDirectoryHandle('fledgling')).getDirectoryHandle('models');
      for await (const name of dir.keys()) if (/^(tuning|device)-/.test(name)) await dir.removeEntry(name);
    },
    /** Flips one byte of every stored model. */
    async corruptCache() {
      const dir = await (await (await navigator.storage.getDirectory()).getDirectoryHandle('fledgling')).getDirectoryHandle('models');
      let n = 0;
      for await (const [name, handle] of dir.entries()) {
        if (!name.endsWith('.bin')) continue;
        const file = await handle.getFile();
        const at = file.size - 5;
        const byte = new Uint8Array(await file.slice(at, at + 1).arrayBuffer());
        const w = await handle.createWritable({ keepExistingData: true });
        await w.write({ type: 'write', position: at, data: new Uint8Array([byte[0] ^ 1]) });
        await w.close();
        n += 1;
      }
      return n;
    },
  };
}
