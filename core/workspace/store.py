"""An open home: its database, its files, its secrets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import inspect, text

from core.errors import StorageError
from core.settings import load_settings
from core.workspace.database import Database, told_plainly
from core.workspace.files import FileStore, read_or_make_secret
from core.workspace.migrations import HEAD

FOLDERS = ("files", "models", "work", "logs")


@dataclass(frozen=True)
class Store:
    """What the functions of this package work on."""

    home: Path
    database: Database
    files: FileStore

    def secret(self, name: str) -> str:
        """Return a secret of this home, made on first use."""
        return read_or_make_secret(self.home / name)


def open_store(home: Path) -> Store:
    """Make the folders, open the database and bring it up to date.

    Raises:
        StorageError: when the home cannot be used.
    """
    home = home.expanduser().resolve()
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in FOLDERS:
            (home / name).mkdir(exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"The home folder {home} cannot be made or written ({error.strerror}); "
            "choose another one with --home or SIGHTLINE_HOME."
        ) from error
    database = Database(home, load_settings().database_url)
    with told_plainly():
        if schema_version(database) != HEAD:
            _migrate(database)
    store = Store(home, database, FileStore(home / "files"))
    store.secret("salt")
    return store


def schema_version(database: Database) -> str | None:
    """Return the revision the database is at; None when it is empty."""
    with database.engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        version: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        return version


def _migrate(database: Database) -> None:
    # Alembic is imported here: a home that is up to date opens without it.
    from core.workspace.migrations.upgrade import upgrade

    with database.locked():
        if schema_version(database) != HEAD:
            upgrade(database)
