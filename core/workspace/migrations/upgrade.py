"""Run the migrations from the program: no ini file, no shell."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from core.errors import StorageError
from core.workspace.database import Database

HERE = Path(__file__).resolve().parent


def alembic_config() -> Config:
    """Return the configuration that points to this folder."""
    config = Config()
    config.set_main_option("script_location", str(HERE).replace("%", "%%"))
    return config


def upgrade(database: Database) -> None:
    """Bring a database to the newest revision in one transaction; the caller holds its writers' lock.

    Raises:
        StorageError: when the database was made by a newer version.
    """
    if database.engine.dialect.name == "sqlite":
        # The mode is kept in the file; it cannot change within a transaction.
        raw = database.engine.raw_connection()
        try:
            raw.cursor().execute("PRAGMA journal_mode=WAL")
        finally:
            raw.close()
    config = alembic_config()
    with database.connect_writing() as connection, connection.begin():
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise StorageError(
                "This home was made by a newer Sightline; update this one, or choose another home."
            ) from error
