"""Archives, unpacked as if somebody meant harm: paths, links, counts and sizes are all checked."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from core.errors import StorageError
from core.imaging import archive_tar, archive_zip
from core.imaging.archive_members import PACKED, Budget
from core.imaging.formats import OFFICE_SUFFIXES, is_companion, is_volume_name, kind_by_name
from core.imaging.found import Skipped
from core.settings import Settings

ArchiveKind = Literal["zip", "tar", "one"]
UNPACKERS: dict[ArchiveKind, Callable[[Path, Path, Budget], list[Skipped]]] = {
    "zip": archive_zip.unpack_zip_into,
    "tar": archive_tar.unpack_tar_into,
    "one": archive_tar.unpack_one_into,
}


@dataclass(frozen=True)
class Unpacked:
    """The folder an archive went to, and the members that could not be unpacked."""

    folder: Path
    skipped: tuple[Skipped, ...] = field(default_factory=tuple)


def archive_kind(path: Path) -> ArchiveKind | None:
    """Tell by its content whether a file is a zip, a tar (packed or not) or one packed file; None when it is none.

    Formats that are packed by nature are no archives: ``.nii.gz`` and ``.mgz``, and ``.npz``, which is a zip.
    """
    from core.imaging.nifti import is_nifti

    with open(path, "rb") as file:
        start = file.read(6)
    if start.startswith((archive_zip.MAGIC, archive_zip.EMPTY_MAGIC)):
        is_other = kind_by_name(path.name) == "arrays" or path.name.lower().endswith(OFFICE_SUFFIXES)
        return None if is_other else "zip"
    packed = archive_tar.unpacker_of(start) is not None
    if packed and (is_volume_name(path.name) or is_companion(path) or is_nifti(path)):
        return None
    if archive_tar.begins_as_tar(archive_tar.first_block(path)):
        return "tar"
    if not packed:
        return None
    return (
        "tar"
        if path.name.lower().endswith((".tgz", ".tbz2", ".txz")) or ".tar." in path.name.lower()
        else "one"
    )


def is_archive(path: Path) -> bool:
    """True when a file is an archive that can be unpacked."""
    return archive_kind(path) is not None


def unpack_archive(path: Path, into: Path, settings: Settings) -> Unpacked:
    """Unpack an archive, and archives inside it once, into an empty folder.

    Args:
        path: the archive.
        into: folder to be made; nothing is ever written outside it.
        settings: limits on members, bytes and ratio, held while unpacking whatever the archive declares.

    Raises:
        FileRefused: for paths that leave the folder, links, passwords, sizes past the limits; nothing stays.
        StorageError: when the disk is full; nothing stays.
    """
    budget = Budget(settings, path.name)
    into.mkdir(parents=True)
    try:
        skipped = UNPACKERS[archive_kind(path) or "zip"](path, into, budget)
        for inner in sorted(item for item in into.rglob("*") if item.is_file()):
            kind = archive_kind(inner)
            skipped += _unpack_inner(inner, kind, into, budget) if kind else []
    except BaseException as error:
        shutil.rmtree(into, ignore_errors=True)
        if isinstance(error, OSError):
            raise StorageError(
                f"{path.name} could not be unpacked ({error.strerror}); check the disk."
            ) from error
        raise
    return Unpacked(into, tuple(skipped))


def _unpack_inner(inner: Path, kind: ArchiveKind, root: Path, budget: Budget) -> list[Skipped]:
    """Replace an archive inside the archive by a folder of the same name."""
    packed = inner.with_name(f"{inner.name}{PACKED}")
    shown = inner.relative_to(root).as_posix()
    inner.rename(packed)
    inner.mkdir()
    try:
        found = UNPACKERS[kind](packed, inner, budget)
    finally:
        packed.unlink()
    return [Skipped(f"{shown}/{item.source}", item.reason) for item in found]
