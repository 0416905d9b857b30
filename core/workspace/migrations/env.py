"""Alembic's entry: run on the connection handed over, or write SQL when there is none."""

from __future__ import annotations

from alembic import context

from core.workspace.tables import Base

config = context.config
connection = config.attributes.get("connection")

if connection is not None:
    # SQLite takes back table changes, too, as our connections leave BEGIN and COMMIT to SQLAlchemy.
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=True,
        transactional_ddl=True,
    )
else:
    context.configure(
        dialect_name=config.attributes["dialect_name"], target_metadata=Base.metadata, literal_binds=True
    )
with context.begin_transaction():
    context.run_migrations()
