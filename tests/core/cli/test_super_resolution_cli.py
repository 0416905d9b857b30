"""Super-resolution from the terminal: images in, a model trained, tried beside bicubic, files made finer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.core.cli.conftest import Run
from tests.core.tasks.super_resolution.samples import texture


@pytest.mark.timeout(900)  # half a minute on a free machine
def test_the_whole_way(sightline: Run, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for number in range(6):
        Image.fromarray(texture(number, (96, 96))).save(images / f"t{number}.png")
    assert sightline("project", "create", "Fine", "--task", "super-resolution", "--json").code == 0
    assert sightline("import", "Fine", images, "--json").json["cases"] == 6
    assert sightline("split", "Fine", "--val", "0.34", "--json").json["splits"]["val"] == 2
    sets = [f"--set={pair}" for pair in ("scale=2", "blocks=1", "features=8", "patch=16", "batch_size=4")]
    trained = sightline("train", "Fine", "--epochs", "2", "--set=minutes=0", "--name", "net", *sets, "--json")
    assert trained.code == 0, trained.err
    assert trained.json["model"] == "net"

    result = sightline("evaluate", "Fine", "--reader", "net", "--split", "val", "--json").json
    assert result["n_cases"] == 2
    for key in ("psnr", "ssim", "psnr_bicubic", "ssim_bicubic", "nmse"):
        low, high = result["metrics"][key]["ci95"]
        assert low <= result["metrics"][key]["value"] <= high

    out = tmp_path / "out"
    done = sightline("predict", "net", images / "t0.png", "--out", out, "--json")
    assert [Path(file).name for file in done.json["files"]] == ["t0_computed_x2.png"]
    with Image.open(out / "t0_computed_x2.png") as picture:
        assert np.asarray(picture).shape == (192, 192)
        assert "computed by super-resolution x2" in picture.text["Description"]
    refused = sightline("predict", "net", images / "t0.png", "--out", out, "--blend", "0.5")
    assert refused.code == 1
    assert "no second stage" in refused.err + refused.out
    colour = tmp_path / "colour.png"
    Image.fromarray(np.stack([texture(0)] * 3, -1) ^ np.uint8([0, 7, 3])).save(colour)
    refused = sightline("predict", "net", colour, "--out", out)
    assert refused.code == 1
    assert "makes grey images finer" in refused.err + refused.out
    assert sightline("evaluate", "Fine", "--reader", "nobody", "--json").code == 1
