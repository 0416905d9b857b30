"""Checkpoints: everything a training needs to go on as if it had never stopped, written so that a kill cannot harm."""

from __future__ import annotations

import os
import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.errors import StorageError, TrainingError

FORMAT = "sightline-checkpoint/1"


def write_checkpoint(path: Path, state: dict[str, Any], belongs_to: dict[str, str]) -> None:
    """Write a checkpoint under a temporary name, flush it to disk, then rename.

    Args:
        path: file to replace.
        state: tensors, numbers, texts, lists and dicts only, so that reading needs no pickle of objects.
        belongs_to: hashes (snapshot, settings ...) that must be the same when training goes on.

    Raises:
        StorageError: when the disk cannot take it; the earlier checkpoint stays.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    content = {"format": FORMAT, "belongs_to": belongs_to, "random": _random_state(), "state": state}
    try:
        with open(temporary, "wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _flush_folder(path.parent)
    except (OSError, RuntimeError) as error:  # torch turns a full disk into a RuntimeError
        temporary.unlink(missing_ok=True)
        raise StorageError("The checkpoint could not be written; free some disk space and resume.") from error


def read_checkpoint(path: Path, belongs_to: dict[str, str]) -> dict[str, Any] | None:
    """Read a checkpoint's state; None when there is none. Random state is set by ``restore_random_state``.

    Raises:
        TrainingError: when it is damaged or was made with other data or settings.
    """
    if not path.exists():
        return None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise TrainingError("The checkpoint is damaged; start the training anew.") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise TrainingError("The checkpoint was written by another program; start the training anew.")
    for what, value in belongs_to.items():
        if content["belongs_to"].get(what) != value:
            raise TrainingError(f"The {what} changed since the checkpoint; start the training anew.")
    return {**content["state"], "random": content["random"]}


def restore_random_state(state: dict[str, Any]) -> None:
    """Set Python's, NumPy's and torch's generators to a checkpoint's ``random`` entry."""
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])


def _random_state() -> dict[str, Any]:
    """Return the state of all generators as plain values and tensors."""
    version, numbers, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "python": [version, list(numbers), gauss],
        "numpy": [name, torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def _flush_folder(folder: Path) -> None:
    """Flush the renaming itself; not every system lets folders be opened."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
