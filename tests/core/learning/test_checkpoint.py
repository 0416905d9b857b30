"""Checkpoints come back whole, restore all randomness, and refuse damage and other data."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from core.errors import StorageError, TrainingError
from core.learning import checkpoint
from core.learning.checkpoint import read_checkpoint, restore_random_state, write_checkpoint

MINE = {"training data": "abc"}


def test_none_is_none(tmp_path: Path) -> None:
    assert read_checkpoint(tmp_path / "nothing.pt", MINE) is None


def test_state_comes_back_and_randomness_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    random.seed(1)
    np.random.seed(2)
    torch.manual_seed(3)
    write_checkpoint(path, {"epoch": 4, "weights": {"a": torch.arange(3.0)}, "nothing": None}, MINE)
    drawn = random.random(), np.random.rand(), torch.rand(1).item()
    state = read_checkpoint(path, MINE)
    assert state is not None
    assert state["epoch"] == 4
    assert state["nothing"] is None
    assert torch.equal(state["weights"]["a"], torch.arange(3.0))
    restore_random_state(state["random"])
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == drawn
    assert list(tmp_path.iterdir()) == [path]


def test_other_data_and_damage_are_refused_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    write_checkpoint(path, {"weights": torch.zeros(1000)}, MINE)
    with pytest.raises(TrainingError, match="training data changed"):
        read_checkpoint(path, {"training data": "other"})
    whole = path.read_bytes()
    for damaged in (whole[:500], b"", b"no checkpoint at all"):
        path.write_bytes(damaged)
        with pytest.raises(TrainingError, match="damaged"):
            read_checkpoint(path, MINE)
    torch.save({"state_dict": {}}, path)
    with pytest.raises(TrainingError, match="another program"):
        read_checkpoint(path, MINE)


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "sprung"),)

    path = tmp_path / "checkpoint.pt"
    torch.save({"format": checkpoint.FORMAT, "state": Trap()}, path)
    with pytest.raises(TrainingError):
        read_checkpoint(path, MINE)
    assert not (tmp_path / "sprung").exists()


def test_a_failed_write_leaves_the_earlier_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoint.pt"
    write_checkpoint(path, {"epoch": 1}, MINE)

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.os, "fsync", full)
    with pytest.raises(StorageError, match="disk space"):
        write_checkpoint(path, {"epoch": 2}, MINE)
    state = read_checkpoint(path, MINE)
    assert state is not None
    assert state["epoch"] == 1
    assert list(tmp_path.iterdir()) == [path]
