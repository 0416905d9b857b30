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

from core.errors import FileRefused
from core.imaging.archives import is_archive as holds_files
from core.imaging.archives import unpack_archive
from core.imaging.formats import UNKNOWN, Kind, companions_of, is_companion, recognise
from core.imaging.found import Found, Skipped
from core.imaging.limits import refusing
from core.imaging.profiles import Profile
from core.imaging.readers import count_images, read_images
from core.imaging.sandbox import Call, DecoderLost, Decoding, ask, printable
from core.imaging.walk import Passed, files_below, why_no_file
from core.settings import Settings

MAX_LOST = 3  # files of a series that may end the decoder before the series is given up


@dataclass(frozen=True)
class Entry:
    """One file and how it is shown to the user."""

    path: Path
    shown: str


@dataclass(frozen=True)
class Survey:
    """What a look through files found.

    Attributes:
        plan: what ``Scan.read`` will read.
        files: how the files of each path are shown, in the order of the scan; archives count by their members.
    """

    plan: list[Work | Skipped]
    files: list[list[str]]

    @property
    def images(self) -> int:
        """How many images or skipped files ``Scan.read`` will report, about."""
        return sum(item.images if isinstance(item, Work) else 1 for item in self.plan)

    @property
    def kinds(self) -> frozenset[str]:
        """Which kinds of image there are."""
        return frozenset(item.kind for item in self.plan if isinstance(item, Work))


@dataclass
class Work:
    """The files of one image, or of one DICOM series; ``images`` is about how many images they give."""

    kind: Kind
    entries: list[Entry] = field(default_factory=list)
    images: int = 1

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files, with those that are read by way of them."""
        own = tuple(entry.path for entry in self.entries)
        return own if self.kind == "dicom" else (*own, *companions_of(own[0]))


def scan(
    paths: Iterable[Path], work_dir: Path, salt: str, settings: Settings, profile: Profile | None = None
) -> Iterator[Found | Skipped]:
    """Read every image in the files, folders and archives given, in sorted order.

    Kinds are recognised by content, then by ending. DICOM files are brought together to series over folders.
    One image is in memory at a time; a file that cannot be read gives a Skipped and does not stop the rest.
    All files are opened in the decoder process (see ``sandbox``), which works ahead of the reader.

    Args:
        paths: files and folders; hidden files and those that systems leave behind are passed over.
        work_dir: archives are unpacked and pixels handed over below it; the caller removes it.
        salt: the workspace's secret for patient keys.
        settings: limits.
        profile: what is left of the patient's identity in what DICOM images bring along (names, facts, headers);
            None when no header is wanted. With a profile, pictures are also searched for printed text.

    Raises:
        StorageError: when the disk is full.
    """
    yield from Scan(work_dir, salt, settings, profile).read(plan_scan(paths, work_dir, settings))


def plan_scan(paths: Iterable[Path], work_dir: Path, settings: Settings) -> list[Work | Skipped]:
    """List the images that ``scan`` will read, in its order, and what it passes over; reads headers only."""
    return survey(paths, work_dir, settings).plan


def survey(paths: Iterable[Path], work_dir: Path, settings: Settings) -> Survey:
    """Look through files as ``scan`` will, by headers only: what there is, without reading an image."""
    plan = _Plan()
    files: list[list[str]] = []
    for looked in _looked_into(paths, work_dir, settings):
        names = []
        for entry, seen in looked:
            names.append(seen.source if isinstance(seen, Skipped) else entry.shown)
            plan.add(entry, seen)
        files.append(names)
    return Survey(plan.items, files)


def iter_files(paths: Iterable[Path], work_dir: Path, settings: Settings) -> Iterator[Entry | Skipped]:
    """Yield every file once, archives unpacked below ``work_dir``; what cannot be entered with its reason."""
    for looked in _looked_into(paths, work_dir, settings):
        yield from (seen if isinstance(seen, Skipped) else entry for entry, seen in looked)


def list_files(paths: Iterable[Path], work_dir: Path, settings: Settings) -> list[list[str]]:
    """Return how the files of each path are shown; see ``Survey.files``."""
    return survey(paths, work_dir, settings).files


def count_sources(paths: Iterable[Path], work_dir: Path, settings: Settings) -> int:
    """Count what ``scan`` will report, for a progress bar; reads headers only. A series counts once."""
    return survey(paths, work_dir, settings).images


def _looked_into(
    paths: Iterable[Path], work_dir: Path, settings: Settings
) -> Iterator[Iterator[tuple[Entry, Seen | Skipped]]]:
    """Look into all files below each path; archives are entered, a file that was seen before is passed over."""
    known: set[Path] = set()
    for root in paths:
        yield _look_below(list(_new_files(root, known)), work_dir, settings)


def _look_below(
    entries: Sequence[Entry | Skipped], work_dir: Path, settings: Settings
) -> Iterator[tuple[Entry, Seen | Skipped]]:
    for entry, seen in _examined(entries, work_dir, settings):
        if isinstance(seen, Seen) and seen.is_archive:
            yield from _enter(entry, work_dir, settings)
        else:
            yield entry, seen


@dataclass(frozen=True)
class Scan:
    """How images are read: see ``scan``."""

    work_dir: Path
    salt: str
    settings: Settings
    profile: Profile | None = None

    def read(self, plan: Sequence[Work | Skipped]) -> Iterator[Found | Skipped]:
        """Read what ``plan_scan`` listed; see ``scan``."""
        names: Counter[str] = Counter()
        with self.decoding([item for item in plan if isinstance(item, Work)]) as decoding:
            for item in plan:
                if isinstance(item, Skipped):
                    yield item
                    continue
                for result in self.results(item, decoding):
                    if isinstance(result, Found) and item.kind == "dicom":
                        # names come from series numbers, which repeat between patients
                        names[result.name] += 1
                        number = names[result.name]
                        result = replace(result, name=f"{result.name} #{number}") if number > 1 else result
                    yield result

    def decoding(self, works: Sequence[Work]) -> Decoding:
        """Return the decoder's answers for these files, in their order."""
        calls = (Call(decode, (work, self.salt, self.settings, self.profile), work.paths) for work in works)
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
                yield Skipped(work.entries[0].shown, str(error), kind=work.kind)
                return
            yield from lost
            rest = replace(work, entries=fit)
            with self.decoding([rest]) as again:
                yield from (result for result in self.results(rest, again) if result.source not in said)
        except FileRefused as error:
            yield Skipped(work.entries[0].shown, str(error), kind=work.kind)

    def _sift(self, work: Work) -> tuple[list[Entry], list[Skipped]]:
        """Read the files of a series one by one; return those that can be, and those that end the decoder."""
        fit: list[Entry] = []
        lost: list[Skipped] = []
        singles = [replace(work, entries=[entry]) for entry in work.entries]
        with self.decoding(singles) as decoding:
            for single in singles:
                try:
                    for _ in decoding.answers():
                        pass
                    fit += single.entries
                except DecoderLost as error:
                    lost.append(Skipped(single.entries[0].shown, str(error), kind=work.kind))
                except FileRefused:
                    fit += single.entries  # it will be said again when the series is read
                if len(lost) > MAX_LOST:
                    return [], []
        return fit, lost


def _checked(work: Work, decoding: Decoding) -> Iterator[Found | Skipped]:
    """Yield the next answers, checked and made fit to be shown."""
    own = {path.absolute() for path in work.paths}
    for result in decoding.answers():
        named = _named_files(result)
        if not own.issuperset(named):
            raise FileRefused(
                f"{work.entries[0].path.name} led its decoder to other files; it was not imported."
            )
        if isinstance(result, Skipped):
            yield replace(result, source=printable(result.source), reason=printable(result.reason))
        elif result.image.array.dtype.name != result.image.info.dtype:
            raise FileRefused(f"{work.entries[0].path.name} gave pixels of another type than it says.")
        else:
            file = decoding.files[0] if decoding.files else None
            name, source = printable(result.name), printable(result.source)
            yield replace(result, name=name, source=source, part=printable(result.part), array_file=file)


def _named_files(result: Found | Skipped) -> list[Path]:
    """Return the files that an answer names; they will be opened, so they must be those that were asked about."""
    if isinstance(result, Skipped):
        return [result.marks] if result.marks is not None else []
    return [*result.files, *([result.original.path] if result.original is not None else [])]


def decode(
    work: Work, salt: str, settings: Settings, profile: Profile | None = None
) -> Iterator[Found | Skipped]:
    """Decode the files of one image or series: the one door that untrusted pixels come through.

    Called in the decoder: whatever a codec may do happens below this function.
    """
    first = work.entries[0]
    try:
        with refusing(first.path.name):
            for item in _read_all(work, salt, settings):
                if isinstance(item, Skipped):
                    yield replace(item, kind=work.kind)
                else:
                    yield item if profile is None else _with_identity(item, salt, profile)
    except FileRefused as error:
        yield Skipped(first.shown, str(error), kind=work.kind)


def _read_all(work: Work, salt: str, settings: Settings) -> Iterator[Found | Skipped]:
    first = work.entries[0]
    if work.kind == "dicom":
        from core.imaging.dicom import iter_dicom_images

        shown = {entry.path: entry.shown for entry in work.entries}
        yield from iter_dicom_images(list(shown), salt, settings, shown.__getitem__)
    else:
        for item in read_images(first.path, work.kind, settings):
            yield _shown(item, first.shown)


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


def _shown(item: Found | Skipped, shown: str) -> Found | Skipped:
    """Name an image, or an array that is none, by the path of its file; one of several by its part as well."""
    if isinstance(item, Skipped):
        return replace(item, source=f"{shown}/{item.source}")
    return replace(item, source=f"{shown}/{item.part}" if item.part else shown)


@dataclass(frozen=True)
class Seen:
    """What a first look into a file tells.

    Attributes:
        kind: which kind of image it is, None for none.
        is_archive: True when it holds other files.
        series: the key of its DICOM series.
        images: about how many images it gives.
    """

    kind: Kind | None = None
    is_archive: bool = False
    series: str = ""
    images: int = 1


def examine(path: Path) -> Seen:
    """Look into a file; called in the decoder."""
    if holds_files(path):
        return Seen(is_archive=True)
    kind = recognise(path)
    series = _series_of(path) if kind == "dicom" else ""
    images = count_images(path, kind) if kind else 1
    return Seen(kind, False, hashlib.sha256(series.encode()).hexdigest() if series else "", images)


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
            work = Work(seen.kind, [entry], max(1, seen.images))
            self.items.append(work)
            if seen.series:
                self._series[seen.series] = work


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


def _new_files(root: Path, known: set[Path]) -> Iterator[Entry | Skipped]:
    """Give every file below a path that is not known yet."""
    for item in _walk(root, printable(root.name)):
        if isinstance(item, Entry):
            real = item.path.resolve()
            if real in known:
                continue
            known.add(real)
        yield item


def _walk(root: Path, shown: str) -> Iterator[Entry | Skipped]:
    """Give every file below a path; the second file of a pair comes with the first."""
    if root.is_dir():
        for item in files_below(root):
            path = item.path if isinstance(item, Passed) else item
            name = f"{shown}/{printable(path.relative_to(root).as_posix())}"
            if isinstance(item, Passed):
                yield Skipped(name, item.reason)
            elif not is_companion(path):
                yield Entry(path, name)
    elif not os.path.lexists(root):
        yield Skipped(shown, "There is no such file or folder.")
    elif reason := why_no_file(root):
        yield Skipped(shown, reason)
    elif not is_companion(root):
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
    return list(unpack_archive(path, folder, settings).skipped)
