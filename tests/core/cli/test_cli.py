"""The terminal contract: commands, JSON, exit codes, and one sentence for each thing a user can fix."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from core.types import make_labels
from core.workspace.workspace import Workspace
from tests.core.cli.conftest import ROOT, Run

SIZE = 64


def write_pair(folder: Path, name: str, seed: int) -> None:
    """Write a grey image with a bright disc, and its mask (0/255)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIZE, :SIZE]
    disc = (y - rng.integers(20, 44)) ** 2 + (x - rng.integers(20, 44)) ** 2 < rng.integers(8, 14) ** 2
    image = (60 + 120 * disc + rng.normal(0, 8, (SIZE, SIZE))).clip(0, 255).astype(np.uint8)
    for part, array in (("images", image), ("masks", (disc * 255).astype(np.uint8))):
        (folder / part).mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(folder / part / f"{name}.png")


@pytest.fixture
def discs(tmp_path: Path) -> Path:
    """Ten images of five patients with masks and a table."""
    folder = tmp_path / "discs"
    rows = []
    for number in range(10):
        write_pair(folder, f"disc{number}", number)
        split = "val" if number >= 8 else "train"
        rows.append(
            {"file": f"images/disc{number}.png", "patient_id": f"P{number // 2}", "split": split, "age": "60"}
        )
    with open(folder / "table.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return folder


@pytest.mark.long
def test_the_whole_session(sightline: Run, discs: Path, tmp_path: Path) -> None:
    assert sightline(
        "project", "create", "Discs", "--task", "segmentation", "--labels", "disc", "--json"
    ).json["project"]
    imported = sightline(
        "import", "Discs", discs / "images", "--labels", discs / "masks", "--table", discs / "table.csv",
        "--columns", "patient=patient_id", "--json",
    )  # fmt: skip
    assert imported.code == 0, imported.err
    assert (imported.json["cases"], imported.json["readings"], imported.json["skipped"]) == (10, 10, [])

    trained = sightline(
        "train", "Discs", "--preset", "fast", "--epochs", "6", "--set", "architecture=classic_unet",
        "--set", "base_features=8", "--set", "input_size=64", "--name", "small", "--json",
    )  # fmt: skip
    assert trained.code == 0, trained.err
    assert trained.json["model"] == "small"
    assert 0 <= trained.json["metrics"]["dice"] <= 1
    assert trained.json["seconds"] > 0

    out = tmp_path / "out"
    files = sightline(
        "predict", "small", discs / "images" / "disc9.png", "--out", out, "--format", "png", "--json"
    )
    assert files.code == 0, files.err
    assert np.asarray(Image.open(out / "disc9.png")).shape == (SIZE, SIZE)

    stored = sightline("predict", "small", "--project", "Discs", "--split", "val", "--json")
    assert stored.code == 0, stored.err
    assert stored.json["readings"] == 2

    scored = sightline("evaluate", "Discs", "--reader", "small", "--split", "val", "--json")
    assert scored.code == 0, scored.err
    assert (scored.json["n_cases"], scored.json["n_patients"]) == (2, 1)
    assert scored.json["metrics"]["dice"]["ci95"] is None  # one patient gives no interval
    assert len(scored.json["per_case"]) == 2

    exported = sightline(
        "export", "Discs", "--format", "nifti", "--out", out / "n", "--reader", "small", "--json"
    )
    assert exported.code == 0, exported.err
    assert nibabel.load(out / "n" / "disc9.nii.gz").shape[:2] == (SIZE, SIZE)
    assert sightline("export", "Discs", "--format", "csv", "--out", out / "c").code == 0
    assert (out / "c" / "measurements.csv").read_text().count("\n") >= 10

    package = tmp_path / "small.zip"
    assert sightline("models", "export", "small", "--out", package).code == 0
    assert sightline("models", "import", package, "--name", "twin", "--json").json["model"] == "twin"
    assert sightline("models", "show", "small", "--json").json["task"] == "segmentation"
    jobs = sightline("jobs", "--json").json["jobs"]
    assert {job["state"] for job in jobs} == {"done"}


def test_bad_files_are_named_and_the_rest_arrives(sightline: Run, discs: Path) -> None:
    (discs / "images" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 50)
    (discs / "images" / "notes.txt").write_text("no image")
    (discs / "masks" / "nobody.png").write_bytes((discs / "masks" / "disc0.png").read_bytes())
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(discs / "masks" / "disc1.png")
    sightline("project", "create", "Discs", "--labels", "disc")
    done = sightline("import", "Discs", discs / "images", "--labels", discs / "masks", "--json")
    assert done.code == 0, done.err
    assert (done.json["cases"], done.json["readings"]) == (10, 9)
    reasons = {Path(row["path"]).name: row["reason"] for row in done.json["skipped"]}
    assert set(reasons) == {"broken.png", "notes.txt", "nobody.png", "disc1.png"}
    assert all(reason.strip() and "Traceback" not in reason for reason in reasons.values())


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("import", "Nowhere", "."), 1, "Nowhere"),
        (("train", "Empty"), 1, "annotate"),
        (("evaluate", "Empty", "--reader", "x"), 1, "x"),
        (("export", "Empty", "--format", "masks", "--out", "o"), 1, "reference"),
        (("export", "Empty", "--format", "bmp", "--out", "o"), 2, "--format"),
        (("predict", "nomodel", "README.md", "--out", "o"), 1, "nomodel"),
        (("predict", "nomodel"), 2, "--project"),
        (("train", "Empty", "--set", "architectur=Unet"), 1, "architecture"),
        (("train", "Empty", "--set", "encoder=resnet19"), 1, "resnet18"),
        (("train", "Empty", "--preset", "quick"), 1, "balanced"),
        (("project", "create", "Empty", "--labels", "a"), 1, "Empty"),
        (("project", "create", "New", "--task", "dreaming"), 1, "segmentation"),
        (("project", "create", "New"), 1, "--labels"),
        (("split", "Empty", "--val", "0.9", "--test", "0.2"), 2, "train"),
        (("jobs", "show", "99"), 1, "99"),
        (("fly",), 2, "fly"),
    ],
)
def test_one_sentence_and_the_right_exit_code(
    sightline: Run, home: Path, words: tuple[str, ...], code: int, says: str
) -> None:
    with Workspace.open(home) as store:
        store.create_project("Empty", "segmentation", make_labels(["a"]))
    done = sightline(*words)
    assert done.code == code, done.err
    assert says in done.err
    assert "Traceback" not in done.err
    if code == 1:
        assert len(done.err.strip().splitlines()) == 1


def test_doctor_knows_device_versions_and_limits(home: Path) -> None:
    """Started as a terminal does it, and not forked as the commands of the other tests."""
    command = [sys.executable, "-m", "core", "doctor", "--json", "--home", str(home)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=240)
    assert done.returncode == 0, done.stderr
    assert {"device", "versions", "database", "disk_free_gb", "limits"} <= set(json.loads(done.stdout))
