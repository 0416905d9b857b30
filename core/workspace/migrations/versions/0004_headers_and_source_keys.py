"""Kept DICOM headers, and hashes in place of file names that are not kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add two columns to cases; cases that are there know neither."""
    # In place: to copy the table and drop the old one would take the readings with it (ON DELETE CASCADE).
    op.add_column("cases", sa.Column("source_key", sa.String(length=64), nullable=True))
    op.add_column("cases", sa.Column("headers_sha256", sa.String(length=64), nullable=True))
    op.create_index("ix_cases_headers_sha256", "cases", ["headers_sha256"], unique=False)


def downgrade() -> None:
    """Drop them."""
    op.drop_index("ix_cases_headers_sha256", "cases")
    op.drop_column("cases", "headers_sha256")
    op.drop_column("cases", "source_key")
