"""Every field of TRL's and PEFT's configurations with what `to_dict()` writes for it at its default: tests/fixtures/fields.json.

`to_dict()` is what people keep beside a run. `output_dir` has no default; `use_cpu` is said here so that the same bytes come out
with and without an accelerator.
"""

import json
import logging
import tempfile
import warnings

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

import peft  # noqa: E402
import trl  # noqa: E402
from peft import LoraConfig  # noqa: E402
from trl import DPOConfig, GRPOConfig, KTOConfig, RewardConfig, RLOOConfig, SFTConfig  # noqa: E402
from trl.experimental.cpo import CPOConfig  # noqa: E402
from trl.experimental.online_dpo import OnlineDPOConfig  # noqa: E402
from trl.experimental.orpo import ORPOConfig  # noqa: E402

from common import FIXTURES  # noqa: E402


def plain(value):
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(v) for v in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else getattr(value, "value", str(value))


def written(config) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        fields = config(output_dir=folder, use_cpu=True).to_dict()
    # Of the machine, or of the call above.
    fields |= {"output_dir": "out", "logging_dir": None, "report_to": [], "local_rank": -1}
    return {k: v for k, v in sorted(plain(fields).items()) if k != "logging_dir"}


out = {"versions": {"trl": trl.__version__, "peft": peft.__version__}}
CONFIGS = {"sft": SFTConfig, "dpo": DPOConfig, "kto": KTOConfig, "orpo": ORPOConfig, "cpo": CPOConfig, "grpo": GRPOConfig, "rloo": RLOOConfig,
           "online_dpo": OnlineDPOConfig, "reward": RewardConfig}
for name, config in CONFIGS.items():
    out[name] = written(config)
lora = plain(LoraConfig().to_dict())
out["lora"] = {k: v for k, v in sorted(lora.items()) if k != "peft_version"}
lines = [f'"{name}": {{\n' + ",\n".join(f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in values.items()) + "\n}" for name, values in out.items()]
(FIXTURES / "fields.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
