"""What a multi-frame DICOM file says about one of its frames."""

from __future__ import annotations

from pydicom.dataset import Dataset


def functional_group(dataset: Dataset, frame: int, keyword: str) -> Dataset | None:
    """Return the item of a functional group for one frame: its own first, else the shared one.

    Source: DICOM PS3.3 C.7.6.16.
    """
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    for groups in (per_frame[frame : frame + 1], shared[:1]):
        for group in groups:
            items = group.get(keyword)
            if items:
                return items[0]
    return None
