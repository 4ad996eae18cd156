"""Every field of TRL's and PEFT's configurations with what `to_dict()` writes for it at its default: tests/fixtures/fields.json.

PPO's are those of TRL 1.12, the last that had it: `PYTHONPATH=<where that is> python fields.py --ppo` writes them beside what is there.

`to_dict()` is what people keep beside a run. `output_dir` has no default; `use_cpu` is said here so that the same bytes come out
with and without an accelerator.
"""

import json
import logging
import sys
import tempfile
import warnings

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

import peft  # noqa: E402
import trl  # noqa: E402
from peft import LoraConfig  # noqa: E402

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


path = FIXTURES / "fields.json"
there = json.loads(path.read_text()) if path.exists() else {}
if "--ppo" in sys.argv:
    from trl.experimental.ppo import PPOConfig
    out = {k: v for k, v in there.items() if k not in ("lora", "ppo")}
    out["versions"]["trl, of ppo"] = trl.__version__
    out["ppo"] = written(PPOConfig)
else:
    from trl import DPOConfig, GRPOConfig, KTOConfig, RewardConfig, RLOOConfig, SFTConfig
    from trl.experimental.cpo import CPOConfig
    from trl.experimental.online_dpo import OnlineDPOConfig
    from trl.experimental.orpo import ORPOConfig
    versions = {"trl": trl.__version__, "peft": peft.__version__}
    out = {"versions": there.get("versions", {}) | versions}
    CONFIGS = {"sft": SFTConfig, "dpo": DPOConfig, "kto": KTOConfig, "orpo": ORPOConfig, "cpo": CPOConfig, "reward": RewardConfig, "grpo": GRPOConfig,
               "rloo": RLOOConfig, "online_dpo": OnlineDPOConfig}
    for name, config in CONFIGS.items():
        out[name] = written(config)
    out |= {k: v for k, v in there.items() if k == "ppo"}
lora = plain(LoraConfig().to_dict())
out["lora"] = {k: v for k, v in sorted(lora.items()) if k != "peft_version"}
lines = [f'"{name}": {{\n' + ",\n".join(f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in values.items()) + "\n}" for name, values in out.items()]
path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
