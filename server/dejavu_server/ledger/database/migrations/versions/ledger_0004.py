"""Why a forecast was recorded too late to count, in the rows of forecasts and settlements; empty if it was in time.

Forecasts recorded by earlier releases count as in time: their entries say nothing else. The default also serves a
worker of an earlier release that still runs during a rolling restart.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "ledger_0004"
down_revision = "ledger_0003"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Adds the columns, and the indexes that the newest minute of a game is read from."""
    for table in ("forecasts", "settlements"):
        op.add_column(table, sa.Column("late", _TEXT, nullable=False, server_default=""))
    op.drop_index("ix_forecasts_current", "forecasts")
    op.create_index("ix_forecasts_current", "forecasts", ["generated_us", "game_id", "horizon", "sequence", "late"])
    op.create_index("ix_forecasts_minute", "forecasts", ["game_id", "minute", "generated_us"])
