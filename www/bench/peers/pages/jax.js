// jax-js: the GPT of the benchmark as one jitted step (loss, gradients, AdamW), and a matmul. ?device=webgpu|wasm.
// Arrays are consumed by what uses them; `.ref` is one more use.
import { blockUntilReady, defaultDevice, init, jit, nn, numpy as np, tree, valueAndGrad } from '@jax-js/jax';
import { GPT, row } from './gpt.js';

const device = new URLSearchParams(location.search).get('device') ?? 'webgpu';
const { layers, heads, width, context, batch, symbols } = GPT;

let seed = 1;
const uniform = () => ((seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) + 1) / 4294967297;
const normal = (shape, scale = 0.02) => {
  const values = Float32Array.from(
    { length: shape.reduce((a, b) => a * b) },
    () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()) * scale,
  );
  return np.array(values).reshape(shape);
};

function parameters() {
  const p = { wte: normal([symbols, width]), wpe: normal([context, width]), g: np.ones([width]), b: np.zeros([width]) };
  for (let i = 0; i < layers; i++) {
    Object.assign(p, {
      [`g1_${i}`]: np.ones([width]),
      [`b1_${i}`]: np.zeros([width]),
      [`wqkv_${i}`]: normal([width, 3 * width]),
      [`bqkv_${i}`]: np.zeros([3 * width]),
      [`wo_${i}`]: normal([width, width], 0.02 / Math.sqrt(2 * layers)),
      [`bo_${i}`]: np.zeros([width]),
      [`g2_${i}`]: np.ones([width]),
      [`b2_${i}`]: np.zeros([width]),
      [`wf_${i}`]: normal([width, 4 * width]),
      [`bf_${i}`]: np.zeros([4 * width]),
      [`wp_${i}`]: normal([4 * width, width], 0.02 / Math.sqrt(2 * layers)),
      [`bp_${i}`]: np.zeros([width]),
    });
  }
  return p;
}

const norm = (x, g, b) => nn.standardize(x, -1, { epsilon: 1e-5 }).mul(g).add(b);

/** x, y: one-hot (B, T, symbols). */
function loss(p, x, y) {
  let h = np.matmul(x, p.wte.ref).add(p.wpe);
  for (let i = 0; i < layers; i++) {
    const qkv = np.matmul(norm(h.ref, p[`g1_${i}`], p[`b1_${i}`]), p[`wqkv_${i}`]).add(p[`bqkv_${i}`]);
    const [q, k, v] = np.split(qkv, 3, -1).map((a) => a.reshape([batch, context, heads, width / heads]));
    const a = nn.dotProductAttention(q, k, v, { isCausal: true }).reshape([batch, context, width]);
    h = h.add(np.matmul(a, p[`wo_${i}`]).add(p[`bo_${i}`]));
    const up = nn.gelu(np.matmul(norm(h.ref, p[`g2_${i}`], p[`b2_${i}`]), p[`wf_${i}`]).add(p[`bf_${i}`]), { approximate: true });
    h = h.add(np.matmul(up, p[`wp_${i}`]).add(p[`bp_${i}`]));
  }
  const logits = np.matmul(norm(h, p.g, p.b), np.transpose(p.wte));
  return nn
    .logSoftmax(logits, -1)
    .mul(y)
    .sum()
    .mul(-1 / (batch * (context - 1)));
}

const LR = 1e-3;
const DECAY = 0.1;
/** c1, c2: 1/(1 − βᵗ). */
const update = jit((p, m, v, x, y, c1, c2) => {
  const [l, g] = valueAndGrad(loss)(tree.ref(p), x, y);
  const [np_, nm, nv] = [{}, {}, {}];
  for (const k of Object.keys(p)) {
    nm[k] = m[k].mul(0.9).add(g[k].ref.mul(0.1));
    nv[k] = v[k].mul(0.999).add(np.square(g[k]).mul(0.001));
    const step = nm[k].ref.mul(c1.ref).div(np.sqrt(nv[k].ref.mul(c2.ref)).add(1e-8));
    np_[k] = p[k].mul(1 - LR * DECAY).sub(step.mul(LR));
  }
  c1.dispose();
  c2.dispose();
  return [np_, nm, nv, l];
});

let state;
function hot(ids) {
  const out = new Float32Array(ids.length * symbols);
  ids.forEach((id, i) => id >= 0 && (out[i * symbols + id] = 1));
  return np.array(out).reshape([batch, context, symbols]);
}

window.peer = {
  async load() {
    await init(device);
    defaultDevice(device);
    return { adapter: {} };
  },
  async gpt({ steps }) {
    const once = async () => {
      const rows = Array.from({ length: batch }, (_, i) => row((state.t * batch + i) % (2 * batch)));
      state.t++;
      // The last position has no target.
      const [x, y] = [hot(rows.flat()), hot(rows.flatMap((r) => [...r.slice(1), -1]))];
      const [c1, c2] = [np.array(1 / (1 - 0.9 ** state.t)), np.array(1 / (1 - 0.999 ** state.t))];
      let l;
      [state.p, state.m, state.v, l] = update(state.p, state.m, state.v, x, y, c1, c2);
      await blockUntilReady([state.p, state.m, state.v]);
      return (await l.data())[0];
    };
    if (!state) {
      const p = parameters();
      const zeros = () => Object.fromEntries(Object.entries(p).map(([k, a]) => [k, np.zeros(a.shape)]));
      state = { p, m: zeros(), v: zeros(), t: 0 };
      await once();
    }
    const times = [];
    let last;
    for (let i = 0; i < steps; i++) {
      const begin = performance.now();
      last = await once();
      times.push(performance.now() - begin);
    }
    return { value: Math.min(...times), loss: last };
  },
  async matmul({ n }) {
    const [a, b] = [normal([n, n], 1), normal([n, n], 1)];
    const repeats = 4;
    let best = Infinity;
    for (let run = 0; run < 4; run++) {
      const begin = performance.now();
      const all = Array.from({ length: repeats }, () => np.matmul(a.ref, b.ref));
      await blockUntilReady(all);
      best = Math.min(best, (performance.now() - begin) / 1000 / repeats);
      all.forEach((c) => c.dispose());
    }
    return { value: (2 * n ** 3) / best / 1e9 };
  },
  end: async () => {},
};
