"""Whole slides against OpenSlide and tifffile: levels, regions, sizes, and what is kept of their files."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile

from core.errors import FileRefused
from core.imaging.formats import recognise
from core.imaging.found import Found
from core.imaging.originals import write_original
from core.imaging.readers import read_images
from core.imaging.slide_openslide import opened_openslide
from core.imaging.slide_tiff import opened_tiff_slide
from core.imaging.slides import open_slide, read_slide, slide_level_count, slide_tile
from core.imaging.tiles import box_mean
from core.settings import Settings
from tests.core.imaging.slide_files import CANARY, LABEL_VALUE, MACRO_VALUE, picture, write_pyramid, write_svs

SETTINGS = Settings()
REGIONS = ((0, 0, 300, 200), (250, 250, 20, 30), (690, 480, 50, 15), (100, 3, 400, 300))


def test_real_slide_equals_openslide_and_tifffile(shared_data: Path) -> None:
    path = shared_data / "wsi_openslide" / "CMU-1-Small-Region.svs"
    assert recognise(path) == "slide"
    found = read_slide(path, SETTINGS)
    info = found.image.info
    assert (found.name, info.layout, info.shape, info.modality) == (
        "CMU-1-Small-Region",
        "yxc",
        (2967, 2220, 3),
        "SM",
    )
    assert info.spacing_mm == pytest.approx((0.000499, 0.000499))
    assert info.metadata["objective_power"] == "20" and info.metadata["slide_vendor"] == "aperio"
    assert "b414003d" not in str(info) and info.warnings == () and found.original is None
    assert np.array_equal(found.image.array, tifffile.imread(path))
    theirs = openslide.OpenSlide(path)
    for opened in (opened_openslide, opened_tiff_slide):
        with opened(path) as slide:
            assert [(level.width, level.height) for level in slide.levels] == list(theirs.level_dimensions)
            assert slide.mm_per_pixel == pytest.approx((0.000499, 0.000499)) and slide.objective_power == 20
            for x, y, width, height in REGIONS:
                region = np.asarray(theirs.read_region((x, y), 0, (width, height)))
                assert np.array_equal(slide.read_region(0, x, y, width, height), region[..., :3])


def test_levels_and_regions_of_both_libraries_agree(tmp_path: Path) -> None:
    write_svs(tmp_path / "a.svs", picture())
    theirs = openslide.OpenSlide(tmp_path / "a.svs")
    with opened_openslide(tmp_path / "a.svs") as ours, opened_tiff_slide(tmp_path / "a.svs") as plain:
        for number, (width, height) in enumerate(theirs.level_dimensions):
            assert (ours.levels[number].width, plain.levels[number].height) == (width, height)
            for x, y, wide, high in REGIONS:
                corner = tuple(round(n * theirs.level_downsamples[number]) for n in (x, y))
                region = np.asarray(theirs.read_region(corner, number, (wide, high)))[..., :3]
                assert np.array_equal(ours.read_region(number, x, y, wide, high), region)
                exact = plain.read_region(number, x, y, wide, high)
                difference = np.abs(exact.astype(int) - region)
                assert difference.max() == 0 if number == 0 or (x, y) == (0, 0) else difference.mean() < 1


def test_a_level_within_the_limit_is_taken_and_said(tmp_path: Path) -> None:
    write_svs(tmp_path / "a.svs", picture())
    found = read_slide(tmp_path / "a.svs", Settings(max_slide_pixels=10**6))
    info = found.image.info
    assert info.shape == (500, 750, 3)
    assert info.spacing_mm == pytest.approx((0.25e-3 * 2003 / 500, 0.25e-3 * 3001 / 750))
    assert "10x instead of 40x" in info.warnings[0] and "is kept with the case" in info.warnings[0]
    with tifffile.TiffFile(tmp_path / "a.svs") as file:
        level = file.series[0].levels[1].asarray()
    assert np.array_equal(found.image.array, level.reshape(500, 750, 3))
    smaller = read_slide(tmp_path / "a.svs", Settings(max_slide_pixels=10**5)).image
    assert np.array_equal(smaller.array, box_mean(found.image.array, 2))
    assert "5x instead of 40x" in smaller.info.warnings[0]


@pytest.mark.parametrize("form", ["pages", "inside", "ome", "grey16", "float"])
def test_pyramids_of_any_make_are_exact(tmp_path: Path, form: str) -> None:
    base = picture()
    base = base[..., 0].astype(np.uint16) * 200 if form == "grey16" else base
    base = base[..., 0].astype(np.float32) / 3 if form == "float" else base
    path = tmp_path / "a.tif"
    levels = write_pyramid(path, base, in_page=form in ("inside", "ome"), ome=form == "ome")
    assert recognise(path) == "slide"
    with open_slide(path) as slide:
        assert slide.mm_per_pixel == pytest.approx((0.0005, 0.0005))
        for number, level in enumerate(levels):
            height, width = level.shape[:2]
            assert np.array_equal(slide.read_region(number, 0, 0, width, height), level)
            part = slide.read_region(number, 13, 17, min(300, width - 13), min(200, height - 17))
            assert np.array_equal(part, level[17:217, 13:313])
    found = read_slide(path, Settings(max_slide_pixels=2 * 10**6))
    assert np.array_equal(found.image.array, levels[1])
    assert found.original is not None
    write_original(found.original, tmp_path / "kept.tif")
    assert CANARY.encode() not in (tmp_path / "kept.tif").read_bytes()
    with open_slide(tmp_path / "kept.tif") as kept:
        for number, level in enumerate(levels):
            assert np.array_equal(kept.read_region(number, 0, 0, *level.shape[1::-1]), level)


def test_the_kept_file_names_nobody_and_has_no_label(tmp_path: Path) -> None:
    path = tmp_path / "a.svs"
    write_svs(path, picture())
    assert CANARY.encode() in path.read_bytes()
    original = read_slide(path, Settings(max_slide_pixels=10**6)).original
    assert original is not None
    kept = tmp_path / "kept.svs"
    digest = write_original(original, kept)
    assert len(digest) == 64 and kept.stat().st_size == path.stat().st_size
    data = kept.read_bytes()
    for secret in (
        CANARY.encode(),
        b"12/29/09",
        b"2009:12:29",
        bytes([LABEL_VALUE] * 30),
        bytes([MACRO_VALUE] * 30),
    ):
        assert secret in path.read_bytes() and secret not in data
    theirs = openslide.OpenSlide(kept)
    assert CANARY not in str(dict(theirs.properties))
    with opened_openslide(path) as before, opened_openslide(kept) as after, opened_tiff_slide(kept) as plain:
        assert (after.levels, after.mm_per_pixel, after.objective_power) == (
            before.levels, before.mm_per_pixel, before.objective_power,
        )  # fmt: skip
        for number, level in enumerate(before.levels):
            whole = before.read_region(number, 0, 0, level.width, level.height)
            assert np.array_equal(after.read_region(number, 0, 0, level.width, level.height), whole)
            assert np.array_equal(plain.read_region(number, 0, 0, level.width, level.height), whole)
    with tifffile.TiffFile(kept) as file:
        for page in file.pages[3:]:
            assert not page.asarray().any()


def test_tiles_of_a_slide_come_from_its_levels(tmp_path: Path) -> None:
    levels = write_pyramid(tmp_path / "a.tif", picture(2048, 3072))
    with open_slide(tmp_path / "a.tif") as slide:
        assert slide_level_count(slide) == 5
        assert np.array_equal(slide_tile(slide, 0, 3, 2), levels[0][768:1024, 512:768])
        assert np.array_equal(slide_tile(slide, 1, 1, 2), levels[1][256:512, 512:768])
        smallest = slide_tile(slide, 4, 0, 0)
        assert smallest.shape == (128, 192, 3)
        assert np.abs(smallest.astype(int) - box_mean(levels[0], 16)).max() <= 3
        with pytest.raises(ValueError, match="no tile"):
            slide_tile(slide, 5, 0, 0)
        with pytest.raises(ValueError, match="no tile"):
            slide_tile(slide, 0, 8, 0)


def test_a_huge_image_without_levels_is_averaged_down_while_it_is_read(tmp_path: Path) -> None:
    tiles = (np.full((512, 512), 10 * (number % 20), np.uint8) for number in range(24 * 24))
    path = tmp_path / "huge.tif"
    tifffile.imwrite(
        path, tiles, shape=(12288, 12288), dtype=np.uint8, tile=(512, 512), photometric="minisblack"
    )
    assert recognise(path) == "slide"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = read_slide(path, Settings(max_slide_pixels=10**7))
    assert found.image.info.shape == (3072, 3072)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150_000  # kB
    assert (found.image.array[::128, ::128].ravel() == [10 * (number % 20) for number in range(576)]).all()


def test_a_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    tiles = (np.zeros((1024, 1024), np.uint8) for _ in range(12 * 12))
    path = tmp_path / "bomb.tif"
    tifffile.imwrite(
        path, tiles, shape=(12288, 12288), dtype=np.uint8, tile=(1024, 1024), photometric="minisblack",
        compression="zlib",
    )  # fmt: skip
    assert recognise(path) == "slide"
    with pytest.raises(FileRefused, match="cannot be"):
        read_slide(path, SETTINGS)


@pytest.mark.parametrize("name", ["a.svs", "a.tif"])
def test_damaged_slides_are_refused_or_read_as_they_were(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_svs(path, picture(1000, 1200)) if name == "a.svs" else write_pyramid(path, picture(2100, 2300))
    whole, expected = path.read_bytes(), read_slide(path, SETTINGS).image.array
    refusals = 0
    for cut in np.linspace(9, len(whole) - 9, 24).astype(int):
        path.write_bytes(whole[:cut])
        try:
            kind = recognise(path)
            assert kind in ("slide", "raster")
            (found,) = read_images(path, kind, SETTINGS)
            assert isinstance(found, Found) and np.array_equal(found.image.array, expected)
        except FileRefused as error:
            assert str(error).endswith(".")
            refusals += 1
    assert refusals >= 20


def test_without_openslide_aperio_is_read_and_others_get_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_svs(tmp_path / "a.svs", picture(1000, 1200))
    with_it = read_slide(tmp_path / "a.svs", SETTINGS).image
    monkeypatch.setitem(sys.modules, "openslide", None)
    without = read_slide(tmp_path / "a.svs", SETTINGS).image
    assert np.array_equal(with_it.array, without.array) and with_it.info == without.info
    (tmp_path / "b.mrxs").write_bytes(b"\xff\xd8\xff\xe0 a picture of the label")
    assert recognise(tmp_path / "b.mrxs") == "slide"
    with pytest.raises(FileRefused, match=r"b\.mrxs is a whole slide .*sightline\[slides\]"):
        read_slide(tmp_path / "b.mrxs", SETTINGS)
    monkeypatch.undo()
    with pytest.raises(FileRefused, match="damaged or no slide"):
        read_slide(tmp_path / "b.mrxs", SETTINGS)
