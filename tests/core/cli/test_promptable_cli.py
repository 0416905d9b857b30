"""Click networks from the terminal: trained on a project's marks, listed, written, taken in again, removed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.core.assist.test_promptables import blobs
from tests.core.cli.conftest import Run


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_click_network_is_trained_and_travels(sightline: Run, tmp_path: Path) -> None:
    for number in range(4):
        picture, mask = blobs(number)
        for folder, array in (("images", picture), ("masks", mask.astype(np.uint8))):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(array).save(tmp_path / folder / f"b{number}.png")
    assert sightline("project", "create", "Discs", "--task", "segmentation", "--labels", "disc").code == 0
    done = sightline("import", "Discs", tmp_path / "images", "--labels", tmp_path / "masks")
    assert done.code == 0, done.err
    done = sightline("promptable", "train", "Discs", "--minutes", "0.05", "--name", "clicks", "--json")
    assert done.code == 0, done.err
    assert done.json["network"] == "clicks" and 0 <= done.json["metrics"]["dice_box"] <= 1
    done = sightline("promptable", "export", "clicks", "--out", tmp_path / "clicks.zip")
    assert done.code == 0, done.err
    assert sightline("promptable", "add", tmp_path / "clicks.zip", "--name", "site").code == 0
    assert sightline("promptable", "remove", "clicks").code == 0
    assert [row["name"] for row in sightline("promptable", "--json").json["networks"]] == ["site"]
    done = sightline("promptable", "add", tmp_path / "masks" / "b0.png")
    assert done.code == 1 and "no zip file" in done.err
