"""Gemma 3 270M, Q4_K_M: what Transformers answers with the file's weights dequantized. fixtures/gemma3/greedy.json.

    python tests/oracle/gemma3.py --model .cache/models/gemma-3-270m-q4_k_m.gguf
"""

import argparse
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from common import FIXTURES, write_json

PROMPTS = ["The capital of France is", "def fibonacci(n):\n", "Es war einmal ein König, der hatte"]
NEW = 24


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--model", required=True, type=Path)
    path = args.parse_args().model
    model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32).eval()
    c = model.config
    # What a GGUF does not say and Transformers may have guessed.
    print({k: getattr(c, k, None) for k in ("query_pre_attn_scalar", "rope_parameters", "sliding_window", "layer_types", "hidden_activation")})
    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    cases = []
    for prompt in PROMPTS:
        ids = [c.bos_token_id or 2, *tokenizer(prompt, add_special_tokens=False).input_ids]
        row, top = torch.tensor([ids]), []
        with torch.no_grad():
            for _ in range(NEW):
                logits = model(input_ids=row).logits[0, -1]
                best = logits.topk(2)
                top.append(round((best.values[0] - best.values[1]).item(), 4))
                row = torch.cat([row, best.indices[:1, None].T], dim=1)
            logps = torch.log_softmax(model(input_ids=row).logits[0, :-1].double(), -1)
        nll = -logps.gather(1, row[0, 1:, None])[:, 0]
        new = row[0, len(ids):].tolist()
        cases.append({"prompt": prompt, "prompt_ids": ids, "greedy_ids": new, "text": tokenizer.decode(new), "gaps": top,
                      "nll": [round(v, 5) for v in nll.tolist()]})
        print(cases[-1]["text"])
    write_json(FIXTURES / "gemma3" / "greedy.json", {"file": path.name, "cases": cases})


if __name__ == "__main__":
    main()
