"""The ledger's tables, as the newest migration leaves them.

`entries` is the ledger: one row an event of whatever kind, in one order, chained by hashes. `forecasts` is an index
over the entries of that kind; everything in it follows from their canonical form. `ledger` has one row and says which
ledger this is.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

REVISION = "ledger_0001"
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
    UniqueConstraint("key", "revision"),
    # Covers the search for the newest forecast of each game and horizon of the last hours.
    Index("ix_forecasts_current", "generated_us", "game_id", "horizon", "sequence"),
)
