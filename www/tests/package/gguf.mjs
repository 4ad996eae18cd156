// Writes a tiny Llama as GGUF (byte-level vocabulary, chat template, weights from a counter) and broken relatives of it.

const TYPE = { u32: 4, f32: 6, bool: 7, string: 8, array: 9 };

/** GPT-2's mapping of the 256 bytes to printable characters. */
function byteTokens() {
  const plain = [];
  for (let b = 0; b < 256; b++) if ((b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255)) plain.push(b);
  let next = 256;
  return Array.from({ length: 256 }, (_, b) => String.fromCodePoint(plain.includes(b) ? b : next++));
}

class Bytes {
  #parts = [];
  length = 0;
  push(b) {
    this.#parts.push(b);
    this.length += b.length;
    return this;
  }
  u32(v) {
    const b = Buffer.alloc(4);
    b.writeUInt32LE(v);
    return this.push(b);
  }
  u64(v) {
    const b = Buffer.alloc(8);
    b.writeBigUInt64LE(BigInt(v));
    return this.push(b);
  }
  f32(v) {
    const b = Buffer.alloc(4);
    b.writeFloatLE(v);
    return this.push(b);
  }
  string(s) {
    const b = Buffer.from(s, 'utf8');
    return this.u64(b.length).push(b);
  }
  done() {
    return Buffer.concat(this.#parts);
  }
}

const TEMPLATE =
  "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/** @returns {{bytes: Buffer, dataStart: number, tensors: Map<string, {at: number, bytes: number}>}} */
export function tinyGguf({ layers = 2, hidden = 64, heads = 4, kvHeads = 2, ff = 128, context = 256, architecture = 'llama' } = {}) {
  // The bytes, three control tokens, and one merge: t and h.
  const bytes = byteTokens();
  const tokens = [...bytes, '<|endoftext|>', '<|im_start|>', '<|im_end|>', bytes[116] + bytes[104]];
  const kv = new Bytes();
  let keys = 0;
  const key = (name, type) => {
    keys += 1;
    return kv.string(name).u32(type);
  };
  const u32 = (name, v) => key(name, TYPE.u32).u32(v);
  const f32 = (name, v) => key(name, TYPE.f32).f32(v);
  const str = (name, v) => key(name, TYPE.string).string(v);
  const a = architecture;
  str('general.architecture', a);
  str('general.name', 'tiny');
  u32(`${a}.block_count`, layers);
  u32(`${a}.context_length`, context);
  u32(`${a}.embedding_length`, hidden);
  u32(`${a}.feed_forward_length`, ff);
  u32(`${a}.attention.head_count`, heads);
  u32(`${a}.attention.head_count_kv`, kvHeads);
  f32(`${a}.attention.layer_norm_rms_epsilon`, 1e-5);
  f32(`${a}.rope.freq_base`, 10000);
  u32(`${a}.rope.dimension_count`, hidden / heads);
  u32(`${a}.vocab_size`, tokens.length);
  str('tokenizer.ggml.model', 'gpt2');
  str('tokenizer.ggml.pre', 'smollm');
  key('tokenizer.ggml.tokens', TYPE.array).u32(TYPE.string).u64(tokens.length);
  for (const t of tokens) kv.string(t);
  key('tokenizer.ggml.token_type', TYPE.array).u32(5).u64(tokens.length);
  for (let i = 0; i < tokens.length; i++) kv.u32(i >= 256 && i < 259 ? 3 : 1);
  key('tokenizer.ggml.merges', TYPE.array).u32(TYPE.string).u64(1).string(`${tokens[116]} ${tokens[104]}`);
  u32('tokenizer.ggml.bos_token_id', 257);
  u32('tokenizer.ggml.eos_token_id', 258);
  key('tokenizer.ggml.add_bos_token', TYPE.bool).push(Buffer.from([0]));
  str('tokenizer.chat_template', TEMPLATE);

  const kvDim = (hidden / heads) * kvHeads;
  const shapes = [['token_embd.weight', [tokens.length, hidden]]];
  for (let i = 0; i < layers; i++) {
    shapes.push(
      [`blk.${i}.attn_norm.weight`, [hidden]],
      [`blk.${i}.attn_q.weight`, [hidden, hidden]],
      [`blk.${i}.attn_k.weight`, [kvDim, hidden]],
      [`blk.${i}.attn_v.weight`, [kvDim, hidden]],
      [`blk.${i}.attn_output.weight`, [hidden, hidden]],
      [`blk.${i}.ffn_norm.weight`, [hidden]],
      [`blk.${i}.ffn_gate.weight`, [ff, hidden]],
      [`blk.${i}.ffn_up.weight`, [ff, hidden]],
      [`blk.${i}.ffn_down.weight`, [hidden, ff]],
    );
  }
  shapes.push(['output_norm.weight', [hidden]]);

  const infos = new Bytes();
  const data = [];
  const tensors = new Map();
  let offset = 0;
  let state = 12345;
  const random = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 0x1_0000_0000 - 0.5;
  };
  for (const [name, shape] of shapes) {
    const n = shape.reduce((x, y) => x * y, 1);
    const values = new Float32Array(n);
    const scale = shape.length === 1 ? 0 : 2 / Math.sqrt(shape[1]);
    for (let i = 0; i < n; i++) values[i] = shape.length === 1 ? 1 : random() * scale;
    infos.string(name).u32(shape.length);
    for (const d of [...shape].reverse()) infos.u64(d); // GGUF lists the fastest axis first
    infos.u32(0).u64(offset); // type F32
    data.push(Buffer.from(values.buffer));
    tensors.set(name, { at: offset, bytes: n * 4 });
    offset += n * 4; // multiples of 64 · 4 bytes: aligned
  }
  const head = new Bytes().push(Buffer.from('GGUF')).u32(3).u64(shapes.length).u64(keys).push(kv.done()).push(infos.done());
  const pad = (32 - (head.length % 32)) % 32;
  const dataStart = head.length + pad;
  for (const t of tensors.values()) t.at += dataStart;
  return { bytes: Buffer.concat([head.done(), Buffer.alloc(pad), ...data]), dataStart, tensors };
}

/** Files no engine should accept, with the code it must refuse them with. */
export function brokenGgufs() {
  const good = tinyGguf();
  const copy = () => Buffer.from(good.bytes);
  const norm = good.tensors.get('blk.1.attn_norm.weight');
  const embd = good.tensors.get('token_embd.weight');
  const patch = (f) => {
    const b = copy();
    f(b);
    return b;
  };
  return [
    { name: 'truncated-data', bytes: copy().subarray(0, Math.floor(good.bytes.length * 0.6)), codes: ['bad-file'] },
    { name: 'truncated-header', bytes: copy().subarray(0, 700), codes: ['bad-file'] },
    { name: 'empty', bytes: Buffer.alloc(0), codes: ['bad-file'] },
    { name: 'bit-flipped-magic', bytes: patch((b) => (b[0] ^= 0x10)), codes: ['bad-file'] },
    // Highest bit of the first key's length: a string of 2^63 bytes.
    { name: 'bit-flipped-header', bytes: patch((b) => (b[31] ^= 0x80)), codes: ['bad-file'] },
    { name: 'oversized-header', bytes: patch((b) => b.writeBigUInt64LE(1n << 60n, 16)), codes: ['bad-file'] },
    { name: 'oversized-tensor-count', bytes: patch((b) => b.writeBigUInt64LE((1n << 62n) + 5n, 8)), codes: ['bad-file'] },
    { name: 'wrong-architecture', bytes: tinyGguf({ architecture: 'mamba' }).bytes, codes: ['unsupported-architecture'] },
    { name: 'nan-norm', bytes: patch((b) => b.writeFloatLE(Number.NaN, norm.at + 12)), codes: ['not-finite', 'bad-file'] },
    { name: 'nan-embedding', bytes: patch((b) => b.writeFloatLE(Number.NaN, embd.at + 4000)), codes: ['not-finite', 'bad-file'] },
    {
      name: 'infinite-embedding',
      bytes: patch((b) => b.writeFloatLE(Number.POSITIVE_INFINITY, embd.at + 4000)),
      codes: ['not-finite', 'bad-file'],
    },
    { name: 'text', bytes: Buffer.from('<!doctype html><title>404</title>'.repeat(40)), codes: ['bad-file'] },
  ];
}
