"""Series: headers read fast are headers read fully; what does not belong together is told apart and said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless, generate_uid

from core.imaging import dicom_series
from core.imaging.dicom import read_dicom_series
from core.imaging.dicom_elements import read_elements, tag_of
from core.imaging.dicom_header import read_header, series_key
from core.imaging.dicom_pixels import Part
from core.imaging.dicom_series import HeaderReader, Slice
from core.imaging.found import Found
from core.settings import Settings
from tests.core.imaging.dicom_files import SERIES, build, place, save

SETTINGS = Settings()
SOME = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def read(paths: list[Path]) -> list[Found]:
    return read_dicom_series(paths, "salt", SETTINGS)


def plain(item: Slice | Part) -> tuple:
    """Return what must not depend on the way a header was read."""
    assert isinstance(item, Slice)
    header = item.part.header
    rest = (item.plane, item.series, item.uid, item.taken, item.is_localizer)
    return (header.path, header.layout, item.part.plan, *rest)


def undefined_length(dataset: Dataset) -> None:
    """Give a series of nested items, all of undefined length, as many archives write them."""
    inner, outer = Dataset(), Dataset()
    inner.CodeValue, inner.CodeMeaning = "1", "x"
    outer.PurposeOfReferenceCodeSequence = Sequence([inner])
    outer.ReferencedSOPInstanceUID = "1.2.3"
    dataset.ReferencedImageSequence = Sequence([outer, outer])
    for sequence in (dataset, outer):
        for element in sequence:
            if element.VR == "SQ":
                element.is_undefined_length = True
                for item in element.value:
                    item.is_undefined_length_sequence_item = True


def texts(low: float, high: float) -> st.SearchStrategy[str]:
    return st.floats(low, high).map(lambda number: f"{number:.6g}")


@SOME
@given(st.data(), st.sampled_from([ImplicitVRLittleEndian, ExplicitVRLittleEndian, RLELossless]))
def test_headers_read_fast_equal_those_read_fully(tmp_path, data, syntax):
    paths = []
    for number in range(3):
        dataset = build(np.full((3, 4), number, np.int16), InstanceNumber=number)
        place(dataset, (1, 2, 3))
        dataset.ImagePositionPatient = data.draw(st.lists(texts(-1e3, 1e3), min_size=3, max_size=3))
        for keyword in ("RescaleSlope", "RescaleIntercept"):
            if data.draw(st.booleans()):
                setattr(dataset, keyword, data.draw(texts(0.5, 9)))
        for keyword in ("AcquisitionNumber", "EchoNumbers", "TemporalPositionIdentifier"):
            setattr(dataset, keyword, data.draw(st.sampled_from([None, 1, 7, "", [1, 2]])))
        dataset.ImageType = data.draw(st.sampled_from([["ORIGINAL", "PRIMARY"], ["A", "B", "LOCALIZER"]]))
        dataset.PatientID = data.draw(st.sampled_from(["A", "A^B \\C", "  x", ""]))
        if data.draw(st.booleans()):
            undefined_length(dataset)
        if data.draw(st.booleans()):
            dataset.add_new(0x00091001, "OB", bytes(data.draw(st.sampled_from([0, 20_000, 400_000]))))
        if syntax == RLELossless:
            dataset.compress(syntax, encoding_plugin="pydicom")
        else:
            dataset.file_meta.TransferSyntaxUID = syntax
        paths.append(save(dataset, tmp_path / f"{number}.dcm"))
    reader = HeaderReader(SETTINGS)
    fast = [plain(reader.read(path)) for path in paths]
    fully = [plain(HeaderReader(SETTINGS).read(path)) for path in paths]
    assert fast == fully
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dicom_series, "read_elements", lambda *_: None)
        assert fast == [plain(HeaderReader(SETTINGS).read(path)) for path in paths]


def test_only_the_first_of_files_alike_is_parsed_fully(tmp_path, monkeypatch):
    paths = []
    for number in range(20):
        dataset = place(build(np.full((3, 4), number, np.int16), InstanceNumber=number), (0, 0, number))
        paths.append(save(dataset, tmp_path / f"{number}.dcm"))
    parsed = []
    monkeypatch.setattr(
        dicom_series, "read_header", lambda path, s: parsed.append(path) or read_header(path, s)
    )
    (found,) = read(paths)
    assert parsed == paths[:1]
    assert found.image.array[:, 0, 0].tolist() == list(range(20))
    assert found.files == tuple(paths)


def test_real_headers_read_fast_equal_those_read_fully(shared_data):
    for folder in (
        "dicom_ct_series_torchio",
        "dicom_seg_dcmqi/ct-3slice",
        "dicom_pydicom/dicomdirtests/98892003/MR700",
    ):
        paths = [path for path in sorted((shared_data / folder).iterdir()) if path.name != "LICENSE"]
        reader = HeaderReader(SETTINGS)
        assert [plain(reader.read(p)) for p in paths] == [
            plain(HeaderReader(SETTINGS).read(p)) for p in paths
        ]


def test_elements_of_every_sample_equal_pydicoms(shared_data):
    import pydicom

    wanted = {
        tag_of(tag): tag for tag in (0x00080018, 0x00080060, 0x0020000E, 0x00280010, 0x00100020, 0x00080008)
    }
    seen = 0
    for path in sorted((shared_data / "dicom_pydicom").glob("*.dcm")):
        elements = read_elements(path, wanted)
        if elements is None:
            continue
        dataset = pydicom.dcmread(path, stop_before_pixels=True)
        seen += 1
        assert elements.syntax == dataset.file_meta.TransferSyntaxUID
        assert {wanted[tag] for tag in elements.values} == {tag for tag in wanted.values() if tag in dataset}
        for written, tag in wanted.items():
            if tag in dataset:
                raw = dataset.get_item(tag).value or b""
                assert elements.values[written] == raw, (path.name, hex(tag))
    assert seen > 40


def test_series_key_is_the_same_either_way(tmp_path, monkeypatch, shared_data):
    from core.imaging import dicom_header

    paths = [
        path
        for path in (shared_data / "dicom_pydicom").rglob("*")
        if path.is_file() and path.suffix != ".json"
    ]

    def keys() -> list[str]:
        found = []
        for path in sorted(paths):
            try:
                found.append(series_key(path))
            except Exception as error:  # noqa: BLE001 - whatever is raised must be the same
                found.append(type(error).__name__)
        return found

    fast = keys()
    monkeypatch.setattr(dicom_header, "read_elements", lambda *_: None)
    assert fast == keys()


def series(folder: Path, values: list[int], **fields) -> list[Path]:
    """Write slices at the heights given by their values."""
    paths = []
    for value in values:
        spot = fields.get("at", (0, 0, value))
        dataset = place(build(np.full((3, 4), value, np.int16), InstanceNumber=len(paths)), spot)
        for keyword, content in fields.items():
            if keyword != "at":
                setattr(dataset, keyword, content)
        paths.append(save(dataset, folder / f"{fields.get('SOPInstanceUID', generate_uid())}-{value}.dcm"))
    return paths


def test_a_localiser_stands_apart_even_when_it_lies_in_line(tmp_path):
    paths = series(tmp_path, [0, 2, 4])
    scout = series(tmp_path, [6], ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    volume, alone = sorted(read(paths + scout), key=lambda item: -item.image.array.ndim)
    assert volume.image.info.shape == (3, 3, 4)
    assert alone.image.info.warnings == ("This is a localiser (scout), taken to plan other pictures.",)
    assert "2 groups of slices" in volume.image.info.warnings[0]


def test_other_angles_sizes_and_spacings_are_said(tmp_path):
    paths = series(tmp_path, [0, 2, 4])
    turned = series(tmp_path, [1, 3], ImageOrientationPatient=[1, 0, 0, 0, 0, -1])
    wide = series(tmp_path, [5, 7], PixelSpacing=[0.4, 0.4])
    found = read(paths + turned + wide)
    assert sorted(item.image.info.shape[0] for item in found if item.image.info.layout == "zyx") == [2, 3]
    for item in found:
        assert "The series holds 3 groups of slices that differ" in " ".join(item.image.info.warnings)
    assert len({item.series_key for item in found}) == 1


def test_repeats_are_numbered_and_said(tmp_path):
    paths = [
        *series(tmp_path, [0, 2, 4], TemporalPositionIdentifier=1),
        *series(tmp_path, [0, 2, 4], TemporalPositionIdentifier=2),
    ]
    first, second = read(paths[::-1])
    for number, item in enumerate((first, second), start=1):
        assert item.name.endswith(f"part {number}")
        assert (
            "shows the same places 2 times (time points, echoes or repeats); " in item.image.info.warnings[0]
        )
        assert f"this is number {number}" in item.image.info.warnings[0]
    assert first.image.info.shape == second.image.info.shape == (3, 3, 4)


def test_a_missing_slice_of_one_echo_does_not_mix_the_echoes(tmp_path):
    one = series(tmp_path, [0, 2, 4, 6], EchoNumbers=1)
    for value in (10, 14, 16):  # the second echo lacks its second slice
        one += series(tmp_path, [value], EchoNumbers=2, at=(0, 0, value - 10))
    first, second = read(one)
    assert first.image.array[:, 0, 0].tolist() == [0, 2, 4, 6]
    assert second.image.array[:, 0, 0].tolist() == [10, 14, 16]
    assert "not evenly spaced" in " ".join(second.image.info.warnings)


def test_slices_of_other_depth_come_together_in_a_type_that_holds_both(tmp_path):
    small = place(build(np.full((3, 4), 200, np.uint8)), (0, 0, 0))
    large = place(build(np.full((3, 4), 40_000, np.uint16)), (0, 0, 2))
    (found,) = read([save(small, tmp_path / "a.dcm"), save(large, tmp_path / "b.dcm")])
    assert found.image.array[:, 0, 0].tolist() == [200, 40_000]
    assert found.image.info.dtype == "int32"


@pytest.mark.parametrize("place_of_large", range(9))
def test_one_large_value_anywhere_widens_the_type(tmp_path, place_of_large):
    paths = []
    for number in range(9):
        value = 50_000 if number == place_of_large else 5
        dataset = place(
            build(np.full((3, 4), value, np.uint16), RescaleSlope=1, RescaleIntercept=-1), (0, 0, number)
        )
        paths.append(save(dataset, tmp_path / f"{number}.dcm"))
    (found,) = read(paths)
    assert found.image.info.dtype == "int32"
    assert found.image.array[:, 1, 1].tolist() == [49_999 if n == place_of_large else 4 for n in range(9)]


def test_the_series_key_is_a_salted_hash(tmp_path):
    paths = series(tmp_path, [0, 2])
    (found,) = read(paths)
    (other,) = read_dicom_series(paths, "pepper", SETTINGS)
    assert found.series_key.startswith("series-") and len(found.series_key) == 39
    assert found.series_key != other.series_key
    assert str(SERIES) not in repr(found.series_key)


def test_a_lying_file_among_alike_ones_is_named(tmp_path):
    paths = series(tmp_path, [0, 2, 4, 6, 8])
    whole = paths[2].read_bytes()
    paths[2].write_bytes(whole[:-10])  # cut short
    paths[3].write_bytes(
        paths[3].read_bytes().replace(b"US\x02\x00\x03\x00", b"US\x02\x00\xff\xff", 1)
    )  # 65535 rows
    (found,) = read(paths)
    assert found.image.array[:, 0, 0].tolist() == [0, 2, 8]
