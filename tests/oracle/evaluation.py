"""Runs of TRL's SFTTrainer and DPOTrainer with rows held out, the best model kept and an early stop: tests/fixtures/evaluation/.

These are TRL's own numbers: an evaluation is of one batch, so that its mean over batches is the mean over tokens or rows.
"""

import shutil

from datasets import Dataset
from peft import LoraConfig, set_peft_model_state_dict
from safetensors.torch import load_file
from tokenizers import Tokenizer, models
from torch.utils.data import SequentialSampler
from transformers import EarlyStoppingCallback, PreTrainedTokenizerFast
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

import sft
import training
from common import FIXTURES, write_json_rows

OUT = FIXTURES / "evaluation"
CONFIG = {**training.PLAIN, "max_steps": 10, "eval_strategy": "steps", "eval_steps": 1, "per_device_eval_batch_size": 16,
          "load_best_model_at_end": True}
RUNS = {
    "sft": ("sft", {"learning_rate": 0.02}, 2, 0.0),
    "sft_threshold": ("sft", {"learning_rate": 5e-3}, 1, 0.05),
    "dpo": ("dpo", {"learning_rate": 0.02, "beta": 0.1, "metric_for_best_model": "eval_rewards/margins", "greater_is_better": True}, 2, 0.0),
}

tok = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({f"w{i}": i for i in range(training.VOCAB)}, unk_token="w1")),
                              pad_token="w0", eos_token="w2")


class Sft(SFTTrainer):
    def _get_train_sampler(self, *a, **k):
        return SequentialSampler(self.train_dataset)


class Dpo(DPOTrainer):
    def _get_train_sampler(self, *a, **k):
        return SequentialSampler(self.train_dataset)

    def _prepare_dataset(self, dataset, *a, **k):
        return dataset


for name, (method, own, patience, threshold) in RUNS.items():
    cfg = {**CONFIG, **own}
    rows = sft.completions() if method == "sft" else training.dpo_rows()
    cut = len(rows) * 2 // 3
    train, held = rows[:cut], rows[cut:]
    common = dict(output_dir=str(OUT / "trl"), use_cpu=True, bf16=False, logging_steps=1, report_to=[], save_strategy="steps", save_steps=1,
                  disable_tqdm=True, gradient_checkpointing=False, **cfg)
    sets = dict(train_dataset=Dataset.from_list(train), eval_dataset=Dataset.from_list(held), processing_class=tok)
    if method == "sft":
        t = Sft(model=training.start("adapters/default"), args=SFTConfig(**common), **sets)
    else:
        peft = LoraConfig(task_type="CAUSAL_LM", **training.ADAPTERS["default"])
        t = Dpo(model=training.base_model(), args=DPOConfig(max_length=None, **common), peft_config=peft, **sets)
        set_peft_model_state_dict(t.model, load_file(training.OUT / "adapters" / "default" / "adapter_model.safetensors"))
    t.add_callback(EarlyStoppingCallback(patience, threshold))
    t.train()
    keep = lambda r: {k: v for k, v in r.items() if k in ("step", "epoch", "eval_loss", "eval_entropy") or k.startswith(("eval_rewards", "eval_logps"))}
    found = [keep(r) for r in t.state.log_history if "eval_loss" in r]
    last = {k: v for k, v in t.evaluate().items() if k == "eval_loss"}
    head = {"method": method, "base": "../models/llama", "init_adapter": "adapters/default", "rows": train, "held": held,
            "config": {**cfg, "early_stopping_patience": patience, "early_stopping_threshold": threshold},
            "steps_taken": t.state.global_step, "best_step": t.state.best_global_step, "best_metric": t.state.best_metric, "loaded": last}
    shutil.rmtree(OUT / "trl", ignore_errors=True)
    write_json_rows(OUT / f"{name}.json", head, "evaluations", found)
    print(name, t.state.global_step, t.state.best_global_step, t.state.best_metric, [round(f["eval_loss"], 3) for f in found], last)
