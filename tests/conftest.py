"""Fixtures for all tests: real sample images where they lie beside the checkout, and a home of one's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

ROOT = Path(__file__).resolve().parent.parent
SHARED_DATA = Path(os.environ.get("SIGHTLINE_TEST_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real, openly licensed images; tests that need it are skipped where it is absent."""
    if not (SHARED_DATA / "manifest.json").is_file():
        pytest.skip(f"no sample images at {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Sightline home in a temporary folder, also named by SIGHTLINE_HOME."""
    from core.settings import load_settings

    folder = tmp_path / "home"
    monkeypatch.setenv("SIGHTLINE_HOME", str(folder))
    load_settings.cache_clear()
    yield folder
    load_settings.cache_clear()
