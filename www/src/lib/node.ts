// In Node, files come from the disk.
import { bad, isA, shown } from './options/check.ts';
import { ofNode } from './places.ts';

interface Fs {
  openAsBlob(path: string | URL): Promise<Blob>;
}
interface FsPromises {
  stat(path: string | URL): Promise<{ isDirectory(): boolean }>;
  readdir(path: string | URL): Promise<string[]>;
}

/** A file on the disk: it is opened where it is read, because Node sends none to a Worker. */
export interface Named {
  name: string;
  /** A `file:` address. */
  file: string;
}

export async function opened({ name, file }: Named): Promise<File> {
  const { openAsBlob } = await ofNode<Fs>('node:fs');
  return new File([await openAsBlob(new URL(file))], name);
}

/** What is read of a folder as Transformers writes it. */
const READ = /\.(json|jinja|safetensors|gguf|model|txt)$/;

/** The files of a path or a `file:` address; undefined for what is neither. */
export async function filesAt(source: unknown): Promise<Named[] | undefined> {
  if (typeof source !== 'string' && !isA<URL>(source, 'URL')) return undefined;
  const text = String(source);
  if (text === '' || (/^[a-z][\w+.-]+:/i.test(text) && !text.startsWith('file:'))) return undefined;
  const [{ stat, readdir }, { pathToFileURL }] = await Promise.all([
    ofNode<FsPromises>('node:fs/promises'),
    ofNode<{ pathToFileURL(path: string): URL }>('node:url'),
  ]);
  const at = text.startsWith('file:') ? new URL(text) : pathToFileURL(text);
  const named = (file: URL): Named => ({ name: decodeURIComponent(file.pathname.split('/').pop()!), file: file.href });
  try {
    if (!(await stat(at)).isDirectory()) return [named(at)];
    const folder = new URL(`${at.href.replace(/\/$/, '')}/`);
    const names = (await readdir(folder)).filter((name) => READ.test(name));
    return names.map((name) => named(new URL(encodeURIComponent(name), folder)));
  } catch {
    throw bad('source', `${shown(text)}: there is no such file or folder`);
  }
}
