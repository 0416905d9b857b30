"""Where and how a network computes: device, precision, memory layout, reproducibility."""

from __future__ import annotations

import os
import random
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.errors import SightlineError


def pick_device(setting: str = "auto") -> str:
    """Return "cpu" or "cuda:N" for a setting of auto, cpu, cuda or cuda:N.

    Raises:
        SightlineError: when the setting is unknown or no such GPU can be used.
    """
    if setting == "cpu":
        return "cpu"
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if setting == "auto":
        return "cuda:0" if count else "cpu"
    name, _, number = setting.partition(":")
    if name != "cuda" or not (number.isdecimal() or setting == "cuda"):
        raise SightlineError(f"The device must be auto, cpu, cuda or cuda:N, got {setting!r}.")
    index = int(number or 0)
    if index >= count:
        found = f"{count} GPU(s) can be used here" if count else "no GPU can be used here"
        raise SightlineError(f"The device {setting!r} was asked for but {found}; choose auto or cpu.")
    return f"cuda:{index}"


def device_report() -> dict[str, Any]:
    """Tell what is here: for ``sightline doctor`` and the model card. Plain JSON values."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    gpus = []
    for index in range(count):
        properties = torch.cuda.get_device_properties(index)
        gpus.append(
            {
                "device": f"cuda:{index}",
                "name": properties.name,
                "memory_gib": round(properties.total_memory / 2**30, 1),
                "precision": precision_of(f"cuda:{index}"),
            }
        )
    return {
        "device": pick_device("auto"),
        "torch": torch.__version__,
        "cuda": torch.version.cuda or "",
        "gpus": gpus,
        "cpu_threads": torch.get_num_threads(),
        "cpu_precision": precision_of("cpu"),
    }


def precision_of(device: str) -> str:
    """Return "bfloat16" where the device computes in it faster than in "float32", else "float32".

    GPUs from Ampere on; processors with AVX512-BF16 or AMX. Elsewhere bfloat16 is emulated and slower.
    """
    if device.startswith("cuda"):
        major, _ = torch.cuda.get_device_capability(device)
        return "bfloat16" if major >= 8 else "float32"
    return "bfloat16" if _cpu_has_bfloat16() else "float32"


def autocast_for(device: str) -> AbstractContextManager[Any]:
    """Return a fresh context in which a network computes in the device's best precision.

    Weights and losses stay float32; bfloat16 needs no loss scaling.
    """
    if precision_of(device) == "float32":
        return nullcontext()
    return torch.autocast(device_type=torch.device(device).type, dtype=torch.bfloat16)


def memory_format_of(device: str) -> torch.memory_format:
    """Return the layout of images and weights that is fastest for convolutions on the device."""
    return torch.channels_last


def seed_everything(seed: int, deterministic: bool = True) -> None:
    """Seed Python, NumPy and torch on all devices.

    Args:
        seed: 0 to 2**32 - 1.
        deterministic: also take cuDNN's repeatable algorithms, at some cost in speed on a GPU. A few GPU
            operations have no repeatable form and stay as they are; on the CPU all is repeatable.
    """
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.backends.cudnn.benchmark = not deterministic
    torch.backends.cudnn.deterministic = deterministic
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


@lru_cache
def _cpu_has_bfloat16() -> bool:
    """Look for native bfloat16 instructions; False where /proc/cpuinfo does not exist."""
    try:
        text = Path("/proc/cpuinfo").read_text("ascii", "ignore")
    except OSError:
        return False
    flags = next((line for line in text.splitlines() if line.startswith("flags")), "").split()
    return "avx512_bf16" in flags or "amx_bf16" in flags
