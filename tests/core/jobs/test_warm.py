"""The warm process: answers, arrays, errors, death, hanging, idleness, memory; nothing is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from core.errors import LabelError, SightlineError
from core.jobs.processes import ROOT
from core.jobs.warm import Message, WarmProcess, pack, unpack

HANDLERS = "tests.core.jobs.warm_sample:HANDLERS"


@pytest.fixture
def warm(tmp_path: Path) -> Iterator[WarmProcess]:
    process = WarmProcess(tmp_path, HANDLERS)
    yield process
    process.close()


@settings(max_examples=40, deadline=None)
@given(
    arrays(
        np.dtype("<f4"), array_shapes(min_dims=1, max_dims=3, min_side=0), elements=st.floats(-9, 9, width=16)
    ),
    arrays(np.dtype("<u2"), array_shapes(max_dims=2)),
)
def test_messages_come_back_as_they_were(one: np.ndarray, other: np.ndarray) -> None:
    found = unpack(pack(Message({"a": [1, "ä"]}, {"one": one, "other": other})))
    assert found.values == {"a": [1, "ä"]} and list(found.arrays) == ["one", "other"]
    np.testing.assert_array_equal(found.arrays["one"], one)
    np.testing.assert_array_equal(found.arrays["other"], other)


def test_it_answers_and_stays_warm(warm: WarmProcess) -> None:
    array = np.arange(12, dtype=np.int16).reshape(3, 4)
    first = warm.call("echo", Message({"word": "x"}, {"a": array}))
    np.testing.assert_array_equal(first.arrays["a"], array * 2)
    assert first.values["word"] == "x" and first.values["pid"] != os.getpid()
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda: answers.append(warm.call("echo", Message()).values["pid"]))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [first.values["pid"]] * 6


def test_errors_keep_their_sentence_and_give_nothing_away(warm: WarmProcess) -> None:
    with pytest.raises(LabelError, match=r"That label is taken\."):
        warm.call("refuse", Message())
    with pytest.raises(SightlineError) as caught:
        warm.call("fail", Message())
    assert "secret" not in str(caught.value) and "warm.log" in str(caught.value)
    with pytest.raises(ValueError, match="a warm process can do"):
        warm.call("nothing of the kind", Message())


def test_death_and_hanging(warm: WarmProcess, tmp_path: Path) -> None:
    assert warm.call("die once", Message({"marker": str(tmp_path / "marker")})).values["lived"]
    with pytest.raises(SightlineError, match="died"):
        warm.call("die", Message())
    warm.call("echo", Message())
    hanging = warm.pid
    with pytest.raises(SightlineError, match="longer than"):
        warm.call("sleep", Message({"seconds": 60}), timeout=0.3)
    assert hanging is not None and not psutil.pid_exists(hanging)
    assert warm.call("echo", Message()).values["pid"] != hanging


def test_it_ends_when_idle_and_when_it_eats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_WARM_IDLE_SECONDS", "0.5")
    monkeypatch.setenv("SIGHTLINE_WARM_MEMORY_BYTES", str(400 * 2**20))
    warm = WarmProcess(tmp_path, HANDLERS)
    first = warm.call("echo", Message()).values["pid"]
    until = time.monotonic() + 60
    while warm.pid is not None and time.monotonic() < until:
        time.sleep(0.05)
    assert warm.pid is None
    assert warm.call("echo", Message()).values["pid"] != first
    with pytest.raises(SightlineError, match="memory"):
        warm.call("eat", Message(), timeout=120)
    warm.close()


def test_it_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from core.jobs.warm import *\n"
        "w = WarmProcess(Path(sys.argv[1]), sys.argv[2]); print(w.call('echo', Message()).values['pid'], flush=True)\n"
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), HANDLERS],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    pid = int(done.stdout.split()[0])
    until = time.monotonic() + 60
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" and time.monotonic() < until:
        time.sleep(0.05)
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie"
