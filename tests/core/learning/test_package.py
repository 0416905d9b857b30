"""A model package appears whole, is checked at each opening, and damaged or foreign ones are refused."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from core.errors import StorageError, WeightsError
from core.learning.package import (
    CARD_NAME,
    FORMAT,
    WEIGHTS_NAME,
    check_weights,
    export_package,
    import_package,
    load_weights,
    read_card,
    write_package,
)

CARD = {
    "task": "segmentation",
    "name": "nuclei",
    "labels": [{"value": 1, "name": "nucleus", "color": "#ffffff"}],
    "spec": {"architecture": "classic_unet"},
    "preprocessing": {},
}


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    shared = torch.randn(3, 4)
    # Transposed, sharing memory and of integer type: all must come back as they were.
    return {"a": shared, "tied": shared, "b": torch.randn(4, 5).T, "count": torch.tensor(7)}


@pytest.fixture
def package(tmp_path: Path, state: dict[str, torch.Tensor]) -> Path:
    write_package(tmp_path / "models" / "nuclei", state, CARD)
    return tmp_path / "models" / "nuclei"


def test_a_package_comes_back_as_written(package: Path, state: dict[str, torch.Tensor]) -> None:
    card = read_card(package, "segmentation")
    assert card["format"] == FORMAT
    assert {key: card[key] for key in CARD} == CARD
    loaded = load_weights(package)
    assert loaded.keys() == state.keys()
    for key, value in state.items():
        assert torch.equal(loaded[key], value)
        assert loaded[key].dtype == value.dtype


def test_nothing_but_the_two_files_remains(package: Path) -> None:
    assert sorted(path.name for path in package.iterdir()) == [CARD_NAME, WEIGHTS_NAME]
    assert [path.name for path in package.parent.iterdir()] == ["nuclei"]


def test_an_older_package_is_replaced_and_other_files_are_not(package: Path) -> None:
    write_package(package, {"a": torch.ones(2)}, CARD)
    assert list(load_weights(package)) == ["a"]
    (package / "notes.txt").write_text("mine")
    with pytest.raises(StorageError, match=r"notes\.txt"):
        write_package(package, {"a": torch.zeros(2)}, CARD)
    assert load_weights(package)["a"].sum() == 2


def test_a_failed_write_leaves_nothing(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_package(tmp_path / "model", state, {**CARD, "metrics": {"dice": float("nan")}})
    assert list(tmp_path.iterdir()) == []


def test_the_card_is_read_without_torch(package: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from core.learning.package import read_card;"
        f"read_card(Path({str(package)!r})); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("position", [-1, 0, 200])
def test_a_flipped_byte_is_seen(package: Path, position: int) -> None:
    path = package / WEIGHTS_NAME
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="damaged"):
        load_weights(package)


def test_a_lying_card_does_not_crash(package: Path) -> None:
    path = package / WEIGHTS_NAME
    path.write_bytes(b"not safetensors")
    import hashlib

    card = json.loads((package / CARD_NAME).read_text())
    card["weights_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (package / CARD_NAME).write_text(json.dumps(card))
    with pytest.raises(WeightsError, match="cannot be read"):
        load_weights(package)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "damaged"),
        ("[]", "no Sightline model"),
        ('{"format": "other/1"}', "no Sightline model"),
        ('{"format": "sightline-model/9"}', "update"),
        ('{"format": "sightline-model/1"}', "lacks 'task'"),
        ('{"format": "sightline-model/1", "task": "segmentation", "labels": {}}', "lacks 'labels'"),
        ("[" * 100_000, "damaged"),
        (b"\xff\xfe\x00", "damaged"),
    ],
)
def test_a_bad_card_is_refused_in_a_sentence(package: Path, content: str | bytes, message: str) -> None:
    (package / CARD_NAME).write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(WeightsError, match=message):
        read_card(package)


def test_other_task_and_missing_folder(package: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="for segmentation, not for detection"):
        read_card(package, "detection")
    with pytest.raises(WeightsError, match="no model package"):
        read_card(tmp_path / "nothing")


def test_export_and_import(package: Path, tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    export_package(package, tmp_path / "out" / "nuclei.zip")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["nuclei.zip"]
    card = import_package(tmp_path / "out" / "nuclei.zip", tmp_path / "imported")
    assert card == read_card(package)
    assert torch.equal(load_weights(tmp_path / "imported")["b"], state["b"])


def _zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("extra", ["../evil", "/etc/evil", "notes.txt", "sub/card.json"])
def test_a_zip_with_anything_else_is_refused(package: Path, tmp_path: Path, extra: str) -> None:
    members = {name: (package / name).read_bytes() for name in (WEIGHTS_NAME, CARD_NAME)}
    bad = _zip(tmp_path / "bad.zip", {**members, extra: b"x"})
    with pytest.raises(WeightsError, match="exactly"):
        import_package(bad, tmp_path / "imported")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.zip", "models"]


def test_bad_zips_are_refused(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = tmp_path / "text.zip"
    text.write_bytes(b"no zip")
    with pytest.raises(WeightsError, match=r"text\.zip"):
        import_package(text, tmp_path / "imported")
    weights = bytearray((package / WEIGHTS_NAME).read_bytes())
    weights[-1] ^= 1
    flipped = _zip(
        tmp_path / "flipped.zip",
        {WEIGHTS_NAME: bytes(weights), CARD_NAME: (package / CARD_NAME).read_bytes()},
    )
    with pytest.raises(WeightsError, match=r"flipped\.zip.*damaged"):
        import_package(flipped, tmp_path / "imported")
    monkeypatch.setattr("core.learning.package.MAX_WEIGHTS_BYTES", 2**10)
    bomb = _zip(tmp_path / "bomb.zip", {WEIGHTS_NAME: bytes(2**20), CARD_NAME: b"{}"})
    with pytest.raises(WeightsError, match="larger"):
        import_package(bomb, tmp_path / "imported")
    assert not (tmp_path / "imported").exists()


def test_check_weights_returns_the_card(package: Path) -> None:
    assert check_weights(package)["name"] == "nuclei"
