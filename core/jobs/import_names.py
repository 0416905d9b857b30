"""What an import may write down of the names that its files came with.

Names of DICOM files and of their folders often are names of patients. Unless the profile is "keep", none of them
enters the database, the job's log or an error: a file that did not come in is named by its place among what was given
("file 12"), a sentence about it says the same, and a case keeps a salted hash of its file's name, by which masks still
find it. Pictures and NIfTI files keep their own names, because these are the researcher's, unless they are to be
hidden as well; beside DICOM files they lose their folders' names.

While the import runs, names are in memory and in its request file and work folder, which go with it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from core.imaging.deidentify_values import secret_digest
from core.imaging.formats import ARCHIVE_SUFFIXES, KINDS, is_volume_name
from core.imaging.found import Found
from core.imaging.profiles import Profile
from core.readings.match import KNOWN_EXTENSIONS, file_stem

NAMED_KINDS = tuple(kind for kind in KINDS if kind != "dicom")
# Endings that may be shown; that of any other name may be a part of a person's.
ENDINGS = (
    *KNOWN_EXTENSIONS,
    *ARCHIVE_SUFFIXES,
    ".txt",
    ".pdf",
    ".csv",
    ".json",
    ".xml",
    ".html",
    ".doc",
    ".docx",
    ".exe",
)
# Words of our own sentences, which a file may have for a name.
HARMLESS = frozenset(
    (
        "a", "as", "data", "dicom", "file", "files", "folder", "image", "images", "is", "item", "label", "labels",
        "mark", "marks", "mask", "masks", "no", "of", "one", "project", "same", "scan", "scans", "segment",
        "segmentation", "segmentations", "segments", "series", "slice", "slices", "the", "to", "volume", "volumes",
    )
)  # fmt: skip
MAX_NAME = 255
# Parts of files that are named by what they are; those of other arrays are the file's own words.
PLAIN_PART = re.compile(r"(?:train|val|test|image)_\d+|[a-z]+ \d+")


def stem_key(stem: str, salt: str) -> str:
    """Hash a file's name without folder and ending, so that equal names match and none can be read."""
    return secret_digest(salt, "stem", stem).hex()


@dataclass(frozen=True)
class ImportNames:
    """The names of one import.

    Attributes:
        profile: what is kept of identities.
        hide_all: True when names of other files than DICOM are not to be kept either.
        has_dicom: True when there are DICOM files among what is read.
        display: stored file name to the uploaded file's own name.
        files: how the scan shows the files of each path.
        given: paths that were given; sentences may hold them whole.
    """

    profile: Profile
    hide_all: bool = False
    has_dicom: bool = True
    display: dict[str, str] = field(default_factory=dict)
    files: list[list[str]] = field(default_factory=list)
    given: tuple[str, ...] = ()

    @property
    def hides(self) -> bool:
        """True when names of some files must not be written down."""
        return self.hide_all or (self.profile != "keep" and self.has_dicom)

    def own(self, source: str) -> str:
        """Return the path the user knows: uploads lie under generated names. Not to be written down.

        Args:
            source: path as the scan shows it.
        """
        first, slash, rest = source.partition("/")
        return f"{self.display.get(first, first)}{slash}{rest}"

    def shown(self, source: str, kind: str) -> str:
        """Return what may be written down for a file, or for the folder of a series.

        Args:
            source: path as the scan shows it.
            kind: a kind of file (see ``core.imaging.formats``), or empty when it is none.
        """
        if not self.hides:
            return self.own(source)
        if kind in NAMED_KINDS and not self.hide_all:
            file = self.file_of(source)
            return self.own(file).rpartition("/")[2] + source[len(file) :]
        return self.place(source)

    def file_of(self, source: str) -> str:
        """Return the file of what the scan shows: one of several images of a file has its part behind."""
        file = source
        while file and file not in self._places:
            file = file.rpartition("/")[0]
        return file or source

    def place(self, source: str) -> str:
        """Return where a file stands among what was given: "file 12", "item 2, file 5 (.txt)"."""
        words = self._place_words(source)
        ending = next((known for known in ENDINGS if source.lower().endswith(known)), "")
        return f"{words} ({ending})" if ending else words

    def number(self, source: str) -> int:
        """Return the number of a file among all files given, from 1."""
        known = self._places.get(self.file_of(source))
        return known[2] if known else len(self._places) + 1

    def _place_words(self, source: str) -> str:
        item, number = self._position(source)
        if self._are_files:
            return f"file {item}"
        words = [f"item {item}"] if len(self.files) > 1 else []
        words += [f"file {number}"] if number and len(self.files[item - 1]) > 1 else []
        return ", ".join(words) or "a folder"

    def _position(self, source: str) -> tuple[int, int]:
        """Return (number of the path given, number of the file in it); 0 for a folder in it."""
        if source in self._places:
            return self._places[source][:2]
        for item, names in enumerate(self.files, start=1):
            if any(name.startswith(f"{source}/") for name in names):
                return item, 0
        file = self.file_of(source)
        return self._position(file) if file in self._places else (len(self.files) or 1, 0)

    @cached_property
    def _are_files(self) -> bool:
        """True when each path given is one file."""
        return all(len(names) <= 1 for names in self.files)

    @cached_property
    def _places(self) -> dict[str, tuple[int, int, int]]:
        """File -> (number of the path given, number in it, number among all), from 1."""
        places: dict[str, tuple[int, int, int]] = {}
        overall = 0
        for item, names in enumerate(self.files, start=1):
            for number, name in enumerate(names, start=1):
                overall += 1
                places.setdefault(name, (item, number, overall))
        return places

    def case_name(self, found: Found) -> str:
        """Name a case: an uploaded file by its own name, what came out of an archive as it is called there."""
        if found.files and self.profile != "keep":
            return found.name
        if self.hide_all:
            part = found.part if PLAIN_PART.fullmatch(found.part) else ""
            return f"image {self.number(found.source):04d} {part}".strip()
        uploaded = self.display.get(found.source.removesuffix(f"/{found.part}"), "")
        is_packed = uploaded.lower().endswith(ARCHIVE_SUFFIXES) and not is_volume_name(uploaded)
        if not uploaded or is_packed or found.name == found.part:
            return found.name
        return f"{file_stem(uploaded)} {found.part}".strip()

    def keeps_name(self, found: Found) -> bool:
        """True when a case may hold the name of its file."""
        return not self.hide_all and (self.profile == "keep" or not found.files)

    def said(self, text: str, named: str = "", source: str = "") -> str:
        """Return a sentence without names that must not be written down.

        Args:
            text: the sentence.
            named: a name that may stand in it.
            source: the file it is about, whose own name becomes its place.
        """
        stored = source.partition("/")[0]
        if stored in self.display:  # readers know an upload by the name it lies under
            text = text.replace(stored, (named or self.place(source)) if self.hides else self.display[stored])
        if not self.hides:
            return text
        for path in sorted(self.given, key=len, reverse=True):
            text = text.replace(path, "what was given")
        place = self._place_words(source) if source else "another file"
        file = self.file_of(source)
        own = {file.rpartition("/")[2], file_stem(file), self.own(file).rpartition("/")[2]}
        for name in sorted(self._names_in(text), key=len, reverse=True):
            if name not in (named, file_stem(named)):
                text = _replace(text, name, place if name in own else "another file")
        return text

    def _names_in(self, text: str) -> set[str]:
        """Find the hidden names that stand in a text, by looking up what lies between the ends of its words."""
        ends = [at for at in range(len(text) + 1) if _is_edge(text, at)]
        found = set()
        for number, start in enumerate(ends):
            for end in ends[number + 1 :]:
                if end - start > MAX_NAME:
                    break
                if text[start:end] in self._hidden:
                    found.add(text[start:end])
        return found

    @cached_property
    def _hidden(self) -> frozenset[str]:
        """All names that files, folders and uploads came with, also without their endings."""
        names = {part for paths in self.files for path in paths for part in path.split("/")}
        names |= {Path(path).name for path in self.given} | set(self.display.values())
        names -= self.display.keys()
        names |= {file_stem(name) for name in names}
        return frozenset(name for name in names if _may_name_somebody(name))

    @contextmanager
    def hiding(self) -> Iterator[None]:
        """Keep names out of the log and out of errors that leave this block."""
        watch = _HidingFilter(self)
        handlers = list(logging.getLogger().handlers)
        for handler in handlers:
            handler.addFilter(watch)
        try:
            yield
        except Exception as error:
            self._clean(error)
            raise
        finally:
            for handler in handlers:
                handler.removeFilter(watch)

    def _clean(self, error: BaseException) -> None:
        """Take names out of an error and of all that led to it."""
        if not self.hides:
            return
        seen: list[BaseException | None] = [error]
        while (current := seen.pop()) is not None:
            current.args = tuple(self.said(part) if isinstance(part, str) else part for part in current.args)
            if isinstance(current, OSError) and current.filename is not None:
                current.filename = "a file"
            seen = [current.__cause__ or current.__context__]


class _HidingFilter(logging.Filter):
    """Rewrites a record before it is written."""

    def __init__(self, names: ImportNames) -> None:
        super().__init__()
        self.names = names

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = self.names.said(record.getMessage()), ()
        if record.exc_info and record.exc_info[1] is not None:
            self.names._clean(record.exc_info[1])
        return True


def recover_stems(labels: Iterable[str], keys: Collection[str], salt: str) -> dict[str, str]:
    """Find the names behind hashes: a mask is named like its image, with something before or behind.

    Args:
        labels: names of mask files.
        keys: hashes of image names (``stem_key``).
        salt: the workspace's secret.

    Returns:
        Hash to name, for those that some mask's name contains.
    """
    found: dict[str, str] = {}
    for label in labels:
        stem = file_stem(label)
        edges = [at for at in range(len(stem) + 1) if _is_edge(stem, at) or stem[at - 1 : at + 1].count("_")]
        for number, start in enumerate(edges):
            for end in edges[number + 1 :]:
                key = stem_key(stem[start:end], salt)
                if key in keys:
                    found.setdefault(key, stem[start:end])
    return found


def _is_edge(text: str, at: int) -> bool:
    """True between two characters that do not both belong to a word, and at both ends."""
    if at in (0, len(text)):
        return True
    return not (_in_word(text[at - 1]) and _in_word(text[at]))


def _in_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _replace(text: str, name: str, by: str) -> str:
    before = r"(?<!\w)" if _in_word(name[0]) else ""
    behind = r"(?!\w)" if _in_word(name[-1]) else ""
    return re.sub(f"{before}{re.escape(name)}{behind}", lambda _: by, text)


def _may_name_somebody(name: str) -> bool:
    return bool(name) and name.lower() not in HARMLESS and not (name.isdigit() and len(name) < 5)
