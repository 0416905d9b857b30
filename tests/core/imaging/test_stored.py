"""Arrays at rest: what is moved into place is what would have been written."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from core.errors import StorageError
from core.imaging.stored import adopt_array, hash_array, hash_array_file, read_array, write_array

ARRAYS = [
    np.arange(24, dtype=np.int16).reshape(2, 3, 4),
    np.zeros((5, 1200, 1200), np.uint8),  # longer than one read
    np.ones((3, 4, 3), np.float32),
    np.full((1, 1), 7, np.int64),
]


@pytest.mark.parametrize("array", ARRAYS)
def test_a_file_has_the_hash_of_its_array(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", array)
    assert hash_array_file(tmp_path / "a.npy") == hash_array(array)


@pytest.mark.parametrize("is_other_disk", [False, True])
def test_a_file_is_moved_into_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_other_disk: bool
) -> None:
    np.save(tmp_path / "given.npy", ARRAYS[0])
    (tmp_path / "store").mkdir()
    replace = os.replace

    def refuse_between_disks(source: Path, target: Path) -> None:
        if is_other_disk and source == tmp_path / "given.npy":
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        replace(source, target)

    monkeypatch.setattr("core.imaging.stored.os.replace", refuse_between_disks)
    adopt_array(tmp_path / "given.npy", tmp_path / "store" / "a.npy")
    assert np.array_equal(read_array(tmp_path / "store" / "a.npy"), ARRAYS[0])
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["a.npy"]
    write_array(ARRAYS[0], tmp_path / "written.npy")
    assert (tmp_path / "written.npy").read_bytes() == (tmp_path / "store" / "a.npy").read_bytes()


def test_what_cannot_be_moved_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        adopt_array(tmp_path / "missing.npy", tmp_path / "a.npy")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "short.npy").write_bytes(b"short")
    with pytest.raises(StorageError):
        hash_array_file(tmp_path / "short.npy")
