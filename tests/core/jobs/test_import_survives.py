"""A real import whose worker is killed in the middle: its decoder goes with it, resuming doubles nothing."""

from __future__ import annotations

import os
import signal
import zlib
from pathlib import Path

import numpy as np
import psutil
from PIL import Image as PILImage

from core.jobs.payloads import ImportPayload
from core.jobs.queue import Job, JobQueue
from core.jobs.runner import ensure_runner
from core.jobs.submit import submit
from core.types import make_labels
from tests.core.imaging.bombs import png, zeros_deflated, zlib_of_zeros
from tests.core.jobs.test_runner import wait_until

COUNT = 300


def import_job(queue: JobQueue, folder: Path, labels: Path | None = None) -> Job:
    project = queue.workspace.create_project("Pictures", "segmentation", make_labels(["a"]))
    payload = ImportPayload(
        project=project.id,
        paths=[str(folder)],
        labels=None if labels is None else str(labels),
        label_map={"any": "a"},
        reader="annotator",
    )
    return submit(queue, payload, "Import")


def decoders_of(worker: int) -> list[psutil.Process]:
    return [child for child in psutil.Process(worker).children() if "core.imaging.decoder" in child.cmdline()]


def count(queue: JobQueue) -> int:
    return queue.workspace.count_cases(queue.workspace.get_project("Pictures").id)


def test_kill_9_in_the_middle_of_an_import(queue: JobQueue, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(COUNT):
        picture = rng.integers(0, 255, (40, 40), dtype=np.uint8)
        PILImage.fromarray(picture).save(folder / f"{number:03}.png")
    home = queue.workspace.home
    ensure_runner(home)
    job = import_job(queue, folder)
    wait_until(lambda: count(queue) >= 20)
    worker = queue.get(job.id).pid
    assert worker is not None
    (decoder,) = decoders_of(worker)
    os.kill(worker, signal.SIGKILL)
    psutil.wait_procs([decoder], timeout=5)
    assert not decoder.is_running()
    wait_until(lambda: queue.get(job.id).state == "interrupted")
    before = count(queue)
    assert before < COUNT

    queue.resume(job.id)
    wait_until(lambda: queue.get(job.id).state == "done", 120)
    result = queue.get(job.id).result
    assert result is not None
    assert (result["cases"], result["skipped"]) == (COUNT, [])
    assert result["already_there"] == before
    cases = queue.workspace.list_cases(queue.workspace.get_project("Pictures").id)
    assert sorted(case.name for case in cases) == [f"{number:03}" for number in range(COUNT)]
    assert not any(case.duplicate_of for case in cases)
    assert not queue.work_dir(job.id).exists()
    queue.workspace.sweep(min_age_seconds=0)  # takes what was half written, as the runner does every hour
    stored = [path.name for path in (home / "files").rglob("*") if path.is_file()]
    assert len(stored) == COUNT and all(name.endswith(".npy") for name in stored)


def test_bad_files_and_odd_names_do_not_stop_the_rest(queue: JobQueue, tmp_path: Path) -> None:
    images, masks = tmp_path / "in", tmp_path / "masks"
    images.mkdir()
    masks.mkdir()
    good = png(4, 3, zlib.compress(b"\0abcd" * 3))
    for number, name in enumerate(("a", "line\nbreak", "\u202egnp", "\U0001f9e0")):
        PILImage.fromarray(np.full((3, 4), number, np.uint8)).save(images / f"{name}.png")
    with open(os.fsencode(images) + b"/half\xff.png", "wb") as file:
        file.write(good)
    (images / "b.png").write_bytes(png(12500, 12500, zlib.compress(b"\0")))
    (images / "c.png").write_bytes(png(20000, 13000, zlib_of_zeros(200)))  # 260 MB, cut short
    os.mkfifo(images / "pipe.png")
    PILImage.fromarray(np.ones((3, 4), np.uint8)).save(masks / "a.png")
    (masks / "\U0001f9e0.nii.gz").write_bytes(b"\x1f\x8b\x08" + b"\0" * 7 + zeros_deflated(100))
    ensure_runner(queue.workspace.home)
    job = import_job(queue, images, masks)
    wait_until(lambda: queue.get(job.id).state in ("done", "failed"), 120)
    result = queue.get(job.id).result
    assert result is not None, queue.get(job.id).error
    assert (result["cases"], result["readings"]) == (5, 1)
    skipped = {row["path"].split("/")[-1]: row["reason"] for row in result["skipped"]}
    assert sorted(skipped) == ["b.png", "c.png", "pipe.png", "\U0001f9e0.nii.gz"]
    assert all(reason.endswith(".") for reason in skipped.values())
    assert "Traceback" not in queue.log_path(job.id).read_text()
    assert not queue.work_dir(job.id).exists()
    stored = [path.name for path in (queue.workspace.home / "files").rglob("*.part")]
    assert stored == []
