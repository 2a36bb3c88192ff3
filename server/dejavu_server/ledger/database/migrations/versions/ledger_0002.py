"""Track record: outcomes, markets and settlements; signed heads; and indices for searching forecasts.

The columns added to `forecasts` keep a default: a worker of release 0.1.0 that still runs during a rolling restart can
keep recording, and `ensure_schema` fills in its rows.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "ledger_0002"
down_revision = "ledger_0001"

_SEQUENCE = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Adds columns, tables and indices."""
    _widen_forecasts()
    op.create_table(
        "outcomes",
        sa.Column("sequence", _SEQUENCE, autoincrement=False),
        sa.Column("first_sequence", _SEQUENCE, nullable=False),
        sa.Column("game_id", _TEXT, nullable=False),
        sa.Column("horizon", _TEXT, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("differential", sa.Integer, nullable=False),
        sa.Column("home_team", _TEXT, nullable=False),
        sa.Column("away_team", _TEXT, nullable=False),
        sa.Column("observed_us", sa.BigInteger, nullable=False),
        sa.Column("day", sa.Integer, nullable=False),
        sa.Column("replay", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_outcomes"),
        sa.ForeignKeyConstraint(["sequence"], ["entries.sequence"], name="fk_outcomes_sequence"),
        sa.UniqueConstraint("game_id", "horizon", "revision", name="uq_outcomes_game_id"),
    )
    op.create_index("ix_outcomes_first", "outcomes", ["first_sequence", "revision"])
    op.create_table(
        "markets",
        sa.Column("sequence", _SEQUENCE, autoincrement=False),
        sa.Column("forecast_sequence", _SEQUENCE, nullable=False),
        sa.Column("line", sa.Double, nullable=False),
        sa.Column("side", _TEXT, nullable=False),
        sa.Column("decimal_odds", sa.Double, nullable=False),
        sa.Column("stake_fraction", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_markets"),
        sa.ForeignKeyConstraint(["sequence"], ["entries.sequence"], name="fk_markets_sequence"),
        sa.UniqueConstraint("forecast_sequence", name="uq_markets_forecast_sequence"),
    )
    _make_settlements()
    op.create_table(
        "checkpoints",
        sa.Column("sequence", _SEQUENCE, autoincrement=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.Column("epoch", _TEXT, nullable=False),
        sa.Column("signed_us", sa.BigInteger, nullable=False),
        sa.Column("public_key", sa.LargeBinary(32), nullable=False),
        sa.Column("signature", sa.LargeBinary(64), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_checkpoints"),
    )
    op.create_table(
        "snapshots",
        sa.Column("part", _TEXT, nullable=False),
        sa.Column("sequence", _SEQUENCE, autoincrement=False, nullable=False),
        sa.Column("state", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("part", "sequence", name="pk_snapshots"),
    )


def _widen_forecasts() -> None:
    for column in (
        sa.Column("day", sa.Integer, nullable=False, server_default="0"),
        sa.Column("home_team", _TEXT, nullable=False, server_default=""),
        sa.Column("away_team", _TEXT, nullable=False, server_default=""),
        sa.Column("model_version", _TEXT, nullable=False, server_default=""),
        sa.Column("minute", sa.Integer, nullable=False, server_default="0"),
        sa.Column("alpha", sa.Double, nullable=False, server_default="0"),
        sa.Column("confidence", sa.Double, nullable=False, server_default="0"),
        sa.Column("replay", sa.Boolean, nullable=False, server_default=sa.false()),
    ):
        op.add_column("forecasts", column)
    op.create_index("ix_forecasts_game", "forecasts", ["game_id", "horizon", "sequence"])
    op.create_index("ix_forecasts_day", "forecasts", ["day", "sequence"])
    op.create_index("ix_forecasts_home", "forecasts", ["home_team", "sequence"])
    op.create_index("ix_forecasts_away", "forecasts", ["away_team", "sequence"])
    op.create_index("ix_forecasts_model", "forecasts", ["model_version", "sequence"])


def _make_settlements() -> None:
    op.create_table(
        "settlements",
        sa.Column("forecast_sequence", _SEQUENCE, autoincrement=False),
        sa.Column("outcome_sequence", _SEQUENCE, nullable=False),
        sa.Column("first_sequence", _SEQUENCE, nullable=False),
        sa.Column("game_id", _TEXT, nullable=False),
        sa.Column("horizon", _TEXT, nullable=False),
        sa.Column("minute", sa.Integer, nullable=False),
        sa.Column("model_version", _TEXT, nullable=False),
        sa.Column("alpha", sa.Double, nullable=False),
        sa.Column("day", sa.Integer, nullable=False),
        sa.Column("replay", sa.Boolean, nullable=False),
        sa.Column("superseded", sa.Boolean, nullable=False),
        sa.Column("differential", sa.Integer, nullable=False),
        sa.Column("error", sa.Double, nullable=False),
        sa.Column("persistence_error", sa.Double, nullable=False),
        sa.Column("width", sa.Double, nullable=False),
        sa.Column("covered", sa.Boolean, nullable=False),
        sa.Column("home_lead_probability", sa.Double, nullable=False),
        sa.Column("home_led", sa.Boolean, nullable=False),
        sa.Column("brier", sa.Double, nullable=False),
        sa.Column("crps", sa.Double, nullable=True),
        sa.Column("score", sa.Double, nullable=True),
        sa.Column("market_stake", sa.Double, nullable=True),
        sa.Column("market_profit", sa.Double, nullable=True),
        sa.PrimaryKeyConstraint("forecast_sequence", name="pk_settlements"),
        sa.ForeignKeyConstraint(["forecast_sequence"], ["forecasts.sequence"], name="fk_settlements_forecast_sequence"),
    )
    op.create_index("ix_settlements_first", "settlements", ["first_sequence", "forecast_sequence"])
    op.create_index("ix_settlements_card", "settlements", ["horizon", "day", "model_version"])
