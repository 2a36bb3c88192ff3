"""First schema of the ledger."""

from __future__ import annotations

import secrets
import uuid

import sqlalchemy as sa
from alembic import op

revision = "ledger_0001"
down_revision = None

_SEQUENCE = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the tables and the ledger's identity."""
    ledger = op.create_table(
        "ledger",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("ledger_id", _TEXT, nullable=False),
        sa.Column("epoch", _TEXT, nullable=False),
        sa.CheckConstraint("id = 1", name="ck_ledger_one_row"),
        sa.PrimaryKeyConstraint("id", name="pk_ledger"),
    )
    op.create_table(
        "checkpoints",
        sa.Column("sequence", _SEQUENCE, autoincrement=False, nullable=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.Column("epoch", _TEXT, nullable=False),
        sa.Column("signed_us", sa.BigInteger, nullable=False),
        sa.Column("public_key", sa.LargeBinary(32), nullable=False),
        sa.Column("signature", sa.LargeBinary(64), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_checkpoints"),
    )
    op.create_table(
        "entries",
        sa.Column("sequence", _SEQUENCE, autoincrement=False, nullable=False),
        sa.Column("kind", _TEXT, nullable=False),
        sa.Column("canonical", _TEXT, nullable=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_entries"),
    )
    op.create_table(
        "games",
        sa.Column("game_id", sa.Text, nullable=False),
        sa.Column("state", sa.LargeBinary, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("published_us", sa.BigInteger, nullable=False),
        sa.Column("caller", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("game_id", name="pk_games"),
        sa.UniqueConstraint("version", name="uq_games_version"),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("caller", sa.Text, nullable=False),
        sa.Column("acquired_us", sa.BigInteger, nullable=False),
        sa.Column("expires_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_leases"),
    )
    op.create_table(
        "model_workers",
        sa.Column("server", sa.Text, nullable=False),
        sa.Column("worker", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("seen_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("server", "worker", name="pk_model_workers"),
    )
    op.create_table(
        "notifications",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("rule", sa.Text, nullable=False),
        sa.Column("game_id", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("sender", sa.Text, nullable=False),
        sa.Column("failure", sa.Text, nullable=False),
        sa.Column("caller", sa.Text, nullable=False),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.Column("updated_us", sa.BigInteger, nullable=False),
        sa.Column("expires_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", "target", name="pk_notifications"),
    )
    op.create_table(
        "snapshots",
        sa.Column("sequence", _SEQUENCE, autoincrement=False, nullable=False),
        sa.Column("state", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_snapshots"),
    )
    op.create_table(
        "forecasts",
        sa.Column("sequence", _SEQUENCE, autoincrement=False, nullable=False),
        sa.Column("key", _TEXT, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("pattern", _TEXT, nullable=False),
        sa.Column("game_id", _TEXT, nullable=False),
        sa.Column("horizon", _TEXT, nullable=False),
        sa.Column("generated_us", sa.BigInteger, nullable=False),
        sa.Column("day", sa.Integer, nullable=False),
        sa.Column("home_team", _TEXT, nullable=False),
        sa.Column("away_team", _TEXT, nullable=False),
        sa.Column("model_version", _TEXT, nullable=False),
        sa.Column("minute", sa.Integer, nullable=False),
        sa.Column("elapsed_s", sa.Double, nullable=False),
        sa.Column("at_moment", sa.Boolean, nullable=False),
        sa.Column("alpha", sa.Double, nullable=False),
        sa.Column("confidence", sa.Double, nullable=False),
        sa.Column("replay", sa.Boolean, nullable=False),
        sa.Column("margin_given", sa.Boolean, nullable=False),
        sa.Column("margin_plausible", sa.Boolean, nullable=False),
        sa.Column("pregame_total", sa.Double),
        sa.Column("neutral_site", sa.Boolean),
        sa.Column("missing_players", sa.Double),
        sa.Column("late", _TEXT, nullable=False),
        sa.Column("scored_values", sa.LargeBinary, nullable=False),
        sa.Column("recorded_by", _TEXT, nullable=False),
        sa.Column("total_values", sa.LargeBinary, nullable=True),
        sa.ForeignKeyConstraint(["sequence"], ["entries.sequence"], name="fk_forecasts_sequence"),
        sa.PrimaryKeyConstraint("sequence", name="pk_forecasts"),
        sa.UniqueConstraint("key", "revision", name="uq_forecasts_key"),
    )
    op.create_index("ix_forecasts_away", "forecasts", ["away_team", "sequence"])
    op.create_index("ix_forecasts_current", "forecasts", ["generated_us", "game_id", "horizon", "sequence", "late"])
    op.create_index("ix_forecasts_day", "forecasts", ["day", "sequence"])
    op.create_index("ix_forecasts_game", "forecasts", ["game_id", "horizon", "sequence"])
    op.create_index("ix_forecasts_home", "forecasts", ["home_team", "sequence"])
    op.create_index("ix_forecasts_caller", "forecasts", ["game_id", "recorded_by"])
    op.create_index("ix_forecasts_elapsed", "forecasts", ["game_id", "elapsed_s", "generated_us"])
    op.create_index("ix_forecasts_model", "forecasts", ["model_version", "sequence"])
    op.create_table(
        "markets",
        sa.Column("sequence", _SEQUENCE, autoincrement=False, nullable=False),
        sa.Column("forecast_sequence", _SEQUENCE, nullable=False),
        sa.Column("on_total", sa.Boolean, nullable=False),
        sa.ForeignKeyConstraint(["sequence"], ["entries.sequence"], name="fk_markets_sequence"),
        sa.PrimaryKeyConstraint("sequence", name="pk_markets"),
        sa.UniqueConstraint("forecast_sequence", "on_total", name="uq_markets_forecast_sequence"),
    )
    op.create_table(
        "model_changes",
        sa.Column("sequence", _SEQUENCE, autoincrement=False, nullable=False),
        sa.Column("action", _TEXT, nullable=False),
        sa.Column("model_version", _TEXT, nullable=False),
        sa.Column("changed_us", sa.BigInteger, nullable=False),
        sa.ForeignKeyConstraint(["sequence"], ["entries.sequence"], name="fk_model_changes_sequence"),
        sa.PrimaryKeyConstraint("sequence", name="pk_model_changes"),
    )
    op.create_table(
        "outcomes",
        sa.Column("sequence", _SEQUENCE, autoincrement=False, nullable=False),
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
        sa.Column("withdrawn", sa.Boolean, nullable=False),
        sa.Column("total_points", sa.Integer, nullable=True),
        sa.Column("players", _TEXT, nullable=True),
        sa.ForeignKeyConstraint(["sequence"], ["entries.sequence"], name="fk_outcomes_sequence"),
        sa.PrimaryKeyConstraint("sequence", name="pk_outcomes"),
        sa.UniqueConstraint("game_id", "horizon", "revision", name="uq_outcomes_game_id"),
    )
    op.create_index("ix_outcomes_first", "outcomes", ["first_sequence", "revision"])
    op.create_table(
        "shadows",
        sa.Column("sequence", _SEQUENCE, autoincrement=False, nullable=False),
        sa.Column("forecast_sequence", _SEQUENCE, nullable=False),
        sa.Column("model_version", _TEXT, nullable=False),
        sa.Column("game_id", _TEXT, nullable=False),
        sa.Column("horizon", _TEXT, nullable=False),
        sa.Column("minute", sa.Integer, nullable=False),
        sa.Column("replay", sa.Boolean, nullable=False),
        sa.Column("scored_values", sa.LargeBinary, nullable=False),
        sa.ForeignKeyConstraint(["sequence"], ["entries.sequence"], name="fk_shadows_sequence"),
        sa.PrimaryKeyConstraint("sequence", name="pk_shadows"),
        sa.UniqueConstraint("forecast_sequence", "model_version", name="uq_shadows_forecast_sequence"),
    )
    op.create_index("ix_shadows_model", "shadows", ["model_version", "sequence"])
    op.bulk_insert(ledger, [{"id": 1, "ledger_id": uuid.uuid4().hex, "epoch": secrets.token_hex(8)}])
