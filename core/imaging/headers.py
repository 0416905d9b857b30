"""DICOM headers kept beside an image's pixels, without any bulk: one for all slices, and what differs in each.

Needed to write results that refer to the source (segmentations, reports): identifiers in slice order, study, frame of
reference. Plain JSON inside (the DICOM JSON model), so that the web process opens them without pydicom.

Source: DICOM PS3.18, Annex F (JSON model).
"""

from __future__ import annotations

import gzip
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

JsonDataset = dict[str, Any]
SOP_INSTANCE, SERIES_INSTANCE, STUDY_INSTANCE, FRAME_OF_REFERENCE = (
    "00080018",
    "0020000E",
    "0020000D",
    "00200052",
)


@dataclass(frozen=True)
class Headers:
    """The headers of one image.

    Attributes:
        profile: what was left of the patient's identity: "keep", "basic" or "basic_dates".
        shared: elements that all slices have alike, by tag ("0020000D").
        own: what each slice has for itself, in slice order; one entry for a multi-frame or single file.
        names: what the elements are called, by tag.
    """

    profile: str
    shared: JsonDataset
    own: tuple[JsonDataset, ...]
    names: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.own:
            raise ValueError("headers need at least one slice, got none.")

    def __len__(self) -> int:
        return len(self.own)

    def dataset(self, index: int) -> JsonDataset:
        """Return one slice's whole header, by tag in ascending order."""
        return dict(sorted({**self.shared, **self.own[index]}.items()))

    def text(self, tag: str, index: int = 0) -> str:
        """Return the first value of an element as text; empty when there is none."""
        element = self.own[index].get(tag) or self.shared.get(tag) or {}
        values = element.get("Value") or [""]
        return _as_text(values[0])

    def rows(self, index: int = 0) -> list[tuple[str, str, str]]:
        """Return one slice's header to be read by people: (tag, name, value); what is nested is only counted."""
        found = []
        for tag, element in self.dataset(index).items():
            values = element.get("Value") or []
            nested = element.get("vr") == "SQ"
            text = f"{len(values)} items" if nested else ", ".join(_as_text(value) for value in values)
            found.append((f"({tag[:4]},{tag[4:]})", self.names.get(tag, ""), text))
        return found

    @property
    def instance_uids(self) -> list[str]:
        """SOP Instance UIDs in slice order."""
        return [self.text(SOP_INSTANCE, index) for index in range(len(self.own))]


def _as_text(value: Any) -> str:
    """Return one value as text; of a person's name the first writing that is there."""
    if isinstance(value, dict):
        return next((str(part) for part in value.values() if part), "")
    return "" if value is None else str(value)


def headers_to_bytes(headers: Headers) -> bytes:
    """Pack headers; equal headers give equal bytes."""
    content = {
        "profile": headers.profile,
        "shared": headers.shared,
        "own": headers.own,
        "names": headers.names,
    }
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return gzip.compress(text.encode(), mtime=0)


def headers_from_bytes(content: bytes) -> Headers:
    """Unpack what ``headers_to_bytes`` made.

    Raises:
        ValueError: when it is something else.
    """
    try:
        data = json.loads(gzip.decompress(content))
        return Headers(data["profile"], data["shared"], tuple(data["own"]), data["names"])
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise ValueError("these bytes are no kept headers.") from error


def hash_headers(content: bytes) -> str:
    """Return the name packed headers are stored under."""
    return hashlib.sha256(content).hexdigest()
