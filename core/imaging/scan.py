"""Folders, archives and single files to images, one at a time; what gives no image is named with why."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from core.errors import FileRefused
from core.imaging.archives import is_archive, unpack_archive
from core.imaging.formats import UNKNOWN, Kind, is_companion, recognise
from core.imaging.found import Found, Skipped
from core.imaging.limits import refusing
from core.imaging.readers import count_images, read_images
from core.settings import Settings

CLUTTER = {"thumbs.db", "desktop.ini", "__macosx"}


@dataclass(frozen=True)
class Entry:
    """One file and how it is shown to the user."""

    path: Path
    shown: str


@dataclass
class Work:
    """The files of one image, or of one DICOM series; ``images`` is about how many images they give."""

    kind: Kind
    entries: list[Entry] = field(default_factory=list)
    images: int = 1


def scan(paths: Iterable[Path], work_dir: Path, salt: str, settings: Settings) -> Iterator[Found | Skipped]:
    """Read every image in the files, folders and zip archives given, in sorted order.

    Kinds are recognised by content, then by ending. DICOM files are brought together to series over folders.
    One image is in memory at a time; a file that cannot be read gives a Skipped and does not stop the rest.

    Args:
        paths: files and folders; hidden files and those that systems leave behind are passed over.
        work_dir: archives are unpacked below it; the caller removes it.
        salt: the workspace's secret for patient keys.
        settings: limits.

    Raises:
        StorageError: when the disk is full.
    """
    names: Counter[str] = Counter()
    for item in plan_scan(paths, work_dir, settings):
        if isinstance(item, Skipped):
            yield item
            continue
        for result in decode(item, salt, settings):
            if isinstance(result, Found) and item.kind == "dicom":
                names[result.name] += 1
                if names[result.name] > 1:  # names come from series numbers, which repeat between patients
                    result = replace(result, name=f"{result.name} #{names[result.name]}")
            yield result


def count_sources(paths: Iterable[Path], work_dir: Path, settings: Settings) -> int:
    """Count what ``scan`` will report, for a progress bar; reads headers only. A series counts once."""
    return sum(item.images if isinstance(item, Work) else 1 for item in plan_scan(paths, work_dir, settings))


def decode(work: Work, salt: str, settings: Settings) -> Iterator[Found | Skipped]:
    """Decode the files of one image or series: the one door that untrusted pixels come through.

    Whatever a decoder may do happens below this function, so that it can move to a capped child process.
    """
    first = work.entries[0]
    try:
        with refusing(first.path.name):
            if work.kind == "dicom":
                from core.imaging.dicom import iter_dicom_images

                shown = {entry.path: entry.shown for entry in work.entries}
                yield from iter_dicom_images(list(shown), salt, settings, shown.__getitem__)
            else:
                for item in read_images(first.path, work.kind, settings):
                    yield _shown(item, first.shown)
    except FileRefused as error:
        yield Skipped(first.shown, str(error))


def _shown(item: Found | Skipped, shown: str) -> Found | Skipped:
    """Name an image, or an array that is none, by the path of its file; one of several by its part as well."""
    if isinstance(item, Skipped):
        return replace(item, source=f"{shown}/{item.source}")
    return replace(item, source=f"{shown}/{item.part}" if item.part else shown)


def plan_scan(paths: Iterable[Path], work_dir: Path, settings: Settings) -> list[Work | Skipped]:
    """List the images that ``scan`` will read, in its order, and what it passes over; reads headers only."""
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
                images = count_images(item.path, kind) if kind else 1
        except FileRefused as error:
            plan.append(Skipped(item.shown, str(error)))
            continue
        if kind is None:
            plan.append(Skipped(item.shown, UNKNOWN))
        elif key in series:
            series[key].entries.append(item)
        else:
            work = Work(kind, [item], images)
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
    """Give a file, or the files of an archive; the second file of a pair comes with the first."""
    if is_companion(path):
        return
    try:
        with refusing(path.name):
            archive = is_archive(path)
            folder, skipped = _unpack_once(path, work_dir, settings) if archive else (path, [])
    except FileRefused as error:
        yield Skipped(shown, str(error))
        return
    if not archive:
        yield Entry(path, shown)
        return
    for item in skipped:
        yield Skipped(f"{shown}/{item.source}", item.reason)
    for inner in _files_below(folder):
        name = f"{shown}/{inner.relative_to(folder).as_posix()}"
        if is_companion(inner):
            continue
        if is_archive(inner):
            yield Skipped(name, "Archives inside archives go one deep.")
        else:
            yield Entry(inner, name)


def _unpack_once(path: Path, work_dir: Path, settings: Settings) -> tuple[Path, list[Skipped]]:
    """Unpack an archive below ``work_dir``, or take it from there when counting has already done so."""
    state = path.stat()
    mark = f"{path.resolve()}|{state.st_size}|{state.st_mtime_ns}"
    folder = work_dir / f"unpacked-{hashlib.sha256(mark.encode()).hexdigest()[:16]}"
    listing = folder.with_suffix(".json")
    if not listing.is_file():
        shutil.rmtree(folder, ignore_errors=True)
        unpacked = unpack_archive(path, folder, settings)
        listing.write_text(json.dumps([[item.source, item.reason] for item in unpacked.skipped]))
    return folder, [Skipped(source, reason) for source, reason in json.loads(listing.read_text())]
