"""Drops the snapshots of the intervals, which earlier releases computed from games that are no longer learned from.

Those are preseason and All-Star games, and games whose id is of another season than their date. Snapshots are a cache:
the first worker computes them again from the outcomes.
"""

from __future__ import annotations

from alembic import op

revision = "ledger_0005"
down_revision = "ledger_0004"


def upgrade() -> None:
    """Drops the rows."""
    op.execute("DELETE FROM snapshots")
