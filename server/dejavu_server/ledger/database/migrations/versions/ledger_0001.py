"""First schema of the ledger: ordered entries, chained by hashes, and an index of the forecasts."""

from __future__ import annotations

import secrets
import uuid

import sqlalchemy as sa
from alembic import op

from dejavu_server.ledger.entries.codec import genesis_hash

revision = "ledger_0001"
down_revision = None

_SEQUENCE = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Creates the tables and the ledger's identity."""
    ledger = op.create_table(
        "ledger",
        sa.Column("id", sa.Integer, autoincrement=False),
        sa.Column("ledger_id", _TEXT, nullable=False),
        sa.Column("epoch", _TEXT, nullable=False),
        sa.Column("pruned_through", _SEQUENCE, nullable=False),
        sa.Column("pruned_hash", sa.LargeBinary(32), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ledger"),
        sa.CheckConstraint("id = 1", name="ck_ledger_one_row"),
    )
    op.create_table(
        "entries",
        sa.Column("sequence", _SEQUENCE, autoincrement=False),
        sa.Column("kind", _TEXT, nullable=False),
        sa.Column("canonical", _TEXT, nullable=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_entries"),
    )
    op.create_table(
        "forecasts",
        sa.Column("sequence", _SEQUENCE, autoincrement=False),
        sa.Column("key", _TEXT, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("pattern", _TEXT, nullable=False),
        sa.Column("game_id", _TEXT, nullable=False),
        sa.Column("horizon", _TEXT, nullable=False),
        sa.Column("generated_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_forecasts"),
        sa.ForeignKeyConstraint(["sequence"], ["entries.sequence"], name="fk_forecasts_sequence"),
        sa.UniqueConstraint("key", "revision", name="uq_forecasts_key"),
    )
    op.create_index("ix_forecasts_current", "forecasts", ["generated_us", "game_id", "horizon", "sequence"])
    ledger_id = uuid.uuid4().hex
    op.bulk_insert(
        ledger,
        [
            {
                "id": 1,
                "ledger_id": ledger_id,
                "epoch": secrets.token_hex(8),
                "pruned_through": 0,
                "pruned_hash": genesis_hash(ledger_id),
            }
        ],
    )
