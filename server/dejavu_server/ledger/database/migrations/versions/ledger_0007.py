"""Leases, by which programs agree on the one that does a piece of work.

A worker of release 0.2.0 that has the ledger open goes on: it neither reads nor writes the table.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "ledger_0007"
down_revision = "ledger_0006"


def upgrade() -> None:
    """Creates the table."""
    op.create_table(
        "leases",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("caller", sa.Text, nullable=False),
        sa.Column("acquired_us", sa.BigInteger, nullable=False),
        sa.Column("expires_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_leases"),
    )
