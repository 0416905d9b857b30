"""Alembic's entry: run on the connection handed over, or write SQL when there is none."""

from __future__ import annotations

from alembic import context

from core.workspace.tables import Base

config = context.config
connection = config.attributes.get("connection")

if connection is not None:
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
else:
    context.configure(
        dialect_name=config.attributes["dialect_name"], target_metadata=Base.metadata, literal_binds=True
    )
with context.begin_transaction():
    context.run_migrations()
