"""Super-resolution from the terminal: images in, a model trained, tried beside bicubic, files made finer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.core.cli.conftest import Run
from tests.core.tasks.super_resolution.samples import texture


@pytest.mark.long
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


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_judge_reads_what_was_restored(sightline: Run, tmp_path: Path) -> None:
    """A segmentation model's readings of bicubic and restored images are held against those of the true ones."""
    rng = np.random.default_rng(0)
    for number in range(6):
        mask = np.zeros((96, 96), np.uint8)
        mask[20 + 3 * number : 70, 15:75] = 1
        picture = np.clip(60 + 120 * mask + rng.normal(0, 12, mask.shape), 0, 255).astype(np.uint8)
        for folder, array in (("images", picture), ("masks", mask)):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(array).save(tmp_path / folder / f"t{number}.png")
    made = ("project", "create", "Fine", "--task", "super-resolution"), (
        "project", "create", "Marks", "--task", "segmentation", "--labels", "thing",
    )  # fmt: skip
    imports = ("import", "Fine", tmp_path / "images"), (
        "import", "Marks", tmp_path / "images", "--labels", tmp_path / "masks",
    )  # fmt: skip
    small = [f"--set={pair}" for pair in ("scale=2", "blocks=1", "features=8", "patch=16", "batch_size=4")]
    tiny = [f"--set={pair}" for pair in ("architecture=classic_unet", "base_features=8", "input_size=64")]
    trainings = ("train", "Fine", "--epochs", "1", "--set=minutes=0", "--name", "net", *small), (
        "train", "Marks", "--epochs", "2", "--set=minutes=0", "--name", "judge", *tiny,
    )  # fmt: skip
    for words in (*made, *imports, *trainings):
        done = sightline(*words)
        assert done.code == 0, (words, done.err)
    result = sightline("evaluate", "Fine", "--reader", "net", "--judge", "judge", "--json").json
    assert result["judge"] == "judge"
    for key in ("judged_dice", "judged_dice_bicubic"):
        assert 0 <= result["metrics"][key]["value"] <= 1
    refused = sightline("evaluate", "Fine", "--reader", "net", "--judge", "net")
    assert refused.code == 1 and "a judge segments or detects" in refused.err


@pytest.mark.long
@pytest.mark.timeout(900)
def test_real_pairs_are_learnt_from(sightline: Run, tmp_path: Path) -> None:
    """Coarse images come in with finer ones of the same names; training takes these as the truth."""
    for number in range(6):
        fine = texture(number, (96, 96))
        for folder, array in (("coarse", fine[::2, ::2]), ("fine", fine)):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(np.ascontiguousarray(array)).save(tmp_path / folder / f"t{number}.png")
    assert sightline("project", "create", "Pairs", "--task", "super-resolution").code == 0
    done = sightline("import", "Pairs", tmp_path / "coarse", "--labels", tmp_path / "fine", "--json")
    assert done.code == 0, done.err
    assert done.json["cases"] == done.json["readings"] == 6
    small = [
        f"--set={pair}" for pair in ("degradation=pairs", "scale=2", "blocks=1", "features=8", "patch=16")
    ]
    words = ("--epochs", "1", "--set=minutes=0", "--name", "net", *small)
    trained = sightline("train", "Pairs", *words, "--json")
    assert trained.code == 0, trained.err
    done = sightline("predict", "net", "--project", "Pairs", "--json")
    assert done.code == 0, done.err
    result = sightline("evaluate", "Pairs", "--reader", "net", "--json")
    assert result.code == 0, result.err
    assert result.json["n_cases"] == 6 and np.isfinite(result.json["metrics"]["psnr"]["value"])
