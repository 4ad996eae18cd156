"""`fledgling export --to trl`: what it writes is run by TRL for two updates on the tiny llama, and the first loss there is the next one here.

  python export.py --bin ../../target/debug/fledgling [--methods sft,dpo]

Needs `accelerate` and `datasets` beside requirements.txt. Nothing is downloaded.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from common import FIXTURES

MODEL, TRAINING = FIXTURES / "models" / "llama", FIXTURES / "training"
# The adapter that a training begins with, and further options. Of KTO's rows one is left over, so that an epoch ends within.
METHODS = {
    "sft": ("adapter_init", {}),
    "dpo": ("adapters/default", {"reference": "base"}),
    "dpo_init": ("adapters/default", {"reference": "init"}),
    "kto": ("adapters/default", {"reference": "base"}),
    "orpo": ("adapters/default", {}),
    "cpo": ("adapters/default", {}),
}
DONE = 2


def run(*args, **more):
    done = subprocess.run([str(a) for a in args], capture_output=True, text=True, **more)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return done.stdout


def compare(binary: str, name: str, folder: Path, accelerate: bool) -> float:
    method = name.split("_")[0]
    init, more = METHODS[name]
    curve = json.loads((TRAINING / f"{method}.json").read_text())
    config = {**curve["config"], **more, "lr_scheduler_type": "constant", "warmup_steps": 0, "warmup_ratio": 0, "seed": 5,
              "shuffle": method != "kto", "max_steps": DONE + 2}
    rows, conf = folder / "rows.jsonl", folder / "config.json"
    rows.write_text("".join(json.dumps(r) + "\n" for r in curve["rows"]))
    conf.write_text(json.dumps(config))
    common = [binary, "--device", "cpu", "--threads", "1"]
    given = ["--method", method, "--data", rows, "--config", conf]
    tune = [*common, "tune", *given, "--model", MODEL, "--init-adapter", TRAINING / init, "--json"]
    whole = [json.loads(line) for line in run(*tune, "--out", folder / "whole").splitlines()]
    run(*tune, "--out", folder / "part", "--max-steps", DONE, "--save-steps", DONE)
    export = [*common, "export", "--to", "trl", *given, "--model", MODEL, "--adapter", folder / "part", "--out", folder / "trl",
              "--checkpoint", folder / "part" / "checkpoint.safetensors"]
    if more.get("reference") == "init":
        export += ["--init-adapter", TRAINING / init]
    run(*export)
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "1"] if accelerate else [sys.executable]
    run(*launch, folder / "trl" / "train.py", "--max-steps", 2, env={**os.environ, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""})
    log = json.loads((folder / "trl" / "out" / "log.json").read_text())
    want, got = whole[DONE]["loss"], log[0]["loss"]
    rate = abs(log[0]["learning_rate"] / config["learning_rate"] - 1)
    off = abs(got - want) / max(abs(want), 1e-3)
    second = abs(log[1]["loss"] - whole[DONE + 1]["loss"]) / max(abs(want), 1e-3)
    print(f"{name}: next loss {want:.6f} here, {got:.6f} there, relative difference {off:.1e} (the one behind it: {second:.1e})")
    assert off <= 1e-4 and rate < 1e-9, (name, off, rate)
    # What TRL saved is an adapter that loads.
    run(*common, "logits", "--model", MODEL, "--adapter", folder / "trl" / "out", "--prompt-ids", "5,6,7", "--json")
    return off


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", default=str(FIXTURES.parent.parent / "target" / "debug" / "fledgling"))
    parser.add_argument("--methods", default=",".join(METHODS))
    options = parser.parse_args()
    for i, name in enumerate(options.methods.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            compare(options.bin, name, Path(folder), accelerate=i == 0)
