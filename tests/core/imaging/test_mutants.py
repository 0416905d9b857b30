"""Two thousand damaged real files: each gives an image or a sentence, quickly, and nothing else happens."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.settings import Settings
from tests.core.imaging.mutants import make_mutants, try_mutants

SETTINGS = Settings()
HANG_SECONDS = 20.0
GROWTH_MB = 200.0


@pytest.mark.parametrize(
    ("count", "seed"),
    [
        pytest.param(150, 3, id="150"),
        pytest.param(2000, 20261125, id="2000", marks=[pytest.mark.slow, pytest.mark.timeout(1800)]),
    ],
)
def test_an_image_or_a_sentence(shared_data: Path, count: int, seed: int) -> None:
    report = try_mutants(shared_data, count, seed, SETTINGS)
    assert report.faults == []
    assert sum(report.counts.values()) == count
    assert report.counts["read"] > count / 10 and report.counts["refused"] > count / 10
    assert report.slowest[0] < HANG_SECONDS, report.slowest
    assert report.growth_mb < GROWTH_MB
    assert report.largest_decoder_mb < (SETTINGS.decoder_memory_bytes + 2**28) / 2**20


def test_the_same_seed_gives_the_same_files(shared_data: Path) -> None:
    assert list(make_mutants(shared_data, 20, 5)) == list(make_mutants(shared_data, 20, 5))
    assert list(make_mutants(shared_data, 3, 5)) != list(make_mutants(shared_data, 3, 6))
