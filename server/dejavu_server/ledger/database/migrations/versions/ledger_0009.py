"""What each server of a ledger did lately.

A worker of an earlier release that has the ledger open goes on: it neither reads nor writes the table.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "ledger_0009"
down_revision = "ledger_0008"


def upgrade() -> None:
    """Creates the table."""
    op.create_table(
        "server_reports",
        sa.Column("server", sa.Text, nullable=False),
        sa.Column("state", sa.LargeBinary, nullable=False),
        sa.Column("seen_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("server", name="pk_server_reports"),
    )
