"""Folders of the server that people may import from: the administrator names them, nobody gets elsewhere."""

from __future__ import annotations

from pathlib import Path

from core.errors import NotFound
from core.settings import Settings


def find_server_path(text: str, settings: Settings) -> Path:
    """Return the file or folder of the server that a person names.

    Args:
        text: a path, absolute or below one of the allowed folders.
        settings: which folders are allowed.

    Raises:
        NotFound: when there is none of that name below an allowed folder; links that lead out of it count as none.
    """
    allowed = [folder.expanduser().resolve() for folder in settings.import_roots]
    if not allowed:
        raise NotFound("No folder of the server may be imported from; its administrator can allow some.")
    named = Path(text.strip())
    for root in allowed:
        path = (root / named).resolve()
        if path.is_relative_to(root) and path.exists():
            return path
    names = ", ".join(str(folder) for folder in settings.import_roots)
    raise NotFound(
        f"There is nothing called {text.strip()} in the folders that may be imported from ({names})."
    )


def list_folders(settings: Settings) -> list[str]:
    """Return the allowed folders and what lies directly in them, as people may name it."""
    found: list[str] = []
    for root in settings.import_roots:
        folder = root.expanduser().resolve()
        if folder.is_dir():
            inner = (item for item in folder.iterdir() if item.is_dir() and not item.is_symlink())
            found += [str(folder), *sorted(str(item) for item in inner if not item.name.startswith("."))]
    return found
