"""Settings of one installation, read from the environment (``SIGHTLINE_...``)."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Where things lie and how much a file may ask for."""

    model_config = SettingsConfigDict(env_prefix="SIGHTLINE_", frozen=True)

    home: Path = Field(default=Path("~/.sightline"), description="Folder of the database and all files.")
    database_url: str | None = Field(
        default=None,
        exclude=True,  # it may hold a password, and settings are handed to other processes
        description="Another database than the home's own, such as postgresql+psycopg://...",
    )
    import_folders: str = Field(
        default="",
        description="Folders of the server that the import page may read, separated as in PATH; empty: none.",
    )
    max_image_bytes: int = Field(
        default=4 * 2**30, gt=0, description="Largest decoded image: rows x columns x frames x bytes."
    )
    max_image_pixels_per_frame: int = Field(
        default=2**28, gt=0, description="Largest single frame, in pixels."
    )
    max_slide_pixels: int = Field(
        default=120_000_000,
        gt=0,
        description="Largest image made of a whole slide; of a larger slide a smaller level is taken.",
    )
    max_archive_bytes: int = Field(default=20 * 2**30, gt=0, description="Largest unpacked archive.")
    max_archive_members: int = Field(default=200_000, gt=0)
    decoder_memory_bytes: int = Field(
        default=2**30,
        gt=0,
        description="Memory that reading one file may take, besides 4 times the pixels that it declares.",
    )
    decoder_seconds: float = Field(
        default=15.0,
        gt=0,
        description="Time that reading one file may take; more is given for more than 64 MB of pixels.",
    )
    heartbeat_seconds: float = Field(default=2.0, gt=0, description="How often a job says that it lives.")
    lost_after_seconds: float = Field(default=10.0, gt=0, description="Silence after which a job is lost.")
    cancel_grace_seconds: float = Field(
        default=20.0, gt=0, description="How long a cancelled job may take to stop by itself."
    )
    warm_idle_seconds: float = Field(
        default=900.0,
        gt=0,
        description="Time without work after which the process for quick calculations ends.",
    )
    warm_memory_bytes: int = Field(
        default=4 * 2**30, gt=0, description="Most memory of the process for quick calculations."
    )
    device: str = Field(default="auto", description="auto, cpu, cuda or cuda:N.")

    @property
    def import_roots(self) -> tuple[Path, ...]:
        """The folders that the import page may read."""
        return tuple(Path(part) for part in self.import_folders.split(os.pathsep) if part.strip())

    @property
    def home_path(self) -> Path:
        """The home folder with ``~`` resolved."""
        return self.home.expanduser().resolve()


@lru_cache
def load_settings() -> Settings:
    """Return the settings of this process (read once)."""
    return Settings()
