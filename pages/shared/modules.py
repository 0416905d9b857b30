"""The viewer's program as files in memory, and the hash that names this version of it."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

VIEWER = Path(__file__).resolve().parent.parent.parent / "assets" / "viewer"


@lru_cache(maxsize=1)
def module_files() -> dict[str, bytes]:
    """Return file name -> content of the viewer's modules and style sheet."""
    paths = sorted([*VIEWER.glob("*.js"), *VIEWER.glob("*.css")])
    return {path.name: path.read_bytes() for path in paths}


@lru_cache(maxsize=1)
def module_digest() -> str:
    """Return a hash over all of them."""
    digest = hashlib.sha256()
    for name, content in module_files().items():
        digest.update(f"{name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()[:16]
