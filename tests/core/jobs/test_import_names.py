"""Names of files: shown where they may be, a place or a hash where they may not."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import LabelError
from core.imaging.profiles import Profile
from core.jobs.import_names import HARMLESS, ImportNames, recover_stems, stem_key
from core.readings.match import file_stem

FOLDER = [["disc/DOE_JANE/IM0001", "disc/DOE_JANE/IM0002.dcm", "disc/notes.txt", "disc/photo of Jane.png"]]
UPLOADS = [["i000001.dcm"], ["i000002.png"], ["i000003.zip/DOE/IM1", "i000003.zip/DOE/IM2"]]
DISPLAY = {"i000001.dcm": "Doe^Jane.dcm", "i000002.png": "nucleus_017.png", "i000003.zip": "doe.zip"}


@pytest.mark.parametrize(
    ("profile", "hide", "has_dicom", "source", "kind", "shown"),
    [
        ("basic", False, True, "disc/DOE_JANE/IM0001", "dicom", "file 1"),
        ("basic", False, True, "disc/DOE_JANE/IM0002.dcm", "dicom", "file 2 (.dcm)"),
        ("basic", False, True, "disc/DOE_JANE", "dicom", "a folder"),
        ("basic", False, True, "disc/notes.txt", "", "file 3 (.txt)"),
        ("basic", False, True, "disc/photo of Jane.png", "raster", "photo of Jane.png"),
        ("basic", True, True, "disc/photo of Jane.png", "raster", "file 4 (.png)"),
        ("basic", True, False, "disc/photo of Jane.png", "raster", "file 4 (.png)"),
        ("basic", False, False, "disc/notes.txt", "", "disc/notes.txt"),
        ("keep", False, True, "disc/DOE_JANE/IM0001", "dicom", "disc/DOE_JANE/IM0001"),
    ],
)
def test_a_file_of_a_folder(
    profile: Profile, hide: bool, has_dicom: bool, source: str, kind: str, shown: str
) -> None:
    assert ImportNames(profile, hide, has_dicom, files=FOLDER).shown(source, kind) == shown


@pytest.mark.parametrize(
    ("has_dicom", "source", "kind", "shown"),
    [
        (True, "i000001.dcm", "dicom", "item 1 (.dcm)"),
        (True, "i000002.png", "raster", "nucleus_017.png"),
        (True, "i000003.zip/DOE/IM2", "dicom", "item 3, file 2"),
        (True, "i000003.zip/DOE", "dicom", "item 3"),
        (False, "i000003.zip/DOE/IM2", "", "doe.zip/DOE/IM2"),
    ],
)
def test_an_upload(has_dicom: bool, source: str, kind: str, shown: str) -> None:
    names = ImportNames("basic", has_dicom=has_dicom, files=UPLOADS, display=DISPLAY)
    assert names.shown(source, kind) == shown


def test_single_uploads_are_counted() -> None:
    names = ImportNames("basic", files=[["i000001.dcm"], ["i000002.dcm"]], display=DISPLAY)
    assert names.place("i000002.dcm") == "file 2 (.dcm)"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("IM0002.dcm is cut short.", "file 2 is cut short."),
        ("IM0002.dcm is the same image as IM0001.", "file 2 is the same image as another file."),
        ("There are no masks at /data/DOE_JANE; look.", "There are no masks at what was given; look."),
        ("'photo of Jane.png' and photo of Jane.", "'another file' and another file."),
        ("IM0002 IM00021 xIM0002", "file 2 IM00021 xIM0002"),
        ("The image holds values that are no numbers.", "The image holds values that are no numbers."),
    ],
)  # fmt: skip
def test_sentences(text: str, said: str) -> None:
    names = ImportNames("basic", files=FOLDER, given=("/data/DOE_JANE",))
    assert names.said(text, source="disc/DOE_JANE/IM0002.dcm") == said
    assert ImportNames("keep", files=FOLDER).said(text) == text


@pytest.mark.parametrize(
    ("has_dicom", "named", "said"),
    [
        (False, "", "nucleus_017.png is damaged."),
        (True, "nucleus_017.png", "nucleus_017.png is damaged."),
        (True, "", "item 2 (.png) is damaged."),
    ],
)
def test_sentences_about_uploads(has_dicom: bool, named: str, said: str) -> None:
    names = ImportNames("basic", has_dicom=has_dicom, files=UPLOADS, display=DISPLAY)
    assert names.said("i000002.png is damaged.", named=named, source="i000002.png") == said


NAMES = st.text(
    st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="/\\"), min_size=1, max_size=30
)


@given(NAMES.filter(lambda name: len(name.strip()) > 2), st.text(max_size=40), st.text(max_size=40))
def test_a_hidden_name_never_stands_in_a_sentence(name: str, before: str, behind: str) -> None:
    if name.lower() in HARMLESS or name.isdigit() or file_stem(name).lower() in HARMLESS:
        return
    names = ImportNames("basic", files=[[f"{name}/{name}.dcm"]], given=(f"/data/{name}",))
    for text in (f"{before} {name} {behind}", f'"{name}.dcm": {behind}', f"(/data/{name})"):
        said = names.said(text)
        rest = f"{before} {behind} file folder item what was given another dcm"
        assert name not in said or name in rest


def test_log_and_errors_are_clean(caplog: pytest.LogCaptureFixture) -> None:
    names = ImportNames("basic", files=FOLDER, given=("/data/DOE_JANE",))
    handler = logging.StreamHandler()
    seen: list[str] = []
    handler.emit = lambda record: seen.append(logging.Formatter().format(record))  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    try:
        with pytest.raises(LabelError) as raised, names.hiding():
            logging.getLogger("any").warning("cannot read %s", "IM0001")
            try:
                raise FileNotFoundError(2, "gone", "/".join(["/data", *FOLDER[0][0].split("/")[1:]]))
            except FileNotFoundError as error:
                logging.getLogger("any").warning("so it is", exc_info=True)
                raise LabelError("No mask at /data/DOE_JANE.") from error
    finally:
        logging.getLogger().removeHandler(handler)
    assert str(raised.value) == "No mask at what was given."
    assert "DOE" not in str(raised.value.__cause__) and "IM0001" not in str(raised.value.__cause__)
    assert len(seen) == 2 and "IM0001" not in "".join(seen) and "DOE" not in "".join(seen)


def test_stems_are_found_behind_their_hashes() -> None:
    keys = {stem_key(stem, "salt") for stem in ("DOE_JANE", "CT1", "a b")}
    labels = ["masks/DOE_JANE_seg.nii.gz", "seg-CT1.png", "gt a b.png", "CT11_mask.png"]
    found = recover_stems(labels, keys, "salt")
    assert sorted(found.values()) == ["CT1", "DOE_JANE", "a b"]
    assert recover_stems(labels, keys, "another salt") == {}
