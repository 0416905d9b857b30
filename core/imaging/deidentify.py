"""DICOM headers without identity: the basic profile of PS3.15, Annex E, over every element at any depth.

On top of the table, what the profile leaves to judgement is settled on the safe side: private and unknown elements,
free text, names and dates that the table does not list are removed; short text that is kept (manufacturer, codes)
loses what repeats a word of the patient's or a physician's name, or a number of the patient. "Clean" options are not
claimed. A second pass changes nothing.

Source: DICOM PS3.15, Annex E (2026c); PS3.16, CID 7050 (codes of the methods).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag
from pydicom.uid import PYDICOM_IMPLEMENTATION_UID, UID

from core.imaging.deidentify_names import Identity, identity_of
from core.imaging.deidentify_table import NEVER_MOVED, REPEATED_GROUPS, TIMEZONE, actions_with
from core.imaging.deidentify_values import (
    DUMMIES,
    DUMMY_TEXT,
    keep_time,
    replace_uid,
    secret_digest,
    shift_date,
    shift_datetime,
    shift_days,
)
from core.imaging.dicom_header import NATIVE, transfer_syntax
from core.imaging.patient import dataset_key
from core.imaging.profiles import Profile, Retained

FREE_TEXT = frozenset(("LT", "ST", "UT", "UC", "UR", "PN", "AE", "AS"))
TEXT = FREE_TEXT | frozenset(("LO", "SH", "CS"))
TIMES = frozenset(("DA", "DT", "TM"))
NUMBERS = frozenset(("IS", "DS"))
BYTES = frozenset(("OB", "UN"))
LETTERS = {
    "UI": frozenset("0123456789."),
    "DS": frozenset("0123456789+-.eE "),
    "IS": frozenset("0123456789+- "),
}
# Free text that objects cannot do without: codes and coding schemes, the picture's own profile and frames.
KEPT = frozenset(
    (
        0x0008010E, 0x00080114, 0x00080115, 0x00080116, 0x00080119, 0x00080120,
        0x00282000, 0x54000110, 0x54001010, 0x7FE00010, 0x54000112,
    )
)  # fmt: skip
# Inside a sequence whose content is replaced, what carries its structure stays: codes, value types, relations.
STRUCTURE = frozenset(
    (
        0x00080100, 0x00080102, 0x00080103, 0x00080104, 0x00080119, 0x00080120, 0x0008010F, 0x00080105, 0x0008010B,
        0x0040A010, 0x0040A040, 0x0040A050, 0x0040A491, 0x0040A493, 0x0040DB00, 0x00700002, 0x00700005, 0x00700023,
    )
)  # fmt: skip
UNREADABLE = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    NotImplementedError,
    OverflowError,
    struct.error,
)

METHODS: dict[str, tuple[str, str]] = {
    "basic": ("113100", "Basic Application Confidentiality Profile"),
    "dates": ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    "patient": ("113108", "Retain Patient Characteristics Option"),
    "device": ("113109", "Retain Device Identity Option"),
    "uids": ("113110", "Retain UIDs Option"),
}
STANDARD = "DICOM PS3.15 2026c Annex E"
STAMP = "Sightline "


@dataclass(frozen=True)
class Rules:
    """What to do: the profile, what is retained besides, and the installation's secret."""

    salt: str
    profile: Profile = "basic"
    retained: frozenset[Retained] = frozenset()


@dataclass(frozen=True)
class Deidentifier:
    """Takes the identity out of one patient's data sets. Made by ``deidentifier_for``.

    Attributes:
        rules: what to do.
        key: what the patient is called from now on; empty when the file names none.
        identity: words that must not be seen in what is kept.
        days: by how many days dates are moved; 0 for a data set that was moved here before.
    """

    rules: Rules
    key: str
    identity: Identity
    days: int
    actions: dict[int, str] = field(repr=False, default_factory=dict)

    def apply(self, dataset: Dataset) -> Dataset:
        """Return a de-identified data set; the one given stays as it is, and pixels are shared with it."""
        if self.rules.profile == "keep":
            return dataset
        out = self.clean(dataset)
        _clear_overlay_bits(out, dataset)
        self._sign(out)
        _write_meta(out, dataset)
        return out

    def clean(self, dataset: Dataset, replaced: bool = False) -> Dataset:
        """Return the elements that may stay, cleaned; also for a part of a data set, such as one item.

        Args:
            dataset: any data set of this patient.
            replaced: True inside a sequence whose content is to be replaced by dummies.
        """
        out = Dataset()
        for element in readable_elements(dataset):
            cleaned = self._clean_element(element, replaced)
            if cleaned is not None:
                out.add(cleaned)
        return out

    def _clean_element(self, element: DataElement, replaced: bool) -> DataElement | None:
        action = self._action(element)
        if action == "X" and replaced and int(element.tag) not in self.actions:
            action = "D"  # the text of a report's item: the item needs one
        if action == "X":
            return None
        if element.VR == "SQ":
            return self._clean_sequence(element, action, replaced)
        if action == "Z":
            return DataElement(element.tag, element.VR, None)
        if action == "move":
            return _with_value(element, _each(element.value, self._moved(element.VR)))
        if action == "U":
            return _with_value(element, _each(element.value, self._other_uid))
        if action == "D" or (replaced and _is_said(element)):
            return DataElement(element.tag, element.VR, DUMMIES.get(element.VR))
        if element.VR in TEXT:
            return _with_value(element, _each(element.value, self._without_identity))
        if element.VR in NUMBERS and str(element.value) in self.identity.words:
            return DataElement(element.tag, element.VR, None)  # a series numbered by its patient
        return element

    def _clean_sequence(self, element: DataElement, action: str, replaced: bool) -> DataElement:
        if action == "Z":
            return DataElement(element.tag, "SQ", Sequence())
        inside = replaced or action == "D"
        return DataElement(element.tag, "SQ", Sequence([self.clean(item, inside) for item in element.value]))

    def _action(self, element: DataElement) -> str:
        """Return X, Z, D, U, K, or "move" for dates that stay in longitudinal order."""
        tag, vr = int(element.tag), element.VR
        listed = self.actions.get(tag)
        if self.rules.profile == "basic_dates" and tag not in NEVER_MOVED:
            if vr in TIMES:
                return "move"
            if tag == TIMEZONE:
                return "K"
        if listed is not None:
            return listed
        if vr in TIMES or (vr in FREE_TEXT | BYTES and tag not in KEPT) or not _is_known(tag, vr):
            return "X"
        return "K" if _is_of_its_kind(element) else "X"

    def _moved(self, vr: str) -> Callable[[str], str]:
        if vr == "TM":
            return keep_time
        return lambda text: (shift_date if vr == "DA" else shift_datetime)(str(text), self.days)

    def _other_uid(self, uid: str) -> str:
        return replace_uid(str(uid), self.rules.salt)

    def _without_identity(self, text: str) -> str:
        return DUMMY_TEXT if isinstance(text, str) and self.identity.is_in(text) else text

    def _sign(self, out: Dataset) -> None:
        """Say who the patient is from now on, and what was done by which method."""
        for keyword in ("PatientID", "PatientName"):
            if self.key or keyword in out:
                setattr(out, keyword, self.key)
        moved = self.rules.profile == "basic_dates"
        chosen = ["basic", *(["dates"] if moved else []), *sorted(self.rules.retained)]
        out.PatientIdentityRemoved = "YES"
        out.DeidentificationMethod = [STANDARD, STAMP + _stamp(out, self.rules.profile, self.rules.salt)]
        out.DeidentificationMethodCodeSequence = Sequence([_code(*METHODS[name]) for name in chosen])
        out.LongitudinalTemporalInformationModified = "MODIFIED" if moved else "REMOVED"


def deidentifier_for(dataset: Dataset, rules: Rules) -> Deidentifier:
    """Make the de-identifier for the patient of a data set.

    A data set that this installation has de-identified (its method says so, and the check in it is right) keeps its
    patient's key and its moved dates.
    """
    done = _done_before(dataset, rules.salt)
    key = str(dataset.get("PatientID") or "") if done else dataset_key(dataset, rules.salt) or ""
    patient = key or str(dataset.get("StudyInstanceUID") or "")
    return Deidentifier(
        rules=rules,
        key=key,
        identity=identity_of(Dataset() if done else dataset),
        days=0 if done else shift_days(patient, rules.salt),
        actions=dict(actions_with(rules.retained)),
    )


def deidentify(dataset: Dataset, rules: Rules) -> Dataset:
    """Return a data set without identity by the rules' profile, ready to be written; "keep" changes nothing."""
    return deidentifier_for(dataset, rules).apply(dataset)


def readable_elements(dataset: Dataset, only: Collection[int] | None = None) -> Iterator[DataElement]:
    """Yield the elements a de-identified object may hold at all, in order; what cannot be read is left out.

    Private elements, group lengths, curves and overlays are none of them.

    Args:
        dataset: where to look.
        only: tags to keep to; None for all.
    """
    for tag in sorted(dataset.keys()):
        if only is not None and int(tag) not in only:
            continue
        repeated = any(tag.group & 0xFF00 == group for group in REPEATED_GROUPS)
        if tag.is_private or tag.element == 0 or tag.group == 0 or repeated:
            continue
        try:
            yield dataset[tag]
        except UNREADABLE:
            continue


def _is_known(tag: int, vr: str) -> bool:
    """True for elements of the data dictionary whose text is where the dictionary expects text."""
    try:
        expected = set(dictionary_VR(tag).split(" or "))
    except KeyError:
        return False
    return vr not in TEXT or bool(expected & TEXT)


def _is_of_its_kind(element: DataElement) -> bool:
    """True when numbers and UIDs, which are kept as text, are written as such; programs let any text pass."""
    letters = LETTERS.get(element.VR)
    values = element.value if isinstance(element.value, MultiValue) else [element.value]
    return letters is None or all(letters.issuperset(str("" if value is None else value)) for value in values)


def _is_said(element: DataElement) -> bool:
    """True for what a person wrote or a program filled in, as against what holds an object together."""
    said = element.VR in TEXT | TIMES | BYTES
    return said and int(element.tag) not in STRUCTURE


def _each(value: Any, change: Callable[[str], Any]) -> Any:
    """Apply a change to one value or to each of several; nothing stays nothing."""
    if value is None or value == "":
        return value
    return [change(part) for part in value] if isinstance(value, MultiValue) else change(value)


def _with_value(element: DataElement, value: Any) -> DataElement:
    return DataElement(element.tag, element.VR, value)


def _code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item


def _stamp(dataset: Dataset, profile: str, salt: str) -> str:
    """Return a check that only this installation can make for a patient and study it has de-identified.

    It holds for everything in the study, so that objects made later from it (segmentations) are known as well.
    """
    text = f"{profile}|{dataset.get('PatientID') or ''}|{dataset.get('StudyInstanceUID') or ''}"
    return secret_digest(salt, "stamp", text).hex()[:16]


def _done_before(dataset: Dataset, salt: str) -> bool:
    methods = dataset.get("DeidentificationMethod") or []
    given = [methods] if isinstance(methods, str) else [str(method) for method in methods]
    return any(STAMP + _stamp(dataset, profile, salt) in given for profile in ("basic", "basic_dates"))


def _write_meta(out: Dataset, dataset: Dataset) -> None:
    """Give the file a header of its own: no titles of machines, no private part, an empty preamble."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(str(out.get("SOPClassUID") or ""))
    meta.MediaStorageSOPInstanceUID = UID(str(out.get("SOPInstanceUID") or ""))
    meta.TransferSyntaxUID = UID(transfer_syntax(dataset))
    meta.ImplementationClassUID = PYDICOM_IMPLEMENTATION_UID
    out.file_meta = meta
    out.preamble = b"\0" * 128


def _clear_overlay_bits(out: Dataset, dataset: Dataset) -> None:
    """Clear the unused bits of uncompressed pixels where early files keep an overlay, which may be text.

    Source: DICOM PS3.5 (2004), 8.1.2: overlay planes in the bits of Pixel Data that the image leaves free.
    """
    places = [dataset.get(BaseTag((group << 16) | 0x0102)) for group in range(0x6000, 0x6100, 2)]
    in_pixels = any(place is not None and place.value for place in places)
    bits, stored = int(out.get("BitsAllocated") or 0), int(out.get("BitsStored") or 0)
    high = int(out.get("HighBit") or 0)
    syntax = transfer_syntax(dataset)
    if not in_pixels or syntax not in NATIVE or bits not in (8, 16) or not 0 < stored < bits or high >= bits:
        return
    order = ">" if syntax == NATIVE[2] else "<"
    values = np.frombuffer(out.PixelData, dtype=f"{order}u{bits // 8}")
    mask = ((1 << stored) - 1) << (high + 1 - stored)
    out["PixelData"] = _with_value(out["PixelData"], (values & values.dtype.type(mask)).tobytes())
