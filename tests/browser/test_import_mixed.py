"""A tree of all kinds of files, dropped onto the import page: grouped, the bad ones named, burned-in text told."""

from __future__ import annotations

import base64
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import Seen, Server, picture, settle
from tests.browser.test_first_page import real_errors
from tests.browser.test_import_browse_compare import create_project

pytestmark = pytest.mark.browser
DROP = """async (zone, [name, content]) => {
    const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytes], name, {type: 'application/zip'}));
    for (const type of ['dragenter', 'dragover', 'drop'])
        zone.dispatchEvent(new DragEvent(type, {dataTransfer: transfer, bubbles: true, cancelable: true}));
}"""


@pytest.fixture
def mixed(shared_data: Path, tmp_path: Path) -> Path:
    """A CT series, a secondary capture, a volume, two pictures, a picture cut short, and a text."""
    path = tmp_path / "ward.zip"
    series = sorted((shared_data / "dicom_ct_series_torchio").rglob("*.dcm"))
    nuclei = sorted((shared_data / "seg_nuclei_dsb2018" / "images").rglob("*.png"))[:2]
    brain = sorted((shared_data / "vol_mr_hippocampus").rglob("*.nii.gz"))[0]
    with zipfile.ZipFile(path, "w") as out:
        for number, file in enumerate(series):
            out.write(file, f"disc/A/{number:03}")  # as on a disc: no ending
        out.write(shared_data / "dicom_pydicom" / "SC_rgb_rle.dcm", "disc/B/capture.dcm")
        out.write(brain, f"research/{brain.name}")
        for file in nuclei:
            out.write(file, f"lab/{file.name}")
        out.writestr("lab/cut.png", nuclei[0].read_bytes()[:400])
        out.writestr("letter.txt", "Dear colleague")
    return path


def test_a_dropped_tree_is_grouped_and_told(page: Any, server: Server, seen: Seen, mixed: Path) -> None:
    create_project(page, server.url, "Ward", "finding")
    page.goto(f"{server.url}/import")
    settle(page)
    zone = page.locator('[class*="st-key-images_"] [data-testid="stFileUploaderDropzone"]')
    zone.evaluate(DROP, ["ward.zip", base64.b64encode(mixed.read_bytes()).decode()])
    page.get_by_text("ward.zip").first.wait_for()
    settle(page)
    page.get_by_role("button", name="Import", exact=True).click()
    page.get_by_text("5 cases and 0 readings came in.").wait_for(timeout=120_000)
    settle(page)
    picture(page, "import-mixed")
    page.get_by_text("often show text such as names in their pixels").wait_for()
    page.get_by_role("link", name="Look at the cases").click()
    page.locator(".pane[data-ready]").first.wait_for()
    settle(page)
    picture(page, "cases-mixed")
    assert page.locator('[data-testid="stException"]').count() == 0
    assert real_errors(seen) == []
