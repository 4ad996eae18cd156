"""Shared by the fixture generators: seeding, one-thread PyTorch, writing safetensors and json reproducibly."""

import json
import zlib
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)


def generator(name: str) -> torch.Generator:
    """A generator seeded by the case's name: adding a case leaves the others' numbers alone."""
    return torch.Generator().manual_seed(zlib.crc32(name.encode()))


def stored(t: torch.Tensor) -> torch.Tensor:
    """As it goes to disk: floats as F32, integers as I32, bytes as they are."""
    t = t.detach()
    if t.dtype in (torch.float64, torch.float32):
        return t.to(torch.float32).contiguous().clone()
    if t.dtype == torch.uint8:
        return t.contiguous().clone()
    return t.to(torch.int32).contiguous().clone()


def write_tensors(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: stored(v) for k, v in sorted(tensors.items())}, str(path), metadata=metadata)
    path.chmod(0o644)


def write_json(path: Path, value) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n")


def write_json_rows(path: Path, head: dict, key: str, rows: list) -> None:
    """`head` plus `key: rows`, one row a line, so that a diff shows which rows changed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    body = ",\n".join(json.dumps(r, sort_keys=True) for r in rows)
    path.write_text(json.dumps(head)[:-1] + f', "{key}": [\n{body}\n]}}\n')


def as_bytes(a: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(a).view(np.uint8).reshape(-1).copy())
