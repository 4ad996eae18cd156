"""What TRL's own trainers make of rows: tests/fixtures/data/rows.json.

Each row is a dataset of its own (a table would give every message the fields of all others) and goes through the trainer that trains it,
whose prepared dataset has the ids: `input_ids` and `labels` of SFT, `prompt_ids`, `chosen_ids`, `rejected_ids` or `completion_ids`
otherwise; `dropped` where TRL leaves the row out. The tokenizer has the 256 bytes, three special tokens and three words, so that a
prompt's end can merge with an answer; the template prints tools, calls, reasoning and parts.
"""

import json
import logging
import os
import tempfile
import warnings

os.environ["TRANSFORMERS_VERBOSITY"] = "error"
warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

from datasets import Dataset  # noqa: E402
from peft import LoraConfig  # noqa: E402
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers  # noqa: E402
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast  # noqa: E402
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer, SFTConfig, SFTTrainer  # noqa: E402

from common import FIXTURES  # noqa: E402

TEMPLATE = """{%- if tools %}{{- '<|im_start|>system\\n' }}{%- for t in tools %}{{- t | tojson }}{%- endfor %}{{- '<|im_end|>\\n' }}{%- endif %}
{%- if style %}{{- '<|im_start|>style\\n' + style + '<|im_end|>\\n' }}{%- endif %}
{%- for m in messages %}
{{- '<|im_start|>' + m.role + '\\n' }}
{%- if m.reasoning_content %}{{- '<think>' + m.reasoning_content + '</think>' }}{%- endif %}
{%- if m.content is string %}{{- m.content }}{%- elif m.content %}{%- for p in m.content %}{{- '[' + p.text + ']' }}{%- endfor %}{%- endif %}
{%- for c in m.tool_calls or [] %}{{- '<call>' + c.function.name + ' ' + (c.function.arguments | tojson) + '</call>' }}{%- endfor %}
{{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def tokenizer():
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {c: i for i, c in enumerate(alphabet)}
    merges = []
    for word in ["rain", "Ġ46", "g4"]:
        for i in range(1, len(word)):
            pair = (word[:i], word[i])
            if pair not in merges:
                merges.append(pair)
            vocab.setdefault(word[: i + 1], len(vocab))
    t = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in SPECIALS])
    return PreTrainedTokenizerFast(tokenizer_object=t, eos_token=SPECIALS[0], pad_token=SPECIALS[0], chat_template=TEMPLATE)


def m(role, content, **more):
    return {"role": role, "content": content, **more}


CALL = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Oslo"}}}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}
TALK = [m("user", "Rain?"), m("assistant", "", tool_calls=[CALL]), m("tool", "rain", name="weather"), m("assistant", "Yes.")]
GREEN = [m("user", "A colour?"), m("assistant", "Green.")]
NONE = [m("user", "A colour?"), m("assistant", "No.")]

SFT = [
    {"messages": TALK},
    {"messages": TALK, "tools": [TOOL]},
    {"messages": TALK, "tools": json.dumps([TOOL])},
    {"messages": [m("user", "Rain?"), m("assistant", None, tool_calls=[CALL]), m("tool", "rain"), m("assistant", "Yes.")]},
    {"messages": [m("user", "2 + 2?"), m("assistant", "4", reasoning_content="Two and two.")]},
    {"messages": [m("user", [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]), m("assistant", [{"type": "text", "text": "c"}])]},
    {"messages": GREEN, "chat_template_kwargs": {"style": "short"}},
    {"conversations": [{"from": "user", "value": "q"}, {"from": "assistant", "value": "a"}]},
    {"prompt": [m("user", "q")], "completion": [m("assistant", "", tool_calls=[CALL])], "tools": [TOOL]},
    {"prompt": "x ra", "completion": "in"},
    {"prompt": "x ra", "completion": "t"},
    {"prompt": "price ", "completion": "46 now"},
    {"text": "a rain\u2028b"},
    {"prompt": "much too long for it", "completion": "x", "max_length": 8},
    {"prompt": "short", "completion": " and cut", "max_length": 8},
]
DPO = [
    {"prompt": [m("user", "A colour?")], "chosen": GREEN[1:], "rejected": NONE[1:]},
    {"chosen": GREEN, "rejected": NONE},
    {"chosen": GREEN, "rejected": NONE, "tools": [TOOL]},
    {"chosen": "\n\nHuman: A colour?\n\nAssistant: Green.", "rejected": "\n\nHuman: A colour?\n\nAssistant: No."},
    {"chosen": "all the same so far", "rejected": "all the same so"},
    {"chosen": "ends in a space ", "rejected": "ends in a space x"},
    {"prompt": "x y", "chosen": " ab", "rejected": " cd"},
    {"prompt": "x ra", "chosen": "in", "rejected": "t"},
    {"prompt": "x ra", "chosen": "t", "rejected": "in"},
    {"prompt": "price ", "chosen": "46 now", "rejected": "$46 now"},
    {"prompt": "much too long for it", "chosen": "x", "rejected": "y", "max_length": 8},
]
KTO = [
    {"prompt": [m("user", "q")], "completion": [m("assistant", "a")], "label": True, "tools": [TOOL]},
    {"prompt": "x ra", "completion": "in", "label": False},
    {"prompt": "much too long for it", "completion": "x", "label": True, "max_length": 8},
]


def prepared(tok, model, method, row):
    row = dict(row)
    max_length = row.pop("max_length", 1024)
    config, trainer = {"sft": (SFTConfig, SFTTrainer), "dpo": (DPOConfig, DPOTrainer), "kto": (KTOConfig, KTOTrainer)}[method]
    with tempfile.TemporaryDirectory() as folder:
        args = config(output_dir=folder, use_cpu=True, report_to="none", max_length=max_length, disable_tqdm=True)
        rows = [row]
        if max_length != 1024:
            # A dataset that all rows are dropped from is an error of the trainer's: one that stays is put behind it.
            stays = {"sft": {"prompt": "a", "completion": "b"}, "dpo": {"prompt": "a", "chosen": "b", "rejected": "c"}}
            rows.append(stays.get(method, {"prompt": "a", "completion": "b", "label": True}))
        t = trainer(model, args=args, train_dataset=Dataset.from_list(rows), processing_class=tok, peft_config=LoraConfig(task_type="CAUSAL_LM"))
        names = ["input_ids", "labels"] if method == "sft" else ["prompt_ids", "chosen_ids", "rejected_ids", "completion_ids"]
        if len(t.train_dataset) < len(rows):
            return {"dropped": True}
        return {k: t.train_dataset[0][k] for k in names if k in t.train_dataset.column_names}


tok = tokenizer()
config = LlamaConfig(vocab_size=len(tok), hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1)
cases = []
for method, rows in [("sft", SFT), ("dpo", DPO), ("kto", KTO)]:
    for row in rows:
        found = prepared(tok, LlamaForCausalLM(config), method, row)
        max_length = row.get("max_length", 1024)
        cases.append({"method": method, "row": {k: v for k, v in row.items() if k != "max_length"}, "max_length": max_length} | found)
head = {"tokenizer": json.loads(tok.backend_tokenizer.to_str()), "template": TEMPLATE, "eos": SPECIALS[0]}
out = json.dumps(head)[:-1] + ', "cases": [\n' + ",\n".join(json.dumps(c) for c in cases) + "\n]}\n"
(FIXTURES / "data" / "rows.json").write_text(out)
print(len(cases), "rows")
