"""The tiny llama as a prefix decoder: the prompt's tokens see one another, those of the answer what stands before them. Transformers is given the mask
as four dimensions. Logits, greedy tokens and curves of DPO and SFT: tests/fixtures/prefix/.
"""

import torch

import training
from common import FIXTURES, write_json_rows, write_tensors

OUT = FIXTURES / "prefix"
PREFIX: dict[tuple, int] = {}  # of a row that says how long its prefix is


def mask(lens: list[int], prefixes: list[int]) -> torch.Tensor:
    """(N, 1, T, T), added to the scores."""
    t = max(lens)
    out = torch.full((len(lens), 1, t, t), torch.finfo(torch.float32).min)
    for i, (n, p) in enumerate(zip(lens, prefixes)):
        for q in range(t):
            out[i, 0, q, : min(max(q + 1, p), max(n, q + 1))] = 0
    return out


def logits(model, ids: list[int], prefix: int) -> torch.Tensor:
    return model(input_ids=torch.tensor([ids]), attention_mask=mask([len(ids)], [prefix])).logits[0]


def token_logps(model, rows, labels, again=False):
    """`training.token_logps` under the mask: the prompt is all before the first token that is judged."""
    x, y = training.padded(rows, training.PAD), training.padded(labels, -100)
    first = [next((t for t in range(1, len(l)) if l[t] != -100), len(l)) for l in labels]
    prefixes = [PREFIX.get(tuple(r), f) for r, f in zip(rows, first)]
    lp = torch.log_softmax(model(input_ids=x, attention_mask=mask([len(r) for r in rows], prefixes)).logits[:, :-1], -1)
    y = y[:, 1:]
    if torch.is_grad_enabled() and not again:
        training.ENTROPIES.append(-(lp.exp() * lp).sum(-1)[y != -100].detach())
    return torch.where(y == -100, 0.0, lp.gather(-1, y.clamp_min(0)[..., None])[..., 0])


def main():
    training.token_logps = token_logps
    sft = training.sft_rows(True)
    for i, row in enumerate(sft):
        # Every other row is judged from later on than its prefix ends.
        if i % 2:
            row["prefix_length"] = max(1, next(t for t, l in enumerate(row["labels"]) if l != -100) - 2)
            PREFIX[tuple(row["input_ids"])] = row["prefix_length"]
    dpo_config = {**training.PLAIN, "beta": 0.1, "label_smoothing": 0.0}
    for name, method, config, rows in [("dpo", "dpo", dpo_config, training.dpo_rows()), ("sft", "sft", training.PLAIN, sft)]:
        model = training.start("prefix_" + name)
        log, first = training.train(model, rows, training.STEPS[method], config)
        head = {"method": method, "base": "../models/llama", "init_adapter": "adapters/default", "config": config, "rows": rows}
        write_json_rows(OUT / f"{name}.json", head, "steps", log)
        write_tensors(OUT / f"{name}_grad_step0.safetensors", {k.replace(".default", ""): g for k, g in first.items() if "layers.1" in k})
        print(name, [round(r["loss"], 4) for r in log])
    base = training.base_model().eval()
    with torch.no_grad():
        ids = training.ids("prefix/logits", 30)
        tensors = {"ids": torch.tensor(ids), "logits": logits(base, ids, 21)}
        seen, tokens = ids[:21], []
        for _ in range(9):
            tokens.append(logits(base, seen + tokens, 21)[-1].argmax().item())
        causal = [base(input_ids=torch.tensor([seen])).logits[0, -1].argmax().item()]
        print("greedy", tokens, "causal begins with", causal)
        write_tensors(OUT / "logits.safetensors", {**tensors, "greedy": torch.tensor(tokens)})


if __name__ == "__main__":
    main()
