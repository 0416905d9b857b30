"""Measure side by side with a named peer: ``python -m tests.bench [PART OF A NAME]``.

Every module of this folder with a ``rows()`` function is a benchmark. A row is a dict with name, ours, peer,
peer_name, ratio (above 1: ours is better), goal (the ratio wanted), unit, device.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
LATEST = FOLDER / "latest.jsonl"
COLUMNS = ("name", "ours", "peer", "peer_name", "ratio", "goal", "unit", "device")


def modules(only: str) -> list[str]:
    """Return the names of the benchmark modules whose name contains ``only``."""
    names = sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_"))
    return [name for name in names if only in name]


def measure(names: list[str]) -> Iterator[dict[str, Any]]:
    """Run the benchmarks one after the other."""
    for name in names:
        yield from import_module(f"tests.bench.{name}").rows()


def show(row: dict[str, Any]) -> str:
    """Lay one row out as a line of the table."""
    cells = [f"{row[key]:.4g}" if isinstance(row[key], float) else str(row[key]) for key in COLUMNS]
    return "  ".join(
        cell.ljust(width) for cell, width in zip(cells, (44, 9, 9, 30, 7, 6, 16, 4), strict=True)
    )


def main() -> None:
    """Print the table row by row and write one JSON line per row."""
    names = modules(sys.argv[1] if len(sys.argv) > 1 else "")
    if not names:
        print(f"No benchmark of that name; there are: {', '.join(modules(''))}.", file=sys.stderr)
        raise SystemExit(2)
    print(show({key: key for key in COLUMNS}))
    with open(LATEST, "w", encoding="utf-8") as file:
        for row in measure(names):
            print(show(row), flush=True)
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
