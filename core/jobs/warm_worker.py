"""The warm process itself: ``python -m core.jobs.warm_worker --home HOME --pipe FD``; see ``core.jobs.warm``."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
from multiprocessing.connection import Connection
from pathlib import Path

from core.jobs.warm import DEFAULT_HANDLERS, serve, watch_memory
from core.settings import load_settings


def main(arguments: list[str] | None = None) -> int:
    """Serve one pipe until it closes."""
    parser = argparse.ArgumentParser(prog="python -m core.jobs.warm_worker")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--handlers", default=DEFAULT_HANDLERS, help="module:ATTRIBUTE")
    parser.add_argument("--pipe", type=int, required=True)
    given = parser.parse_args(arguments)
    os.environ["SIGHTLINE_HOME"] = str(given.home.resolve())
    load_settings.cache_clear()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    watch_memory(load_settings().warm_memory_bytes)
    module, _, attribute = given.handlers.partition(":")
    serve(Connection(given.pipe), getattr(importlib.import_module(module), attribute))
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # threads of libraries must not keep it
