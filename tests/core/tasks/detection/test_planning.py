"""What is decided from the boxes: anchors, scale, proposals; where the network looks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from core.learning.preprocessing import Preprocessing
from core.learning.snapshot import Snapshot
from core.tasks.detection.anchors import Anchors, best_overlaps, plan_anchors
from core.tasks.detection.frames import Frame, frames_of, whole_frame
from core.tasks.detection.planning import make_plan
from core.tasks.detection.settings import make_settings
from core.tasks.detection.spec import Framing
from tests.core.tasks.detection.samples import SMALL, make_snapshot

COCO = Anchors(((32.0,), (64.0,), (128.0,)), (0.5, 1.0, 2.0))  # what detectors come with
STRIDES = (8, 16, 32)


@pytest.mark.parametrize("seed", range(4))
def test_planned_anchors_fit_the_boxes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sides = np.exp(rng.normal(np.log(rng.uniform(10, 60)), 0.3, (400, 1)))
    ratio = np.exp(rng.normal(rng.uniform(-0.5, 0.5), 0.2, (400, 1)))
    boxes = np.hstack([sides / np.sqrt(ratio), sides * np.sqrt(ratio)])
    planned = plan_anchors(boxes, STRIDES)
    assert best_overlaps(boxes, planned).mean() > max(0.75, best_overlaps(boxes, COCO).mean())
    assert [len(sizes) for sizes in planned.sizes] == [2, 2, 2]
    assert all(low < high for low, high in planned.sizes)


def test_square_boxes_need_one_ratio_and_no_box_no_crash() -> None:
    squares = np.full((50, 2), 20.0)
    planned = plan_anchors(squares, STRIDES)
    assert planned.ratios == (1.0,)
    assert best_overlaps(squares, planned).min() > 0.7


def test_anchors_of_blood_cells(shared_data: Path) -> None:
    rows = json.loads((shared_data / "det_bccd" / "instances_train.json").read_text())["annotations"]
    sides = np.array([row["bbox"][2:] for row in rows]) * 0.6
    assert best_overlaps(sides, plan_anchors(sides, STRIDES)).mean() > 0.85


def test_the_plan_follows_the_boxes(tmp_path: Path) -> None:
    snapshot = make_snapshot(tmp_path / "few")
    settings = make_settings({**SMALL, "input_size": 0})
    plan = make_plan(snapshot, settings)
    assert plan.spec.objects == 100
    assert plan.framing.mode == "whole"
    assert plan.fingerprint.most_objects == 2
    assert plan.anchor_overlap == 0
    crowded = make_snapshot(tmp_path / "crowded", size=512, count=4)
    tiled = make_plan(crowded, make_settings({**SMALL, "input_size": 96}))
    assert tiled.framing.mode == "tiles"  # squares of 14 pixels would shrink to under 3
    rcnn = make_plan(snapshot, make_settings({**SMALL, "architecture": "faster_rcnn"}))
    assert rcnn.anchor_overlap > 0.7


def test_a_few_large_images_among_small_ones_are_not_squeezed(tmp_path: Path) -> None:
    """Shrunk to the size of the others, their many objects would be lost."""
    small, large = (
        make_snapshot(tmp_path / "small", train=6),
        make_snapshot(tmp_path / "large", size=512, count=4),
    )
    mixed = Snapshot(small.task, small.labels, (*small.items, *large.of_split("train")[:2]))
    assert make_plan(small, make_settings(SMALL)).framing.mode == "whole"
    plan = make_plan(mixed, make_settings(SMALL))
    assert (plan.framing.mode, plan.framing.scale) == ("tiles", 1.0)
    assert make_plan(mixed, make_settings({**SMALL, "fit": "whole"})).framing.mode == "whole"


WHOLE = Framing(mode="whole", scale=0.5, lowest=0.5, highest=0.5)
INPUT = Preprocessing(input_height=96, input_width=128)


@pytest.mark.parametrize("shape", [(192, 256), (20, 20), (100, 256), (300, 100)])
def test_frames_keep_the_scale_that_was_trained_on(shape: tuple[int, int]) -> None:
    frame = whole_frame(shape, INPUT, WHOLE)
    assert frame.scale_xy[0] <= 0.5 * 1.03
    assert frame.rows <= 96
    assert frame.columns <= 128
    box = np.array([[3, 4, 17, 19]], np.float32)
    scale = np.array([*frame.scale_xy, *frame.scale_xy])
    assert np.allclose(frame.to_image(box * scale), box, atol=1e-3)


def test_large_images_are_covered_by_tiles_and_the_whole() -> None:
    frames = frames_of((1000, 1500), INPUT, WHOLE, 0.25)
    whole, tiles = frames[0], frames[1:]
    assert (whole.height, whole.width) == (1000, 1500)
    covered = np.zeros((1000, 1500), int)
    for tile in tiles:
        assert tile.scale_xy == pytest.approx((0.5, 0.5))
        covered[tile.top : tile.top + tile.height, tile.left : tile.left + tile.width] += 1
    assert covered.min() >= 1
    firsts = sorted({tile.left for tile in tiles})
    assert max(np.diff(firsts)) <= 0.75 * tiles[0].width
    assert len(frames_of((192, 256), INPUT, WHOLE, 0.25)) == 1


def test_a_huge_frame_is_read_in_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    from core.tasks.detection import frames

    rng = np.random.default_rng(0)
    plane = rng.normal(0, 1, (640, 800)).astype(np.float32)
    frame = Frame(0, 0, 640, 800, 80, 100)
    expected = frame.cut(plane, lambda part: part[..., None], (96, 128))
    monkeypatch.setattr(frames, "BAND_PIXELS", 100 * 800)
    read: list[int] = []

    def prepare(part: np.ndarray) -> np.ndarray:
        read.append(len(part))
        return part[..., None]

    assert np.allclose(frame.cut(plane, prepare, (96, 128)), expected, atol=1e-5)
    assert max(read) <= 100
