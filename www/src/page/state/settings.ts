import { signal } from '@preact/signals';
import { cleanHosts } from '../model/hosts.ts';
import { defaultsFor, keptArgs, METHOD_NAMES } from '../model/learnArgs.ts';
import { merge } from '../model/merge.ts';
import { CRITERIA, type LearnArgs, type Method, type Settings } from '../model/types.ts';
import { parseJson, readFile } from '../storage/opfs.ts';
import { alone, changed, know } from '../storage/shared.ts';
import { dirty, save } from './saver.ts';

export const SETTINGS_FILE = 'settings.json';

export const LEARN_DEFAULTS = Object.fromEntries(METHOD_NAMES.map((m) => [m, defaultsFor(m)])) as Record<Method, LearnArgs>;

export const DEFAULTS: Settings = {
  theme: 'system',
  n: 3,
  temperature: 0.8,
  topP: 0.95,
  topK: 0,
  minP: 0,
  repetitionPenalty: 1,
  maxNewTokens: 256,
  seed: null,
  system: '',
  weights: { helpful: 5, accurate: 5, harmless: 5 },
  showCriteria: true,
  compare: false,
  modelHosts: [],
  lastModel: null,
  openLast: true,
  device: 'auto',
  activeAdapter: null,
  method: 'dpo',
  adapterName: 'my-first-adapter',
  learn: LEARN_DEFAULTS,
};

export const settings = signal<Settings>(DEFAULTS);

const inRange = (v: unknown, lo: number, hi: number, otherwise: number): number =>
  typeof v === 'number' && v >= lo && v <= hi ? v : otherwise;

/** Settings from a file of any age: unknown fields fall away, wrong ones take their default. */
export function repaired(raw: Partial<Settings> | null): Settings {
  const s: Settings = { ...DEFAULTS };
  for (const key of Object.keys(DEFAULTS) as (keyof Settings)[]) {
    const value = raw?.[key];
    if (value !== undefined && (DEFAULTS[key] === null || typeof value === typeof DEFAULTS[key])) Object.assign(s, { [key]: value });
  }
  s.n = inRange(s.n, 2, 6, DEFAULTS.n);
  s.temperature = inRange(s.temperature, 0, 5, DEFAULTS.temperature);
  if (!['auto', 'gpu', 'cpu'].includes(s.device)) s.device = DEFAULTS.device;
  s.weights = { ...DEFAULTS.weights };
  for (const c of CRITERIA) s.weights[c] = inRange(raw?.weights?.[c], 0, 10, DEFAULTS.weights[c]);
  s.modelHosts = cleanHosts(Array.isArray(raw?.modelHosts) ? raw.modelHosts : []);
  s.learn = Object.fromEntries(METHOD_NAMES.map((m) => [m, keptArgs(m, raw?.learn?.[m])])) as Settings['learn'];
  if (!METHOD_NAMES.includes(s.method)) s.method = DEFAULTS.method;
  return s;
}

/** As they were last known to be on disk. */
let base: Settings | undefined;

/** Takes over what another tab has changed; what this one has changed since then stays. */
async function take(file: File | null): Promise<void> {
  const raw = file && (await parseJson<Settings>(SETTINGS_FILE, file));
  know(SETTINGS_FILE, file);
  if (!raw) return;
  const theirs = repaired(raw);
  settings.value = base ? merge(base, settings.value, theirs) : theirs;
  base = theirs;
}

export const loadSettings = (): Promise<void> => alone(SETTINGS_FILE, async () => take(await readFile(SETTINGS_FILE)));

/** Another tab wrote them. */
export async function settingsChanged(): Promise<void> {
  if (dirty(SETTINGS_FILE)) return;
  await alone(SETTINGS_FILE, async () => {
    const file = await changed(SETTINGS_FILE);
    if (file !== undefined) await take(file);
  });
}

export function change(part: Partial<Settings>): void {
  settings.value = { ...settings.value, ...part };
  let written = settings.value;
  save(
    SETTINGS_FILE,
    async () => {
      const file = await changed(SETTINGS_FILE);
      if (file !== undefined) await take(file);
      written = settings.value;
      return JSON.stringify(written, null, 1);
    },
    () => void (base = written),
  );
}

export function changeLearn(method: Method, part: Partial<LearnArgs>): void {
  const { learn } = settings.value;
  change({ learn: { ...learn, [method]: { ...learn[method], ...part } } });
}
