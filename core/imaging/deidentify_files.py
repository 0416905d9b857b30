"""Copies of files without identity: DICOM by a profile, PNG, JPEG and TIFF without their metadata."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from core.errors import FileRefused, StorageError
from core.imaging.burned_in import face_warning
from core.imaging.deidentify_copy import Cleaned, Wish, clean_copy
from core.imaging.found import Skipped
from core.imaging.sandbox import Call, Decoding
from core.imaging.scan import Entry, iter_files
from core.settings import Settings

UNFINISHED = ".unfinished"


@dataclass
class Copied:
    """What was written, passed over, and is to be looked at. Written files are named relative to the new folder."""

    written: list[str] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)
    warnings: list[dict[str, str]] = field(default_factory=list)

    def warn(self, path: str, *sentences: str) -> None:
        """Name a written file that should be looked at."""
        self.warnings.extend({"path": path, "warning": sentence} for sentence in sentences if sentence)


@dataclass
class Series:
    """The copies of one series: where they go, how many there are, and what the first says of faces."""

    folder: str
    facts: dict[str, str]
    count: int = 0


@dataclass
class Places:
    """Names for the copies: patient key, number of the series, number of the file; nothing of the old names."""

    series: dict[tuple[str, str], Series] = field(default_factory=dict)
    patients: Counter[str] = field(default_factory=Counter)
    seen: set[str] = field(default_factory=set)
    pictures: int = 0

    def next(self, cleaned: Cleaned, name: str) -> str:
        """Return where a copy goes.

        Raises:
            FileRefused: when the same DICOM object was written before.
        """
        if not cleaned.uid:
            self.pictures += 1
            return f"pictures/{self.pictures:06d}{cleaned.ending}"
        if cleaned.uid in self.seen:
            raise FileRefused(f"{name} is the same object as another file, which was copied.")
        self.seen.add(cleaned.uid)
        patient = cleaned.patient or "patient-unknown"
        key = (patient, cleaned.series)
        if key not in self.series:
            self.patients[patient] += 1
            self.series[key] = Series(f"{patient}/series-{self.patients[patient]:03d}", cleaned.facts)
        series = self.series[key]
        series.count += 1
        return f"{series.folder}/{series.count:06d}{cleaned.ending}"


def deidentify_files(
    paths: Sequence[Path],
    out: Path,
    wish: Wish,
    settings: Settings,
    work_dir: Path,
    on_file: Callable[[str], None],
) -> Copied:
    """Write copies without identity into a new folder; one bad file does not stop the rest.

    Files are read and cleaned in the decoder process, see ``sandbox``.

    Args:
        paths: files, folders, archives.
        out: a new or empty folder.
        wish: the profile and the installation's secret.
        settings: limits.
        work_dir: archives are unpacked below it; the caller removes it.
        on_file: called with each written file's name.

    Raises:
        StorageError: when the folder is in use or cannot be written.
    """
    _prepare(out)
    items = list(iter_files(paths, work_dir, settings))  # first, as the new folder may lie among them
    unfinished = out / UNFINISHED
    unfinished.mkdir()
    copied, places = Copied(), Places()
    targets = {item: unfinished / str(number) for number, item in enumerate(items) if isinstance(item, Entry)}
    calls = (
        Call(clean_copy, (item.path, target, wish, settings), (item.path,))
        for item, target in targets.items()
    )
    try:
        with Decoding(calls, work_dir, settings) as decoding:
            for item in items:
                if isinstance(item, Skipped):
                    copied.skipped.append({"path": item.source, "reason": item.reason})
                    continue
                try:
                    (cleaned,) = decoding.answers()
                    name = places.next(cleaned, item.path.name)
                except FileRefused as error:
                    copied.skipped.append({"path": item.shown, "reason": str(error)})
                    continue
                _move(targets[item], out / name)
                copied.written.append(name)
                copied.warn(name, *cleaned.warnings)
                on_file(name)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    for series in places.series.values():
        copied.warn(series.folder, face_warning(series.facts, series.count))
    return copied


def _prepare(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise StorageError(
                f"{out} is not empty; name a new folder, so that copies do not mix with other files."
            )
    except OSError as error:
        raise StorageError(f"Cannot write to {out} ({error.strerror}); choose another folder.") from error


def _move(finished: Path, path: Path) -> None:
    """Put a finished copy in its place.

    Raises:
        StorageError: when the disk cannot take it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(finished, path)
    except OSError as error:
        raise StorageError(
            f"A copy could not be written ({error.strerror}); free some disk space."
        ) from error
