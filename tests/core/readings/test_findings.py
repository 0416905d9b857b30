"""Boxes of neighbouring slices become findings: one thing one number, two things two, gaps bridged once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.readings.findings import box_ious, findings_of, link_findings
from core.readings.reading import Boxes, no_boxes

A, B = (10, 10, 30, 30), (60, 60, 90, 90)
NEAR_A = (12, 11, 31, 32)


def boxes(rows: list[tuple[tuple[int, ...], int, int]], scores: list[float] | None = None) -> Boxes:
    """Make boxes from (box, label, plane) rows."""
    return Boxes(
        np.array([row[0] for row in rows], np.float32),
        np.array([row[1] for row in rows], np.uint16),
        np.array([row[2] for row in rows], np.int32),
        None if scores is None else np.array(scores, np.float32),
    )


@pytest.mark.parametrize(
    ("rows", "groups"),
    [
        ([(A, 1, 0), (NEAR_A, 1, 1), (A, 1, 2)], [1, 1, 1]),
        ([(A, 1, 0), (B, 1, 1)], [1, 2]),
        ([(A, 1, 0), (A, 2, 1)], [1, 2]),
        ([(A, 1, 0), (A, 1, 2)], [1, 1]),  # one slice missed
        ([(A, 1, 0), (A, 1, 3)], [1, 2]),  # two slices missed
        ([(A, 1, 5), (B, 1, 4), (A, 1, 4), (B, 1, 5)], [2, 1, 2, 1]),
        ([(A, 1, 0), (A, 1, 1), (NEAR_A, 1, 1)], [1, 1, 2]),  # the best partner goes on, the other begins
    ],
)
def test_links(rows: list, groups: list[int]) -> None:
    assert link_findings(boxes(rows)).groups.tolist() == groups


def test_a_finding_has_the_best_score_and_its_label() -> None:
    found = findings_of(boxes([(A, 1, 0), (NEAR_A, 1, 1), (B, 3, 1)], [0.2, 0.7, 0.4]))
    assert [(one.label, round(one.score, 3), one.members) for one in found] == [
        (1, 0.7, (0, 1)), (3, 0.4, (2,)),
    ]  # fmt: skip
    assert findings_of(no_boxes()) == ()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 25))
def test_every_box_has_one_number_and_no_finding_has_two_boxes_on_a_slice(seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    low = random.uniform(0, 40, (count, 2))
    one = Boxes(
        np.hstack([low, low + random.uniform(3, 30, (count, 2))]).astype(np.float32),
        random.integers(1, 3, count).astype(np.uint16),
        random.integers(0, 5, count).astype(np.int32),
    )
    groups = link_findings(one).groups
    assert sorted(set(groups.tolist())) == list(range(1, groups.max() + 1))
    for number in set(groups.tolist()):
        members = groups == number
        assert len(set(one.planes[members].tolist())) == members.sum()
        assert len(set(one.labels[members].tolist())) == 1


def test_overlap_equals_torchvision() -> None:
    torch = pytest.importorskip("torch")
    from torchvision.ops import box_iou

    random = np.random.default_rng(0)
    low = random.uniform(0, 40, (20, 2))
    table = np.hstack([low, low + random.uniform(1, 30, (20, 2))]).astype(np.float32)
    expected = box_iou(torch.tensor(table[:9], dtype=torch.float64), torch.tensor(table, dtype=torch.float64))
    np.testing.assert_allclose(box_ious(table[:9], table), expected.numpy(), atol=1e-12)


@pytest.mark.parametrize(("least", "gap"), [(0, 1), (1.5, 1), (0.2, 0)])
def test_wrong_arguments(least: float, gap: int) -> None:
    with pytest.raises(ValueError, match="least_iou"):
        link_findings(boxes([(A, 1, 0)]), least, gap)
