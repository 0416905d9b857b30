"""Commands about data: projects, import, split, export."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from core.cli.console import Console, HomeOption, JsonOption, console, table
from core.errors import SightlineError
from core.imaging.profiles import DEFAULT_PROFILE, as_profile
from core.jobs.import_request import ImportRequest, new_staging, write_request
from core.jobs.payloads import DEFAULT_READER, ExportPayload, ImportPayload
from core.readings.label_formats import LABEL_FORMATS
from core.settings import load_settings
from core.tasks import TASKS
from core.types import SPLITS, Split, make_labels

projects = typer.Typer(no_args_is_help=True)
PLACES = ("file ", "item ")  # how an import names files whose names it does not keep
ProjectArgument = Annotated[str, typer.Argument(metavar="PROJECT", help="Name or number of the project.")]


def as_split(text: str | None) -> Split | None:
    """Check a split given as text.

    Raises:
        typer.BadParameter: when it is none of train, val, test.
    """
    if text is None:
        return None
    for split in SPLITS:
        if split == text:
            return split
    raise typer.BadParameter(f"--split must be one of {', '.join(SPLITS)}, got {text!r}.")


@projects.command("create")
def create_project(
    name: Annotated[str, typer.Argument(help="Name of the new project.")],
    task: Annotated[str, typer.Option(help="What is asked of each case.")] = "segmentation",
    labels: Annotated[str, typer.Option(help="Label names, separated by commas.")] = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create a project: one question asked of many cases."""
    with console(home, as_json) as out:
        label_set = make_labels([part for part in labels.split(",") if part.strip()])
        if TASKS[task].needs_labels and not label_set:
            raise SightlineError(f"A {task} project needs at least one label; give --labels nucleus[,more].")
        project = out.workspace.create_project(name, TASKS[task].name, label_set)
        out.result(
            {"project": project.name, "id": project.id}, f"Project {project.name} is number {project.id}."
        )


@projects.command("list")
def list_projects(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List all projects."""
    with console(home, as_json) as out:
        rows = [
            {
                "id": project.id,
                "name": project.name,
                "task": project.task,
                "labels": ",".join(label.name for label in project.labels),
                "cases": out.workspace.count_cases(project.id),
                "reference": project.reference_reader,
            }
            for project in out.workspace.list_projects()
        ]
        out.result({"projects": rows}, table(rows, ["id", "name", "task", "labels", "cases", "reference"]))


@projects.command("reference")
def set_reference(
    project: ProjectArgument,
    reader: Annotated[str, typer.Argument(help="The person whose readings are the reference.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say whose readings are the reference."""
    with console(home, as_json) as out:
        found = out.workspace.get_project(project)
        out.workspace.set_reference_reader(found.id, reader)
        out.result(
            {"project": found.name, "reference": reader}, f"{reader} is the reference of {found.name}."
        )


def import_command(
    project: ProjectArgument,
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="[PATH]...", help="Files, folders or zips of images.")
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="File, folder or zip with labels.")] = None,
    file_format: Annotated[str, typer.Option("--format", help=f"{', '.join(LABEL_FORMATS)}.")] = "auto",
    label_map: Annotated[str | None, typer.Option(help="1=nerve,2=vessel or any=nucleus.")] = None,
    table_file: Annotated[Path | None, typer.Option("--table", help="CSV with one row an image.")] = None,
    columns: Annotated[str | None, typer.Option(help="file=file,patient=patient_id,split=split")] = None,
    reader: Annotated[str, typer.Option(help="Whose labels these are.")] = DEFAULT_READER,
    split: Annotated[str | None, typer.Option(help="Put all images into train, val or test.")] = None,
    deidentify: Annotated[
        str, typer.Option(help="DICOM identity: keep, basic, or basic_dates (dates moved).")
    ] = DEFAULT_PROFILE,
    hide_names: Annotated[
        bool, typer.Option("--hide-names", help="Keep no names of other files either (PNG, NIfTI ...).")
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring images, and labels of the same names (masks, COCO, VOC, YOLO, CSV, classes ...), into a project.

    With --labels and no PATH, labels are matched to the images that are there already.
    """
    from core.readings.label_values import parse_label_map

    paths, chosen_split = paths or [], as_split(split)
    if not paths and labels is None:
        raise typer.BadParameter("give PATH... with images, or --labels with labels of images already there.")
    if file_format not in LABEL_FORMATS:
        raise typer.BadParameter(f"--format must be one of {', '.join(LABEL_FORMATS)}, got {file_format!r}.")
    with console(home, as_json) as out:
        missing = [
            str(path) for path in [*paths, labels, table_file] if path is not None and not path.exists()
        ]
        if missing:
            raise SightlineError(f"There is no file or folder {missing[0]}; check the path.")
        parsed = parse_label_map(label_map) if label_map else None
        profile, found = as_profile(deidentify), out.workspace.get_project(project)
        role_columns = _parse_columns(columns)
        staging = new_staging(out.workspace.home)
        request = ImportRequest(
            paths=[str(path.resolve()) for path in paths],
            labels=str(labels.resolve()) if labels else None,
            table=str(table_file.resolve()) if table_file else None,
        )
        payload = ImportPayload(
            project=found.id,
            format=file_format,
            label_map=None if parsed is None else {str(value): name for value, name in parsed.items()},
            columns=role_columns,
            reader=reader,
            split=chosen_split,
            staging=str(staging),
            request=write_request(staging, request),
            deidentify=profile,
            hide_names=hide_names,
        )
        result = out.run_job(payload, f"Import into {found.name}")
        _report_import(out, _with_own_names(result, paths))


def _with_own_names(result: dict[str, Any], paths: list[Path]) -> dict[str, Any]:
    """Call skipped files by their own names again: the job only wrote down their places, this terminal may tell."""
    from core.imaging.scan import list_files
    from core.jobs.import_names import ImportNames

    if not any(row["path"].startswith(PLACES) for row in result["skipped"]):
        return result
    with tempfile.TemporaryDirectory() as folder:
        files = list_files([path.resolve() for path in paths], Path(folder), load_settings())
    names = ImportNames(DEFAULT_PROFILE, files=files)
    own = {names.place(source): source for group in files for source in group}
    skipped = [{**row, "path": own.get(row["path"], row["path"])} for row in result["skipped"]]
    return {**result, "skipped": skipped}


def _report_import(out: Console, result: dict[str, Any]) -> None:
    skipped = list(result["skipped"])
    out.result(
        result, f"{result['cases']} cases, {result['readings']} readings, {result['skipped_count']} skipped."
    )
    if not out.as_json:
        for row in skipped:
            out.say(f"skipped {row['path']}: {row['reason']}")
    if not result["cases"] and not result["readings"]:
        print("Nothing came in; no file could be used as an image.", file=sys.stderr)
        raise typer.Exit(1)


def _parse_columns(text: str | None) -> dict[str, str] | None:
    if text is None:
        return None
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    for key, sign, value in pairs:
        if not (key.strip() and sign and value.strip()):
            raise SightlineError(f"--columns must look like file=file,patient=patient_id, got {text!r}.")
    return {key.strip(): value.strip() for key, _, value in pairs}


def split_command(
    project: ProjectArgument,
    val: Annotated[float, typer.Option(min=0, max=1, help="Share of patients for validation.")] = 0.2,
    test: Annotated[float, typer.Option(min=0, max=1, help="Share of patients kept for the test.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Same seed, same split.")] = 0,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Deal all cases into train, val and test; whole patients only."""
    if val + test >= 1:
        raise typer.BadParameter("--val and --test together must leave something to train on.")
    with console(home, as_json) as out:
        found = out.workspace.get_project(project)
        counts = out.workspace.assign_splits(found.id, val=val, test=test, seed=seed, only_missing=False)
        words = ", ".join(f"{name} {counts.get(name, 0)}" for name in SPLITS)
        out.result({"project": found.name, "splits": {name: counts.get(name, 0) for name in SPLITS}}, words)


def export_command(
    project: ProjectArgument,
    file_format: Annotated[
        str,
        typer.Option(
            "--format", help="masks, nifti, dicom-seg, csv, coco, voc, yolo, classes; see the task."
        ),
    ],
    out_dir: Annotated[Path, typer.Option("--out", help="Folder to write to.")],
    reader: Annotated[str | None, typer.Option(help="Whose readings; the reference unless named.")] = None,
    split: Annotated[str | None, typer.Option(help="Only cases of this split.")] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Score from which a model's boxes are written; its own rule unless given."
        ),
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write one reader's readings to files."""
    chosen_split = as_split(split)
    with console(home, as_json) as out:
        found = out.workspace.get_project(project)
        formats = TASKS[found.task].exporters
        if file_format not in formats:
            raise typer.BadParameter(f"--format must be one of {', '.join(formats)}, got {file_format!r}.")
        payload = ExportPayload(
            project=found.id,
            format=file_format,
            reader=reader,
            out=str(out_dir.resolve()),
            split=chosen_split,
            threshold=threshold,
        )
        result = out.run_job(payload, f"Export {project}")
        out.result(result, f"{result['files']} files in {result['path']}.")
