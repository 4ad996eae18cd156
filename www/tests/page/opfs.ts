// The origin private file system, as far as the package's cache uses it, in memory: for tests in Node.
// What is imported behind this module takes Node for a browser: it looks once, for a document.
Object.assign(globalThis, { document: {} });

class FakeFile {
  bytes = new Uint8Array(0);
  async getFile(): Promise<Blob> {
    return new Blob([this.bytes]);
  }
  async createWritable({ keepExistingData = false } = {}): Promise<object> {
    let bytes = keepExistingData ? this.bytes.slice() : new Uint8Array(0);
    const grow = (size: number): void => {
      const next = new Uint8Array(size);
      next.set(bytes.subarray(0, size));
      bytes = next;
    };
    return {
      truncate: async (size: number) => grow(size),
      write: async ({ position, data }: { position: number; data: Uint8Array }) => {
        if (position + data.byteLength > bytes.byteLength) grow(position + data.byteLength);
        bytes.set(data, position);
      },
      close: async () => void (this.bytes = bytes),
    };
  }
}

class FakeFolder {
  readonly kind = 'directory';
  all = new Map<string, FakeFile | FakeFolder>();
  #get<T>(name: string, create: boolean, make: () => T & (FakeFile | FakeFolder)): T {
    if (!this.all.has(name)) {
      if (!create) throw new DOMException('not there', 'NotFoundError');
      this.all.set(name, make());
    }
    return this.all.get(name) as T;
  }
  async getDirectoryHandle(name: string, { create = false } = {}): Promise<FakeFolder> {
    return this.#get(name, create, () => new FakeFolder());
  }
  async getFileHandle(name: string, { create = false } = {}): Promise<FakeFile> {
    return this.#get(name, create, () => new FakeFile());
  }
  async removeEntry(name: string): Promise<void> {
    if (!this.all.delete(name)) throw new DOMException('not there', 'NotFoundError');
  }
}

/** Puts a fresh one in place of the browser's. */
export function fakeStorage(): void {
  Reflect.deleteProperty(globalThis, 'document');
  const root = new FakeFolder();
  const storage = { getDirectory: async () => root, estimate: async () => ({ quota: 1e12, usage: 0 }) };
  Object.defineProperty(globalThis, 'navigator', { value: { onLine: true, storage }, configurable: true });
}
