"""Every real DICOM file: the stored values equal an independent reading, or one sentence says why not."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from core.imaging.dicom import iter_dicom_images
from core.imaging.found import Found
from core.settings import Settings

NO_IMAGE = "is a DICOM object without an image in it"
NO_DICOM = "is not a DICOM file"
DISC = "is the index of a DICOM disc"
MARKS = "is a DICOM segmentation, which marks other images"
PLAN = "is a radiotherapy plan"
REPORT = "is a structured report"
REFUSED = {
    "dicom_pydicom/ExplVR_BigEndNoMeta.dcm": PLAN,
    "dicom_pydicom/ExplVR_LitEndNoMeta.dcm": PLAN,
    "dicom_pydicom/JPEG2000-embedded-sequence-delimiter.dcm": "hides a picture of 1024 x 3722445056 pixels",
    "dicom_pydicom/MR_truncated.dcm": "is cut short",
    "dicom_pydicom/UN_sequence.dcm": NO_IMAGE,
    "dicom_pydicom/badVR.dcm": "gives '1A' as its number of frames",
    "dicom_pydicom/crayons.icc": "damaged, cut short or of an unknown kind",
    "dicom_pydicom/dicomdirtests/DICOMDIR": DISC,
    "dicom_pydicom/dicomdirtests/DICOMDIR-bigEnd": DISC,
    "dicom_pydicom/dicomdirtests/DICOMDIR-empty.dcm": DISC,
    "dicom_pydicom/dicomdirtests/DICOMDIR-implicit": DISC,
    "dicom_pydicom/dicomdirtests/DICOMDIR-nooffset": DISC,
    "dicom_pydicom/dicomdirtests/DICOMDIR-nopatient": DISC,
    "dicom_pydicom/dicomdirtests/DICOMDIR-reordered": DISC,
    "dicom_pydicom/dicomdirtests/TINY_ALPHA/DICOMDIR": DISC,
    "dicom_pydicom/empty_charset_LEI.dcm": NO_IMAGE,
    "dicom_pydicom/liver_1frame.dcm": MARKS,
    "dicom_pydicom/liver_expb_1frame.dcm": MARKS,
    "dicom_pydicom/meta_missing_tsyntax.dcm": NO_IMAGE,
    "dicom_pydicom/nested_priv_SQ.dcm": NO_IMAGE,
    "dicom_pydicom/no_meta.dcm": NO_DICOM,  # a stray byte stands before everything
    "dicom_pydicom/no_meta_group_length.dcm": NO_IMAGE,
    "dicom_pydicom/priv_SQ.dcm": NO_IMAGE,
    "dicom_pydicom/reportsi.dcm": REPORT,
    "dicom_pydicom/reportsi_with_empty_number_tags.dcm": REPORT,
    "dicom_pydicom/rtplan.dcm": PLAN,
    "dicom_pydicom/rtplan_truncated.dcm": PLAN,
    "dicom_pydicom/rtstruct.dcm": "is a set of radiotherapy contours",
    "dicom_pydicom/test-SR.dcm": REPORT,
    "dicom_pydicom/waveform_ecg.dcm": "is a waveform",
    "dicom_pydicom/zipMR.gz": NO_DICOM,
    "dicom_seg_dcmqi/23x38x3/seg/label.seg": MARKS,
    "dicom_seg_dcmqi/24x38x3/seg/label.seg": MARKS,
    "dicom_seg_dcmqi/liver.dcm": MARKS,
    "dicom_seg_dcmqi/partial_overlaps.dcm": MARKS,
    "dicom_seg_dcmqi/sparse-labelmap-noppv.dcm": MARKS,
    "dicom_seg_dcmqi/sparse-labelmap-ppv5.dcm": MARKS,
}
NO_IMAGE_FOLDER = "dicom_pydicom/dicomdirtests/TINY_ALPHA/PT000000/"  # 50 files whose pixels were cut out
# Lossy JPEG of 12 bits: the index was made with a decoder whose inverse transform rounds otherwise. Ours is equal
# to GDCM's and SimpleITK's; each of its values lies within 1 of the index's, and its sentence says so.
WITHIN_ONE = "dicom_pydicom/JPGExtended.dcm"
# The reader that the index was made with gave up on this one; it shows the same picture as JPGExtended.
ONLY_HERE = {"dicom_pydicom/JPEG-lossy.dcm": (0, 264)}


def look_at(path: Path) -> tuple[list[Found], list[str]]:
    items = list(iter_dicom_images([path], "salt", Settings(), with_facts=True))
    found = [item for item in items if isinstance(item, Found)]
    return found, [item.reason for item in items if not isinstance(item, Found)]


def index_rows(shared_data: Path) -> list[dict[str, str]]:
    with open(shared_data / "dicom_index.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_every_file_equals_the_independent_reading_or_is_refused_in_the_sentence_it_should(shared_data):
    equal = refused = 0
    for row in index_rows(shared_data):
        name = row["file"]
        found, reasons = look_at(shared_data / name)
        if name in REFUSED or name.startswith(NO_IMAGE_FOLDER):
            assert not found, name
            assert REFUSED.get(name, NO_IMAGE) in reasons[0], (name, reasons)
            assert len(reasons) == 1 and reasons[0].endswith("."), name
            refused += 1
            continue
        (image,) = found
        assert reasons == [], name
        facts = image.stored
        if name in ONLY_HERE:
            assert (facts.low, facts.high) == ONLY_HERE[name]
            continue
        assert "x".join(map(str, facts.shape)) == row["shape"], name
        assert (facts.dtype, str(facts.low), str(facts.high)) == (row["dtype"], row["min"], row["max"]), name
        if name == WITHIN_ONE:
            assert "differ by up to 1" in image.image.info.warnings[0]
            continue
        assert facts.sha256[:16] == row["sha256_pixels"], name
        equal += 1
    assert (equal, refused) == (114, len(REFUSED) + 50)


def test_twelve_bit_lossy_jpeg_equals_simpleitk(shared_data):
    sitk = pytest.importorskip("SimpleITK")
    path = shared_data / WITHIN_ONE
    (image,), _ = look_at(path)
    assert np.array_equal(image.image.array, sitk.GetArrayFromImage(sitk.ReadImage(str(path)))[0])


def test_no_dicom_file_of_the_samples_is_left_out_of_the_table(shared_data):
    named = {row["file"] for row in index_rows(shared_data)}
    assert set(REFUSED) | {WITHIN_ONE} | set(ONLY_HERE) <= named
    assert sum(name.startswith(NO_IMAGE_FOLDER) for name in named) == 50
