// What somebody may have meant by a name that is none: the same thing as other libraries call it, or the nearest spelling.

/** Names of the field, without dashes and in small letters, and what they are called here; each counts only where the table has it. */
const ALIASES: Readonly<Record<string, string>> = {
  alpha: 'loraAlpha',
  apiurl: 'workerUrl',
  batchsize: 'perDeviceTrainBatchSize',
  completions: 'n',
  contextsize: 'contextLength',
  contextwindow: 'contextLength',
  dropout: 'loraDropout',
  dtype: 'quantize',
  epochs: 'numTrainEpochs',
  ignoreeostoken: 'ignoreEos',
  loglevel: 'onWarning',
  lr: 'learningRate',
  maxcompletiontokens: 'maxNewTokens',
  maxgenlen: 'maxNewTokens',
  maxlength: 'maxNewTokens',
  maxoutputtokens: 'maxNewTokens',
  maxseqlength: 'maxLength',
  maxtokens: 'maxNewTokens',
  modules: 'targetModules',
  nctx: 'contextLength',
  npredict: 'maxNewTokens',
  nthreads: 'threads',
  numctx: 'contextLength',
  numpredict: 'maxNewTokens',
  numreturnsequences: 'n',
  numsteps: 'maxSteps',
  numthreads: 'threads',
  onlog: 'onStep',
  ontoken: 'onStep',
  peft: 'peftConfig',
  progresscallback: 'onProgress',
  rank: 'r',
  repeatpenalty: 'repetitionPenalty',
  signals: 'signal',
  steps: 'maxSteps',
  stop: 'stopStrings',
  stopsequences: 'stopStrings',
  temp: 'temperature',
  warmup: 'warmupSteps',
  wasm: 'wasmUrl',
  workerpath: 'workerUrl',
};

const plain = (name: string): string =>
  name
    .replace(/[_\-\s]/g, '')
    .toLowerCase()
    .slice(0, 64);

/** How many letters differ; two that changed places count as one. */
function distance(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      row.push(Math.min(last[j - 1]! + (same ? 0 : 1), last[j]! + 1, row[j - 1]! + 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) row[j] = Math.min(row[j]!, before[j - 2]! + 1);
    }
    before = last;
    last = row;
  }
  return last[b.length]!;
}

/** The known name that `name` most likely stands for. */
export function meant(name: string, known: readonly string[]): string | undefined {
  const asked = plain(name);
  const same = known.find((k) => plain(k) === asked);
  if (same) return same;
  const other = Object.hasOwn(ALIASES, asked) ? ALIASES[asked] : undefined;
  if (other !== undefined && known.includes(other)) return other;
  if (asked.length < 2) return undefined;
  const most = Math.min(3, Math.max(1, Math.floor(asked.length / 4)));
  return known
    .map((k) => ({ k, d: distance(asked, plain(k)) }))
    .filter((n) => n.d <= most)
    .sort((a, b) => a.d - b.d)[0]?.k;
}
