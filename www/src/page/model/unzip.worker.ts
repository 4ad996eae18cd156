// The Worker that unpacks a zip: whatever is in the archive, the page stays free, and is free of it when the Worker ends.
import { unzip, type Unpacked, type Wish } from './unzip.ts';

const scope = globalThis as unknown as {
  onmessage: (e: MessageEvent<{ file: File; wanted: Wish[] }>) => void;
  postMessage(m: Unpacked, t?: Transferable[]): void;
};

scope.onmessage = (e) =>
  void unzip(e.data.file, e.data.wanted).then((answer) =>
    scope.postMessage(answer, 'files' in answer ? [...answer.files.values()].map((b) => b.buffer) : []),
  );
