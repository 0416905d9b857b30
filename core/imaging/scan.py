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
from core.imaging.sandbox import Call, DecoderLost, Decoding, ask, printable
from core.imaging.walk import Passed, files_below, why_no_file
from core.settings import Settings

Kind = Literal["dicom", "nifti", "raster"]

RASTER_STARTS = (
    b"\x89PNG", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"BM", b"GIF8", b"\0\0\0\x0cjP  ",
)  # fmt: skip
DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
NIFTI_SUFFIXES = (".nii", ".nii.gz", ".hdr", ".hdr.gz", ".mgz", ".mgh")
PAIR_SUFFIXES = (".img", ".img.gz")
MAX_LOST = 3  # files of a series that may end the decoder before the series is given up
UNKNOWN = "This is no image of a known kind (DICOM, NIfTI, PNG, JPEG, TIFF, BMP)."


@dataclass(frozen=True)
class Entry:
    """One file and how it is shown to the user."""

    path: Path
    shown: str


@dataclass
class Work:
    """The files of one image, or of one DICOM series."""

    kind: Kind
    entries: list[Entry] = field(default_factory=list)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files."""
        return tuple(entry.path for entry in self.entries)


def scan(paths: Iterable[Path], work_dir: Path, salt: str, settings: Settings) -> Iterator[Found | Skipped]:
    """Read every image in the files, folders and archives given, in sorted order.

    Kinds are recognised by content, then by ending. DICOM files are brought together to series over folders.
    One image is in memory at a time; a file that cannot be read gives a Skipped and does not stop the rest.
    All files are opened in the decoder process (see ``sandbox``), which works ahead of the reader.

    Args:
        paths: files and folders; hidden files and those that systems leave behind are passed over.
        work_dir: archives are unpacked and pixels handed over below it; the caller removes it.
        salt: the workspace's secret for patient keys.
        settings: limits.

    Raises:
        StorageError: when the disk is full.
    """
    yield from read_plan(plan_scan(paths, work_dir, settings), work_dir, salt, settings)


def plan_scan(paths: Iterable[Path], work_dir: Path, settings: Settings) -> list[Work | Skipped]:
    """List the images that ``scan`` will read, in its order, and what it passes over; reads headers only."""
    plan = _Plan()
    entries = list(_walk_all(paths))
    for entry, seen in _examined(entries, work_dir, settings):
        if isinstance(seen, Seen) and seen.is_archive:
            plan.add_all(_enter(entry, work_dir, settings))
        else:
            plan.add(entry, seen)
    return plan.items


def read_plan(
    plan: Sequence[Work | Skipped], work_dir: Path, salt: str, settings: Settings
) -> Iterator[Found | Skipped]:
    """Read what ``plan_scan`` listed; see ``scan``."""
    names: Counter[str] = Counter()
    reading = _Reading(work_dir, salt, settings)
    with reading.decoding([item for item in plan if isinstance(item, Work)]) as decoding:
        for item in plan:
            if isinstance(item, Skipped):
                yield item
                continue
            for result in reading.results(item, decoding):
                if isinstance(result, Found) and item.kind == "dicom":
                    # names come from series numbers, which repeat between patients
                    names[result.name] += 1
                    number = names[result.name]
                    result = replace(result, name=f"{result.name} #{number}") if number > 1 else result
                yield result


def count_sources(paths: Iterable[Path], work_dir: Path, settings: Settings) -> int:
    """Count what ``scan`` will report, for a progress bar; reads headers only. A series counts once."""
    return len(plan_scan(paths, work_dir, settings))


@dataclass(frozen=True)
class _Reading:
    """How images are read: see ``scan``."""

    work_dir: Path
    salt: str
    settings: Settings

    def decoding(self, works: Sequence[Work]) -> Decoding:
        """Return the decoder's answers for these files, in their order."""
        calls = (Call(decode, (work, self.salt, self.settings), work.paths) for work in works)
        return Decoding(calls, self.work_dir, self.settings)

    def results(self, work: Work, decoding: Decoding) -> Iterator[Found | Skipped]:
        """Yield the next answers; a file that ends the decoder does not take its series along."""
        said: set[str] = set()
        given = False
        try:
            for result in _checked(work, decoding):
                yield result
                if isinstance(result, Found):
                    given = True
                else:
                    said.add(result.source)
        except DecoderLost as error:
            fit, lost = self._sift(work) if len(work.entries) > 1 and not given else ([], [])
            if not (fit and lost):
                yield Skipped(work.entries[0].shown, str(error))
                return
            yield from lost
            rest = Work(work.kind, fit)
            with self.decoding([rest]) as again:
                yield from (result for result in self.results(rest, again) if result.source not in said)
        except FileRefused as error:
            yield Skipped(work.entries[0].shown, str(error))

    def _sift(self, work: Work) -> tuple[list[Entry], list[Skipped]]:
        """Read the files of a series one by one; return those that can be, and those that end the decoder."""
        fit: list[Entry] = []
        lost: list[Skipped] = []
        singles = [Work(work.kind, [entry]) for entry in work.entries]
        with self.decoding(singles) as decoding:
            for single in singles:
                try:
                    for _ in decoding.answers():
                        pass
                    fit += single.entries
                except DecoderLost as error:
                    lost.append(Skipped(single.entries[0].shown, str(error)))
                except FileRefused:
                    fit += single.entries  # it will be said again when the series is read
                if len(lost) > MAX_LOST:
                    return [], []
        return fit, lost


def _checked(work: Work, decoding: Decoding) -> Iterator[Found | Skipped]:
    """Yield the next answers, checked and made fit to be shown."""
    for result in decoding.answers():
        if isinstance(result, Skipped):
            yield replace(result, source=printable(result.source), reason=printable(result.reason))
        elif result.image.array.dtype.name != result.image.info.dtype:
            raise FileRefused(f"{work.entries[0].path.name} gave pixels of another type than it says.")
        else:
            file = decoding.files[0] if decoding.files else None
            name, source = printable(result.name), printable(result.source)
            yield replace(result, name=name, source=source, array_file=file)


def decode(work: Work, salt: str, settings: Settings) -> Iterator[Found | Skipped]:
    """Decode the files of one image or series: the one door that untrusted pixels come through.

    Called in the decoder: whatever a codec may do happens below this function.
    """
    first = work.entries[0]
    try:
        with refusing(first.path.name):
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
    except FileRefused as error:
        yield Skipped(first.shown, str(error))


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


@dataclass(frozen=True)
class Seen:
    """What a first look into a file tells: its kind, or that it is an archive; the key of its DICOM series."""

    kind: Kind | None = None
    is_archive: bool = False
    series: str = ""


def examine(path: Path) -> Seen:
    """Look into a file; called in the decoder."""
    if is_zip(path):
        return Seen(is_archive=True)
    kind = recognise(path)
    series = _series_of(path) if kind == "dicom" else ""
    return Seen(kind, series=hashlib.sha256(series.encode()).hexdigest() if series else "")


class _Plan:
    """The list being made; DICOM files of one series come together wherever they lie."""

    def __init__(self) -> None:
        self.items: list[Work | Skipped] = []
        self._series: dict[str, Work] = {}

    def add(self, entry: Entry, seen: Seen | Skipped) -> None:
        """Add a file that was looked into."""
        if isinstance(seen, Skipped):
            self.items.append(seen)
        elif seen.kind is None:
            self.items.append(Skipped(entry.shown, UNKNOWN))
        elif seen.series in self._series:
            self._series[seen.series].entries.append(entry)
        else:
            work = Work(seen.kind, [entry])
            self.items.append(work)
            if seen.series:
                self._series[seen.series] = work

    def add_all(self, examined: Iterable[tuple[Entry, Seen | Skipped]]) -> None:
        """Add files that were looked into."""
        for entry, seen in examined:
            self.add(entry, seen)


def _examined(
    entries: Sequence[Entry | Skipped], work_dir: Path, settings: Settings
) -> Iterator[tuple[Entry, Seen | Skipped]]:
    """Look into files in the decoder; what was passed over before stays."""
    files = [entry for entry in entries if isinstance(entry, Entry)]
    calls = (Call(examine, (entry.path,), (entry.path,)) for entry in files)
    with Decoding(calls, work_dir, settings) as decoding:
        for entry in entries:
            if isinstance(entry, Skipped):
                yield Entry(Path(), entry.source), entry
                continue
            try:
                (seen,) = decoding.answers()
                yield entry, seen
            except FileRefused as error:
                yield entry, Skipped(entry.shown, str(error))


def _series_of(path: Path) -> str:
    """Return the key of a file's series; a damaged header stands alone, so that decoding names it."""
    from core.imaging.dicom_header import series_key

    try:
        return series_key(path)
    except FileRefused:
        return str(path)


def _walk_all(paths: Iterable[Path]) -> Iterator[Entry | Skipped]:
    """Give every file below the paths once."""
    seen: set[Path] = set()
    for root in paths:
        for item in _walk(root, printable(root.name)):
            if isinstance(item, Entry):
                real = item.path.resolve()
                if real in seen:
                    continue
                seen.add(real)
            yield item


def _walk(root: Path, shown: str) -> Iterator[Entry | Skipped]:
    """Give every file below a path; the .img of a .hdr comes with it."""
    if root.is_dir():
        for item in files_below(root):
            path = item.path if isinstance(item, Passed) else item
            name = f"{shown}/{printable(path.relative_to(root).as_posix())}"
            if isinstance(item, Passed):
                yield Skipped(name, item.reason)
            elif not _is_pixels_of_pair(path):
                yield Entry(path, name)
    elif not os.path.lexists(root):
        yield Skipped(shown, "There is no such file or folder.")
    elif reason := why_no_file(root):
        yield Skipped(shown, reason)
    elif not _is_pixels_of_pair(root):
        yield Entry(root, shown)


def _enter(archive: Entry, work_dir: Path, settings: Settings) -> Iterator[tuple[Entry, Seen | Skipped]]:
    """Look into the files of an archive, and of archives inside it, which were unpacked with it."""
    try:
        folder, skipped = unpack_once(archive.path, work_dir, settings)
    except FileRefused as error:
        yield archive, Skipped(archive.shown, str(error))
        return
    for item in skipped:
        yield archive, Skipped(f"{archive.shown}/{item.source}", item.reason)
    for entry, seen in _examined(list(_walk(folder, archive.shown)), work_dir, settings):
        if isinstance(seen, Seen) and seen.is_archive:
            yield entry, Skipped(entry.shown, "Archives inside archives go one deep.")
        else:
            yield entry, seen


def _is_pixels_of_pair(path: Path) -> bool:
    name = path.name.lower()
    for suffix in PAIR_SUFFIXES:
        if name.endswith(suffix):
            stem = path.name[: -len(suffix)]
            return any(path.with_name(stem + ending).is_file() for ending in (".hdr", ".hdr.gz"))
    return False


def is_archive(path: Path, settings: Settings) -> bool:
    """True when a file is an archive that can be unpacked.

    Raises:
        FileRefused: when it cannot be looked into.
    """
    seen: Seen = ask(Call(examine, (path,), (path,)), settings)
    return seen.is_archive


def unpack_once(path: Path, work_dir: Path, settings: Settings) -> tuple[Path, list[Skipped]]:
    """Unpack an archive below ``work_dir``, or take it from there when that was done before.

    Returns:
        The folder, and the members that could not be unpacked.

    Raises:
        FileRefused: when the archive is not safe to unpack.
        StorageError: when the disk is full.
    """
    state = path.stat()
    mark = f"{path.resolve()}|{state.st_size}|{state.st_mtime_ns}"
    folder = work_dir / f"unpacked-{hashlib.sha256(mark.encode(errors='surrogateescape')).hexdigest()[:16]}"
    listing = folder.with_suffix(".json")
    if not listing.is_file():
        shutil.rmtree(folder, ignore_errors=True)
        work_dir.mkdir(parents=True, exist_ok=True)
        skipped: list[Skipped] = ask(Call(unpack, (path, folder, settings), (path,)), settings, work_dir)
        listing.write_text(json.dumps([[printable(item.source), item.reason] for item in skipped]))
    return folder, [Skipped(source, reason) for source, reason in json.loads(listing.read_text())]


def unpack(path: Path, folder: Path, settings: Settings) -> list[Skipped]:
    """Unpack an archive into a new folder and return what could not be; called in the decoder."""
    return list(unpack_zip(path, folder, settings).skipped)
