"""The database: one writer at a time over all processes, and problems told in one sentence.

SQLite runs in WAL mode with synchronous FULL. Before 3.51.3 it could lose pages when several connections
wrote and checkpointed at once, so every write holds a lock file from before BEGIN IMMEDIATE until after
COMMIT (which is also when checkpoints run). PostgreSQL takes an advisory lock besides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.orm import Session

from core.errors import StorageError

LOCK_TIMEOUT_SECONDS = 60.0
LOCK_POLL_SECONDS = 0.004
BUSY_MILLISECONDS = 30_000
WRITES = "sightline_writes"
ADVISORY_LOCK = 7_305_031_142_114  # any number, the same for every Sightline


def now() -> datetime:
    """Return this moment in UTC."""
    return datetime.now(UTC)


def sqlite_url(home: Path) -> str:
    """Return the address of a home's own database."""
    return f"sqlite:///{home / 'sightline.db'}"


class Database:
    """Connections to one database. ``fence`` runs inside every write transaction and may refuse it."""

    def __init__(self, home: Path, url: str | None = None) -> None:
        self.url = url or sqlite_url(home)
        self.fence: Callable[[Session], None] | None = None
        self._lock = FileLock(home / "write.lock", timeout=LOCK_TIMEOUT_SECONDS)
        self.engine = _make_engine(self.url)
        self._writing = self.engine.execution_options(**{WRITES: True})

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Open a session that sees one consistent state; what it changes is thrown away."""
        with told_plainly(), Session(self.engine, autoflush=False) as session:
            yield session
            session.rollback()

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Open the one write transaction; it is committed at the end, or undone when anything raises.

        Raises:
            StorageError: when the disk is full, the home cannot be written, or another writer hangs.
        """
        session = Session(self._writing, expire_on_commit=False)
        with told_plainly(), self.locked(), session, session.begin():
            if self.fence is not None:
                self.fence(session)
            yield session

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the writers' lock file."""
        try:
            self._lock.acquire(poll_interval=LOCK_POLL_SECONDS)
        except Timeout as error:
            raise StorageError(
                f"Another program has kept the database busy for {LOCK_TIMEOUT_SECONDS:.0f} seconds; "
                "close it and try again."
            ) from error
        except OSError as error:
            raise StorageError(
                f"The home folder cannot be written ({error.strerror or error}); check its permissions."
            ) from error
        try:
            yield
        finally:
            self._lock.release()

    def connect_writing(self) -> Connection:
        """Return a plain connection whose transactions may write; the caller holds ``locked``."""
        return self._writing.connect()

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


@contextmanager
def told_plainly() -> Iterator[None]:
    """Turn what a database driver says into one sentence a user can act on."""
    try:
        yield
    except DBAPIError as error:
        raise StorageError(_sentence(str(error.orig))) from error


def _sentence(said: str) -> str:
    lower = said.lower()
    if "full" in lower or "no space" in lower:
        return "The disk is full, nothing was stored; free some space and try again."
    if "readonly" in lower or "read-only" in lower or "unable to open" in lower:
        return "The database cannot be written; check the permissions of the home folder and its disk."
    if "locked" in lower or "busy" in lower:
        return "Another program keeps the database busy; close it and try again."
    if "malformed" in lower or "not a database" in lower:
        return "The database file is damaged; put back a copy of the home folder."
    return f"The database refused this ({said}); nothing was stored."


def _make_engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
        sqlite = parsed.get_backend_name() == "sqlite"
        # One connection a thread at most; a page needs one for a moment only.
        engine = create_engine(parsed, pool_size=8, max_overflow=56, pool_pre_ping=not sqlite)
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        raise StorageError(f"SIGHTLINE_DATABASE_URL cannot be used ({error}).") from error
    if sqlite:
        event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite if sqlite else _begin_other)
    return engine


def _prepare_sqlite(connection: Any, record: object) -> None:
    connection.isolation_level = None  # the driver begins nothing on its own
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={BUSY_MILLISECONDS}")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _begin_other(connection: Connection) -> None:
    if connection.get_execution_options().get(WRITES):
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
