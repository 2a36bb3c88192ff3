"""Runs the migrations on the connection and in the transaction that the caller passes in the configuration."""

from __future__ import annotations

from alembic import context

from dejavu_ledger.database.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
