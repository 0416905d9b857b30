"""Files that are kept beside an image which holds less than they do, such as whole slides."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a column to images; images that are there have no such file."""
    op.add_column("images", sa.Column("original", sa.String(length=80), nullable=True))
    op.create_index("ix_images_original", "images", ["original"], unique=False)


def downgrade() -> None:
    """Drop it."""
    op.drop_index("ix_images_original", "images")
    op.drop_column("images", "original")
