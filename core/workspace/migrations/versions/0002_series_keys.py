"""Hashes of the DICOM series that cases came from."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a column to cases; of cases that are there nothing is known."""
    # In place: to copy the table and drop the old one would take the readings with it (ON DELETE CASCADE).
    op.add_column("cases", sa.Column("series_key", sa.String(length=40), nullable=True))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("cases", "series_key")
