"""Work on readings (time, strokes, assistance), and projects whose readers are blind to each other."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table of work, and a column to projects: those that are there stay open."""
    op.add_column("projects", sa.Column("blind", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_table(
        "reading_work",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("case_id", sa.Integer(), nullable=False),
        sa.Column("reader_id", sa.Integer(), nullable=False),
        sa.Column("last_step", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("strokes", sa.Integer(), nullable=False),
        sa.Column("accepted", sa.Integer(), nullable=False),
        sa.Column("rejected", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["case_id"], ["cases.id"], name="fk_reading_work_case_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["reader_id"], ["readers.id"], name="fk_reading_work_reader_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_reading_work"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_reading_work_case_id_reader_id", "reading_work", ["case_id", "reader_id"], unique=False
    )
    op.create_index("ix_reading_work_last_step", "reading_work", ["last_step"], unique=False)


def downgrade() -> None:
    """Drop them."""
    op.drop_table("reading_work")
    op.drop_column("projects", "blind")
