"""Games whose outcomes were removed with their forecasts: later forecasts of them are hindsight.

Their outcomes are kept with the other summaries of a ledger, and the signed statement of the removal covers them (see
`queries.pruned`, which reads all of them).
"""

from __future__ import annotations

import json
from typing import Final

from sqlalchemy import Connection, select

from dejavu_server.ledger.database.compressed import decompress
from dejavu_server.ledger.database.schema import snapshots
from dejavu_server.ledger.errors import LedgerCorrupt

PART: Final = "pruned-outcomes"
"""`part` of the snapshot that holds the removed outcomes; its sequence is the last one to remove."""


def read(connection: Connection) -> frozenset[str]:
    """Return the ids of the games.

    Raises:
        LedgerCorrupt: if they cannot be read.
    """
    state = connection.execute(_STATE).scalar_one_or_none()
    if state is None:
        return frozenset()
    try:
        return frozenset(game_id for _, game_id, *_ in json.loads(decompress(state, "pruned outcomes")))
    except (ValueError, TypeError) as error:
        raise LedgerCorrupt("the ledger is damaged: the snapshot of pruned outcomes cannot be read") from error


_STATE = select(snapshots.c.state).where(snapshots.c.part == PART)
