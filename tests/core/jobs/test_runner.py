"""Real runners and workers, killed in every way."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from core.jobs.processes import created_at, find_process
from core.jobs.queue import Job, JobQueue
from core.jobs.runner import ensure_runner, runner_alive, runner_pid, stop_runner
from core.jobs.worker import cap_log, sentence_of

HANDLERS = "tests.core.jobs.sample_handlers:HANDLERS"
PATIENCE = 90.0  # a bound for loaded machines, not a wait


def wait_until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited too long"
        time.sleep(0.05)


def start(queue: JobQueue) -> int:
    ensure_runner(queue.workspace.home, HANDLERS)
    pid = runner_pid(queue.workspace.home)
    assert pid is not None
    return pid


def steps(queue: JobQueue, job: Job) -> int:
    return sum(event.data["kind"] == "step" for event in queue.events(job.id))


def state(queue: JobQueue, job: Job) -> str:
    return queue.get(job.id).state


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: find_process(pid, None) is None)


def test_a_job_is_done_and_its_folder_goes(queue: JobQueue) -> None:
    counting = queue.enqueue("count", {"to": 3})
    keeping = queue.enqueue("keep", {}, queue="io")
    unknown = queue.enqueue("dance", {}, queue="io")
    start(queue)
    wait_until(lambda: not queue.list(active_only=True))
    done = queue.get(counting.id)
    assert (done.state, done.result, done.progress, done.error) == ("done", {"count": 3}, 1.0, None)
    assert done.message == "step 3"  # what was told last, not what the heartbeat saw last
    assert (
        done.started_at is not None and done.finished_at is not None and done.started_at <= done.finished_at
    )
    log = queue.log_path(counting.id).read_text()
    assert "attempt 1 begins" in log and "counted" in log
    assert not queue.work_dir(counting.id).exists()
    kept = queue.get(keeping.id)
    assert kept.result is not None and Path(kept.result["file"]).read_text() == "x"
    assert state(queue, unknown) == "failed" and "dance" in (queue.get(unknown.id).error or "")


def test_failures_are_one_sentence(queue: JobQueue) -> None:
    refused = queue.enqueue("refuse", {}, queue="io")
    stumbled = queue.enqueue("stumble", {}, queue="io")
    start(queue)
    wait_until(lambda: not queue.list(active_only=True))
    assert queue.get(refused.id).error == "The file scan.png is damaged."
    assert "KeyError" in (queue.get(stumbled.id).error or "")
    assert "Traceback" in queue.log_path(stumbled.id).read_text()
    assert "Traceback" not in queue.log_path(refused.id).read_text()


def test_a_killed_worker_is_seen_and_resumed(queue: JobQueue) -> None:
    job = queue.enqueue("count", {"to": 40, "pause": 0.05})
    start(queue)
    wait_until(lambda: steps(queue, job) >= 3)
    pid = queue.get(job.id).pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: state(queue, job) == "interrupted")
    counted = int((queue.work_dir(job.id) / "count.txt").read_text())
    assert counted >= 3
    queue.resume(job.id)
    wait_until(lambda: state(queue, job) == "done")
    done = queue.get(job.id)
    assert done.attempt == 2 and done.result == {"count": 40}
    plans = [event.data["start"] for event in queue.events(job.id) if event.data["kind"] == "plan"]
    assert plans[0] == 0 and plans[1] >= counted
    ids = [event.id for event in queue.events(job.id)]
    assert ids == sorted(ids)


def test_a_killed_runner_leaves_its_jobs_to_the_next(queue: JobQueue) -> None:
    job = queue.enqueue("count", {"to": 400, "pause": 0.02})
    first = start(queue)
    wait_until(lambda: steps(queue, job) >= 2)
    kill(first)
    seen = steps(queue, job)
    wait_until(lambda: steps(queue, job) > seen)
    second = start(queue)
    assert second != first
    pid = queue.get(job.id).pid
    time.sleep(5.0)  # longer than lost_after
    assert state(queue, job) == "running" and queue.get(job.id).pid == pid
    assert queue.get(job.id).attempt == 1
    assert pid is not None
    os.kill(pid, signal.SIGKILL)  # not a child of the second runner
    wait_until(lambda: state(queue, job) == "interrupted")


def test_both_killed(queue: JobQueue) -> None:
    job = queue.enqueue("count", {"to": 1000, "pause": 0.02})
    runner = start(queue)
    wait_until(lambda: steps(queue, job) >= 2)
    pid = queue.get(job.id).pid
    assert pid is not None
    kill(runner)
    kill(pid)
    assert state(queue, job) == "running"  # nobody is there to see it
    assert not runner_alive(queue.workspace.home)
    start(queue)
    wait_until(lambda: state(queue, job) == "interrupted", 12)


def test_sigterm_to_the_runner_leaves_jobs_alone(queue: JobQueue) -> None:
    job = queue.enqueue("count", {"to": 60, "pause": 0.05})
    start(queue)
    wait_until(lambda: steps(queue, job) >= 2)
    assert stop_runner(queue.workspace.home)
    wait_until(lambda: state(queue, job) == "done")
    assert queue.get(job.id).attempt == 1


def test_a_stopped_process_is_ended_and_a_calculating_one_is_not(queue: JobQueue) -> None:
    frozen = queue.enqueue("count", {"to": 1000, "pause": 0.02}, queue="io")
    # One call keeps the interpreter for longer than lost_after.
    busy = queue.enqueue("calculate", {"seconds": 9.0, "size": 600_000_000}, queue="io")
    start(queue)
    wait_until(lambda: steps(queue, frozen) >= 2)
    pid = queue.get(frozen.id).pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: state(queue, frozen) == "interrupted")
    wait_until(lambda: find_process(pid, None) is None)
    wait_until(lambda: state(queue, busy) != "running")
    assert state(queue, busy) == "done"


def test_an_outlived_attempt_ends_itself(queue: JobQueue) -> None:
    job = queue.enqueue("count", {"to": 5000, "pause": 0.02})
    runner = start(queue)
    wait_until(lambda: steps(queue, job) >= 2)
    kill(runner)
    pid = queue.get(job.id).pid
    assert pid is not None
    queue.end(job.id, 1, "interrupted")
    queue.resume(job.id)
    seen = steps(queue, job)
    wait_until(lambda: find_process(pid, None) is None, 12)
    assert steps(queue, job) == seen
    assert state(queue, job) == "queued" and queue.get(job.id).attempt == 2


def test_cancel_asks_then_ends_the_whole_group(queue: JobQueue) -> None:
    polite = queue.enqueue("count", {"to": 5000, "pause": 0.02}, queue="io")
    deaf = queue.enqueue("ignore", {}, queue="io")
    start(queue)
    wait_until(lambda: steps(queue, polite) >= 2 and queue.events(deaf.id))
    child = int(queue.events(deaf.id)[0].data["child"])
    assert psutil.pid_exists(child)
    queue.cancel(polite.id)
    queue.cancel(deaf.id)
    wait_until(lambda: state(queue, polite) == "cancelled" and state(queue, deaf) == "cancelled")
    wait_until(lambda: find_process(child, None) is None)
    assert (queue.work_dir(polite.id) / "count.txt").exists()
    assert queue.get(polite.id).resumable


def test_sigterm_to_a_worker_interrupts_it(queue: JobQueue) -> None:
    job = queue.enqueue("count", {"to": 5000, "pause": 0.02})
    start(queue)
    wait_until(lambda: steps(queue, job) >= 2)
    pid = queue.get(job.id).pid
    assert pid is not None
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: state(queue, job) == "interrupted")
    assert "told to end" in (queue.get(job.id).error or "")


def test_there_is_one_runner_however_often_one_asks(queue: JobQueue) -> None:
    pid = start(queue)
    for _ in range(100):
        ensure_runner(queue.workspace.home, HANDLERS)
    assert runner_pid(queue.workspace.home) == pid
    mine = [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(queue.workspace.home) in (process.info["cmdline"] or [])
    ]
    assert len(mine) == 1


def test_a_recycled_number_is_another_process() -> None:
    own = created_at(os.getpid())
    assert own is not None
    assert find_process(os.getpid(), own) is not None
    assert find_process(os.getpid(), own - 60) is None
    child = subprocess.Popen(["sleep", "60"])
    child.kill()
    wait_until(lambda: psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE)
    assert find_process(child.pid, None) is None  # dead, though its number is still taken
    child.wait()


def test_logs_are_capped(tmp_path: Path) -> None:
    log = tmp_path / "job.log"
    with open(log, "ab", buffering=0) as writer:
        for number in range(2000):
            writer.write(f"line {number}\n".encode())
        cap_log(log, 10_000)
        writer.write(b"after\n")
    lines = log.read_text().splitlines()
    assert log.stat().st_size < 6000
    assert lines[0].startswith("(earlier") and lines[-2:] == ["line 1999", "after"]
    assert lines[1].startswith("line ")


def test_sentences() -> None:
    assert "memory" in sentence_of(MemoryError())
    assert "disk is full" in sentence_of(OSError(28, "No space left on device"))
    assert sentence_of(ValueError("size must be 3.")) == "size must be 3."
