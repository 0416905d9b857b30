"""One import under way: what is asked for, what its files may be called, and what came of it so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from core.jobs.context import JobContext
from core.jobs.import_names import ImportNames
from core.jobs.import_segmentations import MarkFile
from core.jobs.payloads import ImportPayload
from core.workspace.records import Case, Project

IMAGES_SHARE = 0.8  # of the progress bar, when masks follow
MAX_NAMED = 1000  # skipped files that are listed one by one
MAX_FIRST = 12  # cases that a page may show at once


@dataclass
class Outcome:
    """What came in so far.

    Attributes:
        by_source: an image's own path -> its case, for matching masks.
        marks: DICOM segmentations, which are read when all images are there.
    """

    case_ids: set[int] = field(default_factory=set)
    by_source: dict[str, Case] = field(default_factory=dict)
    existing: int = 0
    readings: int = 0
    skipped: list[dict[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    marks: list[MarkFile] = field(default_factory=list)

    def skip(self, path: str, reason: str) -> None:
        """Name a file that did not come in."""
        self.skipped.append({"path": path, "reason": reason})

    def result(self) -> dict[str, Any]:
        """Return what the job says of itself."""
        return {
            "cases": len(self.case_ids),
            "first_cases": sorted(self.case_ids)[:MAX_FIRST],
            "already_there": self.existing,
            "readings": self.readings,
            "skipped": self.skipped[:MAX_NAMED],
            "skipped_count": len(self.skipped),
            "warnings": self.warnings[:MAX_NAMED],
        }


@dataclass(frozen=True)
class Import:
    """What the steps of an import work on. Only what ``names`` lets through may be written down."""

    context: JobContext
    project: Project
    payload: ImportPayload
    names: ImportNames
    outcome: Outcome = field(default_factory=Outcome)
