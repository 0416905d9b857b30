"""NumPy files: sets row by row, single arrays, labels as facts, nothing unpickled."""

from __future__ import annotations

import io
import pickle
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import FileRefused
from core.imaging.arrays import count_images, iter_arrays, split_key
from core.imaging.found import Found, Skipped
from core.settings import Settings

SETTINGS = Settings()
RNG = np.random.default_rng(9)
TYPES = ("uint8", "int8", "uint16", "int16", "int32", "int64", "float16", "float32", "float64", "bool", ">i2")


def look(path: Path) -> tuple[list[Found], list[Skipped]]:
    items = list(iter_arrays(path, SETTINGS))
    assert count_images(path) == len(items)
    return [item for item in items if isinstance(item, Found)], [
        item for item in items if isinstance(item, Skipped)
    ]


def refused(path: Path, limits: Settings = SETTINGS) -> str:
    with pytest.raises(FileRefused) as caught:
        list(iter_arrays(path, limits))
    assert path.name in str(caught.value) and str(caught.value).endswith(".")
    return str(caught.value)


def test_medmnist(shared_data: Path) -> None:
    (path,) = (shared_data / "cls_pneumoniamnist").glob("*.npz")
    found, skipped = look(path)
    theirs = np.load(path)
    assert skipped == [] and len(found) == 4406
    assert (found[12].name, found[12].part, found[12].split) == ("train_000012", "train_000012", "train")
    assert found[-1].name == "val_000523" and found[-1].split == "val"
    for split in ("train", "val"):
        ours = [item for item in found if item.split == split]
        assert np.array_equal(np.stack([item.image.array for item in ours]), theirs[f"{split}_images"])
        assert [item.metadata["label"] for item in ours] == [
            str(n) for n in theirs[f"{split}_labels"].ravel()
        ]


@pytest.mark.parametrize(
    ("name", "split", "what"),
    [
        ("train_images", "train", "images"), ("x_train", "train", "x"), ("X_test", "test", "x"),
        ("images", None, "images"), ("val_labels", "val", "labels"),
        ("y", None, "y"), ("validation_x", "val", "x"), ("arr_0", None, "arr"),
    ],
)  # fmt: skip
def test_keys(name: str, split: str | None, what: str) -> None:
    key = split_key(name)
    assert (key.split, key.what) == (split, what)


@pytest.mark.parametrize(
    ("shape", "layout", "ours"),
    [
        ((6, 8, 9), "yx", (8, 9)), ((6, 8, 9, 1), "yx", (8, 9)), ((6, 8, 9, 3), "yxc", (8, 9, 3)),
        ((6, 3, 8, 9), "yxc", (8, 9, 3)), ((6, 1, 8, 9), "yx", (8, 9)), ((6, 7, 8, 9), "zyx", (7, 8, 9)),
        ((6, 7, 8, 9, 2), "zyxc", (7, 8, 9, 2)), ((6, 2, 7, 8, 9), "zyxc", (7, 8, 9, 2)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("packed", [True, False])
def test_rows_of_every_shape(
    tmp_path: Path, shape: tuple[int, ...], layout: str, ours: tuple, packed: bool
) -> None:
    array = RNG.integers(0, 255, shape, dtype=np.uint8)
    save = np.savez_compressed if packed else np.savez
    save(tmp_path / "a.npz", x=array, y=np.arange(6))
    found, _ = look(tmp_path / "a.npz")
    assert [item.metadata["label"] for item in found] == ["0", "1", "2", "3", "4", "5"]
    assert {(item.image.info.layout, item.image.info.shape) for item in found} == {(layout, ours)}
    rows = (
        array if ours == shape[1:] else array.reshape(6, *ours) if 1 in shape else np.moveaxis(array, 1, -1)
    )
    assert all(np.array_equal(item.image.array, row) for item, row in zip(found, rows, strict=True))
    assert found[0].split is None and found[5].name == "image_000005"


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(TYPES), st.booleans())
def test_types_keep_their_values(tmp_path_factory, dtype, is_fortran):
    array = (RNG.integers(0, 99, (5, 6)) > 50 if dtype == "bool" else RNG.integers(0, 99, (5, 6)) / 4).astype(
        dtype
    )
    path = tmp_path_factory.mktemp("array") / "a.npy"
    np.save(path, np.asfortranarray(array) if is_fortran else array)
    (found,), _ = look(path)
    expected = array * np.uint8(255) if dtype == "bool" else array
    assert np.array_equal(found.image.array, expected) and found.name == "a" and found.part == ""


def test_single_arrays(tmp_path: Path) -> None:
    for shape, layout in (((8, 9), "yx"), ((8, 9, 3), "yxc"), ((2, 8, 9), "zyx"), ((7, 8, 9, 4), "zyxc")):
        np.save(tmp_path / "img.npy", np.zeros(shape, np.float32))
        (found,), _ = look(tmp_path / "img.npy")
        assert found.image.info.layout == layout and found.image.info.spacing_mm is None
    np.savez(tmp_path / "one.npz", image=np.zeros((8, 9)), mask=np.zeros((8, 9)))
    (found,), (skipped,) = look(tmp_path / "one.npz")
    assert (found.name, found.part, skipped.source) == ("one", "", "mask")
    np.savez(tmp_path / "two.npz", first=np.zeros((8, 9)), second=np.ones((8, 9)))
    found, _ = look(tmp_path / "two.npz")
    assert [(item.name, item.part) for item in found] == [("two first", "first"), ("two second", "second")]
    np.save(tmp_path / "x_train.npy", np.zeros((5, 8, 9), np.uint8))
    found, _ = look(tmp_path / "x_train.npy")
    assert len(found) == 5 and found[0].split == "train"


def test_labels_of_several_classes_words_and_numbers(tmp_path: Path) -> None:
    images = np.zeros((3, 8, 9), np.uint8)
    for labels, expected in (
        (np.array([[1, 0, 0], [0, 1, 1], [0, 0, 0]]), ["0", "1 2", ""]),
        (np.array(["cat", "dog", "a b"]), ["cat", "dog", "a b"]),
        (np.array([0.5, 1, 2]), ["0.5", "1", "2"]),
        (np.array([[3, 4], [5, 6], [7, 8]]), ["3 4", "5 6", "7 8"]),
        (np.asfortranarray(np.array([[1, 0], [0, 1], [1, 1]])), ["0", "1", "0 1"]),
    ):
        np.savez(tmp_path / "a.npz", images=images, labels=labels)
        found, _ = look(tmp_path / "a.npz")
        assert [item.metadata["label"] for item in found] == expected


def test_numbers_that_are_none_become_zero(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[np.nan, np.inf], [1, -np.inf]], np.float32))
    (found,), _ = look(tmp_path / "a.npy")
    assert found.image.array.tolist() == [[0, 0], [1, 0]] and "not numbers" in found.image.info.warnings[0]


class Evil:
    """Runs when unpickled."""

    def __reduce__(self):
        return (Path("/tmp/never").touch, ())


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([Evil()], dtype=object), allow_pickle=True)
    assert "for safety" in refused(tmp_path / "a.npy")
    np.savez(tmp_path / "b.npz", images=np.zeros((2, 3, 4)), labels=np.array([Evil(), 1], dtype=object))
    assert "for safety" in refused(tmp_path / "b.npz")
    (tmp_path / "c.npy").write_bytes(pickle.dumps(Evil()))
    refused(tmp_path / "c.npy")
    assert not Path("/tmp/never").exists()


def header(shape: str, descr: str = "'|u1'") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


LIES = {
    "large.npy": header("(100000, 100000, 100000)"),
    "short.npy": header("(100, 100)") + bytes(50),
    "zero.npy": header("(0, 5)"),
    "minus.npy": header("(-5, 5)"),
    "four.npy": header("(2, 5, 5, 9)") + bytes(450),
    "one.npy": header("(25,)") + bytes(25),
    "text.npy": header("(2, 2)", "'<U4'") + bytes(64),
    "complex.npy": header("(2, 2)", "'<c8'") + bytes(64),
    "record.npy": header("(2, 2)", "[('a', '<i2')]") + bytes(64),
    "code.npy": header("__import__('os')"),
    "cut.npy": b"\x93NUMPY\x01\x00",
    "scribble_1.npy": header("(2, 5, 5)") + bytes(50),
    "no.npz": b"hello",
}


@pytest.mark.parametrize("name", LIES)
def test_damaged_and_lying_files_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(LIES[name])
    refused(tmp_path / name)


def test_sets_without_images_and_cut_sets(tmp_path: Path) -> None:
    np.savez(tmp_path / "labels.npz", labels=np.zeros(5), names=np.array(["a"]))
    assert "holds no image" in refused(tmp_path / "labels.npz")
    with zipfile.ZipFile(tmp_path / "cut.npz", "w") as file:
        file.writestr("images.npy", header("(9, 5, 5)") + bytes(100))
    with pytest.raises(FileRefused, match="cut short"):
        list(iter_arrays(tmp_path / "cut.npz", SETTINGS))
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.npy", header("(30000, 30000)") + bytes(10**6))
    assert "limit" in refused(tmp_path / "bomb.npz") or "cannot be" in refused(tmp_path / "bomb.npz")
    np.savez_compressed(tmp_path / "blank.npz", images=np.zeros((300_000, 40, 40), np.uint8))
    assert "holds more than 200000 files" in refused(tmp_path / "blank.npz")
    many = Settings(max_archive_members=10**6)
    assert "cannot be" in refused(tmp_path / "blank.npz", many)
    small = Settings(max_image_bytes=1000)
    np.savez(tmp_path / "rows.npz", images=np.zeros((2, 50, 50), np.uint8))
    assert "limit" in refused(tmp_path / "rows.npz", small)


def test_a_large_set_takes_the_memory_of_one_image(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", train_images=np.zeros((4_000, 64, 64), np.uint8))
    tracemalloc.start()
    count = sum(1 for _ in iter_arrays(tmp_path / "a.npz", SETTINGS))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 4_000 and peak < 2 * 2**20


def test_written_by_hand_equals_numpy(tmp_path: Path) -> None:
    array = RNG.integers(0, 255, (4, 5), dtype=np.uint8)
    for version in ((1, 0), (2, 0), (3, 0)):
        out = io.BytesIO()
        np.lib.format.write_array(out, array, version=version, allow_pickle=False)
        (tmp_path / "a.npy").write_bytes(out.getvalue())
        (found,), _ = look(tmp_path / "a.npy")
        assert np.array_equal(found.image.array, np.load(tmp_path / "a.npy"))
