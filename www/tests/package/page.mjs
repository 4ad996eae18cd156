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
    /** A zip of texts and bytes, stored as they are. */
    async zip(files) {
      const text = new TextEncoder();
      const entries = Object.entries(files).map(([name, data]) => ({
        name: text.encode(name),
        data: typeof data === 'string' ? text.encode(data) : data,
      }));
      const table = Uint32Array.from({ length: 256 }, (_, n) => {
        let c = n;
        for (let k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
        return c;
      });
      const crc = (bytes) => ~bytes.reduce((c, b) => table[(c ^ b) & 255] ^ (c >>> 8), -1) >>> 0;
      const head = (size, fields) => {
        const view = new DataView(new ArrayBuffer(size));
        for (const [at, bytes, value] of fields) bytes === 4 ? view.setUint32(at, value, true) : view.setUint16(at, value, true);
        return view.buffer;
      };
      const parts = [];
      const directory = [];
      let at = 0;
      for (const { name, data } of entries) {
        const sizes = (from) => [
          [from, 4, crc(data)],
          [from + 4, 4, data.length],
          [from + 8, 4, data.length],
          [from + 12, 2, name.length],
        ];
        directory.push(head(46, [[0, 4, 0x02014b50], [4, 2, 20], [6, 2, 20], ...sizes(16), [42, 4, at]]), name);
        parts.push(head(30, [[0, 4, 0x04034b50], [4, 2, 20], ...sizes(14)]), name, data);
        at += 30 + name.length + data.length;
      }
      const size = directory.reduce((n, p) => n + p.byteLength, 0);
      const end = head(22, [
        [0, 4, 0x06054b50],
        [8, 2, entries.length],
        [10, 2, entries.length],
        [12, 4, size],
        [16, 4, at],
      ]);
      return new Blob([...parts, ...directory, end]);
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
