"""Import page: uploads go to disk under safe names, the job gets what was asked, results are named."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PilImage
from streamlit.testing.v1 import AppTest

from core.errors import LabelError
from core.imaging.profiles import PROFILES
from core.jobs.import_request import with_request
from core.jobs.payloads import ImportPayload
from core.jobs.queue import JobQueue
from core.jobs.submit import submit
from core.settings import load_settings
from core.workspace.records import Project
from core.workspace.workspace import Workspace
from pages.shared.staging import Staging, Upload, display_name, ending_of, own_name, parse_label_map
from tests.pages.conftest import add_flat, texts

OpenPage = Callable[..., AppTest]
PAGE = "data/import_images.py"


def png(value: int = 0) -> bytes:
    out = io.BytesIO()
    PilImage.fromarray(np.full((16, 16), value, np.uint8)).save(out, "PNG")
    return out.getvalue()


def test_sent_names_never_become_paths(tmp_path: Path) -> None:
    staging = Staging(tmp_path)
    names = ["../../x.png", "/etc/passwd", "a\x00b.dcm", "..", "C:\\x\\y.nii.gz", "con.png" * 100]
    staging.add("images", [Upload(name, io.BytesIO(b"1")) for name in names])
    files = staging.files()
    assert [file.display for file in files[:3]] == ["x.png", "passwd", "ab.dcm"]
    for file in files:
        path = staging.path_of(file).resolve()
        assert path.is_file()
        assert path.parent == (staging.folder / "images").resolve()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["staging"]


def test_the_two_files_of_a_pair_stay_together(tmp_path: Path) -> None:
    staging = Staging(tmp_path)
    names = ["b.png", "brain.hdr", "brain.IMG", "x.mhd", "x.raw", "brain.hdr"]
    staging.add("images", [Upload(name, io.BytesIO(b"1")) for name in names])
    staging.add("images", [Upload("brain.img", io.BytesIO(b"1"))])
    stored = [file.stored for file in staging.files()]
    assert stored == [
        "i000001.png", "i000002.hdr", "i000002.img", "i000004.mhd", "i000004.raw", "i000006.hdr", "i000006.img",
    ]  # fmt: skip
    assert len(set(stored)) == len(stored)


def test_a_foreign_number_makes_a_fresh_staging(tmp_path: Path) -> None:
    assert Staging(tmp_path, "../../etc").folder.parent == tmp_path / "staging"
    kept = Staging(tmp_path)
    assert Staging(tmp_path, kept.id).folder == kept.folder


def test_names_and_endings() -> None:
    assert ending_of("A.NII.GZ") == ".nii.gz"
    assert ending_of("a.exe") == ""
    for name in ("A.NRRD", "s.svs", "x.tar.gz", "x.img.gz", "set.npz", "p.REC", "a.csv"):
        assert ending_of(name) == name[name.index(".") :].lower()
    assert display_name("") == "unnamed"


def test_label_maps() -> None:
    assert parse_label_map(" 1 = nerve, 2=vessel ") == {"1": "nerve", "2": "vessel"}
    assert parse_label_map("any=nucleus") == {"any": "nucleus"}
    assert parse_label_map("  ") is None
    for wrong in ("nerve", "1=", "=x", "x=nerve", "1=a,1=b"):
        with pytest.raises(LabelError):
            parse_label_map(wrong)


def test_uploads_become_an_import_job(open_page: OpenPage, store: Workspace, project: Project) -> None:
    app = open_page(PAGE, project=project.id)
    app.file_uploader(key="images_0").upload("../a.png", png())
    app.file_uploader(key="images_0").upload("b.png", png(3))
    app.file_uploader(key="masks_0").upload("a_mask.png", png(1))
    app.run()
    assert not app.exception
    shown = texts(app).replace("\\", "")
    assert "2 files" in shown
    assert "a_mask.png" in shown
    number = next(widget.key for widget in app.text_input if (widget.key or "").startswith("map_"))[4:]
    app.text_input(key=f"map_{number}").set_value("1=nerve").run()
    app.button(key=f"import_{number}").click().run()
    assert not app.exception
    [job] = JobQueue(store).list(project_id=project.id)
    assert "a.png" not in json.dumps(job.payload)
    payload = with_request(ImportPayload.model_validate(job.payload))
    assert [payload.display_names[Path(path).name] for path in payload.paths] == ["a.png", "b.png"]
    assert (payload.deidentify, payload.hide_names) == ("basic", False)
    assert payload.label_map == {"1": "nerve"}
    assert payload.labels is not None
    assert payload.labels.endswith(".png")
    assert "waiting" in texts(app)


def test_the_choice_of_identity_reaches_the_job(
    open_page: OpenPage, store: Workspace, project: Project
) -> None:
    app = open_page(PAGE, project=project.id)
    app.file_uploader(key="images_0").upload("a.png", png())
    app.run()
    number = next(widget.key for widget in app.checkbox if (widget.key or "").startswith("hide_"))[5:]
    for profile, sentence in PROFILES.items():
        app.segmented_control(key=f"identity_{number}").set_value(profile).run()
        assert sentence in texts(app)
    app.checkbox(key=f"hide_{number}").check()
    app.button(key=f"import_{number}").click().run()
    assert not app.exception
    [job] = JobQueue(store).list(project_id=project.id)
    assert (job.payload["deidentify"], job.payload["hide_names"]) == ("keep", True)
    assert app.session_state["import_names"] == {job.id: ["a.png"]}


@pytest.mark.parametrize(
    ("place", "names", "shown"),
    [
        ("file 2 (.dcm)", ["a.dcm", "b.dcm"], "b.dcm"),
        ("item 2, file 7", ["a.dcm", "study.zip"], "study.zip, file 7"),
        ("file 7 (.dcm)", ["study.zip"], "study.zip, file 7"),
        ("file 9", ["a.dcm", "b.dcm"], "file 9"),
        ("file 2 (.dcm)", [], "file 2 (.dcm)"),
        ("picture.png", ["picture.png"], "picture.png"),
    ],
)
def test_a_skipped_file_is_called_by_its_own_name(place: str, names: list[str], shown: str) -> None:
    assert own_name(place, names) == shown


def test_a_wrong_label_map_is_one_sentence(open_page: OpenPage, store: Workspace, project: Project) -> None:
    app = open_page(PAGE, project=project.id)
    app.file_uploader(key="images_0").upload("a.png", png())
    app.file_uploader(key="masks_0").upload("a.png", png(1))
    app.run()
    number = next(widget.key for widget in app.text_input if (widget.key or "").startswith("map_"))[4:]
    app.text_input(key=f"map_{number}").set_value("nerve").run()
    app.button(key=f"import_{number}").click().run()
    assert len(app.error) == 1
    assert JobQueue(store).list(project_id=project.id) == []


def test_without_a_project_the_way_is_shown(open_page: OpenPage) -> None:
    app = open_page(PAGE)
    assert any(link.label == "Create a project" for link in app.page_link)


def test_folders_of_the_server_are_read_where_they_lie(
    open_page: OpenPage, store: Workspace, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "shared"
    for name in ("scans/a.png", "scans/b.png", "marks/a_mask.png", "marks/other.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(png())
    app = open_page(PAGE, project=project.id)
    assert not [widget for widget in app.selectbox if (widget.key or "").startswith("server_")]
    monkeypatch.setenv("SIGHTLINE_IMPORT_FOLDERS", str(root))
    load_settings.cache_clear()
    app = open_page(PAGE, project=project.id)
    number = next(widget.key for widget in app.selectbox if (widget.key or "").startswith("server_images_"))[
        14:
    ]
    app.selectbox(key=f"server_images_{number}").set_value(str(root / "scans")).run()
    app.selectbox(key=f"server_masks_{number}").set_value(str(root / "marks")).run()
    assert "1 mask finds its image" in texts(app)
    assert "1 mask fits no image" in texts(app)
    app.button(key=f"import_{number}").click().run()
    assert not app.exception
    [job] = JobQueue(store).list(project_id=project.id)
    payload = with_request(ImportPayload.model_validate(job.payload))
    assert (payload.paths, payload.labels) == ([str(root / "scans")], str(root / "marks"))
    assert str(root) not in json.dumps(job.payload["paths"])


def test_pictures_of_what_came_in(open_page: OpenPage, store: Workspace, project: Project) -> None:
    case = add_flat(store, project, "nerve")
    queue = JobQueue(store)
    submit(queue, ImportPayload(project=project.id), "Import")
    job = queue.claim()
    assert job is not None
    queue.finish(job.id, job.attempt, {"cases": 1, "first_cases": [case.id, 999]})
    app = open_page(PAGE, project=project.id, job=job.id)
    assert "1 case and 0 readings came in." in texts(app)
