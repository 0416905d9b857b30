"""Commands about the installation: serve, demo, doctor, jobs."""

from __future__ import annotations

import os
import platform
import sqlite3
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer

from core.cli.console import HomeOption, JsonOption, console, table
from core.errors import SightlineError
from core.jobs.payloads import DemoPayload
from core.settings import load_settings

jobs = typer.Typer(invoke_without_command=True)
ROOT = Path(__file__).resolve().parents[2]
SHOWN_PACKAGES = (
    "streamlit",
    "torch",
    "torchvision",
    "segmentation-models-pytorch",
    "monai",
    "pydicom",
    "sqlalchemy",
)


def serve_command(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 8501,
    home: HomeOption = None,
) -> None:
    """Start the web server (and the worker service beside it)."""
    if home is not None:
        os.environ["SIGHTLINE_HOME"] = str(home.expanduser().resolve())
    command = [sys.executable, "-m", "streamlit", "run", str(ROOT / "app.py"), "--server.address", host]
    command += ["--server.port", str(port)]
    print(f"Sightline is at http://{host}:{port}", file=sys.stderr, flush=True)
    os.chdir(ROOT)  # Streamlit reads .streamlit/config.toml from the working folder
    os.execv(sys.executable, command)  # noqa: S606  (no shell: the same interpreter takes over this process)


def demo_command(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Make the demo projects from synthetic images."""
    with console(home, as_json) as out:
        result = out.run_job(DemoPayload(), "Make the demo projects")
        out.result(result, f"{result['cases']} synthetic cases in: {', '.join(result['projects'])}.")


def doctor_command(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Say what works here: device, versions, database, disk, limits."""
    with console(home, as_json) as out:
        settings = load_settings()
        report = {
            "home": str(out.workspace.home),
            "python": platform.python_version(),
            "versions": {name: version(name) for name in SHOWN_PACKAGES},
            "device": _device_report(),
            "decoder": _decoder_report(),
            "database": _database_report(out.workspace.home),
            "disk_free_gb": round(psutil.disk_usage(str(out.workspace.home)).free / 1e9, 1),
            "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
            "cpu_cores": os.cpu_count(),
            "limits": {
                "max_image_bytes": settings.max_image_bytes,
                "max_image_pixels_per_frame": settings.max_image_pixels_per_frame,
                "max_archive_bytes": settings.max_archive_bytes,
                "max_archive_members": settings.max_archive_members,
                "decoder_memory_bytes": settings.decoder_memory_bytes,
                "decoder_seconds": settings.decoder_seconds,
            },
        }
        text = "\n".join(f"{key:14} {_flat(value)}" for key, value in report.items())
        out.result(report, text)


def _flat(value: Any) -> str:
    return (
        ", ".join(f"{key} {item}" for key, item in value.items()) if isinstance(value, dict) else str(value)
    )


def _device_report() -> dict[str, Any]:
    # In a process of its own: a broken GPU driver must not take the doctor down with it.
    code = "import json; from core.learning.devices import device_report; print(json.dumps(device_report()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120)
    if done.returncode != 0:
        return {"error": (done.stderr.strip().splitlines() or ["torch did not start"])[-1]}
    import json

    report: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return report


def _decoder_report() -> dict[str, str]:
    """Start the process that reads files and let it say which caps hold there."""
    from core.imaging.caps import report_caps
    from core.imaging.sandbox import Call, ask

    try:
        report: dict[str, str] = ask(Call(report_caps, (), (Path("doctor"),)), load_settings())
    except SightlineError as error:
        return {"error": str(error)}
    return report


def _database_report(home: Path) -> dict[str, Any]:
    files = [path for path in home.glob("*.db*") if path.is_file()]
    return {"sqlite": sqlite3.sqlite_version, "bytes": sum(path.stat().st_size for path in files)}


@jobs.callback()
def list_jobs(context: typer.Context, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the latest jobs (without a further word), or show, cancel or resume one."""
    if context.invoked_subcommand is not None:
        return
    from core.jobs.queue import JobQueue

    with console(home, as_json) as out:
        rows = [
            {
                "id": job.id,
                "title": job.title,
                "state": job.state,
                "progress": job.progress,
                "message": job.message,
            }
            for job in JobQueue(out.workspace).list()
        ]
        out.result({"jobs": rows}, table(rows, ["id", "title", "state", "progress", "message"]))


@jobs.command("show")
def show_job(job: int, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show one job."""
    from core.jobs.queue import JobQueue

    with console(home, as_json) as out:
        found = JobQueue(out.workspace).get(job)
        fields = (
            "id",
            "kind",
            "title",
            "state",
            "attempt",
            "progress",
            "message",
            "error",
            "result",
            "queue",
        )
        data = {field: getattr(found, field) for field in fields}
        out.result(data, "\n".join(f"{key:9} {value}" for key, value in data.items()))


@jobs.command("log")
def log_of_job(job: int, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Print a job's log."""
    from core.jobs.queue import JobQueue

    with console(home, as_json) as out:
        path = JobQueue(out.workspace).log_path(JobQueue(out.workspace).get(job).id)
        text = path.read_text(errors="replace") if path.exists() else ""
        out.result({"job": job, "log": text}, text.rstrip() or "The log is empty.")


@jobs.command("cancel")
def cancel_job(job: int, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Ask a job to stop; its checkpoint is kept."""
    from core.jobs.queue import JobQueue

    with console(home, as_json) as out:
        JobQueue(out.workspace).cancel(job)
        out.result({"job": job, "state": "cancelling"}, f"Job {job} was asked to stop.")


@jobs.command("resume")
def resume_job(job: int, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Go on with an interrupted, failed or cancelled job, and wait for it."""
    from core.jobs.queue import JobQueue

    with console(home, as_json) as out:
        queue = JobQueue(out.workspace)
        queue.resume(job)
        result = out.wait_for(queue.get(job))
        if not result:
            raise SightlineError(f"Job {job} ended without a result; see `sightline jobs log {job}`.")
        out.result(result, f"Job {job} is done.")
