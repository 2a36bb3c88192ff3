"""Whether the request of a forecast gave a pregame_margin, as a column that the database computes.

A computed column needs no backfill, and a worker of an earlier release, which still runs during a rolling restart,
records rows that have it too.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "ledger_0003"
down_revision = "ledger_0002"


def upgrade() -> None:
    """Adds the column."""
    # PostgreSQL before 18 only has stored ones.
    stored = op.get_bind().dialect.name == "postgresql"
    given = sa.Computed("key NOT LIKE '%null]'", persisted=stored)
    op.add_column("forecasts", sa.Column("margin_given", sa.Boolean, given))
