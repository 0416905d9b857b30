"""The next case: unsure, disputed and unlike ones come first, each with its reason; ties and nothing known."""

from __future__ import annotations

import numpy as np
import pytest

from core.assist.suggest import Candidate, disagreement, rank_cases, sign_image, unsureness
from core.readings.reading import Boxes, Mask
from tests.core.assist.pictures import disc, image_of, noisy

SHAPE = (40, 40)


def probable(p: float) -> Mask:
    foreground = np.full(SHAPE, round(255 * p), np.uint8)
    return Mask((foreground > 127).astype(np.uint8), np.stack([255 - foreground, foreground]))


def test_unsureness_and_disagreement() -> None:
    values = [unsureness(probable(p)) for p in (1.0, 0.8, 0.6, 0.49)]
    assert values == pytest.approx([0, 1 - 1.6 / 1.8, 1 - 1.2 / 1.6, 1], abs=0.01)
    assert unsureness(probable(0.05)) == 0  # haze over an empty image
    few = np.zeros((3, *SHAPE), np.uint8)  # one label sure, the other one missed
    few[1, :20], few[2, 20:], few[0, 20:] = 255, 100, 155
    assert unsureness(Mask(few.argmax(axis=0).astype(np.uint8), few)) == pytest.approx(0.5, abs=0.01)
    assert unsureness(Mask(np.zeros(SHAPE, np.uint8))) is None
    boxes = [np.array([[0, 0, 4, 4]], np.float32), np.ones(1, np.uint16), np.zeros(1, np.int32)]
    assert unsureness(Boxes(*boxes)) is None
    assert unsureness(Boxes(*boxes, np.array([0.5], np.float32))) == 1
    a, b = (Mask(disc(SHAPE, (20, 20), r).astype(np.uint8)) for r in (5, 10))
    assert disagreement([a]) is None and disagreement([a, a]) == 0
    assert 0.5 < disagreement([a, b]) < 0.7  # areas 81 and 317: Dice 0.41
    empty = Mask(np.zeros(SHAPE, np.uint8))
    assert disagreement([empty, empty]) == 0 and disagreement([empty, a]) == 1


def test_order_and_reasons() -> None:
    base = np.zeros(8, np.float32)
    cases = [Candidate(n, base + n * 0.01, unsure=n / 10, disagreement=None) for n in range(10)]
    order = rank_cases(cases, [base])
    assert order[0].case_id == 9 and "unsure" in order[0].reason
    assert sorted(one.case_id for one in order) == list(range(10))
    disputed = [Candidate(n, base, None, n / 10) for n in range(5)]
    first = rank_cases(disputed, [base])[0]
    assert first.case_id == 4 and "disagree" in first.reason and "0.60" in first.reason
    strange = [Candidate(n, base + (5 if n == 3 else 0.01 * n)) for n in range(6)]
    first = rank_cases(strange, [base])[0]
    assert first.case_id == 3 and "unlike" in first.reason
    assert rank_cases(strange, [])[0].case_id != 3  # nothing read yet: a typical one
    assert rank_cases([], [base]) == []
    assert len(rank_cases([Candidate(1, base)], [])) == 1


def test_the_first_few_are_not_alike() -> None:
    rng = np.random.default_rng(0)
    groups = [np.eye(6, dtype=np.float32)[g] * 9 for g in range(3)]
    cases = [
        Candidate(10 * g + n, groups[g] + rng.normal(0, 0.1, 6).astype(np.float32))
        for g in range(3)
        for n in range(6)
    ]
    first = [one.case_id // 10 for one in rank_cases(cases, [])[:3]]
    assert sorted(first) == [0, 1, 2]


def test_signatures_tell_kinds_of_image_apart() -> None:
    dark = [sign_image(image_of(noisy(disc(SHAPE, (20, 20), 9), 120, 20, seed))) for seed in range(3)]
    light = [sign_image(image_of(noisy(disc(SHAPE, (20, 20), 9), 60, 220, seed))) for seed in range(3)]
    tinted = sign_image(image_of(np.full((*SHAPE, 3), (200, 90, 160), np.uint8), "yxc"))
    assert dark[0].shape == tinted.shape
    within = np.linalg.norm(dark[0] - dark[1])
    assert within < 0.3 * np.linalg.norm(dark[0] - light[0])
    assert within < 0.3 * np.linalg.norm(dark[0] - tinted)
    assert np.isfinite(sign_image(image_of(np.full((1, 1), np.nan, np.float32)))).all()
