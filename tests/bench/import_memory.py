"""10,000 small files and one series of 2 GB through the real import job: whose memory grows, how soon one can look.

There is no peer; limits stand in its place. The server is a real one, with its page of jobs open in Chromium where
there is one; the worker and the decoder are those that it starts. The last rows hold reading the small files, and
reading and storing them as cases, through the decoder against the same in the process itself.
"""

from __future__ import annotations

import contextlib
import math
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image as PILImage

from core.imaging import scan as scan_module
from core.imaging.found import Found
from core.imaging.phantom_dicom import write_dicom_series
from core.imaging.sandbox import Call
from core.imaging.scan import scan
from core.jobs.payloads import ImportPayload
from core.jobs.queue import JobQueue
from core.jobs.submit import submit
from core.settings import Settings
from core.types import Image, ImageInfo, make_labels
from core.workspace.records import NewCase
from core.workspace.workspace import Workspace
from tests.browser.conftest import CHROMIUM, CHROMIUM_FLAGS, start_server, stop_server
from tests.core.imaging.watching import peak_mb, resident_mb

SMALL_FILES, SMALL_SIZE = 10_000, (128, 128)
SLICES, SLICE_SIZE = 4000, (512, 512)  # of 16 bits: 2.1 GB
SERVER_LIMIT_MB = 500.0
WORKER_LIMIT_MB = 1000.0
VIEW_LIMIT_SECONDS = 3.0
IN_PROCESS_GOAL = 1 / 1.3
LOOK_SECONDS = 0.05
OVERHEAD_FILES, OVERHEAD_TURNS = 1000, 3


@dataclass
class Seen:
    """What an import cost: MB, seconds; of worker and decoder the most they had, pages of files among it."""

    server_growth: float = 0.0
    worker: float = 0.0
    decoder: float = 0.0
    decoder_own: float = 0.0
    seconds: float = 0.0
    view_seconds: float = 0.0


def rows() -> list[dict[str, Any]]:
    """Return the rows of both imports and of the comparison; ours is in MB or seconds, peer is the limit."""
    with tempfile.TemporaryDirectory() as name:
        small, series = Path(name) / "small", Path(name) / "series"
        _write_small(small)
        _write_series(series)
        server = start_server(Path(name) / "home")
        try:
            with Workspace.open(server.home) as workspace, _open_page(f"{server.url}/jobs"):
                queue = JobQueue(workspace)
                seen_small = _import(queue, small, server.process.pid)
                seen_series = _import(queue, series, server.process.pid)
        finally:
            stop_server(server)
        return [
            *_memory_rows("import-10k-small", seen_small),
            *_memory_rows("import-2GB-series", seen_series),
            _limit_row("import-2GB-first-slice", seen_series.view_seconds, VIEW_LIMIT_SECONDS, "s"),
            _overhead_row("import-small-reading", _read_all, small, Path(name) / "reading"),
            _overhead_row("import-small-storing", _store_all, small, Path(name) / "storing"),
        ]


def _write_small(folder: Path) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(SMALL_FILES):
        picture = rng.integers(0, 255, SMALL_SIZE, dtype=np.uint8)
        PILImage.fromarray(picture).save(folder / f"{number:05}.png")


def _write_series(folder: Path) -> None:
    """Write a CT series of 12 bits and a rescale, as scanners do, from one slice many times."""
    plane = np.random.default_rng(0).integers(-1024, 3000, SLICE_SIZE, dtype=np.int16)
    array = np.broadcast_to(plane, (SLICES, *SLICE_SIZE))
    affine = ((0.7, 0.0, 0.0, 0.0), (0.0, 0.7, 0.0, 0.0), (0.0, 0.0, 0.5, 0.0), (0.0, 0.0, 0.0, 1.0))
    info = ImageInfo("zyx", array.shape, "int16", (0.5, 0.7, 0.7), affine, "CT")
    write_dicom_series(Image(array, info), folder, series_number=1, patient_id="bench")


@contextlib.contextmanager
def _open_page(url: str) -> Iterator[None]:
    """Keep a page open in a browser, so that the server has somebody to serve."""
    if not CHROMIUM.exists():
        yield
        return
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=CHROMIUM_FLAGS)
        browser.new_page().goto(url)
        yield
        browser.close()


def _import(queue: JobQueue, folder: Path, server_pid: int) -> Seen:
    """Run an import and watch the processes until it is done."""
    workspace = queue.workspace
    project = workspace.create_project(f"bench {folder.name}", "segmentation", make_labels(["a"]))
    before, begun, seen = resident_mb(server_pid), time.perf_counter(), Seen()
    job = submit(queue, ImportPayload(project=project.id, paths=[str(folder)]), "Import")
    while queue.get(job.id).state in ("queued", "running"):
        seen.server_growth = max(seen.server_growth, resident_mb(server_pid) - before)
        worker = queue.get(job.id).pid
        if worker is not None:
            _look_at_worker(worker, seen)
        _look_at_case(workspace, project.id, seen)
        time.sleep(LOOK_SECONDS)
    seen.seconds = time.perf_counter() - begun
    _look_at_case(workspace, project.id, seen)  # a case that came with the end
    done = queue.get(job.id)
    if done.state != "done" or done.result is None or done.result["skipped"]:
        raise AssertionError(f"the import ended as {done.state}: {done.error} {done.result}")
    return seen


def _look_at_case(workspace: Workspace, project_id: int, seen: Seen) -> None:
    """Note how long it takes from a case's arrival, seen at the next look, to values of a plane."""
    if not seen.view_seconds and (cases := workspace.list_cases(project_id, limit=1)):
        arrived = time.perf_counter()
        workspace.load_image(cases[0]).plane(0).max()
        seen.view_seconds = time.perf_counter() - arrived + LOOK_SECONDS


def _look_at_worker(pid: int, seen: Seen) -> None:
    seen.worker = max(seen.worker, peak_mb(pid))
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(pid).children():
            seen.decoder = max(seen.decoder, peak_mb(child.pid))
            seen.decoder_own = max(seen.decoder_own, resident_mb(child.pid))


def _memory_rows(name: str, seen: Seen) -> list[dict[str, Any]]:
    print(f"{name}: {seen}")
    return [
        _limit_row(f"{name}-server-growth", max(1.0, seen.server_growth), SERVER_LIMIT_MB, "MB"),
        _limit_row(f"{name}-worker-peak", seen.worker, WORKER_LIMIT_MB, "MB"),
        _limit_row(f"{name}-decoder-peak", seen.decoder, WORKER_LIMIT_MB, "MB"),
    ]


def _limit_row(name: str, ours: float, limit: float, unit: str) -> dict[str, Any]:
    return _row(name, (ours, limit), "limit", 1.0, unit)


def _row(name: str, values: tuple[float, float], peer_name: str, goal: float, unit: str) -> dict[str, Any]:
    ours, peer = values
    ratio = peer / ours
    facts = {"name": name, "ours": ours, "peer": peer, "peer_name": peer_name, "ratio": ratio, "goal": goal}
    return {**facts, "unit": unit, "device": "cpu"}


class _InProcess:
    """Stands in for the decoder: the same calls, answered in this process."""

    def __init__(self, calls: Iterable[Call], work_dir: Path, settings: Settings) -> None:
        self.files: list[Path] = []
        self._calls = iter(calls)

    def __enter__(self) -> _InProcess:
        return self

    def __exit__(self, *ended: object) -> None:
        pass

    def answers(self) -> Iterator[Any]:
        wanted = next(self._calls)
        answer = wanted.function(*wanted.arguments)
        yield from answer if isinstance(answer, Iterator) else [answer]


def _overhead_row(
    name: str, run: Callable[[list[Path], Path], int], folder: Path, work: Path
) -> dict[str, Any]:
    """Compare work on small files through the decoder with the same in this process, in turns; the best counts."""
    original, best, sums = scan_module.Decoding, [math.inf, math.inf], set()
    files = sorted(folder.iterdir())[:OVERHEAD_FILES]
    for turn in range(OVERHEAD_TURNS):
        for place, kind in enumerate((original, _InProcess)):
            scan_module.Decoding = kind
            begun = time.perf_counter()
            sums.add(run(files, work / f"{kind.__name__}{turn}"))
            best[place] = min(best[place], time.perf_counter() - begun)
    scan_module.Decoding = original
    if len(sums) != 1:
        raise AssertionError(f"{name}: the decoder gives other pixels than reading here.")
    return _row(name, (best[0], best[1]), "in the process itself", IN_PROCESS_GOAL, "s")


def _read_all(files: list[Path], work: Path) -> int:
    images = (found.image for found in scan(files, work, "", Settings()) if isinstance(found, Found))
    return sum(int(image.array.sum()) for image in images)


def _store_all(files: list[Path], work: Path) -> int:
    total = 0
    with Workspace.open(work / "home") as workspace:
        project = workspace.create_project("bench", "segmentation", make_labels(["a"]))
        for found in scan(files, work / "home" / "work", "", Settings()):
            if isinstance(found, Found):
                new = NewCase(found.name, found.image, found.source, array_file=found.array_file)
                total += int(workspace.add_case(project.id, new).image_sha256[:8], 16)
    return total


if __name__ == "__main__":
    for row in rows():
        print(row)
