MODEL_HELP = "the base model: a folder, a name of the hub, or a GGUF"

import argparse
import dataclasses
import json
from pathlib import Path

import torch
from datasets import load_dataset
from peft import LoraConfig, PeftModel, set_peft_model_state_dict
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

HERE = Path(__file__).resolve().parent


def load(kind, path: str, **more):
    """From a folder or a name, or from a GGUF, whose weights are unpacked."""
    if path.endswith(".gguf"):
        return kind.from_pretrained(str(Path(path).parent), gguf_file=Path(path).name, **more)
    return kind.from_pretrained(path, **more)


def tokenizer_of(path: str, vocab_size: int, tokenized: bool):
    try:
        tokenizer = load(AutoTokenizer, path)
    except (OSError, ValueError, KeyError):
        if not tokenized:
            raise
        # Rows of token ids need no words, but a trainer wants a tokenizer.
        from tokenizers import Tokenizer, models
        from transformers import PreTrainedTokenizerFast
        words = models.WordLevel({f"w{i}": i for i in range(vocab_size)}, unk_token="w1")
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(words), pad_token="w0", eos_token="w2")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


class Continued(TRAINER):
    """Rows that are token ids are taken as they are, and the learning rate goes on where it was."""

    def _prepare_dataset(self, dataset, processing_class, args, *more, **named):
        names = dataset.column_names
        if "prompt_ids" not in names or hasattr(TRAINER, "tokenize_row"):
            return super()._prepare_dataset(dataset, processing_class, args, *more, **named)
        if "completion_ids" in names and getattr(self, "calculate_KL", False):
            pair = lambda e: {"KL_completion_ids": [e["completion_ids"][-1]] + e["completion_ids"][:-1]}
            dataset = dataset.map(pair, batched=True, batch_size=args.per_device_train_batch_size)
        return dataset

    def tokenize_row(self, row, *more, **named):
        if "prompt_ids" not in row:
            return super().tokenize_row(row, *more, **named)
        prompt, sides = row["prompt_ids"], {}
        for side in ("chosen", "rejected"):
            whole = (prompt + row[f"{side}_ids"])[:ARGS["max_length"]]
            labels = [-100] * len(prompt) + whole[len(prompt):]
            sides |= {f"{side}_input_ids": whole, f"{side}_attention_mask": [1] * len(whole), f"{side}_labels": labels[:len(whole)]}
        return sides | {"prompt_input_ids": prompt, "prompt_attention_mask": [1] * len(prompt)}

    def create_scheduler(self, num_training_steps, *more, **named):
        scheduler = super().create_scheduler(num_training_steps + DONE, *more, **named)
        for _ in range(DONE):
            scheduler.step()
        return scheduler

    if not hasattr(TRAINER, "tokenize_row"):
        del tokenize_row


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=MODEL, required=MODEL is None, help=MODEL_HELP)
    parser.add_argument("--max-steps", type=int, help="updates, in place of those that are left")
    parser.add_argument("--out", default=str(HERE / "out"), help="where the adapter and log.json go")
    options = parser.parse_args()

    known = {f.name for f in dataclasses.fields(CONFIG)}
    own = {k: v for k, v in ARGS.items() if k not in known}
    if own:
        print("not a field here, left out:", own)
    args = {k: v for k, v in ARGS.items() if k in known}
    if options.max_steps:
        args["max_steps"] = options.max_steps
    if not torch.cuda.is_available():
        args["use_cpu"] = True
    args = CONFIG(output_dir=options.out, report_to=[], logging_steps=1, save_strategy="no", **args)

    rows = load_dataset("json", data_files=str(HERE / "data.jsonl"), split="train")
    model = load(AutoModelForCausalLM, options.model, dtype=torch.float32)
    tokenizer = tokenizer_of(options.model, model.config.vocab_size, any(n.endswith("_ids") for n in rows.column_names))
    peft = None
    if (HERE / "reference").exists():
        # What the policy is measured against is the adapter that training began from.
        model = PeftModel.from_pretrained(model, str(HERE / "reference"), is_trainable=True)
    else:
        peft = LoraConfig.from_pretrained(str(HERE / "adapter"))
        peft.inference_mode = False
    trainer = Continued(model=model, args=args, train_dataset=rows, processing_class=tokenizer, peft_config=peft)
    # The adapter as it was when it was exported; the trainer has made its reference by now.
    set_peft_model_state_dict(trainer.model, load_file(str(HERE / "adapter" / "adapter_model.safetensors")))
    trainer.train()
    trainer.save_model(options.out)
    Path(options.out, "log.json").write_text(json.dumps(trainer.state.log_history, indent=1) + "\n")


if __name__ == "__main__":
    main()
