"""Tables of the ledger.

`entries` is the ledger itself: one row per event of any kind, in one order, chained by hashes. `forecasts`, `outcomes`,
`markets`, `shadows` and `model_changes` index the entries of those kinds; all their columns are derived from the
canonical form of the entries, those of a shadow also from that of its forecast.
Scores are not stored: they are computed from a forecast and the current outcome when they are read.
`snapshots` caches the state of the adaptive intervals computed from the outcomes. `checkpoints` holds signed heads of
the chain. `ledger` has one row that identifies the ledger,
`schema_version` one with VERSION. `leases`, `games`, `notifications` and
`model_workers` are not part of the record: they contain the holders of leases, the states of games that a feed shows,
who sent which notification, and the models loaded by each worker.
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

VERSION = "1"
"""Version of the schema, as stored in a database that has it."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# In SQLite only an INTEGER primary key is the rowid, so that reading in order scans the table itself.
_Sequence = BigInteger().with_variant(Integer, "sqlite")

# Texts are ordered by their bytes on PostgreSQL too, in any locale of the database.
_Text = Text().with_variant(Text(collation="C"), "postgresql")

schema_version = Table("schema_version", metadata, Column("version", _Text, primary_key=True))

ledger = Table(
    "ledger",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # always 1
    Column("ledger_id", _Text, nullable=False),  # UUID created with the ledger: 32 hexadecimal digits
    Column("epoch", _Text, nullable=False),  # 16 random hexadecimal digits; a restore draws new ones
    CheckConstraint("id = 1", name="one_row"),
)

entries = Table(
    "entries",
    metadata,
    Column("sequence", _Sequence, primary_key=True, autoincrement=False),
    Column("kind", _Text, nullable=False),
    Column("canonical", _Text, nullable=False),
    Column("hash", LargeBinary(32), nullable=False),  # SHA-256(hash of the previous entry ‖ canonical)
)

forecasts = Table(
    "forecasts",
    metadata,
    Column("sequence", _Sequence, ForeignKey(entries.c.sequence), primary_key=True, autoincrement=False),
    Column("key", _Text, nullable=False),  # game, horizon, minute, alpha, model version, margin, caller, moment: JSON
    Column("revision", Integer, nullable=False),
    Column("pattern", _Text, nullable=False),  # canonical JSON
    Column("game_id", _Text, nullable=False),
    Column("horizon", _Text, nullable=False),
    Column("generated_us", BigInteger, nullable=False),  # microseconds since 1970, UTC
    Column("day", Integer, nullable=False),  # IssuedForecast.listed_day as date.toordinal()
    Column("home_team", _Text, nullable=False),
    Column("away_team", _Text, nullable=False),
    Column("model_version", _Text, nullable=False),
    Column("minute", Integer, nullable=False),  # complete minutes, at most 47
    Column("elapsed_s", Double, nullable=False),  # seconds of play since tip-off, overtime included
    Column("at_moment", Boolean, nullable=False),  # whether it is of a moment, not of the end of a minute
    Column("alpha", Double, nullable=False),
    Column("confidence", Double, nullable=False),  # probability of the likelier side
    Column("replay", Boolean, nullable=False),
    Column("margin_given", Boolean, nullable=False),  # whether the request gave a pregame_margin
    Column("margin_plausible", Boolean, nullable=False),  # whether it gave none, or one near that of the ratings
    Column("pregame_total", Double),  # this and the next as the request gave them; NULL if it did not
    Column("neutral_site", Boolean),
    Column("missing_players", Double),  # effect on the expected margin; NULL: 0 or unknown
    Column("late", _Text, nullable=False),  # reason; empty: recorded in time
    # Inputs of its scores (entries/scored_values.py): one value, since a scorecard reads very many.
    Column("scored_values", LargeBinary, nullable=False),
    Column("recorded_by", _Text, nullable=False),  # identity of the caller; empty if it is not known
    # Inputs of the scores of its total (entries/total_values.py); NULL if it has none.
    Column("total_values", LargeBinary),
    UniqueConstraint("key", "revision"),
    # Covering index of the query for the newest recent forecast of each game and horizon.
    Index("ix_forecasts_current", "generated_us", "game_id", "horizon", "sequence", "late"),
    # Covering index of the query for the newest play of a game and the time since when the ledger has it.
    Index("ix_forecasts_elapsed", "game_id", "elapsed_s", "generated_us"),
    # Covering index of the number of forecasts of a game by caller.
    Index("ix_forecasts_caller", "game_id", "recorded_by"),
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
    # Sequence of the first report since the last withdrawal, if any; sets the order of online updates.
    Column("first_sequence", _Sequence, nullable=False),
    Column("game_id", _Text, nullable=False),
    Column("horizon", _Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("differential", Integer, nullable=False),
    Column("home_team", _Text, nullable=False),
    Column("away_team", _Text, nullable=False),
    Column("observed_us", BigInteger, nullable=False),
    Column("day", Integer, nullable=False),  # game day of observed_us, as in forecasts
    Column("replay", Boolean, nullable=False),
    Column("withdrawn", Boolean, nullable=False),  # the revision withdraws the outcome
    Column("total_points", Integer),  # of both teams; NULL if they were not reported
    Column("players", _Text),  # the box score, see entries.box_scores; NULL if it was not reported
    UniqueConstraint("game_id", "horizon", "revision"),
    Index("ix_outcomes_first", "first_sequence", "revision"),
)

markets = Table(
    "markets",
    metadata,
    Column("sequence", _Sequence, ForeignKey(entries.c.sequence), primary_key=True, autoincrement=False),
    Column("forecast_sequence", _Sequence, nullable=False),  # the first market of each kind of a forecast
    Column("on_total", Boolean, nullable=False),  # on the total points, not on the lead
    UniqueConstraint("forecast_sequence", "on_total"),
)

shadows = Table(
    "shadows",
    metadata,
    Column("sequence", _Sequence, ForeignKey(entries.c.sequence), primary_key=True, autoincrement=False),
    Column("forecast_sequence", _Sequence, nullable=False),  # the forecast that it shadows
    Column("model_version", _Text, nullable=False),  # the model that made it
    Column("game_id", _Text, nullable=False),  # this and the next three as in the row of the forecast
    Column("horizon", _Text, nullable=False),
    Column("minute", Integer, nullable=False),
    Column("replay", Boolean, nullable=False),
    Column("scored_values", LargeBinary, nullable=False),  # as in forecasts
    UniqueConstraint("forecast_sequence", "model_version"),
    Index("ix_shadows_model", "model_version", "sequence"),
)

model_changes = Table(
    "model_changes",
    metadata,
    Column("sequence", _Sequence, ForeignKey(entries.c.sequence), primary_key=True, autoincrement=False),
    Column("action", _Text, nullable=False),  # dejavu_store.stages.ModelAction
    Column("model_version", _Text, nullable=False),
    Column("changed_us", BigInteger, nullable=False),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("sequence", _Sequence, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary(32), nullable=False),
    Column("epoch", _Text, nullable=False),
    Column("signed_us", BigInteger, nullable=False),
    Column("public_key", LargeBinary(32), nullable=False),
    Column("signature", LargeBinary(64), nullable=False),
)

snapshots = Table(
    "snapshots",
    metadata,
    Column("sequence", _Sequence, primary_key=True, autoincrement=False),  # last first_sequence that the state includes
    Column("state", LargeBinary, nullable=False),
)

leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("caller", Text, nullable=False),  # identity of the caller who acquired it; empty if it is not known
    Column("acquired_us", BigInteger, nullable=False),  # microseconds since 1970, UTC, by the database's clock
    Column("expires_us", BigInteger, nullable=False),
)

games = Table(
    "games",
    metadata,
    Column("game_id", Text, primary_key=True),
    Column("state", LargeBinary, nullable=False),  # serialized dejavu.v1.Game
    Column("version", BigInteger, nullable=False),  # greater than those of all states published before
    Column("published_us", BigInteger, nullable=False),  # microseconds since 1970, UTC, by the database's clock
    Column("caller", Text, nullable=False),  # identity of the caller who published it; empty if it is not known
    UniqueConstraint("version"),
)

notifications = Table(
    "notifications",
    metadata,
    Column("id", Text, primary_key=True),
    Column("target", Text, primary_key=True),
    Column("rule", Text, nullable=False),
    Column("game_id", Text, nullable=False),  # empty: of no game
    Column("text", Text, nullable=False),
    Column("status", Integer, nullable=False),  # of dejavu.ops.v1.NotificationStatus
    Column("attempts", Integer, nullable=False),
    Column("sender", Text, nullable=False),
    Column("failure", Text, nullable=False),  # why the newest attempt failed; empty if it did not
    Column("caller", Text, nullable=False),  # identity of the caller who changed it last; empty if it is not known
    Column("created_us", BigInteger, nullable=False),  # microseconds since 1970, UTC, by the database's clock
    Column("updated_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger, nullable=False),  # when another sender can claim it
)

model_workers = Table(
    "model_workers",
    metadata,
    Column("server", Text, primary_key=True),
    Column("worker", Text, primary_key=True),
    Column("state", Text, nullable=False),  # JSON: the models that the worker has loaded, or failed to load
    Column("seen_us", BigInteger, nullable=False),  # when it last reported, by the database's clock
)
