"""Totals in the rows of forecasts and outcomes: what their scores are computed from, and the points that there were.

NULL where there is none, as in every row of an earlier release: these recorded no totals, so that there is nothing to
fill, and a worker of theirs that has the ledger open goes on.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "ledger_0011"
down_revision = "ledger_0010"


def upgrade() -> None:
    """Adds the columns."""
    op.add_column("forecasts", sa.Column("total_values", sa.LargeBinary))
    op.add_column("outcomes", sa.Column("total_points", sa.Integer))
