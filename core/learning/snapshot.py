"""A frozen, hashed list of cases, readings and split: exactly what a model was trained on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import TrainingError
from core.types import ImageInfo, Label, Split, info_from_json, info_to_json


@dataclass(frozen=True)
class SnapshotItem:
    """One case: where its image and its reference reading lie, and whose it is.

    ``image_sha256`` and ``reading_sha256`` name the content, so that a moved home does not change the hash. A task
    whose truth is the image itself needs no reading: then there is no path, and the hash is empty.
    """

    case_id: int
    case_name: str
    patient_key: str
    split: Split
    image_path: Path  # stored array (.npy), see core.imaging.stored
    image_sha256: str
    info: ImageInfo
    reading_path: Path | None = None  # stored reading, see core.readings.stored
    reading_sha256: str = ""


@dataclass(frozen=True)
class Snapshot:
    """Items and label set of one project at one moment."""

    task: str
    labels: tuple[Label, ...]
    items: tuple[SnapshotItem, ...]

    @property
    def sha256(self) -> str:
        """Hash over everything that matters for training; paths and names do not."""
        content = {
            "task": self.task,
            "labels": [[label.value, label.name] for label in self.labels],
            "items": [
                [item.patient_key, item.split, item.image_sha256, item.reading_sha256] for item in self.items
            ],
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def of_split(self, split: Split) -> tuple[SnapshotItem, ...]:
        """Return the items of one split, in snapshot order."""
        return tuple(item for item in self.items if item.split == split)


def reading_path_of(item: SnapshotItem) -> Path:
    """Return where a case's reading lies.

    Raises:
        TrainingError: when it has none.
    """
    if item.reading_path is None:
        raise TrainingError(
            f"The case {item.case_name} has no reference reading; annotate it or import its labels."
        )
    return item.reading_path


def snapshot_to_json(snapshot: Snapshot) -> dict[str, Any]:
    """Turn a snapshot into plain JSON values."""
    return {
        "task": snapshot.task,
        "labels": [[label.value, label.name, label.color] for label in snapshot.labels],
        "items": [
            {
                "case_id": item.case_id,
                "case_name": item.case_name,
                "patient_key": item.patient_key,
                "split": item.split,
                "image_path": str(item.image_path),
                "image_sha256": item.image_sha256,
                "info": info_to_json(item.info),
                "reading_path": None if item.reading_path is None else str(item.reading_path),
                "reading_sha256": item.reading_sha256,
            }
            for item in snapshot.items
        ],
    }


def snapshot_from_json(data: dict[str, Any]) -> Snapshot:
    """Rebuild a snapshot from ``snapshot_to_json``'s values."""
    items = tuple(
        SnapshotItem(
            case_id=row["case_id"],
            case_name=row["case_name"],
            patient_key=row["patient_key"],
            split=row["split"],
            image_path=Path(row["image_path"]),
            image_sha256=row["image_sha256"],
            info=info_from_json(row["info"]),
            reading_path=None if row["reading_path"] is None else Path(row["reading_path"]),
            reading_sha256=row["reading_sha256"],
        )
        for row in data["items"]
    )
    return Snapshot(data["task"], tuple(Label(*row) for row in data["labels"]), items)
