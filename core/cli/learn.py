"""Commands about models: train, predict, evaluate, models."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from core.cli.console import Console, HomeOption, JsonOption, console, table
from core.cli.data import ProjectArgument, as_split
from core.errors import NotFound, SightlineError
from core.jobs.evaluating import truth_of
from core.jobs.payloads import EvaluatePayload, PredictPayload, TrainPayload
from core.tasks import TASKS
from core.workspace.records import Project

BlendOption = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="Share of a super-resolver's adversarial stage; 0 leaves it out."),
]
models = typer.Typer(invoke_without_command=True)
DEFAULT_VAL_SHARE = 0.2


def train_command(
    project: ProjectArgument,
    preset: Annotated[str, typer.Option(help="fast, balanced or best.")] = "balanced",
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Overrule one setting.")
    ] = None,
    minutes: Annotated[float | None, typer.Option(min=0.05, help="Stop after this many minutes.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Stop after this many epochs.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the new model.")] = None,
    initial: Annotated[str | None, typer.Option(help="Start from this model or weights file.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a model on the project's reference readings; waits and prints progress."""
    with console(home, as_json) as out:
        found = out.workspace.get_project(project)
        pairs = list(set_ or [])
        pairs += [f"minutes={minutes}"] if minutes is not None else []
        pairs += [f"epochs={epochs}"] if epochs is not None else []
        start, pairs = _initial_weights(out, initial, pairs)
        settings = TASKS[found.task].settings_from_text(preset, pairs)
        ensure_split(out, found)
        payload = TrainPayload(
            project=found.id,
            settings=settings.model_dump(mode="json"),
            name=out.workspace.free_model_name(name or f"{found.name}-{preset}"),
            **start,
        )
        result = out.run_job(payload, f"Train {payload.name}")
        headline = TASKS[found.task].headline_metric
        value = result["metrics"].get(headline)
        shown = "unknown" if value is None else f"{value:.4f}"
        out.result(
            result, f"Model {result['model']}: validation {headline} {shown} after {result['seconds']:.0f} s."
        )


def _initial_weights(out: Console, initial: str | None, pairs: list[str]) -> tuple[dict[str, Any], list[str]]:
    """Return the payload's start fields and the settings pairs that name the weights' source."""
    if initial is None:
        return {}, pairs
    if Path(initial).is_file():
        return {"initial_file": str(Path(initial).resolve())}, [*pairs, "weights=file"]
    return {"initial_model": out.workspace.get_model(initial).id}, [*pairs, "weights=model"]


def ensure_split(out: Console, project: Project) -> None:
    """Cases that were never dealt into train and val get their split now, and the user is told."""
    cases = out.workspace.list_cases(project.id)
    if any(case.split is None for case in cases):
        out.workspace.assign_splits(project.id, val=DEFAULT_VAL_SHARE, test=0.0, seed=0, only_missing=True)
        out.say("Cases without a split were dealt by patient: 20 % to validation (see `sightline split`).")


def predict_command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Name or number of the model.")],
    paths: Annotated[list[Path] | None, typer.Argument(metavar="[PATH]...", help="Images to run on.")] = None,
    out_dir: Annotated[Path | None, typer.Option("--out", help="Folder for the results.")] = None,
    file_format: Annotated[
        str | None,
        typer.Option("--format", help="png (volumes as NIfTI), nifti, csv, coco ...; see the task."),
    ] = None,
    project: Annotated[str | None, typer.Option(help="Run on this project's cases instead of files.")] = None,
    split: Annotated[str | None, typer.Option(help="With --project: only this split.")] = None,
    threshold: Annotated[float | None, typer.Option(min=0, max=1, help="Probability threshold.")] = None,
    flips: Annotated[bool, typer.Option(help="Average over mirrored copies.")] = True,
    blend: BlendOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a model on files (PATH... --out DIR) or on cases (--project NAME)."""
    if bool(paths) == bool(project):
        raise typer.BadParameter("give either PATH... with --out DIR, or --project NAME.")
    if paths and out_dir is None:
        raise typer.BadParameter("--out DIR says where the results go.")
    chosen_split = as_split(split)
    with console(home, as_json) as out:
        if paths and out_dir is not None:
            _predict_files(out, model, paths, (out_dir, file_format, flips, threshold, blend))
            return
        found = out.workspace.get_project(str(project))
        cases = out.workspace.list_cases(found.id, split=chosen_split)
        if not cases:
            raise NotFound(
                f"The project {found.name} has no cases{f' in {split}' if split else ''} to predict."
            )
        payload = PredictPayload(
            model=out.workspace.get_model(model).id,
            project=found.id,
            case_ids=[case.id for case in cases],
            flips=flips,
            threshold=threshold,
            blend=blend,
        )
        result = out.run_job(payload, f"Predict with {model}")
        out.result(result, f"{result['readings']} readings stored as {result['reader']}.")


def _predict_files(
    out: Console,
    model: str,
    paths: list[Path],
    how: tuple[Path, str | None, bool, float | None, float | None],
) -> None:
    from core.jobs.predicting import FileRequest, predict_files

    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        raise SightlineError(f"There is no file or folder {missing[0]}; check the path.")
    package = out.workspace.model_dir(out.workspace.get_model(model))
    with tempfile.TemporaryDirectory() as work_dir:
        request = FileRequest(paths, *how)
        result = predict_files(package, request, Path(work_dir), lambda name: out.say(f"read {name}"))
    out.result({"files": result.files, "skipped": result.skipped}, f"{len(result.files)} files in {how[0]}.")
    for row in result.skipped:
        out.say(f"skipped {row['path']}: {row['reason']}")
    if not result.files:
        raise SightlineError("No file could be predicted; the lines above say why.")


def evaluate_command(
    project: ProjectArgument,
    reader: Annotated[str, typer.Option(help="The reader to score: a person or a model.")],
    against: Annotated[
        str, typer.Option(help="reference, another reader, or images (made coarse, for super-resolution).")
    ] = "reference",
    split: Annotated[str | None, typer.Option(help="Only this split.")] = None,
    threshold: Annotated[float | None, typer.Option(min=0, max=1, help="Probability threshold.")] = None,
    blend: BlendOption = None,
    judge: Annotated[
        str | None, typer.Option(help="Model of another task that reads true, bicubic and restored images.")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score one reader against another, with 95 % intervals by patient."""
    chosen_split = as_split(split)
    with console(home, as_json) as out:
        found = out.workspace.get_project(project)
        payload = EvaluatePayload(
            project=found.id,
            reader=reader,
            against=truth_of(found, against),
            split=chosen_split,
            threshold=threshold,
            blend=blend,
            judge=judge,
        )
        result = out.run_job(payload, f"Evaluate {reader} against {payload.against}")
        out.result(result, _metrics_text(result))


def _metrics_text(result: dict[str, Any]) -> str:
    rows = [
        {
            "metric": key,
            "value": metric["value"],
            "95 % interval": "-" if metric["ci95"] is None else "{:.4g} to {:.4g}".format(*metric["ci95"]),
        }
        for key, metric in result["metrics"].items()
    ]
    head = f"{result['n_cases']} cases of {result['n_patients']} patients"
    return f"{head}\n{table(rows, ['metric', 'value', '95 % interval'])}"


@models.callback()
def list_models(context: typer.Context, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List all models (without a further word), or show, export or import one."""
    if context.invoked_subcommand is not None:
        return
    with console(home, as_json) as out:
        rows = [
            {"id": model.id, "name": model.name, "task": model.task, "created": str(model.created_at)[:16]}
            for model in out.workspace.list_models()
        ]
        out.result({"models": rows}, table(rows, ["id", "name", "task", "created"]))


@models.command("show")
def show_model(
    model: Annotated[str, typer.Argument(metavar="MODEL")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print a model's card."""
    import json

    with console(home, as_json) as out:
        card = out.workspace.get_model(model).card
        out.result(card, json.dumps(card, indent=2, ensure_ascii=False))


@models.command("export")
def export_model(
    model: Annotated[str, typer.Argument(metavar="MODEL")],
    out_file: Annotated[Path, typer.Option("--out", help="The zip file to write.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a model package (weights and card) as one zip file."""
    from core.learning.package import export_package

    with console(home, as_json) as out:
        export_package(out.workspace.model_dir(out.workspace.get_model(model)), out_file)
        out.result({"file": str(out_file)}, f"Model {model} is in {out_file}.")


@models.command("import")
def import_model(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A zip file made by models export.")],
    name: Annotated[str | None, typer.Option(help="Name to give it; its own unless given.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take in a model package; a damaged or foreign one is refused."""
    from core.learning.package import import_package, read_card

    with console(home, as_json) as out, tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "model"
        import_package(file, package)
        card = read_card(package)
        TASKS[card["task"]].load(package, "cpu")
        wanted = out.workspace.free_model_name(name or card["name"])
        model = out.workspace.register_model(None, wanted, package, card, None)
        out.result({"model": model.name, "id": model.id}, f"Model {model.name} is number {model.id}.")
