"""Many writers, crashes, full disks, damaged homes, migrations, cleaning."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from core.errors import StorageError
from core.jobs.processes import ROOT
from core.jobs.queue import JobQueue
from core.types import Image, ImageInfo
from core.workspace.migrations import HEAD
from core.workspace.migrations.upgrade import alembic_config
from core.workspace.records import NewCase
from core.workspace.tables import Base
from core.workspace.workspace import Workspace
from tests.core.workspace import samples


def start(what: str, home: Path, *numbers: int) -> subprocess.Popen[str]:
    command_line = [sys.executable, "-m", "tests.core.workspace.writers", what, str(home), *map(str, numbers)]
    return subprocess.Popen(command_line, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def check_consistent(home: Path) -> tuple[int, int]:
    """Every row has its file, every file is whole; returns the numbers of cases and of readings."""
    with sqlite3.connect(home / "sightline.db") as plain:
        assert plain.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert plain.execute("PRAGMA foreign_key_check").fetchall() == []
    with Workspace.open(home) as workspace:
        cases = workspace.list_cases(1)
        for case in cases:
            assert workspace.load_image(case).array.sum() >= 0
        versions = [version for case in cases for version in workspace.list_versions(case.id)]
        for version in versions:
            workspace.load_reading(version)
    return len(cases), len(versions)


def test_models_and_migrations_agree(workspace: Workspace) -> None:
    assert ScriptDirectory.from_config(alembic_config()).get_heads() == [HEAD]
    with workspace.store.database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_a_home_of_the_first_version_keeps_its_readings(home: Path) -> None:
    with Workspace.open(home) as workspace:
        project = samples.project(workspace)
        case = samples.case(workspace, project, 1)
        version = workspace.save_reading(case.id, "ada", samples.mask(1))
    downgrade(home, "0001")
    with Workspace.open(home) as workspace:
        assert workspace.get_case(case.id) == case
        assert workspace.list_versions(case.id) == [version]


def downgrade(home: Path, revision: str) -> None:
    """Take a home back to an earlier version."""
    with Workspace.open(home) as workspace:
        config = alembic_config()
        with workspace.store.database.connect_writing() as connection, connection.begin():
            config.attributes["connection"] = connection
            command.downgrade(config, revision)


def test_the_schema_can_be_written_for_postgresql() -> None:
    config = alembic_config()
    config.attributes["dialect_name"] = "postgresql"
    config.output_buffer = StringIO()
    command.upgrade(config, "head", sql=True)
    written = config.output_buffer.getvalue()
    for table in Base.metadata.sorted_tables:
        assert f"CREATE TABLE {table.name}" in written
        assert "CREATE TABLE" in str(CreateTable(table).compile(dialect=postgresql.dialect()))


def test_sqlite_is_set_up_as_promised(workspace: Workspace) -> None:
    with workspace.store.database.engine.connect() as connection:
        values = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert values == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30000}


def test_a_home_opens_again_and_refuses_a_newer_one(home: Path) -> None:
    with Workspace.open(home) as workspace:
        project = samples.project(workspace)
    with Workspace.open(home) as workspace:
        assert workspace.list_projects() == [project]
    with sqlite3.connect(home / "sightline.db") as plain:
        plain.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StorageError, match="newer Sightline"):
        Workspace.open(home)


def test_a_home_of_the_first_tables_is_brought_up_to_date_with_all_it_holds(home: Path) -> None:
    config = alembic_config()
    with Workspace.open(home) as workspace:
        project = samples.project(workspace)
        case = samples.case(workspace, project, 1)
        version = workspace.save_reading(case.id, "anna", samples.mask(1))
        database = workspace.store.database
        with database.locked(), database.connect_writing() as connection, connection.begin():
            config.attributes["connection"] = connection
            command.downgrade(config, "0001")
    with sqlite3.connect(home / "sightline.db") as plain:
        assert "series_key" not in {row[1] for row in plain.execute("PRAGMA table_info(cases)")}
    with Workspace.open(home) as workspace:
        assert workspace.get_case(case.id) == case
        assert workspace.latest_reading(case.id, "anna") == version
    check_consistent(home)


def test_a_migration_that_breaks_off_leaves_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from alembic import op

    create_table = op.create_table

    def break_off(name: str, *columns: object, **options: object) -> None:
        if name == "runs":
            raise KeyboardInterrupt
        create_table(name, *columns, **options)

    with monkeypatch.context() as patch:
        patch.setattr(op, "create_table", break_off)
        with pytest.raises(KeyboardInterrupt):
            Workspace.open(home)
    with sqlite3.connect(home / "sightline.db") as plain:
        assert plain.execute("SELECT name FROM sqlite_master").fetchall() == []
    with Workspace.open(home) as workspace:
        assert workspace.list_projects() == []


def test_damaged_and_impossible_homes_are_told(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.mkdir()
    (home / "sightline.db").write_bytes(b"this is no database at all" * 100)
    with pytest.raises(StorageError, match="damaged"):
        Workspace.open(home)
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(StorageError, match="cannot be made or written"):
        Workspace.open(file / "home")
    monkeypatch.setenv("SIGHTLINE_DATABASE_URL", "nonsense")
    from core.settings import load_settings

    load_settings.cache_clear()
    with pytest.raises(StorageError, match="SIGHTLINE_DATABASE_URL"):
        Workspace.open(tmp_path / "other")


def test_secrets_are_made_once_and_for_their_owner_only(workspace: Workspace) -> None:
    assert len(workspace.salt) == 64 and workspace.salt != workspace.token
    for name, secret in (("salt", workspace.salt), ("token", workspace.token)):
        path = workspace.home / name
        assert stat.S_IMODE(path.stat().st_mode) == 0o600 and path.read_text() == secret
    assert stat.S_IMODE(workspace.home.stat().st_mode) == 0o700
    with Workspace.open(workspace.home) as again:
        assert again.salt == workspace.salt


def test_eight_processes_open_and_write_at_once(home: Path) -> None:
    writers = start("in_parallel", home, 8, 12)
    said, _ = writers.communicate(timeout=240)
    assert writers.returncode == 0
    salts = {line for line in said.splitlines() if len(line) == 64}
    assert len(salts) == 1
    assert check_consistent(home) == (96, 96)


def test_threads_share_a_workspace(workspace: Workspace) -> None:
    project = samples.project(workspace)
    errors: list[Exception] = []

    def work(number: int) -> None:
        try:
            for step in range(10):
                samples.case(workspace, project, number * 100 + step)
                workspace.list_cases(project.id, limit=5)
        except Exception as error:  # noqa: BLE001 - shown by the assertion below
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == [] and workspace.count_cases(project.id) == 60


def test_kill_in_the_middle_of_imports(home: Path) -> None:
    with Workspace.open(home) as workspace:
        samples.project(workspace)
    told = 0
    for number, after in enumerate((1, 2, 5, 9)):
        writer = start("write_many", home, number, 100_000)
        assert writer.stdout is not None
        for _ in range(after):
            assert writer.stdout.readline()
        time.sleep(0.003 * number)  # at different moments of a step
        os.kill(writer.pid, signal.SIGKILL)
        told += after + len(writer.stdout.read().splitlines())
        writer.wait()
        cases, readings = check_consistent(home)
        assert cases >= told and readings >= told and cases - readings <= number + 1
    with Workspace.open(home) as workspace:
        workspace.sweep(min_age_seconds=0)
        names = {path.name for path in workspace.store.files.walk()}
        cases_now = workspace.list_cases(1)
        images = {f"{case.image_sha256}.npy" for case in cases_now}
        readings_now = {
            f"{version.sha256}.npz" for case in cases_now for version in workspace.list_versions(case.id)
        }
        assert names == images | readings_now


def test_a_disk_that_takes_no_file(workspace: Workspace) -> None:
    project = samples.project(workspace)
    array = np.zeros((1000, 1000), np.uint8)
    case = workspace.add_case(
        project.id, NewCase("big", Image(array, ImageInfo("yx", (1000, 1000), "uint8")), "x")
    )
    before = sorted(workspace.store.files.walk())
    said, _ = start("write_too_much", workspace.home).communicate(timeout=120)
    lines = said.splitlines()
    assert len(lines) == 2 and all("disk space" in line for line in lines)
    assert sorted(workspace.store.files.walk()) == before  # nothing half-written
    assert [entry.id for entry in workspace.list_cases(project.id)] == [case.id]
    assert workspace.list_versions(case.id) == []


def test_a_full_database_takes_nothing_and_goes_on_later(workspace: Workspace) -> None:
    project = samples.project(workspace)

    def limit_pages(pages: int) -> None:
        with workspace.store.database.engine.connect() as connection:
            connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")

    workspace.store.database.engine.dispose()
    limit_pages(1)  # SQLite takes the present size as the smallest limit
    with pytest.raises(StorageError, match="disk is full"):
        for number in range(200):
            workspace.save_evaluation(project.id, f"key {number}", {"text": "x" * 5000})
    limit_pages(1_000_000)
    workspace.save_evaluation(project.id, "after", {"a": 1})
    assert workspace.load_evaluation(project.id, "after") == {"a": 1}


def test_a_busy_database_is_told(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace.store.database, "_lock", type(workspace.store.database._lock)(
        workspace.home / "write.lock", timeout=0.1))  # fmt: skip
    with Workspace.open(workspace.home) as other, other.store.database.locked():
        with pytest.raises(StorageError, match="busy"):
            samples.project(workspace)
        assert workspace.list_projects() == []  # reading goes on
    samples.project(workspace)


def test_an_error_within_a_write_undoes_it(workspace: Workspace) -> None:
    from core.workspace.results import audit

    before = workspace.list_audit()
    with pytest.raises(RuntimeError), workspace.store.database.write() as session:
        audit(session, "a", "b", "c")
        session.flush()
        raise RuntimeError
    assert workspace.list_audit() == before


def test_sweep_leaves_what_is_needed_or_young(workspace: Workspace) -> None:
    project = samples.project(workspace)
    case = samples.case(workspace, project, 1)
    files = workspace.store.files
    orphan = files.path_of(files.put_image(samples.image(9).array), ".npy")
    part = orphan.with_name(".x.npy.77.part")
    part.touch()
    assert workspace.sweep() == 0 and orphan.exists()
    old = time.time() - 7200
    for path in (orphan, part, workspace.image_path(case)):
        os.utime(path, (old, old))
    files.put_image(samples.image(9).array)  # somebody is about to need it: young again
    assert workspace.sweep() == 1 and orphan.exists() and not part.exists()
    os.utime(orphan, (old, old))
    assert workspace.sweep() == 1 and not orphan.exists()
    assert workspace.load_image(case).array.shape == samples.SIZE


def test_sweep_removes_old_work_and_models_nobody_registered(workspace: Workspace) -> None:
    queue = JobQueue(workspace)
    resumable, done = queue.enqueue("count", {}), queue.enqueue("count", {}, queue="io")
    queue.claim()
    queue.claim()
    queue.finish(done.id, 1, {})
    queue.end(resumable.id, 1, "interrupted")
    stray = workspace.new_model_dir("stray")
    for folder in (queue.work_dir(resumable.id), queue.work_dir(done.id)):
        folder.mkdir()
    assert workspace.sweep() == 0
    old = time.time() - 30 * 86400
    for folder in (queue.work_dir(resumable.id), queue.work_dir(done.id), stray):
        os.utime(folder, (old, old))
    assert workspace.sweep() == 2
    assert (
        queue.work_dir(resumable.id).exists() and not queue.work_dir(done.id).exists() and not stray.exists()
    )


def test_a_file_that_a_sweep_takes_away_meanwhile_is_put_back(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = samples.project(workspace)
    files = workspace.store.files
    put, calls = files.put_image, []

    def put_then_lose(array: np.ndarray, sha256: str | None = None, array_file: Path | None = None) -> str:
        calls.append(put(array, sha256, array_file))
        if len(calls) == 1:
            shutil.rmtree(files.path_of(calls[0], ".npy").parent)
        return calls[-1]

    monkeypatch.setattr(type(files), "put_image", lambda self, *given: put_then_lose(*given))
    case = samples.case(workspace, project, 1)
    assert len(calls) == 2 and workspace.load_image(case).array.shape == samples.SIZE


def test_opening_imports_nothing_heavy() -> None:
    code = (
        "import sys; import core.workspace.workspace, core.jobs.runner, core.jobs.worker, core.jobs.queue\n"
        "heavy = {'torch', 'monai', 'streamlit', 'pydicom', 'nibabel', 'alembic', 'scipy', 'pandas'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
