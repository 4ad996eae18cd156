"""The curves of rounds.py from TRL's own trainers: what they would sample is put in their hands, everything else is theirs."""

import json
import tempfile

import torch
from datasets import Dataset
from peft import LoraConfig, set_peft_model_state_dict
from safetensors.torch import load_file
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast, TrainerCallback
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer
from trl.experimental.online_dpo import OnlineDPOConfig, OnlineDPOTrainer
from trl.trainer import grpo_trainer, rloo_trainer

from training import ADAPTERS, OUT as TRAINING, VOCAB, base_model, padded


def tokenizer():
    vocab = {f"w{i}": i for i in range(VOCAB)}
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel(vocab, unk_token="w1")), pad_token="w0", eos_token="w2")


def adapted(trainer):
    set_peft_model_state_dict(trainer.model, load_file(TRAINING / "adapters" / "default" / "adapter_model.safetensors"))
    return trainer


class Watch(TrainerCallback):
    """The gradients of every update, before it is made."""

    def __init__(self):
        self.grads = []

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        self.grads.append({f"grad/{k}".replace(".default", ""): p.grad.clone() for k, p in model.named_parameters() if p.grad is not None})


def replaying(cls, rows):
    class Replaying(cls):
        """Prompts are the numbers of their rows; each stands there once for every completion."""

        def __init__(self, *a, **k):
            super().__init__(*a, **k)
            self.rounds, self.losses = [], []

        def _tokenize_prompts(self, prompts):
            self.asked = [int(p) for p in prompts]
            return [rows[i]["prompt_ids"] for i in self.asked], None, {}

        def _generate_single_turn(self, *a, **k):
            seen, out = {}, []
            for i in self.asked:
                out.append(rows[i]["completion_ids"][seen.setdefault(i, 0)])
                seen[i] += 1
            return (out, None) if cls is GRPOTrainer else out

        def _generate_and_score_completions(self, inputs):
            out = super()._generate_and_score_completions(inputs)
            self.rounds.append({k: v.clone() for k, v in out.items() if isinstance(v, torch.Tensor)})
            return out

        def _compute_loss(self, model, inputs):
            loss = super()._compute_loss(model, inputs)
            self.losses.append(loss.item())
            return loss
    return Replaying


def reward(prompts, completions, completion_ids, **kwargs):
    seen, out = {}, []
    for p in prompts:
        i = int(p)
        out.append(reward.rows[i]["rewards"][seen.setdefault(i, 0)])
        seen[i] += 1
    return out


def in_rounds(method, cfg, rows, folder):
    config, cls = (GRPOConfig, GRPOTrainer) if method == "grpo" else (RLOOConfig, RLOOTrainer)
    for module in (grpo_trainer, rloo_trainer):
        module.shuffle_sequence_dict = lambda batch: batch
    args = config(output_dir=folder, use_cpu=True, bf16=False, gradient_checkpointing=False, logging_steps=1, report_to=[], save_strategy="no",
                  disable_tqdm=True, shuffle_dataset=False, **cfg)
    reward.rows = rows
    watch = Watch()
    t = replaying(cls, rows)(model=base_model(), reward_funcs=reward, args=args, processing_class=tokenizer(), callbacks=[watch],
                             train_dataset=Dataset.from_list([{"prompt": str(i)} for i in range(len(rows))]),
                             peft_config=LoraConfig(task_type="CAUSAL_LM", **ADAPTERS["default"]))
    adapted(t).train()
    steps = cfg["gradient_accumulation_steps"]
    # RLOO's losses are divided behind this, GRPO's before.
    share = steps if method == "rloo" else 1
    losses = [sum(t.losses[i:i + steps]) / share for i in range(0, len(t.losses), steps)]
    return t, watch, losses


def online(cfg, rows, folder):
    class Replaying(OnlineDPOTrainer):
        losses = []

        def _get_train_sampler(self, *a, **k):
            return torch.utils.data.SequentialSampler(self.train_dataset)

        def _generate(self, model, prompts, images=None):
            them = [rows[int(p)] for p in prompts]
            completions = [r["completion_ids"][k] for k in (0, 1) for r in them]
            left = [r["prompt_ids"] for r in them] * 2
            longest = max(map(len, left))
            ids = torch.tensor([[0] * (longest - len(p)) + p for p in left])
            mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in left])
            return ids, mask, padded(completions, 0), padded([[1] * len(c) for c in completions], 0), None

        def training_step(self, *a, **k):
            loss = super().training_step(*a, **k)
            self.losses.append(loss.item())
            return loss

    args = OnlineDPOConfig(output_dir=folder, use_cpu=True, bf16=False, gradient_checkpointing=False, logging_steps=1, report_to=[],
                           save_strategy="no", disable_tqdm=True, disable_dropout=True, **cfg)
    reward.rows = rows
    watch = Watch()
    t = Replaying(model=base_model(), reward_funcs=reward, args=args, processing_class=tokenizer(), callbacks=[watch],
                  train_dataset=Dataset.from_list([{"prompt": str(i)} for i in range(len(rows))]),
                  peft_config=LoraConfig(task_type="CAUSAL_LM", **ADAPTERS["default"]))
    Replaying.losses = []
    adapted(t).train()
    steps = cfg["gradient_accumulation_steps"]
    losses = [sum(t.losses[i:i + steps]) for i in range(0, len(t.losses), steps)]
    if steps > 1:
        # The gradient is the sum over micro-batches, the loss it logs their mean: what is documented is the mean.
        watch.grads = [{k: g / steps for k, g in grads.items()} for grads in watch.grads]
    return t, watch, losses


def far(a, b, floor):
    return abs(a - b) / max(abs(b), floor)


def run(names, curves, out, rows_of, start):
    for name in names:
        method, cfg = curves[name]
        rows = rows_of(method)
        wanted = json.loads((out / f"{name}.json").read_text())
        with tempfile.TemporaryDirectory() as folder:
            t, watch, losses = online(cfg, rows, folder) if method == "online_dpo" else in_rounds(method, cfg, rows, folder)
        first = load_file(out / f"{name}_grad_step0.safetensors")
        cosine = min(torch.nn.functional.cosine_similarity(watch.grads[0][k].flatten(), g.flatten(), dim=0).item() for k, g in first.items())
        theirs = [r for r in t.state.log_history if "grad_norm" in r]
        worst, keys = {}, set()
        for i, (ours, b, loss) in enumerate(zip(wanted["steps"], theirs, losses)):
            worst["loss at step 1" if i == 0 else "loss"] = max(worst.get("loss", 0.0) if i else 0.0, far(ours["loss"], loss, 1e-2))
            for k in ours:
                # Ours is a mean over the update's tokens, theirs over micro-batches. With masked completions theirs sees them without attention.
                if k in ("step", "loss", "learning_rate") or k not in b or (k == "entropy" and cfg["gradient_accumulation_steps"] > 1):
                    continue
                if k == "grad_norm" and method == "online_dpo" and cfg["gradient_accumulation_steps"] > 1:
                    continue
                keys.add(k)
                worst[k] = max(worst.get(k, 0.0), far(ours[k], b[k], 0.1))
        assert len(theirs) == len(wanted["steps"]) == len(losses), (name, len(theirs), len(losses))
        if method != "online_dpo":
            for ours, b in zip(wanted["batches"], t.rounds):
                for key, other in (("advantages", "advantages"), ("old_logps", "old_per_token_logps"), ("ref_logps", "ref_per_token_logps")):
                    if key in ours and other in b:
                        for i, x in enumerate(ours[key]):
                            x = x if isinstance(x, list) else [x]
                            y = b[other][i].reshape(-1)[:len(x)].tolist()
                            if key != "advantages" and b["completion_mask"][i].sum() == 0:
                                continue
                            worst[key] = max([worst.get(key, 0.0)] + [far(p, q, 0.1) for p, q in zip(x, y)])
                    if key == "old_logps" and key in ours and "old_logps" in b:
                        sums = zip(ours[key], b["old_logps"].tolist())
                        worst["old sums"] = max([worst.get("old sums", 0.0)] + [far(sum(x), y, 0.1) for x, y in sums if y != 0.0])
        limits = {"loss at step 1": 1e-4}
        bad = {k: v for k, v in worst.items() if v > limits.get(k, 1e-3)}
        print(f"TRL {name}: cosine {cosine:.7f}, " + ", ".join(f"{k} {v:.0e}" for k, v in sorted(worst.items())), flush=True)
        assert cosine >= 0.99999 and not bad, (name, cosine, bad)
