// Random values for everything that a caller can hand over, in the page: valid requests with something in them replaced, and things that are
// nothing at all. Seeded, so that what fails once fails again.
export function install(t, fledgling) {
  let state = 1;
  const random = () => {
    state = (state + 0x6d2b79f5) | 0;
    let x = Math.imul(state ^ (state >>> 15), 1 | state);
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
    return ((x ^ (x >>> 14)) >>> 0) / 4294967296;
  };
  const below = (n) => Math.floor(random() * n);
  const of = (list) => list[below(list.length)];

  const throwing = () =>
    new Proxy(
      {},
      Object.fromEntries(
        ['get', 'has', 'ownKeys', 'getOwnPropertyDescriptor', 'getPrototypeOf'].map((trap) => [
          trap,
          () => {
            throw new TypeError('a trap');
          },
        ]),
      ),
    );
  const revoked = (target) => {
    const { proxy, revoke } = Proxy.revocable(target, {});
    revoke();
    return proxy;
  };
  const cyclic = () => {
    const a = { content: 'x' };
    a.messages = [a];
    return a;
  };
  const deep = () => {
    let a = 'x';
    for (let i = 0; i < 3000; i++) a = i % 2 ? [a] : { a };
    return a;
  };
  class Own {
    role = 'user';
    content = 'x';
  }
  const KEYS = [
    ...['maxNewTokens', 'temperature', 'topK', 'seed', 'stopStrings', 'signal', 'adapter', 'n', 'queue', 'positions', 'role', 'content'],
    ...['messages', 'prompt', 'completion', 'chosen', 'rejected', 'label', 'weight', 'inputIds', 'input_ids', 'labels', 'text', 'answers'],
    ...[
      'ranks',
      'learningRate',
      'maxSteps',
      'peftConfig',
      'r',
      'targetModules',
      'resumeFrom',
      'adapterName',
      'tools',
      'max_tokens',
      'stop',
    ],
    ...['adapter_config.json', 'adapter_model.safetensors', 'worker', 'device', 'cache', 'sha256', 'name', 'length', 'then', 'toJSON'],
    ...['__proto__', 'constructor', '', ' ', '0', '💥', 'valueOf'],
  ];
  const PRIMITIVES = [
    ...[undefined, null, true, false, 0, -0, 1, -1, 2, 7, 0.5, 1.5, 1e9, -1e9, 2 ** 31, 2 ** 32, 2 ** 53, 1e308, Number.MIN_VALUE],
    ...[
      Number.NaN,
      Infinity,
      -Infinity,
      5n,
      -(2n ** 70n),
      '',
      ' ',
      'x',
      'user',
      'assistant',
      'null',
      '{}',
      '[]',
      '5e-4',
      '\ud83d',
      '\0',
      '💥',
    ],
    ...[
      'q_proj',
      'default',
      'linear',
      'sigmoid',
      'cpu',
      './none.gguf',
      'owner/name',
      'http://[',
      'a'.repeat(70_000),
      'javascript:1',
      '\ufeff{',
    ],
  ];
  const OBJECTS = [
    () => Symbol('s'),
    () => () => {},
    () => async () => {
      throw new Error('boom');
    },
    () => () => {
      throw new RangeError('boom');
    },
    () => new Date(0),
    () => new Map([['a', 1]]),
    () => new Set([1]),
    () => /x/,
    () => new Error('an error'),
    () => Promise.resolve([]),
    // biome-ignore lint/suspicious/noThenProperty: what looks like a promise is given, too
    () => ({ then: (f) => f([]) }),
    () => new Uint8Array([1, 2, 3]),
    () => new Float32Array([1, Number.NaN]),
    () => new BigInt64Array([1n]),
    () => new DataView(new ArrayBuffer(4)),
    () => new ArrayBuffer(below(40)),
    () => new Uint8Array(new SharedArrayBuffer(8)),
    () => new Blob(['GGUF', new Uint8Array(below(60))]),
    () => new Blob(['PK\u0003\u0004', new Uint8Array(below(60))]),
    () => new File(['{"a":1}\n{"prompt":"a","completion":"b"}\n'], of(['a.jsonl', 'config.json', 'model.safetensors', 'x.zip'])),
    () => [new File(['{}'], 'adapter_config.json'), new File(['x'], 'adapter_model.safetensors')],
    () => new URL('http://127.0.0.1:9/none'),
    () => document.createElement('div'),
    () => document,
    () => AbortSignal.abort(),
    () => new AbortController(),
    () => Object.create(null),
    () => new Own(),
    () => Object.freeze({ prompt: 'a' }),
    () =>
      Object.defineProperty({}, 'content', {
        enumerable: true,
        get: () => {
          throw new Error('a getter');
        },
      }),
    () => new Array(3),
    () => new Array(1e6),
    () => new String('x'),
    () => new Number(5),
    throwing,
    () => revoked({}),
    () => revoked([]),
    cyclic,
    deep,
  ];
  const value = (depth = 0) => {
    const kind = random();
    if (kind < 0.45 || depth > 3) return of(PRIMITIVES);
    if (kind < 0.7) return of(OBJECTS)();
    if (kind < 0.82) return Array.from({ length: below(4) }, () => value(depth + 1));
    return Object.fromEntries(Array.from({ length: below(4) }, () => [of(KEYS), value(depth + 1)]));
  };

  const plain = (v) => {
    try {
      return typeof v === 'object' && v !== null && (Array.isArray(v) || Object.getPrototypeOf(v) === Object.prototype);
    } catch {
      return false;
    }
  };
  const clone = (v) => {
    if (!plain(v)) return v;
    return Array.isArray(v) ? v.map(clone) : Object.fromEntries(Object.entries(v).map(([k, w]) => [k, clone(w)]));
  };
  /** Some of them are frozen. */
  const set = (holder, key, property) => void Reflect.defineProperty(holder, key, property);
  /** A valid value with something in it replaced, left out or added. */
  const changed = (valid) => {
    // Several arguments of one call are made so: some of them stay right.
    if (random() < 0.3) return clone(valid);
    if (random() < 0.12) return value();
    const root = { v: clone(valid) };
    for (let n = 1 + below(2); n > 0; n--) {
      let holder = root;
      let key = 'v';
      for (;;) {
        let inner;
        let keys = [];
        try {
          inner = holder[key];
          if (plain(inner)) keys = Object.keys(inner);
        } catch {
          // a proxy or a getter that throws
        }
        if (keys.length === 0 || random() < 0.15) break;
        holder = inner;
        key = of(keys);
      }
      if (holder === root) {
        if (plain(root.v) && !Array.isArray(root.v))
          set(root.v, of(KEYS), { value: value(), enumerable: true, configurable: true, writable: true });
      } else if (random() < 0.15) Reflect.deleteProperty(holder, key);
      else set(holder, key, { value: value(1), enumerable: true, configurable: true, writable: true });
    }
    return root.v;
  };

  const CHAT = [{ role: 'user', content: 'Hi' }];
  const GENERATE = {
    maxNewTokens: 2,
    temperature: 0.5,
    topK: 5,
    topP: 0.9,
    minP: 0,
    noRepeatNgramSize: 0,
    numBeams: 1,
    lengthPenalty: 1,
    earlyStopping: false,
    promptLookupNumTokens: 0,
    maxMatchingNgramSize: 2,
    topLogprobs: 1,
    seed: 1,
    stopStrings: ['x'],
    ignoreEos: true,
    adapter: null,
    queue: true,
  };
  const PEFT = { r: 2, loraAlpha: 4, targetModules: ['q_proj'], loraDropout: 0, rankPattern: { q_proj: 1 } };
  const ARGS = { maxSteps: 1, learningRate: 1e-3, seed: 1, adapterName: 'r', lrSchedulerType: 'linear', maxLength: 64, peftConfig: PEFT };
  const SFT = [
    { messages: [...CHAT, { role: 'assistant', content: 'b' }] },
    { prompt: 'a', completion: 'b' },
    { text: 'ab' },
    { inputIds: [1, 2, 3] },
  ];
  const DPO = [
    { prompt: 'a', chosen: 'b', rejected: 'c', weight: 1 },
    { prompt: CHAT, answers: ['a', 'b'], ranks: [1, 2] },
  ];
  const KTO = [
    { prompt: 'a', completion: 'b', label: true },
    { prompt: 'a', completion: 'c', label: false },
  ];
  const ROLLOUTS = [
    { promptIds: [3, 4], completionIds: [[5, 6], [7]], rewards: [1, 0] },
    { promptIds: [3], completionIds: [[5], [7, 2]], rewards: [0.5, 2] },
  ];
  const RESPONSES = [
    { queryIds: [3, 4], responseIds: [5, 6], score: 1 },
    { queryIds: [3], responseIds: [7, 2], score: -0.5 },
  ];
  const train = (Trainer, rows) => async (m) =>
    new fledgling[Trainer](random() < 0.05 ? value() : m, changed(ARGS)).train(
      changed(rows),
      random() < 0.2 ? changed({ saveSteps: 1, signal: AbortSignal.timeout(3000) }) : { signal: AbortSignal.timeout(3000) },
    );
  let adapter;
  const calls = {
    chat: (m) => m.chat(changed(CHAT), changed(GENERATE)).result,
    generate: (m) => m.generate(changed(random() < 0.5 ? 'a text' : [1, 2, 3]), changed(GENERATE)).result,
    candidates: (m) => m.generateCandidates(changed(CHAT), changed({ ...GENERATE, n: 2 })).result,
    score: (m) => m.score(changed(of(['a text', CHAT, [1, 2, 3]])), changed({ adapter: null, positions: [0] })),
    countTokens: (m) => m.countTokens(changed(CHAT)),
    completions: async (m) =>
      m.chat.completions.create(
        changed({ messages: CHAT, max_tokens: 2, temperature: 0, top_p: 1, n: 1, seed: 3, stop: ['x'], stream: false }),
        random() < 0.2 ? value() : undefined,
      ),
    sft: train('SFTTrainer', SFT),
    dpo: train('DPOTrainer', DPO),
    kto: train('KTOTrainer', KTO),
    orpo: train('ORPOTrainer', DPO),
    cpo: train('CPOTrainer', DPO),
    reward: train('RewardTrainer', DPO),
    grpo: train('GRPOTrainer', ROLLOUTS),
    rloo: train('RLOOTrainer', ROLLOUTS),
    onlineDpo: train('OnlineDPOTrainer', ROLLOUTS),
    ppo: train('PPOTrainer', RESPONSES),
    loadAdapter: (m) => m.loadAdapter(changed(adapter), random() < 0.8 ? 'l' : value()),
    names: (m) => m[of(['setAdapter', 'removeAdapter', 'mergeAdapter', 'saveAdapter'])](value()),
    encode: (m) => m.tokenizer.encode(changed('x'), changed({ addSpecialTokens: true })),
    decode: (m) => m.tokenizer.decode(changed([1, 2]), changed({ skipSpecialTokens: true })),
    template: (m) => m.tokenizer.applyChatTemplate(changed(CHAT), changed({ addGenerationPrompt: true })),
    readRows: () =>
      fledgling.readRows(changed(of(['{"prompt":"a"}', new Blob(['{"a":1}'])])), changed({ name: 'n', worker: false })).result,
    writeRows: () => fledgling.writeRows(changed(of([SFT, DPO])), { worker: false }),
    rankings: () => fledgling.rankingToPairs(changed('p'), changed(['a', 'b']), changed([1, 2]), { worker: false }),
    load: async () => {
      const given =
        random() < 0.6
          ? value()
          : changed({
              worker: false,
              device: 'cpu',
              cache: false,
              name: 'n',
              contextLength: 64,
              candidates: 1,
              kvCacheDtype: 'f32',
              mask: 'causal',
              quantize: 'q8_0',
            });
      // A Worker for each would take minutes; so would a GPU.
      let options = given;
      try {
        if (plain(given) && !Array.isArray(given)) options = { ...given, worker: false, device: 'cpu', cache: false, onWarning: () => {} };
      } catch {
        // it throws: as it is
      }
      const source = random() < 0.5 ? value() : new Blob(['GGUF', new Uint8Array(below(100))]);
      if (options === undefined) return fledgling.Model.load(source, { worker: false, device: 'cpu', cache: false });
      return fledgling.Model.load(source, options).then((m) => m.dispose());
    },
    measure: () =>
      fledgling.measureDevice({
        worker: false,
        device: 'cpu',
        ...(random() < 0.5 ? { figures: value() ?? 1 } : { threads: of([0, -1, 'x', null, 1.5]) }),
      }),
  };
  const LATE = 'no answer within 20 s';
  const NAMES = Object.keys(calls);

  t.random = async (key, seed, count, only) => {
    state = seed;
    const m = t.models.get(key);
    const wrong = [];
    const tally = {};
    if (!adapter) {
      await new fledgling.SFTTrainer(m, { maxSteps: 1, adapterName: 'seed', peftConfig: { r: 1 } }).train([
        { prompt: 'a', completion: 'b' },
      ]);
      adapter = await m.saveAdapter('seed');
      await m.removeAdapter('seed');
    }
    for (let i = 0; i < count; i++) {
      const before = state;
      const name = only ? of(only) : of(NAMES);
      let outcome;
      let timer;
      try {
        const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error(LATE)), 20_000)));
        await Promise.race([(async () => calls[name](m))(), late]);
        outcome = 'result';
      } catch (e) {
        outcome = e?.code ?? 'raw';
        const message = String(e?.message);
        const inner = [
          ...[/JsValue|\bSome\(|\bNone\b|unit value|\[object |invalid type|missing field|Reflect\b|Cannot read|is not a function/],
          ...[/undefined is not|\.rs\b|at line \d+ column|stack/],
        ];
        // A field, a row, a message or a file and what is wrong with it.
        const names = /^(?:.{1,400}?: |row \d+|training \(after|\d+ tokens do not fit|the options of |on[A-Z]\w+ threw)/u;
        if (
          !(e instanceof fledgling.FledglingError) ||
          e.code === 'internal' ||
          message.length > 700 ||
          inner.some((words) => words.test(message)) ||
          !names.test(message)
        )
          wrong.push({ name, state: before, code: e?.code, typed: e instanceof fledgling.FledglingError, message: message.slice(0, 400) });
      } finally {
        clearTimeout(timer);
      }
      tally[outcome] = (tally[outcome] ?? 0) + 1;
      if (wrong.length > 20) break;
      // What still runs is a call that did not end: it stands among the wrong ones.
      if (wrong.some((w) => w.message === LATE)) break;
      if (i % 50 === 49) for (const a of await m.adapters()) await m.removeAdapter(a.name);
    }
    if (wrong.length > 0) return { wrong, tally, answers: 0 };
    const { tokenIds } = await m.chat(CHAT, { maxNewTokens: 2, adapter: null }).result;
    return { wrong, tally, answers: tokenIds.length };
  };
}
