"""The command that looks into files: what is in them, and how it would be read."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from core.cli.console import JsonOption
from core.errors import SightlineError
from core.settings import load_settings


def inspect_command(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files, folders or archives.")],
    as_json: JsonOption = False,
) -> None:
    """Say what image files hold: kind, size, geometry, and a hash of the stored values. Imports nothing."""
    from core.imaging.inspect import images_of, inspect_paths

    try:
        with tempfile.TemporaryDirectory(prefix="sightline-inspect-") as folder:
            images, skipped = images_of(inspect_paths(paths, Path(folder), load_settings()))
    except SightlineError as error:
        print(str(error), file=sys.stderr, flush=True)
        raise typer.Exit(1) from error
    if as_json:
        print(json.dumps({"images": images, "skipped": skipped}, ensure_ascii=False), flush=True)
    else:
        print("\n".join(map(_line, images)) or "none", flush=True)
        for record in skipped:
            print(f"skipped {record['path']}: {record['reason']}", file=sys.stderr)
    if not images:
        print("No image was found in what was given.", file=sys.stderr, flush=True)
        raise typer.Exit(1)


def _line(record: dict[str, Any]) -> str:
    """Describe one image for a person."""
    size = " x ".join(map(str, record["shape"]))
    spacing = record["spacing_mm"]
    words = [
        f"{record['path']}: {record['modality']} {record['kind']}",
        f"{size} {record['dtype']} [{record['min']} .. {record['max']}]",
        "spacing unknown" if spacing is None else " x ".join(f"{value:.4g}" for value in spacing) + " mm",
        record["orientation"] or "orientation unknown",
        f"sha256 {record['sha256'][:16]}",
    ]
    return "\n    ".join([", ".join(words), *record["warnings"]])
