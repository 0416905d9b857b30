"""Tiled super-resolution against the raw network on the same tiles, and the memory that 4096 x 4096 pixels take.

The raw network runs on a row of the plane's own tiles in its best precision; the tiled way reads, runs, weighs, adds
and hands out. Pixels of tiles per second are compared. Memory is the process's peak above what it held before, with
the result (16.8 MB of bytes at x1, 268 MB at x4) taken off.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from typing import Any

import numpy as np

SIDE, SCALE, REPEATS = 512, 4, 3
GOAL = 0.9
LARGE = 4096  # fine pixels a side
MOST_MB = 1000.0


def rows() -> list[dict[str, Any]]:
    """Return a row for speed and one for memory (ratio = allowed / used)."""
    return [_speed(), _memory()]


def _resolver() -> Any:
    import torch

    from core.tasks.super_resolution.networks import build_network
    from core.tasks.super_resolution.prediction import Recipe, SuperResolver
    from core.tasks.super_resolution.spec import Degradation, NetworkSpec, Scaling

    torch.manual_seed(0)
    spec = NetworkSpec(architecture="edsr", blocks=8, features=48, factors=(SCALE, SCALE))
    recipe = Recipe(spec, Scaling(), Degradation(), model="bench")
    return SuperResolver(recipe, build_network(spec).state_dict())


def _speed() -> dict[str, Any]:
    from core.learning.sliding_window import Windows
    from core.tasks.super_resolution.networks import receptive_radius
    from core.tasks.super_resolution.prediction import MOST_MARGIN, TILE
    from core.tasks.task import PredictOptions

    resolver = _resolver()
    plane = np.random.default_rng(0).random((SIDE, SIDE, 1), dtype=np.float32)
    tile, margin = TILE["cpu"], min(receptive_radius(resolver.recipe.spec), MOST_MARGIN)
    windows = Windows((SIDE, SIDE), (tile, tile), batch=1, factors=(SCALE, SCALE), margin=margin)
    places = [(top, left) for top in windows.starts(0) for left in windows.starts(1)]
    tiles = [plane[top : top + tile, left : left + tile][None] for top, left in places]
    options = PredictOptions(flips=False, consistent=False)

    def raw() -> None:
        for one in tiles:
            resolver.run(one, ((0, False),))

    raw()
    ours, peer = (
        min(_seconds(run) for _ in range(REPEATS))
        for run in (lambda: resolver.restore_plane(plane, options), raw)
    )
    pixels = len(tiles) * tile * tile / 1e6
    return {
        "name": "sr-tiled",
        "ours": pixels / ours,
        "peer": pixels / peer,
        "peer_name": "raw network, same tiles",
        "ratio": peer / ours,
        "goal": GOAL,
        "unit": "coarse Mpixel/s",
        "device": "cpu",
    }


def _seconds(run: Any) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def _memory() -> dict[str, Any]:
    """Measure in a process of its own, as peaks never fall."""
    done = subprocess.run([sys.executable, "-m", "tests.bench.sr_speed", "memory"], capture_output=True, text=True, check=True)  # fmt: skip  # noqa: E501
    used = float(done.stdout.split()[-1])
    return {
        "name": f"sr-memory-{LARGE}x{LARGE}",
        "ours": used,
        "peer": MOST_MB,
        "peer_name": "bound",
        "ratio": MOST_MB / used,
        "goal": 1.0,
        "unit": "MB",
        "device": "cpu",
    }


def _peak_mb() -> float:
    """Make 1024 x 1024 pixels 4096 x 4096 and return the peak above the start, without input and result."""
    from core.tasks.task import PredictOptions
    from core.types import Image, ImageInfo

    resolver = _resolver()
    small = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)
    resolver.predict(Image(small, ImageInfo("yx", small.shape, "uint8")), PredictOptions())
    array = np.random.default_rng(0).integers(0, 255, (LARGE // SCALE,) * 2).astype(np.uint8)
    begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    options = PredictOptions(flips=False)
    made = resolver.predict(Image(array, ImageInfo("yx", array.shape, "uint8")), options).array
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return (peak - begun) / 1024 - (made.nbytes + array.nbytes) / 2**20


if __name__ == "__main__":
    if sys.argv[1:] == ["memory"]:
        print(_peak_mb())
    else:
        for row in rows():
            print(row)
