"""The ledger's tables, as the newest migration leaves them.

`entries` is the ledger: one row an event of whatever kind, in one order, chained by hashes. `forecasts`, `outcomes` and
`markets` are indices over the entries of those kinds; everything in them follows from their canonical form.
`settlements` follows from all three: how each forecast fared against the newest revision of its outcome. `snapshots` is
a cache of what outcomes have taught. `checkpoints` are signed heads of the chain. `ledger` has one row and says which
ledger this is.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

REVISION = "ledger_0002"
"""The newest migration, as a database of this schema names it."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# On SQLite only INTEGER makes the primary key the row's own number, so that reading in order is reading the table.
_Sequence = BigInteger().with_variant(Integer, "sqlite")

ledger = Table(
    "ledger",
    metadata,
    Column("id", Integer, primary_key=True),  # always 1
    Column("ledger_id", Text, nullable=False),  # a UUID, made with the ledger: 32 hexadecimal digits
    Column("epoch", Text, nullable=False),  # 16 hexadecimal digits; a restore draws new ones
    Column("pruned_through", _Sequence, nullable=False),  # entries up to this place were removed; 0: none
    Column("pruned_hash", LargeBinary(32), nullable=False),  # what the first entry kept is chained to
    CheckConstraint("id = 1", name="one_row"),
)

entries = Table(
    "entries",
    metadata,
    Column("sequence", _Sequence, primary_key=True, autoincrement=False),
    Column("kind", Text, nullable=False),
    Column("canonical", Text, nullable=False),
    Column("hash", LargeBinary(32), nullable=False),  # SHA-256 (hash of the entry before ‖ canonical)
)

forecasts = Table(
    "forecasts",
    metadata,
    Column("sequence", _Sequence, ForeignKey(entries.c.sequence), primary_key=True, autoincrement=False),
    Column("key", Text, nullable=False),  # game, horizon, minute, alpha, model version, margin: canonical JSON
    Column("revision", Integer, nullable=False),
    Column("pattern", Text, nullable=False),  # canonical JSON
    Column("game_id", Text, nullable=False),
    Column("horizon", Text, nullable=False),
    Column("generated_us", BigInteger, nullable=False),  # microseconds since 1970, UTC
    Column("day", Integer, nullable=False),  # of the game: records.game_day as date.toordinal()
    Column("home_team", Text, nullable=False),
    Column("away_team", Text, nullable=False),
    Column("model_version", Text, nullable=False),
    Column("minute", Integer, nullable=False),
    Column("alpha", Double, nullable=False),
    Column("confidence", Double, nullable=False),  # probability of the likelier side
    Column("replay", Boolean, nullable=False),
    UniqueConstraint("key", "revision"),
    # Covers the search for the newest forecast of each game and horizon of the last hours.
    Index("ix_forecasts_current", "generated_us", "game_id", "horizon", "sequence"),
    Index("ix_forecasts_game", "game_id", "horizon", "sequence"),
    Index("ix_forecasts_day", "day", "sequence"),
    Index("ix_forecasts_home", "home_team", "sequence"),
    Index("ix_forecasts_away", "away_team", "sequence"),
    Index("ix_forecasts_model", "model_version", "sequence"),
)

outcomes = Table(
    "outcomes",
    metadata,
    Column("sequence", _Sequence, ForeignKey(entries.c.sequence), primary_key=True, autoincrement=False),
    Column("first_sequence", _Sequence, nullable=False),  # of revision 0: its place in the order that is learned from
    Column("game_id", Text, nullable=False),
    Column("horizon", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("differential", Integer, nullable=False),
    Column("home_team", Text, nullable=False),
    Column("away_team", Text, nullable=False),
    Column("observed_us", BigInteger, nullable=False),
    Column("day", Integer, nullable=False),  # of observed_us, as in forecasts
    Column("replay", Boolean, nullable=False),
    UniqueConstraint("game_id", "horizon", "revision"),
    Index("ix_outcomes_first", "first_sequence", "revision"),
)

markets = Table(
    "markets",
    metadata,
    Column("sequence", _Sequence, ForeignKey(entries.c.sequence), primary_key=True, autoincrement=False),
    Column("forecast_sequence", _Sequence, nullable=False),  # one market a forecast: the first
    Column("line", Double, nullable=False),
    Column("side", Text, nullable=False),  # home or away; empty without a stake
    Column("decimal_odds", Double, nullable=False),  # of that side; 0 without a stake
    Column("stake_fraction", Double, nullable=False),  # of the bankroll
    UniqueConstraint("forecast_sequence"),
)

settlements = Table(
    "settlements",
    metadata,
    Column("forecast_sequence", _Sequence, ForeignKey(forecasts.c.sequence), primary_key=True, autoincrement=False),
    Column("outcome_sequence", _Sequence, nullable=False),  # the newest revision of the outcome
    Column("first_sequence", _Sequence, nullable=False),  # its revision 0
    Column("game_id", Text, nullable=False),
    Column("horizon", Text, nullable=False),
    Column("minute", Integer, nullable=False),
    Column("model_version", Text, nullable=False),
    Column("alpha", Double, nullable=False),
    Column("day", Integer, nullable=False),
    Column("replay", Boolean, nullable=False),
    Column("superseded", Boolean, nullable=False),
    Column("differential", Integer, nullable=False),
    Column("error", Double, nullable=False),
    Column("persistence_error", Double, nullable=False),
    Column("width", Double, nullable=False),  # of the interval, in points
    Column("covered", Boolean, nullable=False),
    Column("home_lead_probability", Double, nullable=False),
    Column("home_led", Boolean, nullable=False),
    Column("brier", Double, nullable=False),
    Column("crps", Double, nullable=True),
    Column("score", Double, nullable=True),
    Column("market_stake", Double, nullable=True),
    Column("market_profit", Double, nullable=True),
    Index("ix_settlements_first", "first_sequence", "forecast_sequence"),
    Index("ix_settlements_card", "horizon", "day", "model_version"),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("sequence", _Sequence, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary(32), nullable=False),
    Column("epoch", Text, nullable=False),
    Column("signed_us", BigInteger, nullable=False),
    Column("public_key", LargeBinary(32), nullable=False),
    Column("signature", LargeBinary(64), nullable=False),
)

snapshots = Table(
    "snapshots",
    metadata,
    Column("part", Text, primary_key=True),  # what of: the intervals, or the ratings of a model version
    Column("sequence", _Sequence, primary_key=True, autoincrement=False),  # the last first_sequence folded in
    Column("state", LargeBinary, nullable=False),
)
