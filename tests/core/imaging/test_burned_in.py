"""Warnings about pixels: said where they are due, on real pictures, and hardly ever where not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PilImage
from PIL import ImageDraw, ImageFont
from pydicom.dataset import Dataset

from core.imaging.burned_in import MIN_LETTERS, count_letters, header_warnings, pixel_warnings
from core.types import Image, ImageInfo
from tests.conftest import SHARED_DATA

DATA = SHARED_DATA
WORDS = "DOE, JANE 12.03.1960"


@pytest.mark.parametrize(
    ("fields", "slices", "says"),
    [
        ({"Modality": "US"}, 1, ["Ultrasound"]),
        ({"Modality": "US", "BurnedInAnnotation": "NO"}, 1, []),
        ({"Modality": "CT", "BurnedInAnnotation": "YES"}, 1, ["says that text"]),
        ({"Modality": "CT", "ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, 1, ["Screen"]),
        ({"Modality": "MR", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, 1, ["Secondary"]),
        ({"Modality": "CR", "ConversionType": "DF"}, 1, ["films"]),
        ({"Modality": "XA"}, 30, ["Angiography"]),
        ({"Modality": "CT"}, 100, []),
        ({"Modality": "MR", "BodyPartExamined": "BRAIN"}, 100, ["face"]),
        ({"Modality": "CT", "BodyPartExamined": "HEADNECK"}, 100, ["face"]),
        ({"Modality": "MR", "BodyPartExamined": "BRAIN"}, 3, []),
        ({"Modality": "MR", "BodyPartExamined": "KNEE"}, 100, []),
        ({"Modality": "MR", "BodyPartExamined": "HEAD", "RecognizableVisualFeatures": "NO"}, 100, []),
        ({"Modality": "OT", "RecognizableVisualFeatures": "YES", "BurnedInAnnotation": "NO"}, 1, ["face"]),
    ],
)
def test_what_headers_say(fields: dict[str, object], slices: int, says: list[str]) -> None:
    dataset = Dataset()
    for keyword, value in fields.items():
        setattr(dataset, keyword, value)
    found = header_warnings(dataset, slices)
    assert len(found) == len(says)
    assert all(word in sentence for word, sentence in zip(says, found, strict=True))


def with_words(plane: np.ndarray, size: int, at: tuple[int, int] = (6, 6)) -> np.ndarray:
    picture = PilImage.fromarray(plane)
    ImageDraw.Draw(picture).text(at, WORDS, fill=int(plane.max()), font=ImageFont.load_default(size))
    return np.asarray(picture)


def grey(path: Path) -> np.ndarray:
    return np.asarray(PilImage.open(path).convert("L"))


@pytest.mark.parametrize("size", [12, 16, 24])
@pytest.mark.parametrize("scale", [1, 257, -3.5])
def test_print_on_a_dark_corner_is_seen(size: int, scale: float) -> None:
    rng = np.random.default_rng(size)
    y, x = np.mgrid[:256, :320]
    fan = (60 + 40 * np.sin(x / 9) + rng.normal(0, 12, x.shape)).clip(0, 255) * (y > 60)
    fan[200, 200] = 255
    plane = fan.astype(np.uint8)
    written = with_words(plane, size)
    as_stored = written * np.float32(scale) if scale > 0 else written * np.float32(-scale) - 1000
    assert count_letters(plane) == 0
    assert count_letters(as_stored) >= MIN_LETTERS


@pytest.mark.parametrize("kind", ["flat", "noise", "spots", "lines", "nan", "tiny", "huge"])
def test_pictures_without_print(kind: str) -> None:
    rng = np.random.default_rng(0)
    plane = np.zeros((128, 128), np.float32)
    if kind == "noise":
        plane = rng.normal(0, 1, (256, 256)).astype(np.float32)
    elif kind == "spots":
        plane[rng.integers(0, 128, 900), rng.integers(0, 128, 900)] = 255
    elif kind == "lines":
        plane[::9] = 255
    elif kind == "nan":
        plane[:] = np.nan
    elif kind == "tiny":
        plane = np.ones((1, 1), np.float32)
    elif kind == "huge":
        plane = rng.integers(0, 255, (5000, 300), dtype=np.uint8).astype(np.float32)
    assert count_letters(plane) == 0


def test_colour_and_clips_are_looked_at() -> None:
    plane = with_words(
        np.full((100, 300), 20, np.uint8) + np.eye(100, 300, dtype=np.uint8) * 235, 16, (120, 6)
    )
    clip = np.stack([np.repeat(plane[..., None], 3, axis=2)] * 2)
    said = pixel_warnings(Image(clip, ImageInfo("tyxc", clip.shape, "uint8")))
    assert len(said) == 1 and "printed text" in said[0]


@pytest.mark.skipif(not DATA.is_dir(), reason="the development data are not here")
def test_real_pictures() -> None:
    """Chest films with printed words, found by looking at them; no other picture of six sets is named."""
    printed = {"436a6348.png", "865336ed.png", "a4318ac9.png", "b343e657.png", "bd3ceeb6.png"}
    films = sorted(DATA.glob("cls_cxr_projection/**/*.png"))
    assert {path.name for path in films if count_letters(grey(path)) >= MIN_LETTERS} == printed
    others = [
        path
        for pattern in (
            "seg_us_nerve/images/*.png",
            "seg_nuclei_dsb2018/images/*.png",
            "det_bccd/images/*.jpg",
        )
        for path in sorted(DATA.glob(pattern))[:40]
    ]
    assert len(others) == 120
    assert [path.name for path in others if count_letters(grey(path)) >= MIN_LETTERS] == []
    scans = sorted(DATA.glob("seg_us_nerve/images/*.png"))[:20]
    seen = sum(count_letters(with_words(grey(path), 12)) >= MIN_LETTERS for path in scans)
    assert seen >= 17  # print over bright tissue may be missed
