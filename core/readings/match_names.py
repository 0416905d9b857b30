"""Which image a label file speaks of: by the name it gives, without folders unless these must decide."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

from core.readings.match import KNOWN_EXTENSIONS, file_stem

LABEL_ENDINGS = (".xml", ".txt", ".json", ".csv")
RULE = "a label belongs to the image of the same file name; where several share it, the folders decide"


class NameIndex:
    """Images by the stems of their names."""

    def __init__(self, sources: Iterable[str]) -> None:
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        for source in sources:
            self._by_stem[file_stem(source)].append(source)

    def find(self, name: str) -> str | None:
        """Return the image a name stands for, or None when none or more than one fits."""
        stem = label_stem(name)
        found = self._by_stem.get(stem, [])
        if len(found) < 2:
            return found[0] if found else None
        folders = _folders(name)
        alike = [_common_end(folders, _folders(source)) for source in found]
        best = [source for source, length in zip(found, alike, strict=True) if length == max(alike)]
        return best[0] if len(best) == 1 and max(alike) else None

    def why_not(self, name: str) -> str:
        """Say in a sentence why ``find`` found nothing."""
        count = len(self._by_stem.get(label_stem(name), []))
        if count:
            return f"{count} images are called {label_stem(name)}, so it cannot be told which one is meant."
        return f"No image of this import is called {label_stem(name)} ({RULE})."


def label_stem(name: str) -> str:
    """Return the stem of an image's or a label file's name."""
    stem = file_stem(name)
    if stem.lower().endswith(LABEL_ENDINGS) and not name.lower().endswith(KNOWN_EXTENSIONS):
        return stem.rpartition(".")[0] or stem
    return stem


def _folders(name: str) -> Sequence[str]:
    return re.split(r"[/\\]", name)[:-1]


def _common_end(first: Sequence[str], other: Sequence[str]) -> int:
    """Return how many folders agree, from the innermost."""
    count = 0
    for one, two in zip(reversed(first), reversed(other), strict=False):
        if one != two:
            break
        count += 1
    return count
