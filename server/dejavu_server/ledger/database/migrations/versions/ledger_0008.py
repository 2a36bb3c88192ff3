"""Changes of models, forecasts of challengers, and what each worker has loaded.

A worker of an earlier release that has the ledger open goes on: it neither reads nor writes the tables, and skips
entries of these kinds.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "ledger_0008"
down_revision = "ledger_0007"

_SEQUENCE = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Creates the tables."""
    op.create_table(
        "shadows",
        sa.Column("sequence", _SEQUENCE, autoincrement=False),
        sa.Column("forecast_sequence", _SEQUENCE, nullable=False),
        sa.Column("model_version", _TEXT, nullable=False),
        sa.Column("game_id", _TEXT, nullable=False),
        sa.Column("horizon", _TEXT, nullable=False),
        sa.Column("minute", sa.Integer, nullable=False),
        sa.Column("replay", sa.Boolean, nullable=False),
        sa.Column("scored_values", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_shadows"),
        sa.ForeignKeyConstraint(["sequence"], ["entries.sequence"], name="fk_shadows_sequence"),
        sa.UniqueConstraint("forecast_sequence", "model_version", name="uq_shadows_forecast_sequence"),
    )
    op.create_index("ix_shadows_model", "shadows", ["model_version", "sequence"])
    op.create_table(
        "model_changes",
        sa.Column("sequence", _SEQUENCE, autoincrement=False),
        sa.Column("action", _TEXT, nullable=False),
        sa.Column("model_version", _TEXT, nullable=False),
        sa.Column("changed_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_model_changes"),
        sa.ForeignKeyConstraint(["sequence"], ["entries.sequence"], name="fk_model_changes_sequence"),
    )
    op.create_table(
        "model_workers",
        sa.Column("server", sa.Text, nullable=False),
        sa.Column("worker", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("seen_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("server", "worker", name="pk_model_workers"),
    )
