"""Plans follow the data: sizes, channels, normalisation, mirroring, negatives; and refuse what cannot be trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.errors import TrainingError
from core.learning.intake import check_cases
from core.learning.snapshot import Snapshot
from core.readings.reading import Mask
from core.readings.stored import write_reading
from core.tasks.segmentation.planning import (
    Fingerprint,
    check_start,
    make_plan,
    measure,
    plan_from,
)
from core.tasks.segmentation.settings import make_settings
from core.types import make_labels
from tests.bench._plain_files import make_item
from tests.core.tasks.segmentation.samples import make_snapshot

LABELS = make_labels(["organ"])
TYPICAL = Fingerprint(
    items=40, patients=20, height=256, width=256, channels=1, modalities=("OT",), low=0, high=255,
    label_share={1: 0.1}, dark_share=0, uneven_x=0.05, uneven_y=0.05,
)  # fmt: skip


def plan(settings: dict[str, object], device: str = "cpu", **facts: object):  # type: ignore[no-untyped-def]
    """Plan from a typical fingerprint with some facts changed."""
    return plan_from(replace(TYPICAL, **facts), LABELS, make_settings(settings), device)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("size", "expected"),
    [((256, 256), (256, 256)), ((512, 512), (256, 256)), ((480, 960), (192, 352)), ((40, 60), (64, 96))],
)
def test_whole_planes_keep_their_aspect_in_multiples_of_the_stride(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    preprocessing = plan({}, height=size[0], width=size[1]).preprocessing
    assert preprocessing.fit == "resize"
    assert (preprocessing.input_height, preprocessing.input_width) == expected


def test_very_large_planes_are_read_by_windows() -> None:
    preprocessing = plan({}, height=3000, width=3000).preprocessing
    assert preprocessing.fit == "patch"
    assert preprocessing.input_height == 256


def test_progressive_sizes_grow_and_end_full() -> None:
    made = plan({"progressive_size": True})
    shapes = [made.input_shape(step / 20) for step in range(21)]
    assert shapes == sorted(shapes)
    assert shapes[0] < shapes[-1] == (256, 256)
    assert all(side % 32 == 0 for shape in shapes for side in shape)
    assert plan({}).input_shape(0.0) == (256, 256)


def test_channels_and_normalisation_follow_the_images() -> None:
    assert plan({}).spec.in_channels == 1
    assert plan({}, channels=3).spec.in_channels == 3
    assert plan({"channels": "grey"}, channels=3).spec.in_channels == 1
    assert plan({"weights": "hub"}).spec.in_channels == 3
    assert plan({}).preprocessing.normalisation == "zscore"
    ct = plan({}, modalities=("CT",), low=-1000, high=1500).preprocessing
    assert (ct.normalisation, ct.range_low, ct.range_high) == ("range", -1000, 1500)
    with pytest.raises(TrainingError, match="1 to 4 channels"):
        plan({}, channels=7)


def test_data_decide_on_mirrors_and_negatives() -> None:
    sided = plan({}, uneven_x=0.8, dark_share=0.2).augmentation
    assert not sided.flip_x
    assert sided.flip_y
    assert sided.invert > 0
    assert plan({}, dark_share=1.0).augmentation.invert == 0


def test_a_fingerprint_says_what_the_images_are(tmp_path: Path) -> None:
    items = []
    for number in range(8):
        mask = np.zeros((40, 60), np.uint8)
        mask[5:35, 4:20] = 1  # always on the left
        inside, outside = (200, 50) if number else (50, 200)  # one of eight the other way round
        image = np.where(mask > 0, inside, outside).astype(np.uint8)
        items.append(make_item(tmp_path, number, str(number), "train", image, mask))
    found = measure(Snapshot("segmentation", LABELS, tuple(items)))
    assert (found.height, found.width, found.channels, found.items) == (40, 60, 1, 8)
    assert found.label_share[1] == pytest.approx(30 * 16 / 2400)
    assert found.dark_share == pytest.approx(1 / 8)
    assert found.uneven_x > 0.9
    assert found.uneven_y < 0.05


def test_what_cannot_be_trained_is_refused(tmp_path: Path) -> None:
    snapshot = make_snapshot(tmp_path / "data")
    settings = make_settings({})
    assert check_cases(replace(snapshot, items=snapshot.items)) == []
    train, val = snapshot.of_split("train"), snapshot.of_split("val")
    cases = {
        "no cases with a reference": (),
        "training split": val,
        "validation split": train,
        "by patient": (*train, replace(val[0], patient_key=train[0].patient_key)),
    }
    for sentence, items in cases.items():
        with pytest.raises(TrainingError, match=sentence):
            check_start(replace(snapshot, items=items), settings)
    with pytest.raises(TrainingError, match="no labels"):
        check_start(replace(snapshot, labels=()), settings)
    write_reading(Mask(np.zeros((5, 5), np.uint8)), train[0].reading_path)
    with pytest.raises(TrainingError, match="has shape"):
        make_plan(snapshot, settings)


def test_few_cases_are_warned_about(tmp_path: Path) -> None:
    warnings = check_cases(make_snapshot(tmp_path / "data", train=2, val=1))
    assert len(warnings) == 2
