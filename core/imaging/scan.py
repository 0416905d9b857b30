"""Folders, archives and single files to images, one at a time; what gives no image is named with why."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from core.errors import FileRefused
from core.imaging.archives import is_zip, unpack_zip
from core.imaging.found import Found, Skipped
from core.imaging.limits import refusing
from core.imaging.profiles import Profile
from core.settings import Settings

Kind = Literal["dicom", "nifti", "raster"]

RASTER_STARTS = (
    b"\x89PNG", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"BM", b"GIF8", b"\0\0\0\x0cjP  ",
)  # fmt: skip
DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
NIFTI_SUFFIXES = (".nii", ".nii.gz", ".hdr", ".hdr.gz", ".mgz", ".mgh")
PAIR_SUFFIXES = (".img", ".img.gz")
CLUTTER = {"thumbs.db", "desktop.ini", "__macosx"}
UNKNOWN = "This is no image of a known kind (DICOM, NIfTI, PNG, JPEG, TIFF, BMP)."


@dataclass(frozen=True)
class Entry:
    """One file and how it is shown to the user."""

    path: Path
    shown: str


@dataclass(frozen=True)
class Survey:
    """What a look through files found.

    Attributes:
        images: how many images or skipped files ``scan`` will report.
        kinds: which kinds of image there are.
        files: how the files of each path are shown.
    """

    images: int
    kinds: frozenset[Kind]
    files: list[list[str]]


@dataclass
class Work:
    """The files of one image, or of one DICOM series."""

    kind: Kind
    entries: list[Entry] = field(default_factory=list)


def scan(
    paths: Iterable[Path], work_dir: Path, salt: str, settings: Settings, profile: Profile | None = None
) -> Iterator[Found | Skipped]:
    """Read every image in the files, folders and zip archives given, in sorted order.

    Kinds are recognised by content, then by ending. DICOM files are brought together to series over folders.
    One image is in memory at a time; a file that cannot be read gives a Skipped and does not stop the rest.

    Args:
        paths: files and folders; hidden files and those that systems leave behind are passed over.
        work_dir: archives are unpacked below it; the caller removes it.
        salt: the workspace's secret for patient keys.
        settings: limits.
        profile: what is left of the patient's identity in what DICOM images bring along (names, facts, headers);
            None when no header is wanted. With a profile, pictures are also searched for printed text.

    Raises:
        StorageError: when the disk is full.
    """
    names: Counter[str] = Counter()
    for item in _plan(paths, work_dir, settings):
        if isinstance(item, Skipped):
            yield item
            continue
        for result in decode(item, salt, settings, profile):
            if isinstance(result, Found) and item.kind == "dicom":
                names[result.name] += 1
                if names[result.name] > 1:  # names come from series numbers, which repeat between patients
                    result = replace(result, name=f"{result.name} #{names[result.name]}")
            yield result


def count_sources(paths: Iterable[Path], work_dir: Path, settings: Settings) -> int:
    """Count what ``scan`` will report, for a progress bar; reads headers only. A series counts once."""
    return len(_plan(paths, work_dir, settings))


def survey(paths: Sequence[Path], work_dir: Path, settings: Settings) -> Survey:
    """Look through files as ``scan`` will, by headers only: what there is, without reading an image."""
    plan = _plan(paths, work_dir, settings)
    kinds = {item.kind for item in plan if isinstance(item, Work)}
    return Survey(len(plan), frozenset(kinds), list_files(paths, work_dir, settings))


def iter_files(paths: Iterable[Path], work_dir: Path, settings: Settings) -> Iterator[Entry | Skipped]:
    """Yield every file once, archives unpacked below ``work_dir``; what cannot be entered with its reason."""
    return _walk_all(paths, work_dir, settings)


def list_files(paths: Iterable[Path], work_dir: Path, settings: Settings) -> list[list[str]]:
    """Return how the files of each path are shown, in the order of ``scan``; archives count by their members."""
    items = [_walk(root, root.name, work_dir, settings) for root in paths]
    return [[item.shown if isinstance(item, Entry) else item.source for item in each] for each in items]


def decode(
    work: Work, salt: str, settings: Settings, profile: Profile | None = None
) -> Iterator[Found | Skipped]:
    """Decode the files of one image or series: the one door that untrusted pixels come through.

    Whatever a decoder may do happens below this function, so that it can move to a capped child process.
    """
    first = work.entries[0]
    try:
        with refusing(first.path.name):
            for item in _read_images(work, salt, settings):
                if isinstance(item, Skipped):
                    yield replace(item, kind=work.kind)
                else:
                    yield item if profile is None else _with_identity(item, salt, profile)
    except FileRefused as error:
        yield Skipped(first.shown, str(error), work.kind)


def _read_images(work: Work, salt: str, settings: Settings) -> Iterator[Found | Skipped]:
    first = work.entries[0]
    if work.kind == "dicom":
        from core.imaging.dicom import iter_dicom_images

        shown = {entry.path: entry.shown for entry in work.entries}
        yield from iter_dicom_images(list(shown), salt, settings, shown.__getitem__)
    elif work.kind == "nifti":
        from core.imaging.nifti import read_nifti

        yield replace(read_nifti(first.path, settings), source=first.shown)
    else:
        from core.imaging.raster import read_raster

        yield replace(read_raster(first.path, settings), source=first.shown)


def _with_identity(found: Found, salt: str, profile: Profile) -> Found:
    """Return an image with its headers by the profile, and with warnings about what its pixels may tell."""
    from core.imaging.burned_in import pixel_warnings

    if found.files:
        from core.imaging.deidentify import Rules
        from core.imaging.dicom_keep import with_headers

        found = with_headers(found, Rules(salt, profile))
    said = pixel_warnings(found.image)
    info = replace(found.image.info, warnings=(*found.image.info.warnings, *said))
    return replace(found, image=replace(found.image, info=info)) if said else found


def recognise(path: Path) -> Kind | None:
    """Tell the kind of a file by its content, else by its ending, so that damaged files are named as well."""
    from core.imaging.dicom import is_dicom
    from core.imaging.nifti import is_nifti
    from core.imaging.raster import RASTER_SUFFIXES

    with open(path, "rb") as file:
        start = file.read(16)
    name = path.name.lower()
    if start.startswith(RASTER_STARTS) or (start[:4] == b"RIFF" and start[8:12] == b"WEBP"):
        # TIFF files may carry a DICOM preamble and be both; DICM at 128 decides.
        return "dicom" if start[:2] in (b"II", b"MM") and is_dicom(path) else "raster"
    if name.endswith(NIFTI_SUFFIXES) or is_nifti(path):
        return "nifti"
    if name.endswith(DICOM_SUFFIXES) or is_dicom(path):
        return "dicom"
    return "raster" if name.endswith(tuple(RASTER_SUFFIXES)) else None


def _plan(paths: Iterable[Path], work_dir: Path, settings: Settings) -> list[Work | Skipped]:
    """List the images to decode, in sorted order, and what is passed over with a reason."""
    plan: list[Work | Skipped] = []
    series: dict[str, Work] = {}
    for item in _walk_all(paths, work_dir, settings):
        if isinstance(item, Skipped):
            plan.append(item)
            continue
        try:
            with refusing(item.path.name):
                kind = recognise(item.path)
                key = _series_of(item.path) if kind == "dicom" else ""
        except FileRefused as error:
            plan.append(Skipped(item.shown, str(error)))
            continue
        if kind is None:
            plan.append(Skipped(item.shown, UNKNOWN))
        elif key in series:
            series[key].entries.append(item)
        else:
            work = Work(kind, [item])
            plan.append(work)
            if key:
                series[key] = work
    return plan


def _series_of(path: Path) -> str:
    """Return the key of a file's series; a damaged header stands alone, so that decoding names it."""
    from core.imaging.dicom_header import series_key

    try:
        return series_key(path)
    except FileRefused:
        return str(path)


def _walk_all(paths: Iterable[Path], work_dir: Path, settings: Settings) -> Iterator[Entry | Skipped]:
    seen: set[Path] = set()
    for root in paths:
        for item in _walk(root, root.name, work_dir, settings):
            if isinstance(item, Entry):
                real = item.path.resolve()
                if real in seen:
                    continue
                seen.add(real)
            yield item


def _walk(root: Path, shown: str, work_dir: Path, settings: Settings) -> Iterator[Entry | Skipped]:
    """Give every file below a path; archives are entered, once nested ones were unpacked with them."""
    if root.is_dir():
        for path in _files_below(root):
            yield from _enter(path, f"{shown}/{path.relative_to(root).as_posix()}", work_dir, settings)
    elif root.is_file():
        yield from _enter(root, shown, work_dir, settings)
    else:
        yield Skipped(shown, "There is no such file or folder.")


def _files_below(root: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(root, followlinks=False):
        folders[:] = sorted(name for name in folders if not _is_clutter(name))
        for name in sorted(files):
            path = Path(folder) / name
            if not _is_clutter(name) and path.is_file():
                yield path


def _is_clutter(name: str) -> bool:
    return name.startswith(".") or name.lower() in CLUTTER


def _enter(path: Path, shown: str, work_dir: Path, settings: Settings) -> Iterator[Entry | Skipped]:
    """Give a file, or the files of an archive; the .img of a .hdr comes with it."""
    try:
        with refusing(path.name):
            archive = is_zip(path)
            folder, skipped = _unpack_once(path, work_dir, settings) if archive else (path, [])
    except FileRefused as error:
        yield Skipped(shown, str(error))
        return
    if not archive:
        if not _is_pixels_of_pair(path):
            yield Entry(path, shown)
        return
    for item in skipped:
        yield Skipped(f"{shown}/{item.source}", item.reason)
    for inner in _files_below(folder):
        if is_zip(inner):
            yield Skipped(
                f"{shown}/{inner.relative_to(folder).as_posix()}", "Archives inside archives go one deep."
            )
        elif not _is_pixels_of_pair(inner):
            yield Entry(inner, f"{shown}/{inner.relative_to(folder).as_posix()}")


def _is_pixels_of_pair(path: Path) -> bool:
    name = path.name.lower()
    for suffix in PAIR_SUFFIXES:
        if name.endswith(suffix):
            stem = path.name[: -len(suffix)]
            return any(path.with_name(stem + ending).is_file() for ending in (".hdr", ".hdr.gz"))
    return False


def _unpack_once(path: Path, work_dir: Path, settings: Settings) -> tuple[Path, list[Skipped]]:
    """Unpack an archive below ``work_dir``, or take it from there when counting has already done so."""
    state = path.stat()
    mark = f"{path.resolve()}|{state.st_size}|{state.st_mtime_ns}"
    folder = work_dir / f"unpacked-{hashlib.sha256(mark.encode()).hexdigest()[:16]}"
    listing = folder.with_suffix(".json")
    if not listing.is_file():
        shutil.rmtree(folder, ignore_errors=True)
        unpacked = unpack_zip(path, folder, settings)
        listing.write_text(json.dumps([[item.source, item.reason] for item in unpacked.skipped]))
    return folder, [Skipped(source, reason) for source, reason in json.loads(listing.read_text())]
