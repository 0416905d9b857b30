"""What an import is asked to read, in a file that goes when the import is done.

Names of files and folders often name patients. A job's payload stays in the database for good, so names lie in
``HOME/staging/<id>/request.json``, readable by its owner only, beside the uploads if there are any.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
from pathlib import Path

from pydantic import Field, ValidationError

from core.errors import NotFound, StorageError
from core.jobs.payloads import ImportPayload, Payload

REQUEST_FILE = "request.json"
KEEP_DAYS = 7.0


class ImportRequest(Payload):
    """The fields of an import that hold names; see ``ImportPayload``."""

    paths: list[str] = Field(default_factory=list)
    labels: str | None = None
    table: str | None = None
    display_names: dict[str, str] = Field(default_factory=dict)


def remove_old(home: Path) -> None:
    """Delete staging folders that nobody touched for a week: imports that were given up."""
    limit = time.time() - KEEP_DAYS * 86400
    folder = home / "staging"
    if not folder.is_dir():
        return
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False) and entry.stat().st_mtime < limit:
            shutil.rmtree(entry.path, ignore_errors=True)


def new_staging(home: Path) -> Path:
    """Make an empty folder for one import under the home; those of imports long given up go.

    Raises:
        StorageError: when the home cannot take it.
    """
    remove_old(home)
    folder = home / "staging" / secrets.token_hex(12)
    try:
        folder.mkdir(parents=True, mode=0o700)
    except OSError as error:
        raise StorageError(
            f"The home folder cannot be written ({error.strerror}); check its disk."
        ) from error
    return folder


def write_request(folder: Path, request: ImportRequest) -> str:
    """Write what to read into a staging folder; returns the file's path, for ``ImportPayload.request``.

    Raises:
        StorageError: when the disk cannot take it.
    """
    path = folder / REQUEST_FILE
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(request.model_dump_json())
    except OSError as error:
        raise StorageError(
            f"The home folder cannot be written ({error.strerror}); check its disk."
        ) from error
    return str(path)


def with_request(payload: ImportPayload) -> ImportPayload:
    """Return a payload with what its request file says.

    Raises:
        NotFound: when the file is gone, because the import was done or is too old.
    """
    if payload.request is None:
        return payload
    try:
        request = ImportRequest.model_validate(json.loads(Path(payload.request).read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        raise NotFound("What this import was to read is not known any more; start it again.") from error
    return payload.model_copy(update=request.model_dump())
