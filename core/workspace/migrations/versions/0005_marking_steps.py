"""Steps of marking, and what a reader notes beside the mask or the boxes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a column to versions (none of those there has notes) and the table of steps."""
    op.add_column("reading_versions", sa.Column("notes", sa.Text(), nullable=True))
    op.create_table(
        "marking_steps",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("case_id", sa.Integer(), nullable=False),
        sa.Column("reader_id", sa.Integer(), nullable=False),
        sa.Column("client", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("based_on", sa.String(length=24), nullable=False),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["case_id"], ["cases.id"], name="fk_marking_steps_case_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["reader_id"], ["readers.id"], name="fk_marking_steps_reader_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_marking_steps"),
        sa.UniqueConstraint(
            "case_id",
            "reader_id",
            "client",
            "number",
            name="uq_marking_steps_case_id_reader_id_client_number",
        ),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_marking_steps_case_id_reader_id_id", "marking_steps", ["case_id", "reader_id", "id"], unique=False
    )
    op.create_index("ix_marking_steps_version", "marking_steps", ["version"], unique=False)


def downgrade() -> None:
    """Drop them."""
    op.drop_table("marking_steps")
    op.drop_column("reading_versions", "notes")
