"""A person brings in real images with masks, looks at them, and compares two readers; a DICOM series, too."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.browser.conftest import Seen, Server, picture, settle
from tests.browser.test_first_page import real_errors

pytestmark = pytest.mark.browser
N_IMAGES = 6


@pytest.fixture(scope="module")
def nuclei(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], list[Path]]:
    """A few real microscopy images and their masks (any value above 0 is nucleus)."""
    import csv

    root = shared_data / "seg_nuclei_dsb2018"
    images = sorted((root / "images").rglob("*.png"))[:N_IMAGES] if (root / "images").is_dir() else []
    if not images:
        with open(root / "index.csv", newline="") as file:
            rows = list(csv.DictReader(file))[:N_IMAGES]
        images = [root / row["image"] for row in rows]
    masks = [next(path for path in root.rglob(f"{image.stem}*") if path != image) for image in images]
    return images, masks


def create_project(page: Any, url: str, name: str, labels: str) -> None:
    page.goto(f"{url}/projects")
    settle(page)
    if (
        page.get_by_label("Name", exact=True).count() == 0
        or not page.get_by_label("Name", exact=True).is_visible()
    ):
        page.get_by_text("New project").click()
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_role("textbox", name="Labels, separated by commas").fill(labels)
    page.get_by_role("button", name="Create", exact=True).click()
    page.get_by_role("heading", name=name, exact=True).wait_for()  # "CT" is in "Projects", too
    settle(page)


def upload(page: Any, key: str, files: list[Path]) -> None:
    page.locator(f'[class*="st-key-{key}_"] input[type="file"]').set_input_files(
        [str(path) for path in files]
    )
    page.get_by_text(files[0].name[:20]).first.wait_for()
    settle(page)


def test_nuclei_in_looked_at_and_compared(
    page: Any, server: Server, seen: Seen, nuclei: tuple[list[Path], list[Path]]
) -> None:
    images, masks = nuclei
    create_project(page, server.url, "Nuclei", "nucleus")
    page.goto(f"{server.url}/import")
    settle(page)
    upload(page, "images", images)
    upload(page, "masks", masks)
    page.get_by_role("textbox", name="What do the values mean?").fill("any=nucleus")
    page.get_by_role("textbox", name="What do the values mean?").press("Enter")
    settle(page)
    picture(page, "import-ready")
    page.get_by_role("button", name="Import", exact=True).click()
    page.get_by_text(f"{N_IMAGES} cases and {N_IMAGES} readings came in.").wait_for(timeout=60_000)
    settle(page)
    picture(page, "import-done")
    page.reload()
    page.get_by_text(f"{N_IMAGES} cases and {N_IMAGES} readings came in.").wait_for()

    page.get_by_role("link", name="Look at the cases").click()
    page.locator(".pane[data-ready]").first.wait_for()
    settle(page)
    picture(page, "cases")

    second_reader(server.home)
    page.goto(f"{server.url}/compare")
    page.get_by_role("button", name="Compare", exact=True).click()
    page.get_by_text("Means over").wait_for(timeout=60_000)
    page.locator(".pane[data-ready]").nth(2).wait_for()
    settle(page)
    picture(page, "compare")
    assert page.locator('[data-testid="stException"]').count() == 0
    assert seen.outside == []
    assert real_errors(seen) == []


def second_reader(home: Path) -> None:
    """Let a student read every case: the reference, moved by three pixels."""
    from core.readings.reading import Mask
    from core.workspace.workspace import Workspace

    with Workspace.open(home) as store:
        project = store.get_project("Nuclei")
        for case_id, version in store.reference_of(project.id).items():
            array = store.load_reading(version).array
            store.save_reading(case_id, "student", Mask(np.roll(array, 3, axis=-1)), kind="person")


def test_a_ct_series_as_zip(page: Any, server: Server, seen: Seen, shared_data: Path, tmp_path: Path) -> None:
    archive = tmp_path / "series.zip"
    with zipfile.ZipFile(archive, "w") as out:
        for path in sorted((shared_data / "dicom_ct_series_torchio").rglob("*")):
            if path.is_file() and path.suffix.lower() not in (".csv", ".md", ".txt"):
                out.write(path, path.name)
    create_project(page, server.url, "CT", "lesion")
    page.goto(f"{server.url}/import")
    settle(page)
    upload(page, "images", [archive])
    page.get_by_role("button", name="Import", exact=True).click()
    page.get_by_text("1 case and 0 readings came in.").wait_for(timeout=60_000)
    page.get_by_role("link", name="Look at the cases").click()
    page.locator(".pane[data-ready]").first.wait_for()
    settle(page)
    page.get_by_role("combobox", name="Preset").select_option("bone")
    picture(page, "cases-ct")
    assert page.get_by_text("of 17").first.is_visible()
    assert page.get_by_text("L 400 W 1800").is_visible()
    assert page.locator('[data-testid="stException"]').count() == 0
    assert real_errors(seen) == []
    shutil.rmtree(tmp_path, ignore_errors=True)
