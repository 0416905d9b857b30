"""The decoder process: it answers, it is held to its caps, and whatever ends it costs one file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from core.errors import FileRefused, LabelError
from core.imaging import sandbox
from core.imaging.child import Nonsense, take_child
from core.imaging.sandbox import Call, Decoding, ask, printable
from core.settings import Settings
from tests.core.imaging import odd_readers

SETTINGS = Settings()
QUICK = Settings(decoder_seconds=1.0)
SLIM = Settings(decoder_memory_bytes=2**28)
FILE = (Path("scan 1.dcm"),)
SIZES = [1, 10**4, 10**6, 10**7]  # in the message, in a file, in a file that is mapped


def call(function: Any, *arguments: Any) -> Call:
    return Call(function, arguments, FILE)


def memory_kb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


def test_arrays_arrive_read_only_and_outlive_their_files(tmp_path: Path) -> None:
    with Decoding([call(odd_readers.give, size) for size in SIZES], tmp_path, SETTINGS) as decoding:
        found = []
        for size in SIZES:
            for picture in decoding.answers():
                assert [path.stat().st_size >= size for path in decoding.files] == [True] * (size > 2**16)
                found.append(picture)
            assert not any(path.exists() for path in decoding.files)
    assert list(tmp_path.iterdir()) == []
    assert [picture.array.sum() for picture in found] == SIZES
    assert not any(picture.array.flags.writeable for picture in found)
    assert [isinstance(picture.array, np.memmap) for picture in found] == [False, False, False, True]
    assert len({picture.pid for picture in found}) == 1 and found[0].pid != os.getpid()


def test_the_decoder_is_used_again(tmp_path: Path) -> None:
    pids = {ask(call(odd_readers.wait, 0.0), SETTINGS, tmp_path) for _ in range(5)}
    assert len(pids) == 1
    inner = []
    with Decoding([call(odd_readers.give_many, 3, 10)], tmp_path, SETTINGS) as decoding:
        for _ in decoding.answers():  # while one decoder is busy, another one answers
            inner.append(ask(call(odd_readers.wait, 0.0), SETTINGS, tmp_path))
    assert len(set(inner)) == 1 and set(inner) != pids


def test_many_calls_keep_their_order_and_the_disk_is_not_filled_ahead(tmp_path: Path) -> None:
    size, seen = 2**23, []
    calls = [call(odd_readers.give_many, 3, size) for _ in range(12)] + [call(odd_readers.give, 5)] * 100
    with Decoding(calls, tmp_path, SETTINGS) as decoding:
        for number in range(len(calls)):
            for picture in decoding.answers():
                if number < 3:
                    time.sleep(0.2)  # the decoder works ahead meanwhile
                seen.append(int(picture.array.max()))
                used = sum(path.stat().st_size for path in tmp_path.rglob("*.npy"))
                assert used < 2**26 + 3 * size
        with pytest.raises(ValueError, match="one more"):
            next(decoding.answers())
    assert seen == [0, 1, 2] * 12 + [1] * 100


@pytest.mark.parametrize(
    ("wanted", "settings", "words"),
    [
        (call(odd_readers.die, signal.SIGSEGV), SETTINGS, "made its decoder break off"),
        (call(odd_readers.die, signal.SIGABRT), SETTINGS, "made its decoder break off"),
        (call(odd_readers.die, signal.SIGKILL), SETTINGS, "more memory than this computer has free"),
        (call(odd_readers.leave, 0), SETTINGS, "made its decoder break off"),
        (call(odd_readers.give_then_die, 3), SETTINGS, "made its decoder break off"),
        (call(odd_readers.hang_in_c, 60), QUICK, "took longer than 1 seconds"),
        (call(odd_readers.burn), QUICK, "took "),
        (call(odd_readers.wait, 60.0), QUICK, "took longer than 1 seconds"),
        (call(odd_readers.devour, 2**24), SLIM, "needs more memory than a file may take"),
        (call(odd_readers.devour, 2**16), SLIM, "needs more memory than a file may take"),
        (call(odd_readers.stumble), SETTINGS, "cannot be read"),
        (call(odd_readers.recurse), SETTINGS, "cannot be read"),
        (call(odd_readers.nan), SETTINGS, "cannot be read"),
    ],
)
def test_one_sentence_and_the_next_file_goes_on(
    tmp_path: Path, wanted: Call, settings: Settings, words: str
) -> None:
    calls = [call(odd_readers.give, 10), wanted, call(odd_readers.give, 20), call(odd_readers.give, 30)]
    sizes, started = [], time.monotonic()
    with Decoding(calls, tmp_path, settings) as decoding:
        for number in range(len(calls)):
            try:
                sizes += [answer.array.size for answer in decoding.answers() if number != 1]
            except FileRefused as error:
                sentence = str(error)
    assert sizes == [10, 20, 30]
    assert sentence.startswith("scan 1.dcm ") and words in sentence and sentence.endswith(".")
    assert "SECRET" not in sentence
    assert time.monotonic() - started < 30
    assert list(tmp_path.iterdir()) == []


def test_errors_for_the_user_keep_their_kind(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match=r"^A label is missing\.$"):
        ask(call(odd_readers.refuse), SETTINGS, tmp_path)


def test_memory_grows_with_what_a_checked_header_declares(tmp_path: Path) -> None:
    taken = 2**29
    with pytest.raises(FileRefused, match="more memory"):
        ask(call(odd_readers.take_declared, 0, taken), SLIM, tmp_path)
    assert ask(call(odd_readers.take_declared, taken, taken), SLIM, tmp_path) == 1
    with pytest.raises(FileRefused, match="more memory"):  # what one file declared is not there for the next
        ask(call(odd_readers.take_declared, 0, taken), SLIM, tmp_path)


def test_the_greedy_are_held_to_their_cap(tmp_path: Path) -> None:
    child = take_child()
    child.kill()
    before = {process.pid for process in psutil.Process().children()}
    with pytest.raises(FileRefused):
        ask(call(odd_readers.devour, 2**22), SLIM, tmp_path)
    (pid,) = {process.pid for process in psutil.Process().children()} - before
    assert memory_kb(pid) * 1024 < SLIM.decoder_memory_bytes + 2**27


def test_files_are_held_to_their_cap(tmp_path: Path) -> None:
    settings = Settings(max_image_bytes=2**22, max_archive_bytes=2**22)
    target = tmp_path / "large"
    with pytest.raises(FileRefused):
        ask(call(odd_readers.write_file, target, 2**24), settings, tmp_path)
    assert target.stat().st_size <= 2**22 + 2**20


def test_what_libraries_print_goes_nowhere(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert ask(call(odd_readers.chatter), SETTINGS, tmp_path) == "done"
    assert ask(call(odd_readers.chatter), SETTINGS, tmp_path) == "done"
    assert capfd.readouterr() == ("", "")


def test_the_decoder_has_few_rights_and_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_DATABASE_URL", "postgresql://user:password@host/db")
    monkeypatch.setattr("core.imaging.child._idle.children", [])
    found = ask(call(odd_readers.surroundings), SETTINGS, tmp_path)
    assert "SIGHTLINE" not in found["environment"]
    assert (found["no_new_privileges"], found["core"], found["files"]) == ("1", "0", "256")
    assert found["session"] == "True" and int(found["nice"]) >= 5
    assert 0 < int(found["memory"]) < 4 * 2**30
    assert "streamlit" not in found["modules"] and "torch" not in found["modules"]
    assert "password" not in Settings().model_dump_json()


def test_leaving_early_ends_the_reading(tmp_path: Path) -> None:
    with Decoding([call(odd_readers.give_many, 10**6, 10)], tmp_path, SETTINGS) as decoding:
        pid = next(decoding.answers()).pid
    assert list(tmp_path.iterdir()) == []
    assert not psutil.pid_exists(pid)


LIES: list[dict[str, Any]] = [
    {},
    {"call": 1, "value": 3},
    {"call": 0, "value": "three"},
    {"call": 0, "value": {"is": "Picture", "fields": {"array": {"array": "../evil.npy"}, "pid": 1}}},
    {"call": 0, "value": {"is": "Picture", "fields": {"array": {"array": "0-1.npy"}, "pid": 1}}},
    {"call": 0, "value": {"is": "Picture", "fields": {"array": {"array": "0-2.npy"}, "pid": 1}}},
    {"call": 0, "value": {"is": "Picture", "fields": {"array": {"array": "0-3.npy"}, "pid": 1}}},
    {"call": 0, "value": {"is": "Picture", "fields": {"array": {"array": "0-4.npy"}, "pid": 1}}},
    {"call": 0, "value": {"is": "Picture", "fields": {"array": {"array": "0-5.npy"}, "pid": 1}}},
    {"call": 0, "value": {"is": "Picture", "fields": {"array": {"array": "0-6.npy"}, "pid": True}}},
    {"call": 0, "value": {"is": "Path", "fields": {}}},
    {"call": 0, "declared": "many"},
]


class Liar:
    """A decoder that says one thing and leaves odd files."""

    killed = False
    unsent = 0

    def __init__(self, message: dict[str, Any]) -> None:
        self.message = message

    def send(self, message: dict[str, Any]) -> None:
        if "folder" not in message:
            return
        folder = Path(message["folder"])
        np.save(folder.parent / "evil.npy", np.ones(3))
        np.save(folder / "0-1.npy", np.array([{"an": "object"}], dtype=object))
        (folder / "0-2.npy").write_bytes(b"no array")
        np.save(folder / "0-3.npy", np.ones(100, np.uint8))
        os.truncate(folder / "0-3.npy", 150)
        (folder / "0-4.npy").symlink_to(folder.parent / "evil.npy")
        os.mkfifo(folder / "0-5.npy")
        np.save(folder / "0-6.npy", np.ones(3, np.uint8))

    def receive(self, seconds: float) -> dict[str, Any]:
        assert seconds > 0
        return self.message

    def kill(self) -> None:
        self.killed = True


@pytest.mark.parametrize("lie", LIES)
def test_nothing_is_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lie: dict[str, Any]) -> None:
    liar = Liar(lie)
    monkeypatch.setattr(sandbox, "take_child", lambda: liar)
    with pytest.raises(FileRefused, match="made its decoder break off"):
        ask(call(odd_readers.give, 3), SETTINGS, tmp_path)
    assert liar.killed
    assert [path.name for path in tmp_path.iterdir()] == ["evil.npy"]


def test_texts_are_made_fit_for_a_line() -> None:
    assert printable("a\nb\r\x1b[31m\u202egnp.exe\udcff") == "a\ufffdb\ufffd\ufffd[31m\ufffdgnp.exe\ufffd"
    assert printable("жук 👨‍👩‍👧 é") == "жук 👨‍👩‍👧 é"


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    for pid in (dead.pid, os.getpid()):
        (tmp_path / f"pixels-{pid}-abc").mkdir()
        (tmp_path / f"pixels-{pid}-abc" / "0-1.npy").write_bytes(b"x")
    assert ask(call(odd_readers.give, 3), SETTINGS, tmp_path).array.size == 3
    assert [path.name for path in tmp_path.iterdir()] == [f"pixels-{os.getpid()}-abc"]


PARENT = """
import sys
from pathlib import Path
from core.imaging.sandbox import Call, ask
from core.settings import Settings
from tests.core.imaging import odd_readers
settings, file = Settings(decoder_seconds=120.0), (Path("x"),)
print(ask(Call(odd_readers.wait, (0.0,), file), settings), flush=True)
ask(Call(odd_readers.hang_in_c, (120,), file), settings)
"""


def test_the_decoder_dies_with_its_parent() -> None:
    root = Path(__file__).resolve().parents[3]
    env = os.environ | {"PYTHONPATH": str(root)}
    command = [sys.executable, "-c", PARENT]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root, env=env)
    assert parent.stdout is not None
    decoder = psutil.Process(int(parent.stdout.readline()))
    time.sleep(0.3)
    assert decoder.is_running()
    parent.kill()
    parent.wait()
    psutil.wait_procs([decoder], timeout=5)
    assert not decoder.is_running() or decoder.status() == psutil.STATUS_ZOMBIE


def test_a_dead_decoder_that_waits_is_replaced(tmp_path: Path) -> None:
    pid = ask(call(odd_readers.wait, 0.0), SETTINGS, tmp_path)
    os.kill(pid, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(pid)], timeout=5)
    assert ask(call(odd_readers.wait, 0.0), SETTINGS, tmp_path) != pid


@pytest.mark.parametrize("sent", [b"\xff\xff\xff\xff", b"\0\0\0\x02[]", b"\0\0\0\x05[[[[["])
def test_broken_messages(sent: bytes) -> None:
    child = take_child()
    child._incoming += sent
    with pytest.raises(Nonsense):
        child.receive(1.0)
    child.kill()
