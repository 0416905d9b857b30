"""The tables. Migrations write them out by hand; a test holds the two together.

JSON is kept as text, so that NaN in metrics survives and every database stores it alike. Ids are never used
twice, because pages and caches remember them.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    false,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}


class JsonText(TypeDecorator[Any]):
    """Plain JSON values as text."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """Write."""
        return None if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """Read."""
        return None if value is None else json.loads(value)


class UtcTime(TypeDecorator[datetime]):
    """A moment in UTC; aware in Python, without a zone in the database."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Write."""
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Read."""
        return None if value is None else value.replace(tzinfo=UTC)


class Base(DeclarativeBase):
    """All tables."""

    metadata = MetaData(naming_convention=NAMES)
    type_annotation_map = {datetime: UtcTime, dict[str, Any]: JsonText, list[Any]: JsonText}  # noqa: RUF012


NEVER_AGAIN = {"sqlite_autoincrement": True}


class ProjectRow(Base):
    """A project."""

    __tablename__ = "projects"
    __table_args__ = (UniqueConstraint("name"), NEVER_AGAIN)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    task: Mapped[str] = mapped_column(String(50))
    labels: Mapped[list[Any]]
    reference_reader: Mapped[str | None] = mapped_column(String(200))
    blind: Mapped[bool] = mapped_column(server_default=false())
    created_at: Mapped[datetime]


class ImageRow(Base):
    """Facts about a stored array; several may point to one file. ``original`` names the file of a whole slide."""

    __tablename__ = "images"
    __table_args__ = (Index(None, "sha256"), Index(None, "original"), NEVER_AGAIN)

    id: Mapped[int] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64))
    info: Mapped[dict[str, Any]]
    original: Mapped[str | None] = mapped_column(String(80))


class CaseRow(Base):
    """A case."""

    __tablename__ = "cases"
    __table_args__ = (
        UniqueConstraint("project_id", "name"),
        Index(None, "project_id", "split"),
        Index(None, "image_id"),
        Index(None, "headers_sha256"),
        NEVER_AGAIN,
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    image_id: Mapped[int] = mapped_column(ForeignKey("images.id"))
    name: Mapped[str] = mapped_column(String(300))
    source: Mapped[str] = mapped_column(Text)
    patient_key: Mapped[str] = mapped_column(String(400))
    split: Mapped[str | None] = mapped_column(String(10))
    case_metadata: Mapped[dict[str, Any]] = mapped_column("metadata")
    series_key: Mapped[str | None] = mapped_column(String(40))
    duplicate_of: Mapped[int | None] = mapped_column(ForeignKey("cases.id", ondelete="SET NULL"), index=True)
    source_key: Mapped[str | None] = mapped_column(String(64))
    headers_sha256: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[datetime]


class ReaderRow(Base):
    """A person or model that reads cases of one project."""

    __tablename__ = "readers"
    __table_args__ = (UniqueConstraint("project_id", "name"), NEVER_AGAIN)

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(200))
    kind: Mapped[str] = mapped_column(String(10))


class RunRow(Base):
    """A training."""

    __tablename__ = "runs"
    __table_args__ = (NEVER_AGAIN,)

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), index=True)
    job_id: Mapped[int | None] = mapped_column(ForeignKey("jobs.id", ondelete="SET NULL"), index=True)
    settings: Mapped[dict[str, Any]]
    snapshot_sha256: Mapped[str] = mapped_column(String(64))
    status: Mapped[str] = mapped_column(String(20))
    metrics: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class ModelRow(Base):
    """A trained network; its package lies in ``folder`` under the home."""

    __tablename__ = "models"
    __table_args__ = (UniqueConstraint("name"), NEVER_AGAIN)

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int | None] = mapped_column(ForeignKey("projects.id", ondelete="SET NULL"), index=True)
    run_id: Mapped[int | None] = mapped_column(ForeignKey("runs.id", ondelete="SET NULL"), index=True)
    name: Mapped[str] = mapped_column(String(200))
    task: Mapped[str] = mapped_column(String(50))
    card: Mapped[dict[str, Any]]
    folder: Mapped[str] = mapped_column(String(300))
    created_at: Mapped[datetime]


class VersionRow(Base):
    """One version of one reader's reading of one case."""

    __tablename__ = "reading_versions"
    __table_args__ = (
        UniqueConstraint("reader_id", "case_id", "version"),
        Index(None, "case_id"),
        Index(None, "sha256"),
        Index(None, "model_id"),
        NEVER_AGAIN,
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id", ondelete="CASCADE"))
    reader_id: Mapped[int] = mapped_column(ForeignKey("readers.id", ondelete="CASCADE"))
    version: Mapped[int]
    sha256: Mapped[str] = mapped_column(String(64))
    note: Mapped[str] = mapped_column(Text)
    based_on: Mapped[int | None]
    model_id: Mapped[int | None] = mapped_column(ForeignKey("models.id", ondelete="SET NULL"))
    has_probabilities: Mapped[bool]
    notes: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime]


class StepRow(Base):
    """One step of marking, in the order it came; ``version`` is the version it went into, None while it waits.

    ``based_on`` names the state it was made on: "s<id>" of the step before, or "v<number>" of a version.
    """

    __tablename__ = "marking_steps"
    __table_args__ = (
        UniqueConstraint("case_id", "reader_id", "client", "number"),
        Index(None, "case_id", "reader_id", "id"),
        Index(None, "version"),
        NEVER_AGAIN,
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id", ondelete="CASCADE"))
    reader_id: Mapped[int] = mapped_column(ForeignKey("readers.id", ondelete="CASCADE"))
    client: Mapped[str] = mapped_column(String(64))
    number: Mapped[int]
    based_on: Mapped[str] = mapped_column(String(24))
    version: Mapped[int | None]
    content: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime]


class WorkRow(Base):
    """The work behind steps that came together: ``last_step`` is the last of them, ``version`` as of the steps."""

    __tablename__ = "reading_work"
    __table_args__ = (Index(None, "case_id", "reader_id"), Index(None, "last_step"), NEVER_AGAIN)

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id", ondelete="CASCADE"))
    reader_id: Mapped[int] = mapped_column(ForeignKey("readers.id", ondelete="CASCADE"))
    last_step: Mapped[int]
    version: Mapped[int | None]
    seconds: Mapped[float] = mapped_column(Float)
    strokes: Mapped[int]
    accepted: Mapped[int]
    rejected: Mapped[int]
    created_at: Mapped[datetime]


class SnapshotRow(Base):
    """A frozen list of cases and readings; paths in it are relative to the home."""

    __tablename__ = "snapshots"
    __table_args__ = (Index(None, "sha256"), NEVER_AGAIN)

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), index=True)
    sha256: Mapped[str] = mapped_column(String(64))
    content: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class EvaluationRow(Base):
    """A kept result."""

    __tablename__ = "evaluations"
    __table_args__ = (UniqueConstraint("project_id", "key"), NEVER_AGAIN)

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    key: Mapped[str] = mapped_column(String(300))
    result: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class JobRow(Base):
    """A piece of long work."""

    __tablename__ = "jobs"
    __table_args__ = (Index(None, "state"), NEVER_AGAIN)

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int | None] = mapped_column(ForeignKey("projects.id", ondelete="SET NULL"), index=True)
    kind: Mapped[str] = mapped_column(String(50))
    title: Mapped[str] = mapped_column(Text)
    queue: Mapped[str] = mapped_column(String(50))
    state: Mapped[str] = mapped_column(String(20))
    attempt: Mapped[int]
    progress: Mapped[float] = mapped_column(Float)
    message: Mapped[str] = mapped_column(Text)
    eta_seconds: Mapped[float | None] = mapped_column(Float)
    payload: Mapped[dict[str, Any]]
    result: Mapped[dict[str, Any] | None]
    error: Mapped[str | None] = mapped_column(Text)
    pid: Mapped[int | None]
    pid_created: Mapped[float | None] = mapped_column(Float(53))
    cancel_requested: Mapped[bool]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    heartbeat_at: Mapped[datetime | None]


class EventRow(Base):
    """Something a job, or a run without a job, told."""

    __tablename__ = "events"
    __table_args__ = (Index(None, "job_id", "id"), Index(None, "run_id", "id"), NEVER_AGAIN)

    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[int | None] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    run_id: Mapped[int | None] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"))
    attempt: Mapped[int]
    data: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class AuditRow(Base):
    """Who did what; rows are only ever added."""

    __tablename__ = "audit"
    __table_args__ = (NEVER_AGAIN,)

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(String(200))
    action: Mapped[str] = mapped_column(String(100))
    target: Mapped[str] = mapped_column(Text)
    detail: Mapped[str] = mapped_column(Text)
