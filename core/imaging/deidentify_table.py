"""Table E.1-1 of DICOM PS3.15 (edition 2026c): what happens to which element, as data.

The basic profile's column comes from ``dicom-anonymizer``; only its table is used, none of its actions. The
columns of the options are written out here, as that package does not carry them.

Source: DICOM PS3.15, Annex E, Table E.1-1 and E.3.6 to E.3.10.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import Literal

from core.imaging.profiles import Retained

# X remove, Z empty, D a dummy value, U another UID, K keep (sequences: look inside)
Action = Literal["X", "Z", "D", "U", "K"]

TABLE = "dicomanonymizer.dicom_anonymization_databases.dicomfields_2026c"
# Where the table leaves a choice by type (required or not), the value that is valid for every type is taken; an
# optional sequence is removed, or kept with its references replaced.
COLUMNS: dict[str, Action] = {
    "X_TAGS": "X",
    "Z_TAGS": "Z",
    "D_TAGS": "D",
    "U_TAGS": "U",
    "Z_D_TAGS": "D",
    "X_Z_TAGS": "Z",
    "X_D_TAGS": "D",
    "X_Z_D_TAGS": "D",
    "X_Z_U_STAR_TAGS": "K",
}
CHOSEN: dict[int, Action] = {
    0x00080012: "X",  # InstanceCreationDate
    0x00080013: "X",  # InstanceCreationTime
    0x00080080: "X",  # InstitutionName
    0x00081010: "X",  # StationName
    0x00081070: "Z",  # OperatorsName, which radiotherapy objects must have
    0x00080082: "X",  # InstitutionCodeSequence
    0x00081072: "X",  # OperatorIdentificationSequence
    0x00081110: "X",  # ReferencedStudySequence
    0x00081111: "K",  # ReferencedPerformedProcedureStepSequence
    0x0040B020: "X",  # WaveformAnnotationSequence
    0x04000500: "X",  # EncryptedAttributesSequence: whoever has the key reads the identity
    0x00020102: "X",  # PrivateInformation of the file
}
# Groups that go as a whole: curves (50xx) and overlays (60xx), of which nothing is left without their data.
REPEATED_GROUPS = (0x5000, 0x6000)

# The birth and the place's clock: their dates are not among those that may stay moved.
NEVER_MOVED = (0x00100030, 0x00100032, 0x00160077)
TIMEZONE = 0x00080201

RETAINED_TAGS: dict[Retained, frozenset[int]] = {
    "patient": frozenset(
        (
            0x00100040, 0x00101010, 0x00101020, 0x00101030, 0x00102160, 0x00102161, 0x00102162, 0x001021A0,
            0x001021C0, 0x00102203,
        )
    ),
    "device": frozenset(
        (
            0x00081010, 0x00181000, 0x00181002, 0x00181004, 0x00181005, 0x00181007, 0x00181008, 0x00181009,
            0x0018100A, 0x0018100B, 0x00185011, 0x0018700A, 0x00189367, 0x00189371, 0x00189373, 0x00203401,
            0x00400242, 0x00500020, 0x300A00B2, 0x300A0216, 0x3010002D, 0x30080105,
        )
    ),
    "uids": frozenset(),  # by their action, see ``actions``
}  # fmt: skip


@lru_cache
def actions() -> dict[int, Action]:
    """Return the basic profile's action for each listed element."""
    table = import_module(TABLE)
    found: dict[int, Action] = {}
    for column, action in COLUMNS.items():
        for tag in getattr(table, column):
            if len(tag) == 2:  # entries with masks are the repeated groups
                found[(tag[0] << 16) | tag[1]] = action
    return found | CHOSEN


@lru_cache
def actions_with(retained: frozenset[Retained]) -> dict[int, Action]:
    """Return the actions of the basic profile with options that retain something."""
    found = dict(actions())
    for option in retained:
        found.update(dict.fromkeys(RETAINED_TAGS[option], "K"))
    if "uids" in retained:
        found = {tag: "K" if action == "U" else action for tag, action in found.items()}
    return found
