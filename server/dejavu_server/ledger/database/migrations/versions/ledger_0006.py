"""Scores are computed when they are read, and outcomes can be withdrawn.

Drops the settlements: an outcome settled, and a correction settled again, every forecast of its game in the transaction
that recorded it. What scores need of a forecast becomes a column of its row. It has a default for a worker of release
0.1.0 that still runs during a rolling restart; `ensure_schema` fills in its rows.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from dejavu_server.ledger.database.migrate import fill

revision = "ledger_0006"
down_revision = "ledger_0005"


def upgrade() -> None:
    """Adds columns and drops the table."""
    op.drop_table("settlements")
    op.add_column("forecasts", sa.Column("scored_values", sa.LargeBinary, nullable=False, server_default=""))
    op.add_column("outcomes", sa.Column("withdrawn", sa.Boolean, nullable=False, server_default=sa.false()))
    fill(op.get_bind(), every=True)
