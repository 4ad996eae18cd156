// The tiny Llama of the package's tests as a folder of safetensors, as Transformers would write it.
// @ts-expect-error: plain JavaScript without types
import { tinyGguf } from '../package/gguf.mjs';

interface Gguf {
  bytes: Buffer;
  tensors: Map<string, { at: number; bytes: number }>;
}
export const tiny = tinyGguf as (o?: { layers?: number; hidden?: number; ff?: number; context?: number; architecture?: string }) => Gguf;

const HIDDEN = 64;
const FF = 128;
const KV = 32;
const NAMES: Record<string, [string, number[]]> = {
  attn_norm: ['input_layernorm', [HIDDEN]],
  attn_q: ['self_attn.q_proj', [HIDDEN, HIDDEN]],
  attn_k: ['self_attn.k_proj', [KV, HIDDEN]],
  attn_v: ['self_attn.v_proj', [KV, HIDDEN]],
  attn_output: ['self_attn.o_proj', [HIDDEN, HIDDEN]],
  ffn_norm: ['post_attention_layernorm', [HIDDEN]],
  ffn_gate: ['mlp.gate_proj', [FF, HIDDEN]],
  ffn_up: ['mlp.up_proj', [FF, HIDDEN]],
  ffn_down: ['mlp.down_proj', [HIDDEN, FF]],
};

export interface Upload {
  name: string;
  mimeType: string;
  buffer: Buffer;
}
export const upload = (name: string, buffer: Buffer | string): Upload => ({
  name,
  mimeType: 'application/octet-stream',
  buffer: Buffer.from(buffer),
});

/** config.json, tokenizer.json, tokenizer_config.json, model.safetensors. */
export function tinyFolder(): Upload[] {
  const { bytes, tensors } = tiny();
  const header: Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }> = {};
  const data: Buffer[] = [];
  let at = 0;
  for (const [name, t] of tensors) {
    const layer = /^blk\.(\d+)\.(\w+)\.weight$/.exec(name);
    const [to, shape] =
      name === 'token_embd.weight'
        ? (['model.embed_tokens.weight', [t.bytes / 4 / HIDDEN, HIDDEN]] as const)
        : name === 'output_norm.weight'
          ? (['model.norm.weight', [HIDDEN]] as const)
          : ([`model.layers.${layer![1]}.${NAMES[layer![2]!]![0]}.weight`, NAMES[layer![2]!]![1]] as const);
    header[to] = { dtype: 'F32', shape: [...shape], data_offsets: [at, at + t.bytes] };
    data.push(bytes.subarray(t.at, t.at + t.bytes));
    at += t.bytes;
  }
  const json = Buffer.from(JSON.stringify(header).padEnd(Math.ceil(JSON.stringify(header).length / 8) * 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));

  // The bytes in GPT-2's printable form, three control tokens, one merge.
  const plain = Array.from({ length: 256 }, (_, b) => b).filter((b) => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174);
  let next = 256;
  const letters = Array.from({ length: 256 }, (_, b) => String.fromCodePoint(plain.includes(b) ? b : next++));
  const vocab = Object.fromEntries(letters.map((l, i) => [l, i]));
  vocab[letters[116]! + letters[104]!] = 259;
  const special = ['<|endoftext|>', '<|im_start|>', '<|im_end|>'];
  const tokenizer = {
    version: '1.0',
    added_tokens: special.map((content, i) => ({
      id: 256 + i,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: null,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
    post_processor: null,
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab,
      merges: [[letters[116], letters[104]]],
    },
  };
  const template =
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}" +
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";
  const config = {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    hidden_size: HIDDEN,
    intermediate_size: FF,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    max_position_embeddings: 256,
    rms_norm_eps: 1e-5,
    rope_theta: 10000,
    tie_word_embeddings: true,
    vocab_size: 260,
    hidden_act: 'silu',
    bos_token_id: 257,
    eos_token_id: 258,
    torch_dtype: 'float32',
  };
  return [
    upload('config.json', JSON.stringify(config)),
    upload('tokenizer.json', JSON.stringify(tokenizer)),
    upload('tokenizer_config.json', JSON.stringify({ chat_template: template, eos_token: '<|im_end|>', bos_token: '<|im_start|>' })),
    upload('model.safetensors', Buffer.concat([length, json, ...data])),
  ];
}
