"""Which mask belongs to which image: a table of namings people use, and properties."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.readings.match import file_stem, match_by_stem

TABLE = [
    (["001", "002"], ["001.png", "002.png"], "", "", {"001": "001.png", "002": "002.png"}),
    (["img001", "img002"], ["img001_mask.png", "img002_mask.png"], "", "_mask", None),
    (["0001.png", "0002.png"], ["0001_seg.tif", "0002_seg.tif"], "", "_seg", None),
    (["a", "b"], ["a-label.nii.gz", "b-label.nii.gz"], "", "-label", None),
    (["hippocampus_001.nii.gz"], ["labelsTr/hippocampus_001.nii.gz"], "", "", None),
    (["IS_01.jpg", "IS_02.jpg"], ["IS_01_segmentation.png", "IS_02_segmentation.png"], "", "_segmentation", None),
    (["a", "b"], ["mask_a.png", "mask_b.png"], "mask_", "", None),
    (["img_01", "img_02"], ["mask_01.png", "mask_02.png"], "mask_", "", None),
    (["21_training", "22_training"], ["21_manual1.gif", "22_manual1.gif"], "", "_manual1", None),
    (["case_1_0000.nii.gz", "case_2_0000.nii.gz"], ["case_1.nii.gz", "case_2.nii.gz"], "", "", None),
    (["image1", "image2"], ["label1.png", "label2.png"], "label", "", None),
    (["p1/image.nii.gz", "p2/image.nii.gz"], ["p1/label.nii.gz", "p2/label.nii.gz"], "", "", None),
    (["v1.2.840", "v1.2.841"], ["v1.2.840.png", "v1.2.841.png"], "", "", None),
    (["x_mask", "y_mask"], ["x_mask.png", "y_mask.png"], "", "", None),
]  # fmt: skip


@pytest.mark.parametrize(("images", "labels", "prefix", "suffix", "pairs"), TABLE)
def test_namings(
    images: list[str], labels: list[str], prefix: str, suffix: str, pairs: dict[str, str] | None
) -> None:
    result = match_by_stem(images, [Path(label) for label in labels])
    expected = pairs or dict(zip(images, labels, strict=True))
    assert {name: str(path) for name, path in result.pairs.items()} == expected
    assert (result.prefix, result.suffix) == (prefix, suffix)
    assert not result.unmatched_images and not result.unmatched_labels and result.rule


def test_numbers_that_begin_alike_are_not_confused() -> None:
    result = match_by_stem(["img1", "img10", "img100"], [Path("img10.png"), Path("img1.png")])
    assert {k: v.name for k, v in result.pairs.items()} == {"img1": "img1.png", "img10": "img10.png"}
    assert [u.name for u in result.unmatched_images] == ["img100"]


def test_images_and_masks_in_one_folder() -> None:
    result = match_by_stem(["a", "a_mask"], [Path("a_mask.png")])
    assert result.pairs == {"a": Path("a_mask.png")}


def test_ambiguous_and_missing_are_named_with_a_reason() -> None:
    labels = [Path("l/a.png"), Path("l/a.tif"), Path("l/b.png"), Path("l/z.png")]
    result = match_by_stem(["a", "b", "c"], labels)
    assert result.pairs == {"b": Path("l/b.png")}
    reasons = {u.name: u.reason for u in (*result.unmatched_images, *result.unmatched_labels)}
    assert set(reasons) == {"a", "c", "l/a.png", "l/a.tif", "l/z.png"}
    assert "a.png, a.tif" in reasons["a"] and "No label file is called c" in reasons["c"]
    assert all(reason.endswith(".") for reason in reasons.values())


def test_same_name_in_two_folders_is_told_apart_by_folder() -> None:
    images = ["train/1.png", "test/1.png"]
    result = match_by_stem(images, [Path("masks/test/1.png"), Path("masks/train/1.png")])
    assert result.pairs["train/1.png"] == Path("masks/train/1.png") and len(result.pairs) == 2
    twice = match_by_stem(["1", "1"], [Path("1.png")])
    assert not twice.pairs and len(twice.unmatched_images) == 2


def test_nothing_in_common() -> None:
    result = match_by_stem(["anna_1", "anna_2"], [Path("otto_1.png"), Path("otto_2.png")])
    assert not result.pairs and len(result.unmatched_images) == 2 and len(result.unmatched_labels) == 2
    assert match_by_stem([], []).pairs == {}


@pytest.mark.parametrize(
    ("name", "stem"), [("a/b.nii.gz", "b"), ("c.PNG", "c"), ("1.2.3", "1.2.3"), (".png", ".png"), ("d\\e.ome.tif", "e")]
)  # fmt: skip
def test_stems(name: str, stem: str) -> None:
    assert file_stem(name) == stem


NAMES = st.lists(st.from_regex(r"[a-zA-Z0-9]{1,6}([_-][a-zA-Z0-9]{1,5}){0,2}", fullmatch=True), min_size=1, max_size=12, unique=True)  # fmt: skip  # noqa: E501


@given(NAMES, st.sampled_from(["", "_mask", "-seg", ".label", "_gt"]), st.randoms(use_true_random=False))
def test_every_image_finds_its_own_label(names: list[str], suffix: str, random) -> None:
    labels = [Path(f"labels/{name}{suffix}.png") for name in names]
    random.shuffle(labels)
    result = match_by_stem(names, labels)
    assert result.pairs == {name: Path(f"labels/{name}{suffix}.png") for name in names}


@given(NAMES, NAMES)
def test_nothing_is_lost_or_paired_twice(images: list[str], others: list[str]) -> None:
    labels = [Path(f"{name}.png") for name in others]
    result = match_by_stem(images, labels)
    assert len(set(result.pairs.values())) == len(result.pairs)
    assert set(result.pairs) | {u.name for u in result.unmatched_images} == set(images)
    assert {str(p) for p in result.pairs.values()} | {u.name for u in result.unmatched_labels} == {
        str(p) for p in labels
    }


@pytest.mark.parametrize(
    ("folder", "images", "labels", "count"),
    [
        ("seg_nuclei_dsb2018", "images/*.png", "labels/*.png", 166),
        ("seg_us_nerve", "images/*.png", "masks/*.png", 60),
        ("vol_mr_hippocampus", "imagesTr/*.nii.gz", "labelsTr/*.nii.gz", 100),
        ("seg_em_axon", "images/*.png", "masks/*.png", 7),
        ("seg_retina_chase", "images/*.jpg", "masks/*.jpg", 8),
    ],
)
def test_real_sets(shared_data: Path, folder: str, images: str, labels: str, count: int) -> None:
    names = [file_stem(path) for path in sorted((shared_data / folder).glob(images))]
    result = match_by_stem(names, sorted((shared_data / folder).glob(labels)))
    assert len(result.pairs) == count and not result.unmatched_images and not result.unmatched_labels
