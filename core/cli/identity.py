"""The command that copies files without identity."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from core.cli.console import HomeOption, JsonOption, console
from core.errors import SightlineError
from core.imaging.profiles import DEFAULT_PROFILE, RETAINED, as_profile, as_retained
from core.settings import load_settings


def deidentify_command(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files, folders or archives.")],
    out_dir: Annotated[Path, typer.Option("--out", help="New folder for the copies.")],
    profile: Annotated[
        str, typer.Option(help="basic, or basic_dates (dates stay, moved by a secret number of days).")
    ] = DEFAULT_PROFILE,
    retain: Annotated[
        str | None, typer.Option(help=f"Keep besides, separated by commas: {', '.join(RETAINED)}.")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy DICOM files without identity (PS3.15, Annex E), and pictures without their metadata.

    Pixels stay as they are; files whose pixels may show text or a face are named. The same home gives the same
    patient keys and UIDs, so that copies made at different times belong together.
    """
    with console(home, as_json) as out:
        chosen, retained = as_profile(profile), as_retained(retain)
        if chosen == "keep":
            raise SightlineError(
                "To keep everything is to copy the files as they are; choose basic or basic_dates."
            )
        missing = [str(path) for path in paths if not path.exists()]
        if missing:
            raise SightlineError(f"There is no file or folder {missing[0]}; check the path.")
        from core.imaging.deidentify_copy import Wish
        from core.imaging.deidentify_files import deidentify_files

        wish = Wish(out.workspace.salt, chosen, tuple(sorted(retained)))
        with tempfile.TemporaryDirectory() as folder:
            copied = deidentify_files(paths, out_dir, wish, load_settings(), Path(folder), lambda name: None)
        for row in copied.skipped:
            out.say(f"skipped {row['path']}: {row['reason']}")
        for row in copied.warnings:
            out.say(f"look at {row['path']}: {row['warning']}")
        result = {"written": copied.written, "skipped": copied.skipped, "warnings": copied.warnings}
        out.result(result, f"{len(copied.written)} files in {out_dir}, {len(copied.skipped)} skipped.")
        if not copied.written:
            raise SightlineError("No file could be copied; the lines above say why.")
