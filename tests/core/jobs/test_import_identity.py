"""A canary for a patient, planted in everything a file can say, through a real import in a real worker."""

from __future__ import annotations

import gzip
import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image as PilImage
from PIL import PngImagePlugin
from pydicom.datadict import DicomDictionary
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

from core.imaging.patient import patient_key
from core.imaging.profiles import Profile
from core.jobs.import_request import ImportRequest, new_staging, write_request
from core.jobs.payloads import ExportPayload, ImportPayload
from core.jobs.queue import JobQueue
from core.jobs.runner import ensure_runner
from core.jobs.submit import submit
from core.readings.exporters import MASK_EXPORTERS
from core.types import make_labels
from core.workspace.records import Job
from tests.core.imaging.dicom_files import build, place, save
from tests.core.jobs.test_runner import wait_until

CANARY = "ZEBRAFINK"
NUMBER = "QX-471147-B"
FORMS = [word.encode(code) for word in (CANARY, NUMBER, CANARY.title()) for code in ("ascii", "utf-16-le")]
BIRTH, STUDY = b"19610307", b"20230415"
GRID_RAS = np.array([[-0.8, 0, 0, 0], [0, -0.5, 0, 0], [0, 0, 2, -4], [0, 0, 0, 1]])  # of the CT slices
# One element of each kind of value that the standard's table lists, or nobody lists.
PLANTED = {
    "AE": 0x00080054, "CS": 0x00180015, "LO": 0x0008103E,
    "LT": 0x00104000, "PN": 0x00080090, "SH": 0x00081010, "ST": 0x00080081, "UC": 0x00189908, "UR": 0x00081190,
    "UT": 0x00189910, "DA": 0x00080021, "TM": 0x00080031, "DT": 0x0008002A, "AS": 0x00101010, "DS": 0x00101030,
    "IS": 0x00200012, "UI": 0x0008010C, "UN": 0x00091010, "OB": 0x00420011,
}  # fmt: skip


def planted(number: int) -> Dataset:
    """A CT slice that says the canary in every kind of value, nested, privately and in the file's header."""
    dataset = place(build(np.full((20, 24), number, np.int16)), (0, 0, -2.0 * number))
    for vr, tag in PLANTED.items():
        content = f"{CANARY} {NUMBER}".encode()[: 16 if vr == "CS" else None]
        content += b" " * (len(content) % 2)
        dataset[tag] = RawDataElement(BaseTag(tag), vr, len(content), content, 0, False, True)
    dataset.PatientName, dataset.PatientID = f"{CANARY}^Ann", NUMBER
    dataset.PatientBirthDate, dataset.StudyDate = BIRTH.decode(), STUDY.decode()
    dataset.InstanceNumber, dataset.StudyInstanceUID = number + 1, "1.2.3.4"
    dataset.Manufacturer, dataset.ManufacturerModelName = f"{CANARY} Ltd", NUMBER
    block = dataset.private_block(0x0029, CANARY, create=True)
    for offset, vr in enumerate(vr for vr in PLANTED if vr not in ("DS", "IS", "UI", "AS", "DA", "TM", "DT")):
        block.add_new(offset, vr, CANARY.encode() + b" " if vr in ("OB", "UN") else CANARY)
    item: Dataset = dataset
    for _ in range(4):
        inner = Dataset()
        inner.PatientName, inner.CodeMeaning, inner.TextValue = CANARY, f"{CANARY} code", CANARY
        item.add(DataElement(0x00082218, "SQ", Sequence([inner])))
        item = inner
    dataset.file_meta.SourceApplicationEntityTitle = CANARY
    dataset.preamble = (CANARY.encode() * 16)[:128]
    return dataset


def write_everything(root: Path) -> None:
    """A folder of all kinds of files whose names and contents hold the canary."""
    folder = root / f"{CANARY}^Ann"
    (folder / f"{CANARY}_CT").mkdir(parents=True)
    for number in range(3):
        save(planted(number), folder / f"{CANARY}_CT" / f"{CANARY}{number}.dcm")
    single = planted(7)
    single.SeriesInstanceUID, single.Modality = "1.2.3.99", "US"
    memory = io.BytesIO()
    single.save_as(memory, enforce_file_format=True)
    with zipfile.ZipFile(folder / f"{CANARY}.zip", "w") as archive:
        archive.writestr(f"{CANARY}/{NUMBER}", memory.getvalue())
        archive.writestr(f"{CANARY}/{NUMBER}.png", b"\x89PNG\r\n\x1a\n broken")
    whole = (folder / f"{CANARY}_CT" / f"{CANARY}0.dcm").read_bytes()
    (folder / f"{CANARY} cut.dcm").write_bytes(whole[:-500].replace(b"1.2.3.4", b"1.2.3.5"))
    (folder / f"{CANARY}.txt").write_text(CANARY)
    (folder / f"{CANARY}.pdf").write_text(CANARY)
    write_pictures(folder)
    masks = root / "masks"
    masks.mkdir()
    mask = nibabel.Nifti1Image(np.ones((24, 20, 3), np.uint8), GRID_RAS)
    nibabel.save(mask, masks / f"{CANARY}_CT_mask.nii.gz")
    nibabel.save(mask, masks / f"{NUMBER}_mask.nii.gz")  # two pictures are called so
    nibabel.save(mask, masks / f"{CANARY}_nobody_mask.nii.gz")


def write_pictures(folder: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 255, (30, 40), dtype=np.uint8)
    text, exif = PngImagePlugin.PngInfo(), PilImage.Exif()
    text.add_text("Author", CANARY)
    exif[0x013B] = CANARY
    PilImage.fromarray(grey).save(folder / f"{CANARY}.png", pnginfo=text, exif=exif)
    PilImage.fromarray(grey[::-1]).save(folder / f"{NUMBER}.jpg", exif=exif, comment=CANARY)
    tags = [(270, "s", 0, CANARY, True), (305, "s", 0, CANARY, True), (315, "s", 0, CANARY, True)]
    tifffile.imwrite(folder / f"{CANARY}.tif", grey[:, ::-1], extratags=tags, metadata=None, software=False)
    volume = nibabel.Nifti1Image(
        np.random.default_rng(1).integers(0, 99, (8, 9, 10), dtype=np.int16), np.eye(4)
    )
    for field in ("descrip", "aux_file", "db_name"):
        volume.header[field] = CANARY
    volume.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", CANARY.encode()))
    nibabel.save(volume, folder / f"{CANARY} vol.nii.gz")


def run(queue: JobQueue, payload: Any) -> Job:
    job = submit(queue, payload, "work")
    ensure_runner(queue.workspace.home)
    wait_until(lambda: not queue.get(job.id).active, 120)
    ended = queue.get(job.id)
    if ended.state == "done":  # its folder goes after its row says so
        wait_until(lambda: not queue.work_dir(job.id).exists())
    return ended


def import_all(
    queue: JobQueue, root: Path, project: int, profile: Profile, hide: bool, images: bool = True
) -> Job:
    staging = new_staging(queue.workspace.home)
    request = ImportRequest(paths=[str(root / f"{CANARY}^Ann")] if images else [], labels=str(root / "masks"))
    return run(
        queue,
        ImportPayload(
            project=project,
            staging=str(staging),
            request=write_request(staging, request),
            label_map={"any": "bird"},
            deidentify=profile,
            hide_names=hide,
        ),
    )


def places_of(folder: Path, forms: list[bytes]) -> set[str]:
    """Files below a folder that hold one of the words, in any case, packed or not, or in their name."""
    found = set()
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        content = path.read_bytes() if path.is_file() else b""
        if content[:2] == b"\x1f\x8b":
            content += gzip.decompress(content)
        text = content.lower() + name.encode().lower()
        if any(form.lower() in text for form in forms):
            found.add(name)
    return found


@pytest.fixture
def project(queue: JobQueue) -> int:
    return queue.workspace.create_project("Birds", "segmentation", make_labels(["bird"])).id


@pytest.mark.parametrize(
    "profile",
    [pytest.param("basic", marks=pytest.mark.long), pytest.param("basic_dates", marks=pytest.mark.slow)],
)
def test_the_canary_is_nowhere(queue: JobQueue, project: int, tmp_path: Path, profile: Profile) -> None:
    write_everything(tmp_path / "in")
    workspace, home = queue.workspace, queue.workspace.home
    job = import_all(queue, tmp_path / "in", project, profile, hide=True)
    assert job.state == "done", job.error
    assert job.result is not None
    assert (job.result["cases"], job.result["readings"]) == (6, 1), job.result
    assert {row["path"] for row in job.result["skipped"]} >= {"label file 1", "label file 3"}
    assert all(re.match(r"(label file|file) \d+", row["path"]) for row in job.result["skipped"])
    assert places_of(home, FORMS) == set()
    assert places_of(home, [BIRTH]) == set()
    assert places_of(home, [STUDY]) == set()  # removed, or moved
    assert not (home / "work" / f"job-{job.id}").exists() and list((home / "staging").iterdir()) == []

    cases = {case.name: case for case in workspace.list_cases(project)}
    assert sorted(name for name in cases if "series" in name) == [
        "CT series 4 (3 slices)",
        "US series 4 image 8",
    ]
    ct = cases["CT series 4 (3 slices)"]
    headers = workspace.load_headers(ct)
    assert headers is not None and len(set(headers.instance_uids)) == 3
    assert ct.patient_key == patient_key(NUMBER, workspace.salt) == headers.text("00100020")
    assert bool(headers.text("00080020")) == (profile == "basic_dates")

    for number, file_format in enumerate(MASK_EXPORTERS):
        out = tmp_path / f"out{number}"
        done = run(queue, ExportPayload(project=project, format=file_format, out=str(out)))
        assert done.state == "done", done.error
        assert places_of(out, [*FORMS, BIRTH, STUDY]) == set()
    assert places_of(home, FORMS) == set()


def test_the_same_comes_in_once_and_masks_alone_find_their_case(
    queue: JobQueue, project: int, tmp_path: Path
) -> None:
    write_everything(tmp_path / "in")
    first = import_all(queue, tmp_path / "in", project, "basic", hide=True)
    again = import_all(queue, tmp_path / "in", project, "basic", hide=True)
    assert first.result is not None and again.result is not None
    assert (again.result["cases"], again.result["already_there"]) == (6, 6)
    [version] = queue.workspace.reference_of(project).values()
    values = np.zeros((24, 20, 3), np.uint8)
    values[2:9, 3:7, 1] = 1
    mask = nibabel.Nifti1Image(values, GRID_RAS)
    nibabel.save(mask, tmp_path / "in" / "masks" / f"{CANARY}_CT_mask.nii.gz")
    alone = import_all(queue, tmp_path / "in", project, "basic", hide=False, images=False)
    assert alone.state == "done", alone.error
    assert alone.result is not None and alone.result["readings"] == 1, alone.result
    [later] = queue.workspace.reference_of(project).values()
    assert (later.case_id, later.version) == (version.case_id, version.version + 1)
    assert places_of(queue.workspace.home, FORMS) == set()


def test_other_files_keep_their_names_unless_they_are_hidden(
    queue: JobQueue, project: int, tmp_path: Path
) -> None:
    write_everything(tmp_path / "in")
    job = import_all(queue, tmp_path / "in", project, "basic", hide=False)
    assert job.result is not None
    cases = queue.workspace.list_cases(project)
    named = {case.name: case.source for case in cases if case.source_key is None}
    assert sorted(named) == [NUMBER, CANARY, f"{CANARY} (2)", f"{CANARY} vol"]
    assert all("/" not in source for source in named.values())  # but not the folder's, with DICOM beside
    hidden = [case for case in cases if case.source_key]
    assert len(hidden) == 2 and all(CANARY not in json.dumps([case.name, case.source]) for case in hidden)
    assert any(row["path"] == f"{NUMBER}.png" for row in job.result["skipped"])  # a damaged picture is named


def test_keep_keeps_everything(queue: JobQueue, project: int, tmp_path: Path) -> None:
    """Also shows that the search of the other tests finds what is there."""
    write_everything(tmp_path / "in")
    job = import_all(queue, tmp_path / "in", project, "keep", hide=False)
    assert job.state == "done", job.error
    home = queue.workspace.home
    assert {"sightline.db", "sightline.db-wal"} & places_of(home, FORMS)
    assert any(name.endswith(".headers") for name in places_of(home, FORMS))
    [ct] = [case for case in queue.workspace.list_cases(project) if "(3 slices)" in case.name]
    headers = queue.workspace.load_headers(ct)
    assert headers is not None
    assert (headers.text("00100010"), headers.text("00100020"), headers.text("00080020")) == (
        f"{CANARY}^Ann",
        NUMBER,
        STUDY.decode(),
    )
    assert ct.source == f"{CANARY}^Ann/{CANARY}_CT"


def test_a_failed_import_tells_no_name(queue: JobQueue, project: int, tmp_path: Path) -> None:
    write_everything(tmp_path / "in")
    for path in (tmp_path / "in" / "masks").iterdir():
        path.unlink()
    job = import_all(queue, tmp_path / "in", project, "basic", hide=False)
    assert job.state == "failed" and job.error is not None and "No label files were found" in job.error
    home = queue.workspace.home
    assert [name for name in places_of(home, [f"{CANARY}_CT".encode()]) if not name.startswith("work/")] == []


def test_every_kind_of_value_is_planted() -> None:
    kinds = {DicomDictionary[tag][0] for tag in PLANTED.values() if tag in DicomDictionary}
    assert kinds | {"UN"} == set(PLANTED)
