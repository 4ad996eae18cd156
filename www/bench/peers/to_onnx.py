"""SmolLM2 as ONNX for transformers.js, made from the GGUF that the project has; `make bench-peers` does it by itself. By hand, for FLEDGLING_ONNX=FOLDER:

    python -m venv VENV && VENV/bin/pip install numpy gguf==0.19.0 onnx==1.23.2
    VENV/bin/python www/bench/peers/to_onnx.py FILE.gguf FOLDER

The folder is laid out as on Hugging Face: config.json, generation_config.json, tokenizer.json, tokenizer_config.json, onnx/model.onnx
(weights dequantized to f32) and onnx/model_q4.onnx (linears and head in 4 bits, symmetric, blocks of 32: the format that transformers.js'
own script for quantizing writes by default, with better scales; embeddings stay f32). Both have the operators that models published for
transformers.js have, which ONNX Runtime has kernels for on WebGPU and in wasm: GroupQueryAttention with rotation inside and q, k, v from
one product, norms together with the sums before them, MatMulNBits. Inputs and outputs: input_ids, attention_mask, num_logits_to_keep
(transformers.js asks for the last position's alone), past_key_values.N.key|value → logits, present.N.key|value.

Only the llama architecture with tied embeddings, unscaled RoPE and SmolLM2's tokenizer: whatever else a file holds is refused.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
from gguf import GGUFReader, TokenType, dequantize
from onnx import TensorProto, helper, numpy_helper

BLOCK = 32
MS = "com.microsoft"


class Model:
    """What the file says, in the order of rows that Hugging Face has."""

    def __init__(self, path: str):
        reader = GGUFReader(path)
        self.fields = {k: f.contents() for k, f in reader.fields.items()}
        self.tensors = {t.name: t for t in reader.tensors}
        f = self.fields
        if f["general.architecture"] != "llama" or f.get("tokenizer.ggml.pre") != "smollm":
            sys.exit(f"{path} is not SmolLM2 but {f['general.architecture']} with the tokenizer {f.get('tokenizer.ggml.pre')}")
        if "output.weight" in self.tensors or "rope_freqs.weight" in self.tensors or any(t.endswith(".bias") for t in self.tensors):
            sys.exit(f"{path} has a head of its own, scaled RoPE or biases, which are not written here")
        self.layers, self.hidden, self.middle = f["llama.block_count"], f["llama.embedding_length"], f["llama.feed_forward_length"]
        self.heads, self.kv_heads = f["llama.attention.head_count"], f["llama.attention.head_count_kv"]
        self.head = f.get("llama.rope.dimension_count", self.hidden // self.heads)
        self.eps, self.theta = round(f["llama.attention.layer_norm_rms_epsilon"], 9), f.get("llama.rope.freq_base", 10000.0)
        self.context, self.vocab = f["llama.context_length"], len(f["tokenizer.ggml.tokens"])

    def weight(self, name: str) -> np.ndarray:
        t = self.tensors[name + ".weight"]
        return dequantize(t.data, t.tensor_type).astype(np.float32).reshape(t.shape[::-1])

    def rotated(self, name: str, heads: int) -> np.ndarray:
        """The format has rows of q and k interleaved (0, n/2, 1, n/2 + 1, …): halves again."""
        w = self.weight(name)
        return w.reshape(heads, self.head // 2, 2, -1).swapaxes(1, 2).reshape(w.shape)


def quantized(w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Blocks as w = (q - 8) · scale, q in 0…15. The value of a block that is farthest from zero becomes -8 or 7, or is cut a little:
    whichever loses least."""
    b = w.reshape(w.shape[0], -1, BLOCK)
    top = np.take_along_axis(b, np.abs(b).argmax(-1, keepdims=True), -1)
    best = None
    for steps in (-8, -8.4, -8.9, -9.4, 7, 8):
        scale = top / np.float32(steps)
        q = np.clip(np.round(np.divide(b, scale, out=np.zeros_like(b), where=scale != 0)), -8, 7)
        loss = np.square(q * scale - b).sum(-1, keepdims=True)
        best = (q, scale, loss) if best is None else tuple(np.where(loss < best[2], new, old) for new, old in zip((q, scale, loss), best))
    return (best[0] + 8).astype(np.uint8), best[1]


class Graph:
    def __init__(self, bits4: bool):
        self.bits4, self.nodes, self.weights = bits4, [], []

    def constant(self, name: str, value: np.ndarray) -> str:
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def op(self, kind: str, inputs: list[str], name: str, outputs: list[str] | None = None, domain: str = "", **attributes) -> str:
        """One node; without `outputs` there is one, called as the node."""
        self.nodes.append(helper.make_node(kind, inputs, outputs or [name], name=name + "/" + kind, domain=domain, **attributes))
        return (outputs or [name])[0]

    def linear(self, x: str, name: str, w: np.ndarray) -> str:
        """x · wᵀ, rows of w being outputs."""
        if not self.bits4:
            return self.op("MatMul", [x, self.constant(name + ".weight", w.T)], name)
        (n, k), (q, scale) = w.shape, quantized(w)
        packed, scales = self.constant(name + ".weight_q4", q[..., 0::2] | q[..., 1::2] << 4), self.constant(name + ".scales", scale[..., 0])
        return self.op("MatMulNBits", [x, packed, scales], name, domain=MS, K=k, N=n, bits=4, block_size=BLOCK)


def graph(m: Model, bits4: bool) -> onnx.ModelProto:
    g = Graph(bits4)
    # How much of the cache is filled, per sequence and at most.
    one = g.constant("one", np.array([1], np.int64))
    filled = g.op("Sub", [g.op("ReduceSum", ["attention_mask", one], "attention_mask.sum", keepdims=0), one], "filled")
    filled = g.op("Cast", [filled], "filled.i32", to=TensorProto.INT32)
    length = g.op("Gather", [g.op("Shape", ["attention_mask"], "attention_mask.shape"), g.constant("axis", np.array(1, np.int64))], "length", axis=0)
    length = g.op("Cast", [length], "length.i32", to=TensorProto.INT32)
    angles = np.arange(m.context)[:, None] / m.theta ** (np.arange(0, m.head, 2) / m.head)
    cos, sin = (g.constant(n, f(angles).astype(np.float32)) for n, f in (("cos", np.cos), ("sin", np.sin)))

    embeddings = m.weight("token_embd")
    table = g.constant("embed_tokens.weight", embeddings)
    residual = g.op("Gather", [table, "input_ids"], "embed_tokens")
    norm = lambda name: g.constant(name, m.weight(name))
    x = g.op("SimplifiedLayerNormalization", [residual, norm("blk.0.attn_norm")], "layers.0.input_norm", axis=-1, epsilon=m.eps)

    def add_norm(x: str, residual: str, weight: str, name: str) -> tuple[str, str]:
        g.op("SkipSimplifiedLayerNormalization", [residual, x, norm(weight)], name, [name, "", "", name + ".sum"], MS, epsilon=m.eps)
        return name, name + ".sum"

    for i in range(m.layers):
        at, blk = f"layers.{i}.", f"blk.{i}."
        rows = [m.rotated(blk + "attn_q", m.heads), m.rotated(blk + "attn_k", m.kv_heads), m.weight(blk + "attn_v")]
        qkv = g.linear(x, at + "qkv_proj", np.concatenate(rows))
        past = [f"past_key_values.{i}.{kind}" for kind in ("key", "value")]
        present = [f"present.{i}.{kind}" for kind in ("key", "value")]
        x = g.op("GroupQueryAttention", [qkv, "", "", *past, filled, length, cos, sin], at + "attention", [at + "attention", *present], MS,
                 num_heads=m.heads, kv_num_heads=m.kv_heads, scale=m.head**-0.5, do_rotary=1, rotary_interleaved=0)
        x = g.linear(x, at + "o_proj", m.weight(blk + "attn_output"))
        x, residual = add_norm(x, residual, blk + "ffn_norm", at + "post_norm")
        gate = g.linear(x, at + "gate_proj", m.weight(blk + "ffn_gate"))
        gate = g.op("Mul", [gate, g.op("Sigmoid", [gate], at + "sigmoid")], at + "silu")
        up = g.linear(x, at + "up_proj", m.weight(blk + "ffn_up"))
        x = g.linear(g.op("Mul", [gate, up], at + "middle"), at + "down_proj", m.weight(blk + "ffn_down"))
        following = f"layers.{i + 1}.input_norm" if i + 1 < m.layers else "norm"
        x, residual = add_norm(x, residual, f"blk.{i + 1}.attn_norm" if i + 1 < m.layers else "output_norm", following)
    # Only the last positions have logits, as many as were asked for; 0 is all.
    first = g.op("Unsqueeze", [g.op("Neg", ["num_logits_to_keep"], "kept.negative"), g.constant("unsqueezed", np.array([0], np.int64))], "kept.first")
    x = g.op("Slice", [x, first, g.constant("end", np.array([2**63 - 1], np.int64)), one], "kept")
    if bits4: g.linear(x, "logits", embeddings)
    else: g.op("MatMul", [x, g.op("Transpose", [table], "lm_head.weight", perm=[1, 0])], "logits")

    value, f32, i64 = helper.make_tensor_value_info, TensorProto.FLOAT, TensorProto.INT64
    each = [(i, kind) for i in range(m.layers) for kind in ("key", "value")]
    cache = lambda name, length: [value(f"{name}.{i}.{kind}", f32, ["batch_size", m.kv_heads, length, m.head]) for i, kind in each]
    inputs = [value("input_ids", i64, ["batch_size", "sequence_length"]), value("attention_mask", i64, ["batch_size", "total_sequence_length"])]
    inputs += [value("num_logits_to_keep", i64, [])]
    outputs = [value("logits", f32, ["batch_size", "num_logits", m.vocab])]
    made = helper.make_graph(
        g.nodes,
        "smollm2",
        inputs + cache("past_key_values", "past_sequence_length"),
        outputs + cache("present", "total_sequence_length"),
        g.weights,
    )
    return helper.make_model(made, ir_version=8, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid(MS, 1)], producer_name="fledgling")


def tokenizer(m: Model) -> tuple[dict, dict]:
    f = m.fields
    tokens, types = f["tokenizer.ggml.tokens"], f["tokenizer.ggml.token_type"]
    special = [i for i, t in enumerate(types) if t == TokenType.CONTROL]
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    bytes_ = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    bpe = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": False,
           "byte_fallback": False, "vocab": {t: i for i, t in enumerate(tokens)}, "merges": f["tokenizer.ggml.merges"]}
    whole = {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": i, "content": tokens[i], **plain} for i in special],
        "normalizer": None, "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, bytes_]},
        "post_processor": None, "decoder": bytes_, "model": bpe,
    }
    name = lambda key: tokens[f[f"tokenizer.ggml.{key}_token_id"]]
    settings = {
        "tokenizer_class": "GPT2Tokenizer", "add_prefix_space": False, "clean_up_tokenization_spaces": False, "model_max_length": m.context,
        "bos_token": name("bos"), "eos_token": name("eos"), "unk_token": name("unknown"), "pad_token": name("padding"),
        "added_tokens_decoder": {str(i): {"content": tokens[i], **plain} for i in special}, "chat_template": f["tokenizer.chat_template"],
    }
    return whole, settings


def main(source: str, folder: Path) -> None:
    m = Model(source)
    ids = {f"{k}_token_id": m.fields[f"tokenizer.ggml.{name}_token_id"] for k, name in (("bos", "bos"), ("eos", "eos"), ("pad", "padding"))}
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "hidden_size": m.hidden, "intermediate_size": m.middle,
        "num_hidden_layers": m.layers, "num_attention_heads": m.heads, "num_key_value_heads": m.kv_heads, "head_dim": m.head, "vocab_size": m.vocab,
        "max_position_embeddings": m.context, "rms_norm_eps": m.eps, "rope_theta": m.theta, "tie_word_embeddings": True, **ids,
    }
    whole, settings = tokenizer(m)
    (folder / "onnx").mkdir(parents=True, exist_ok=True)
    for name, value in {"config": config, "generation_config": ids, "tokenizer": whole, "tokenizer_config": settings}.items():
        (folder / f"{name}.json").write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    for name, bits4 in (("model", False), ("model_q4", True)):
        path = folder / "onnx" / f"{name}.onnx"
        onnx.save(graph(m, bits4), path)
        print(f"{path}: {path.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    if len(sys.argv) != 3: sys.exit(__doc__)
    main(sys.argv[1], Path(sys.argv[2]))
