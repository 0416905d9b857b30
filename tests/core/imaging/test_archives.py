"""Tar archives and single packed files: the same safety as zip's, and what is packed by nature is no archive."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import FileRefused
from core.imaging.archives import archive_kind, unpack_archive
from core.settings import Settings

SETTINGS = Settings()
SMALL = Settings(max_archive_bytes=10**6, max_archive_members=5)
ENDINGS = {".tar": "", ".tar.gz": "gz", ".tgz": "gz", ".tar.bz2": "bz2", ".tar.xz": "xz"}
FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


def member(name: str, size: int = 4, **fields: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = size
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def write_tar(path: Path, members: list[tarfile.TarInfo], form: int = tarfile.PAX_FORMAT) -> Path:
    packing = next(
        (ENDINGS[ending] for ending in sorted(ENDINGS, key=len)[::-1] if path.name.endswith(ending)), ""
    )
    with tarfile.open(path, f"w:{packing}", format=form) as file:
        for info in members:
            file.addfile(info, io.BytesIO(b"evil" * (info.size // 4 + 1)) if info.isreg() else None)
    return path


def refused(path: Path, into: Path, limits: Settings = SETTINGS) -> str:
    with pytest.raises(FileRefused) as caught:
        unpack_archive(path, into, limits)
    assert not into.exists() and str(caught.value).endswith(".") and "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("form", FORMATS)
def test_tars_of_every_make(tmp_path: Path, ending: str, form: str) -> None:
    folder = tmp_path / "in" / "deep"
    folder.mkdir(parents=True)
    contents = {
        "a.png": b"first" * 999,
        "empty": b"",
        "Übung.txt": b"x" * 512,
        "b" * (90 if form == "ustar" else 120): b"long",
    }
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    path = tmp_path / f"archive{ending}"
    with tarfile.open(path, f"w:{ENDINGS[ending]}", format=FORMATS[form]) as file:
        file.add(tmp_path / "in", "in")
    assert archive_kind(path) == "tar"
    unpacked = unpack_archive(path, tmp_path / "out", SETTINGS)
    assert unpacked.skipped == ()
    found = {file.name: file.read_bytes() for file in (tmp_path / "out" / "in" / "deep").iterdir()}
    assert found == contents


@pytest.mark.parametrize("ending", [".tar", ".tar.gz"])
@pytest.mark.parametrize(
    "name", ["../evil", "/etc/evil", "a/../../evil", "..\\evil", "C:\\evil", "a/" * 50 + "b"]
)
def test_paths_that_lead_out(tmp_path: Path, name: str, ending: str) -> None:
    path = write_tar(tmp_path / f"a{ending}", [member("good.png"), member(name)])
    refused(path, tmp_path / "deep" / "into")
    assert not list(tmp_path.rglob("*evil*"))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (tarfile.SYMTYPE, "link"), (tarfile.LNKTYPE, "link"), (tarfile.CHRTYPE, "device"), (tarfile.BLKTYPE, "device"),
        (tarfile.FIFOTYPE, "device"), (tarfile.GNUTYPE_SPARSE, "sparse"),
    ],
)  # fmt: skip
def test_links_and_devices(tmp_path: Path, kind: bytes, words: str) -> None:
    info = member("x", size=0, type=kind, linkname="/etc/passwd")
    assert words in refused(write_tar(tmp_path / "a.tar", [member("good"), info]), tmp_path / "into")


def test_limits(tmp_path: Path) -> None:
    many = write_tar(tmp_path / "many.tar", [member(str(number)) for number in range(6)])
    large = write_tar(tmp_path / "large.tar.gz", [member("x", 2 * 10**6)])
    for path in (many, large):
        assert "split it" in refused(path, tmp_path / "into", SMALL)
    inner = write_tar(tmp_path / "inner.tar.xz", [member("x", 2 * 10**6)])
    with zipfile.ZipFile(tmp_path / "outer.zip", "w") as file:
        file.write(inner, "inner.tar.xz")
    assert "split it" in refused(tmp_path / "outer.zip", tmp_path / "into", SMALL)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress], ids=["gz", "bz2", "xz"])
@pytest.mark.parametrize("is_tar", [True, False])
def test_bombs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: Callable[[bytes], bytes], is_tar: bool
) -> None:
    monkeypatch.setattr("core.imaging.archive_members.ARCHIVE_HARMLESS_BYTES", 2**20)
    zeros = bytes(2**23)
    head = member("zeros", len(zeros)).tobuf() if is_tar else b""
    (tmp_path / "bomb.bin").write_bytes(pack(head + zeros + bytes(1024)))
    assert "cannot be" in refused(tmp_path / "bomb.bin", tmp_path / "into")


def test_a_name_of_gigabytes_is_not_taken_into_memory(tmp_path: Path) -> None:
    for kind in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE):
        head = member("x", 2**33, type=kind).tobuf(tarfile.GNU_FORMAT)
        (tmp_path / "a.tar").write_bytes(head + bytes(4096))
        assert "too long" in refused(tmp_path / "a.tar", tmp_path / "into")


def test_headers_that_lie(tmp_path: Path) -> None:
    for records in (
        b"99 path=x\n",
        b"x path=y\n",
        b"0 \n",
        b"12 path=../e\n",
        b"13 size=-999\n",
        b"11 size=x\n ",
    ):
        head = member("x", len(records), type=tarfile.XHDTYPE).tobuf()
        body = records.ljust(512, b"\0") + member("y", 0).tobuf() + bytes(1024)
        (tmp_path / "a.tar").write_bytes(head + body)
        refused(tmp_path / "a.tar", tmp_path / "into")
    beyond = member("x", 10**6).tobuf() + b"only this"
    (tmp_path / "a.tar").write_bytes(beyond)
    assert "cut short" in refused(tmp_path / "a.tar", tmp_path / "into")


@pytest.mark.parametrize("ending", ENDINGS)
def test_cut_and_damaged_archives(tmp_path: Path, ending: str) -> None:
    members = [member(str(number), 4000) for number in range(9)]
    path = write_tar(tmp_path / f"a{ending}", members)
    data = path.read_bytes()
    for cut in (len(data) // 4, len(data) // 2, len(data) * 3 // 4):
        path.write_bytes(data[:cut])
        if archive_kind(path) is not None:
            assert "damaged" in refused(path, tmp_path / "into")
    random.seed(4)
    for _ in range(20):
        changed = bytearray(data)
        changed[random.randrange(len(data) // 2)] ^= 0xFF
        path.write_bytes(changed)
        try:
            unpack_archive(path, tmp_path / "into", SETTINGS)
        except FileRefused:
            assert not (tmp_path / "into").exists()
        else:
            for file in (tmp_path / "into").rglob("*"):
                file.unlink()
            (tmp_path / "into").rmdir()


def test_the_same_name_twice(tmp_path: Path) -> None:
    path = write_tar(
        tmp_path / "a.tar", [member("a/x", 8), member("a/x", 4), member("a/x/y", 4), member("z", 4)]
    )
    unpacked = unpack_archive(path, tmp_path / "into", SETTINGS)
    assert [item.source for item in unpacked.skipped] == ["a/x", "a/x/y"]
    assert (tmp_path / "into" / "a" / "x").read_bytes() == b"evilevil"
    assert (tmp_path / "into" / "z").is_file()


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress], ids=["gz", "bz2", "xz"])
def test_one_packed_file_keeps_its_name(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "slice.mha.packed-up"
    path.write_bytes(pack(b"content" * 999))
    assert archive_kind(path) == "one"
    unpack_archive(path, tmp_path / "out", SETTINGS)
    assert (tmp_path / "out" / "slice.mha").read_bytes() == b"content" * 999
    path.write_bytes(pack(b"content" * 999)[:-9])
    assert "cut short" in refused(path, tmp_path / "again")


@pytest.mark.parametrize("own", ["../../evil", "/etc/evil", "..", "a\nb", "", "x" * 400])
def test_the_name_inside_a_gzip_is_no_path(tmp_path: Path, own: str) -> None:
    head = b"\x1f\x8b\x08\x08" + bytes(6) + own.encode() + b"\0"
    (tmp_path / "IM1.gz").write_bytes(head + gzip.compress(b"data")[10:])
    unpack_archive(tmp_path / "IM1.gz", tmp_path / "a" / "b" / "out", SETTINGS)
    (only,) = (tmp_path / "a" / "b" / "out").iterdir()
    assert only.read_bytes() == b"data" and only.name in ("evil", "IM1")
    assert not list(tmp_path.glob("**/etc"))


def test_nested_once_and_pairs_stay_together(tmp_path: Path) -> None:
    inner = write_tar(tmp_path / "inner.tar.gz", [member("deep.txt")])
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as file:
        file.write(inner, "third.tar.gz")
    volume = tmp_path / "v"
    volume.mkdir()
    image = nibabel.Nifti1Pair(np.zeros((2, 2, 2), np.int16), np.eye(4))
    nibabel.save(image, volume / "pair.img.gz")
    nibabel.save(nibabel.Nifti1Image(np.zeros((2, 2, 2), np.int16), np.eye(4)), volume / "one.nii.gz")
    np.savez(volume / "set.npz", images=np.zeros((2, 3, 4), np.uint8))
    with tarfile.open(tmp_path / "outer.tar", "w") as outer:
        outer.add(inner, "inner.tar.gz")
        outer.add(tmp_path / "twice.zip", "twice.zip")
        outer.add(volume, "v")
    unpack_archive(tmp_path / "outer.tar", tmp_path / "out", SETTINGS)
    names = {
        path.relative_to(tmp_path / "out").as_posix()
        for path in (tmp_path / "out").rglob("*")
        if path.is_file()
    }
    assert names == {
        "inner.tar.gz/deep.txt", "twice.zip/third.tar.gz", "v/pair.img.gz", "v/pair.hdr.gz", "v/one.nii.gz",
        "v/set.npz",
    }  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=3000))
def test_no_bytes_make_trouble(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("tar")
    (folder / "a").write_bytes(data)
    kind = archive_kind(folder / "a")
    if kind is not None:
        try:
            unpack_archive(folder / "a", folder / "out", SETTINGS)
        except FileRefused:
            assert not (folder / "out").exists()
