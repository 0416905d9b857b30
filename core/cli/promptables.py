"""Commands about promptable networks: what clicks and boxes can follow."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from core.assist.promptables import (
    check_new,
    export_promptable,
    free_name,
    list_promptables,
    possible_name,
    remove_promptable,
)
from core.cli.console import HomeOption, JsonOption, console, table
from core.cli.data import ProjectArgument
from core.cli.learn import ensure_split
from core.errors import SightlineError
from core.jobs.payloads import PromptPayload

promptables = typer.Typer(invoke_without_command=True)
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the network.")]


@promptables.callback()
def list_command(context: typer.Context, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the networks that clicks can follow (without a further word), or train, add, export or remove one."""
    if context.invoked_subcommand is not None:
        return
    with console(home, as_json) as out:
        rows = [
            {"name": card.name, "side": card.image_px, **card.facts.get("metrics", {})}
            for card in list_promptables(out.workspace.home)
        ]
        out.result({"networks": rows}, table(rows, ["name", "side"]))


@promptables.command("train")
def train_command(
    project: ProjectArgument,
    name: Annotated[str | None, typer.Option(help="Name of the new network.")] = None,
    minutes: Annotated[float, typer.Option(min=0.05, max=1440, help="How long to train.")] = 10.0,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a small network on the objects of the project's reference; waits and prints progress."""
    with console(home, as_json) as out:
        found = out.workspace.get_project(project)
        ensure_split(out, found)
        name = name or free_name(out.workspace.home, f"{found.name[:50]} clicks")
        check_new(out.workspace.home, name)
        payload = PromptPayload(project=found.id, name=name, minutes=minutes)
        result = out.run_job(payload, f"Train the click network {payload.name}")
        scores = ", ".join(f"{key} {value:.3f}" for key, value in result["metrics"].items() if key != "steps")
        out.result(result, f"Network {result['network']}: {scores or 'no validation images'}.")


@promptables.command("add")
def add_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Zip with encoder.onnx and decoder.onnx.")],
    name: Annotated[str | None, typer.Option(help="Name to give it; the file's unless given.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take in a network such as an ONNX export of SAM or MobileSAM; one that cannot be run is refused."""
    from core.assist.prompting import add_promptable

    with console(home, as_json) as out:
        if not file.is_file():
            raise SightlineError(f"There is no file {file}; check the path.")
        card = add_promptable(file, out.workspace.home, name or possible_name(file.stem))
        out.result({"network": card.name, "side": card.image_px}, f"Clicks can follow {card.name} now.")


@promptables.command("export")
def export_command(
    name: NameArgument,
    out_file: Annotated[Path, typer.Option("--out", help="The zip file to write.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a network as one zip file."""
    with console(home, as_json) as out:
        export_promptable(out.workspace.home, name, out_file)
        out.result({"file": str(out_file)}, f"Network {name} is in {out_file}.")


@promptables.command("remove")
def remove_command(name: NameArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Delete a network."""
    with console(home, as_json) as out:
        remove_promptable(out.workspace.home, name)
        out.result({"removed": name}, f"Network {name} is deleted.")
