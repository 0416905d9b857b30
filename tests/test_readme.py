"""Every command of the README works as it stands there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.core.cli.conftest import Run, sightline  # noqa: F401 - a fixture

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
# Laid over the README's own trainings, so that they end within seconds.
TINY = [
    "--epochs",
    "1",
    "--set",
    "architecture=classic_unet",
    "--set",
    "base_features=8",
    "--set",
    "input_size=64",
]


def commands(block: str) -> list[list[str]]:
    """The words of each line after ``sightline``."""
    lines = [shlex.split(line) for line in block.strip().splitlines()]
    return [words[1:] for words in lines if words[0] == "sightline"]


@pytest.fixture
def own_images(tmp_path: Path) -> Path:
    """A folder with what the second session speaks of."""
    random = np.random.default_rng(0)
    rows = ["id,split"]
    for number in range(6):
        mask = np.zeros((64, 64), np.uint8)
        mask[10 + number : 40, 12:44] = number + 1
        noise = random.normal(0, 10, mask.shape)
        picture = (40 + 120 * (mask > 0) + noise).clip(0, 255).astype(np.uint8)
        for folder, array in (("images", picture), ("masks", mask), ("new", picture)):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(array).save(tmp_path / folder / f"cell{number}.png")
        rows.append(f"cell{number},{'val' if number > 3 else 'train'}")
    (tmp_path / "index.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


@pytest.mark.long
@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_sessions(number: int, sightline: Run, own_images: Path) -> None:  # noqa: F811
    for words in commands(BLOCKS[number]):
        extra = TINY if words[0] == "train" and "--epochs" not in words else []
        done = sightline(*words, *extra, folder=own_images)
        assert done.code == 0, (words, done.err)


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`?make ([a-z-]+)", README))
    assert named <= targets
    assert {"run", "setup", "test", "test-long", "test-all", "lint", "bench"} <= named
