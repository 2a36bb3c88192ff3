"""The arm of an A/B test that a forecast was made in, in the rows of forecasts; empty if there was no test.

A worker of an earlier release that has the ledger open goes on: releases before this one recorded no arms.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from dejavu_server.ledger.database.canonical_value import canonical_text

revision = "ledger_0010"
down_revision = "ledger_0009"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Adds the column, and fills it for forecasts since the first change of shares."""
    op.add_column("forecasts", sa.Column("arm", _TEXT, nullable=False, server_default=""))
    forecasts = sa.table("forecasts", sa.column("sequence"), sa.column("arm"))
    entries = sa.table("entries", sa.column("sequence"), sa.column("canonical"))
    changes = sa.table("model_changes", sa.column("sequence"), sa.column("action"))
    first = sa.select(sa.func.min(changes.c.sequence)).where(changes.c.action == "route").scalar_subquery()
    arm = canonical_text(entries.c.canonical, "payload", "forecast", "arm")
    recorded = sa.select(sa.func.coalesce(arm, "")).where(entries.c.sequence == forecasts.c.sequence)
    op.execute(
        sa.update(forecasts)
        .where(forecasts.c.sequence > first)
        .values(arm=recorded.correlate(forecasts).scalar_subquery())
    )
