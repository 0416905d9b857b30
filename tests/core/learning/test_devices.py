"""Device choice, precision and seeds."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
import torch

from core.errors import SightlineError
from core.learning import devices


def test_the_cpu_is_always_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert devices.pick_device("cpu") == "cpu"
    assert devices.pick_device("auto") == "cpu"
    with pytest.raises(SightlineError, match="no GPU can be used here; choose auto or cpu"):
        devices.pick_device("cuda")


def test_gpus_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert devices.pick_device("auto") == "cuda:0"
    assert devices.pick_device("cuda") == "cuda:0"
    assert devices.pick_device("cuda:1") == "cuda:1"
    with pytest.raises(SightlineError, match=r"2 GPU\(s\)"):
        devices.pick_device("cuda:2")


@pytest.mark.parametrize("setting", ["gpu", "cuda:", "cuda:x", "cuda:-1", "", "mps"])
def test_unknown_devices_are_refused(setting: str) -> None:
    with pytest.raises(SightlineError, match="auto, cpu, cuda or cuda:N"):
        devices.pick_device(setting)


@pytest.mark.parametrize(
    ("flags", "precision"),
    [("avx2 fma", "float32"), ("avx512_bf16 avx2", "bfloat16"), ("amx_bf16", "bfloat16")],
)
def test_bfloat16_on_the_cpu_needs_its_instructions(
    monkeypatch: pytest.MonkeyPatch, flags: str, precision: str
) -> None:
    devices._cpu_has_bfloat16.cache_clear()
    monkeypatch.setattr("pathlib.Path.read_text", lambda *_: f"processor : 0\nflags\t: fpu {flags}\n")
    try:
        assert devices.precision_of("cpu") == precision
        with devices.autocast_for("cpu"):
            assert torch.is_autocast_enabled("cpu") == (precision == "bfloat16")
    finally:
        devices._cpu_has_bfloat16.cache_clear()


@pytest.mark.parametrize(("capability", "precision"), [((7, 5), "float32"), ((9, 0), "bfloat16")])
def test_bfloat16_on_gpus_from_ampere_on(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], precision: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert devices.precision_of("cuda:0") == precision


def test_the_report_is_json() -> None:
    report = json.loads(json.dumps(devices.device_report()))
    assert report["torch"] == torch.__version__
    assert report["device"] == devices.pick_device("auto")


def test_a_seed_repeats_all_generators() -> None:
    cudnn = torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic
    draws = []
    try:
        for _ in range(2):
            devices.seed_everything(3)
            draws.append((random.random(), np.random.rand(), torch.rand(1).item()))
        assert torch.backends.cudnn.deterministic
        assert draws[0] == draws[1]
        devices.seed_everything(4, deterministic=False)
        assert random.random() != draws[0][0]
        assert not torch.backends.cudnn.deterministic
    finally:
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = cudnn
