"""Arrays that live in files behave as those in memory do, and take no memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from core.imaging import buffers, values
from core.imaging.buffers import ArrayFolder, allocate, narrow, settle, take, use_folder

SHAPE = (9, 512, 512)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ArrayFolder]:
    monkeypatch.setattr(buffers, "SETTLE_BYTES", 2**20)
    found = ArrayFolder(tmp_path, "7")
    use_folder(found)
    yield found
    use_folder(None)


def filled(low: int, high: int, dtype: type) -> np.ndarray:
    rng = np.random.default_rng(0)
    array = allocate(SHAPE, np.dtype(dtype))
    for index in range(len(array)):
        array[index] = rng.integers(low, high, SHAPE[1:], endpoint=True)
        settle(array, index)
    array[3, 4, 5], array[6, 7, 8] = low, high
    return array


def resident_kb() -> int:
    return int(Path("/proc/self/status").read_text().split("RssFile:")[1].split()[0])


def test_without_a_folder_arrays_are_plain(tmp_path: Path) -> None:
    array = allocate(SHAPE, np.dtype(np.int16))
    assert type(array) is np.ndarray and not array.any()
    settle(array, 3)
    assert narrow(array) is array
    assert list(tmp_path.iterdir()) == []


def test_small_arrays_stay_in_memory(folder: ArrayFolder, tmp_path: Path) -> None:
    assert type(allocate((10, 10), np.dtype(np.int16))) is np.ndarray
    name = folder.keep(np.arange(6)[::2])
    assert np.load(tmp_path / name).tolist() == [0, 2, 4]


def test_a_large_array_is_its_file(folder: ArrayFolder, tmp_path: Path) -> None:
    array = filled(-5, 5, np.int16)
    name = folder.keep(np.ascontiguousarray(array))  # as readers hand it on: another view of the same memory
    assert [path.name for path in tmp_path.iterdir()] == [name] == ["7-1.npy"]
    assert np.array_equal(np.load(tmp_path / name, allow_pickle=False), array)
    assert folder.keep(array[:4]) != name  # a part is another array
    folder.close({name})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["7-1.npy", "7-2.npy"]


@pytest.mark.parametrize(
    ("low", "high", "dtype"),
    [
        (-5, 5, np.int32), (-32768, 32767, np.int32), (-32769, 0, np.int32), (0, 32768, np.int64),
        (0, 2**31, np.int64), (0, 255, np.uint8), (0, 1, bool), (-7, 7, np.int16), (0, 9, np.float32),
        (0, 9, np.uint16), (0, 65535, np.uint16),
    ],
)  # fmt: skip
def test_narrowing_gives_what_memory_would(
    folder: ArrayFolder, tmp_path: Path, low: int, high: int, dtype: type
) -> None:
    array = filled(low, high, dtype)
    expected = values.narrow(np.array(array))
    found = narrow(array)
    assert found.dtype == expected.dtype and np.array_equal(found, expected)
    name = folder.keep(found)
    folder.close({name})
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    "order", [[0, 1, 2, 3, 4, 5, 6, 7, 8], [8, 7, 6, 5, 4, 3, 2, 1, 0], [2, 5], [0, 0, 1]]
)
def test_planes_in_another_order(folder: ArrayFolder, order: list[int]) -> None:
    array = filled(-5, 5, np.int32)
    expected = np.array(array)[order]
    assert np.array_equal(take(array, order), expected)
    assert np.array_equal(take(np.array(array), order), expected)


def test_written_planes_leave_the_memory(folder: ArrayFolder) -> None:
    before = resident_kb()
    array = allocate((256, 512, 512), np.dtype(np.int32))  # 256 MB
    for index in range(len(array)):
        array[index] = index
        settle(array, index)
    assert resident_kb() - before < 20_000
    assert array[:, 3, 3].tolist() == list(range(256))
    assert narrow(array).dtype == np.int16
    assert resident_kb() - before < 40_000


def test_a_full_disk_is_an_error_at_once(
    folder: ArrayFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, start: int, length: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("core.imaging.buffers.os.posix_fallocate", full)
    with pytest.raises(OSError, match="space"):
        allocate(SHAPE, np.dtype(np.int32))
    assert list(tmp_path.iterdir()) == []
