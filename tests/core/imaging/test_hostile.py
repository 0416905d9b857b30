"""Files made to do harm: the process lives, nothing hangs or grows, a sentence names each, nothing is left behind."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from core.imaging.found import Found, Skipped
from core.imaging.scan import scan
from core.settings import Settings
from tests.core.imaging import bombs
from tests.core.imaging.watching import Watching

SETTINGS = Settings()
HANG_SECONDS = 20.0
GROWTH_MB = 200.0
ODD_NAMES = (
    "a\nb.png", "tab\t\x1b[2J\x07.png", "\u202egnp.exe.png", "\U0001f9e0 scan.png", "é" * 100 + ".png",
    "n" * 251 + ".png", " .png", "a..png", "-rf.png", "$(reboot).png", "a'b\"c.png", "%s%n.png", "con.png",
    "\u2028line.png",
)  # fmt: skip


def cases(makes: dict[str, bombs.Make]) -> list[object]:
    """Return one test parameter for each maker, named."""
    return [pytest.param(make, id=name) for name, make in makes.items()]


def look(path: Path, work: Path) -> tuple[list[Found], list[Skipped]]:
    """Scan one path; whatever comes of it, it costs little, each result is sound, nothing is left of the pixels."""
    with Watching() as watching:
        items = list(scan([path], work, "salt", SETTINGS))
    assert watching.cost.seconds < HANG_SECONDS
    assert watching.cost.growth_mb < GROWTH_MB
    assert watching.cost.decoder_mb < (SETTINGS.decoder_memory_bytes + 2**28) / 2**20
    for item in items:
        assert item.source.isprintable() or "\ufffd" in item.source or "\u200d" in item.source
        if isinstance(item, Skipped):
            assert_sentence(item.reason)
        else:
            assert min(item.image.array.shape) > 0
    assert list(work.glob("pixels-*")) == []
    found = [item for item in items if isinstance(item, Found)]
    return found, [item for item in items if isinstance(item, Skipped)]


def assert_sentence(reason: str) -> None:
    """Assert that a reason is for people: one line, not too long, no talk of programmers."""
    assert reason.endswith(".") and len(reason) < 500, reason
    assert not any(word in reason for word in ("\n", "Traceback", "Error(", "Exception", "0x", "NoneType")), (
        reason
    )


@pytest.mark.parametrize("make", cases(bombs.DICOM | bombs.NIFTI | bombs.PICTURES))
def test_refused_in_a_sentence_that_names_it(tmp_path: Path, make: bombs.Make) -> None:
    path = make(tmp_path)
    found, skipped = look(path, tmp_path / "work")
    assert found == []
    assert [item.source for item in skipped] == [path.name]
    assert path.name in skipped[0].reason


EITHER = bombs.DICOM_EITHER | bombs.DICOM_NUMBERS | bombs.NIFTI_NUMBERS | bombs.PICTURES_EITHER


@pytest.mark.parametrize("make", cases(EITHER))
def test_an_image_or_a_sentence(tmp_path: Path, make: bombs.Make) -> None:
    path = make(tmp_path)
    found, skipped = look(path, tmp_path / "work")
    assert [item.source for item in [*found, *skipped]] == [path.name]
    for item in found:
        spacing = item.image.info.spacing_mm
        assert spacing is None or all(0 < step < 1e6 for step in spacing)


@pytest.mark.parametrize("make", cases(bombs.ZIPS))
def test_archives_that_are_refused(tmp_path: Path, make: bombs.Make) -> None:
    (tmp_path / "in").mkdir()
    path = make(tmp_path / "in")
    found, skipped = look(path, tmp_path / "a" / "work")
    assert found == []
    assert [item.source for item in skipped] == [path.name]
    assert path.name in skipped[0].reason
    assert_nothing_left(tmp_path, path)


def assert_nothing_left(folder: Path, archive: Path) -> None:
    """Assert that a refused archive wrote no file, neither where it was told to nor anywhere near."""
    left = {path for path in folder.rglob("*") if path.is_file()}
    assert left == {archive}
    assert not Path("/tmp/evil.png").exists()


@pytest.mark.parametrize("make", cases(bombs.ZIPS_EITHER))
def test_archives_whose_members_are_images_or_named(tmp_path: Path, make: bombs.Make) -> None:
    path = make(tmp_path)
    found, skipped = look(path, tmp_path / "work")
    assert all(item.source.startswith(path.name) for item in [*found, *skipped])
    assert len(found) <= 2


@pytest.fixture
def knows_tar(tmp_path: Path) -> None:
    """Skip where archives are zip only."""
    (tmp_path / "good").mkdir()
    if not look(bombs.GOOD_TAR(tmp_path / "good"), tmp_path / "good" / "work")[0]:
        pytest.skip("tar archives are not read")


@pytest.mark.usefixtures("knows_tar")
@pytest.mark.parametrize("make", cases(bombs.TARS | bombs.TARS_EITHER))
def test_tar_archives(tmp_path: Path, make: bombs.Make) -> None:
    (tmp_path / "in").mkdir()
    path = make(tmp_path / "in")
    found, skipped = look(path, tmp_path / "work")
    assert all(item.source.startswith(path.name) for item in [*found, *skipped])
    if make in bombs.TARS.values():
        assert found == [] and skipped
    assert not Path("/tmp/evil.png").exists() and not list(tmp_path.rglob("evil.png"))
    unpacked = list((tmp_path / "work").rglob("*"))
    assert not any(path.is_symlink() or not (path.is_file() or path.is_dir()) for path in unpacked)


def test_names_that_are_no_words(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ODD_NAMES:
        (folder / name).write_bytes(bombs.GOOD_PNG)
    with open(os.fsencode(folder) + b"/half\xff\xfe.png", "wb") as file:  # a name that is no UTF-8
        file.write(bombs.GOOD_PNG)
    (folder / "bad\n\u202e.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    found, skipped = look(folder, tmp_path / "work")
    assert len(found) == len(ODD_NAMES) + 1
    for item in found:
        item.source.encode("utf-8")
        item.name.encode("utf-8")
        assert not any(letter in item.source + item.name for letter in "\n\t\x1b\u202e\u2028")
    assert [item.source for item in skipped] == ["in/bad\ufffd\ufffd.png"]


def test_what_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    os.mkfifo(folder / "pipe.png")
    (folder / "zero.png").symlink_to("/dev/zero")
    (folder / "random.dcm").symlink_to("/dev/urandom")
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "circle").symlink_to(folder)
    (folder / "good.png").write_bytes(bombs.GOOD_PNG)
    monkeypatch.chdir(folder)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.png")
        found, skipped = look(folder, tmp_path / "work")
    assert [item.source for item in found] == ["in/good.png"]
    assert sorted(item.source for item in skipped) == [
        f"in/{name}" for name in ("circle", "loop.png", "pipe.png", "random.dcm", "socket.png", "zero.png")
    ]
    for name in ("pipe.png", "zero.png", "loop.png"):
        found, skipped = look(folder / name, tmp_path / "work")
        assert found == [] and [item.source for item in skipped] == [name]


def test_files_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "locked.png"
    path.write_bytes(bombs.GOOD_PNG)
    path.chmod(0)
    found, skipped = look(path, tmp_path / "work")
    if os.geteuid() != 0:
        assert found == [] and "may not be read" in skipped[0].reason


def test_a_good_file_after_each_bad_one(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    made = [make(folder) for make in [*bombs.PICTURES.values()]]
    for path in made:
        (folder / f"{path.name}.good.png").write_bytes(bombs.GOOD_PNG)
    found, skipped = look(folder, tmp_path / "work")
    assert len(found) == len(made) == len(skipped)


@pytest.mark.slow
def test_work_without_end_is_stopped(tmp_path: Path) -> None:
    path = tmp_path / "scans.jpg"
    path.write_bytes(bombs.many_scans())
    _, skipped = look(path, tmp_path / "work")
    assert "took longer" in skipped[0].reason or "took too much time" in skipped[0].reason
