// Which of the files that a person chose or dropped make a model. Pure, but for reading folders that were dropped.
import { PageError } from './errors.ts';
import { listOf, t } from '../i18n/language.ts';

/** What Transformers writes beside the weights, as far as the engine reads it. */
const BESIDE = ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'generation_config.json', 'chat_template.jinja'];
const isWeights = (name: string): boolean => /\.safetensors$/i.test(name) && name !== 'adapter_model.safetensors';

/** "SmolLM2-135M-Instruct.Q4_1" from a path or an address. */
export const modelName = (path: string): string =>
  decodeURIComponent(path.split(/[?#]/)[0]!.replace(/\/+$/, '').split('/').pop() || path).replace(/\.(gguf|safetensors)$/i, '');

export interface Chosen {
  name: string;
  files: File[];
}

/** One GGUF file, or the weights of a folder with what lies beside them. */
export function chosenModel(given: readonly File[], folder?: string): Chosen {
  const ggufs = given.filter((f) => /\.gguf$/i.test(f.name));
  if (ggufs.length > 1)
    throw new PageError(
      'bad-file',
      t('{n} GGUF files were chosen ({names}…); expected one.', {
        n: ggufs.length,
        names: ggufs
          .slice(0, 3)
          .map((f) => f.name)
          .join(', '),
      }),
    );
  if (ggufs[0]) return { name: modelName(ggufs[0].name), files: ggufs };
  const weights = given.filter((f) => isWeights(f.name));
  const at = folder ?? given.map((f) => f.webkitRelativePath.split('/').at(-2)).find((n) => n);
  if (weights.length === 0) {
    // One file of any name may be a model; the engine looks inside.
    if (given.length === 1 && !BESIDE.includes(given[0]!.name)) return { name: modelName(given[0]!.name), files: [...given] };
    const found =
      given
        .slice(0, 6)
        .map((f) => f.name)
        .join(', ') || t('nothing');
    throw new PageError(
      'bad-file',
      at
        ? t(
            'The folder {at} holds no weights: expected a .gguf file, or model.safetensors with config.json and tokenizer.json; found {found}.',
            { at, found },
          )
        : t(
            'The chosen files hold no weights: expected a .gguf file, or model.safetensors with config.json and tokenizer.json; found {found}.',
            { found },
          ),
    );
  }
  const files = [...BESIDE.flatMap((name) => given.find((f) => f.name === name) ?? []), ...weights];
  const missing = ['config.json', 'tokenizer.json'].filter((name) => !files.some((f) => f.name === name));
  if (missing.length > 0)
    throw new PageError(
      'bad-file',
      t('{name} comes without {missing}: choose all files of the folder together.', { name: weights[0]!.name, missing: listOf(missing) }),
    );
  return { name: at ?? modelName(weights[0]!.name), files };
}

const readEntries = (reader: FileSystemDirectoryReader): Promise<FileSystemEntry[]> =>
  new Promise((done, fail) => reader.readEntries(done, fail));
const fileOf = (entry: FileSystemFileEntry): Promise<File> => new Promise((done, fail) => entry.file(done, fail));
/** Models have a dozen files; whoever drops a home folder by mistake should not wait for it. */
const MOST = 200;

/** What was dropped: files, or the files directly in a folder. Must be called in the drop event itself. */
export function dropped(data: DataTransfer): Promise<{ files: File[]; folder?: string }> {
  const entries = [...data.items].map((item) => item.webkitGetAsEntry?.() ?? null);
  const plain = [...data.files];
  return (async () => {
    const folders = entries.filter((e): e is FileSystemDirectoryEntry => e?.isDirectory === true);
    if (folders.length === 0) return { files: plain };
    const files: File[] = [];
    for (const entry of entries) if (entry?.isFile) files.push(await fileOf(entry as FileSystemFileEntry));
    for (const folder of folders) {
      const reader = folder.createReader();
      for (let more = await readEntries(reader); more.length > 0 && files.length < MOST; more = await readEntries(reader)) {
        for (const entry of more) if (entry.isFile) files.push(await fileOf(entry as FileSystemFileEntry));
      }
    }
    return { files, folder: folders[0]!.name };
  })();
}
