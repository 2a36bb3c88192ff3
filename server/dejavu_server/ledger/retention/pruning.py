"""Removes the oldest entries of a ledger, while servers use it.

One transaction first writes the summary of the entries to be removed (`queries.pruned`); models learn from it from then
on. Then small transactions remove the entries, oldest first. After each of them, `verify` finds the ledger valid. After
an interruption, kill -9 included, the next call removes the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import bindparam, delete, select, update

from dejavu_common.clock import microseconds
from dejavu_models.uncertainty.adaptive import AdaptiveState
from dejavu_server.ledger.audit import pruned_statement
from dejavu_server.ledger.database import store
from dejavu_server.ledger.database.backend import Backend, Connection
from dejavu_server.ledger.database.schema import entries, forecasts, ledger, markets, model_changes, outcomes, shadows
from dejavu_server.ledger.errors import LedgerCorrupt
from dejavu_server.ledger.queries import learning, pruned
from dejavu_server.ledger.queries.model_changes import change_texts
from dejavu_server.ledger.queries.pruned import PrunedOutcome, PrunedStatement
from dejavu_server.ledger.retention.prune_plan import NothingToPrune, PrunePlan

STEP: Final = 500
"""Entries that are removed in one transaction: some 20 ms, in which no server can record."""


def unfinished(connection: Connection) -> PrunedStatement | None:
    """Return the statement of a removal that was interrupted; None if there is none."""
    statement = pruned.read_statement(connection)
    return (
        statement if statement is not None and statement.through > store.identity(connection).pruned_through else None
    )


def begin(backend: Backend, plan: PrunePlan, key: Ed25519PrivateKey, now: datetime) -> PrunedStatement:
    """Write the summary of the entries that a plan removes; `remove` removes them.

    Args:
        backend: the ledger, which was verified.
        plan: entries to remove.
        key: signs the statement.
        now: the current time, UTC.

    Raises:
        NothingToPrune: if entries of games in the plan have been recorded since.
        LedgerError: if the ledger cannot be read or written.
    """
    with backend.read() as connection, store.snapshot_read(connection):
        state, intervals, removed = _learned(connection, plan.through.sequence)
        newest = learning.newest_up_to(connection, plan.through.sequence)
        changes = change_texts(connection, plan.through.sequence)
    data = state.to_bytes() if intervals else b""
    statement = PrunedStatement(
        through=plan.through.sequence,
        hash=plan.through.hash,
        before_us=microseconds(plan.before),
        pruned_us=microseconds(now),
        reported=newest.reported,
        standing=newest.standing,
        intervals=intervals,
        digest=pruned.digest(data, removed, changes),
    )
    statement = pruned_statement.sign(key, statement, plan.ledger_id)
    with backend.write() as connection:
        if store.identity(connection).pruned_through != plan.after.sequence:
            raise NothingToPrune("entries were removed by another process at the same time; look again")
        late = _recorded_since(connection, plan)
        if late:
            raise NothingToPrune(f"game {late} was changed while the ledger was verified; try again in a week")
        if intervals:
            learning.keep_snapshot(connection, learning.INTERVALS, intervals, data)
        pruned.write(connection, statement, removed, changes)
    return statement


def remove(
    backend: Backend,
    statement: PrunedStatement,
    report: Callable[[int], None] = lambda _: None,
    *,
    step: int = STEP,
    pause: Callable[[float], None] = time.sleep,
) -> int:
    """Remove the entries that a statement names, and their derived rows; return their number.

    Args:
        backend: the ledger.
        statement: entries to remove, as `begin` or `unfinished` returned it.
        report: called with the last sequence removed, after every transaction.
        step: entries in one transaction.
        pause: called after every transaction with the seconds that it took: servers record meanwhile.

    Raises:
        LedgerCorrupt: if the entries do not lead to the hash of the statement.
        LedgerError: if the ledger cannot be written.
    """
    removed = 0
    while True:
        began = time.monotonic()
        with backend.write() as connection:
            at = store.identity(connection).pruned_through
            if at >= statement.through:
                return removed
            end = min(at + step, statement.through)
            hash_ = connection.execute(_HASH, {"at": end}).scalar()
            if hash_ is None or (end == statement.through and hash_ != statement.hash):
                raise LedgerCorrupt(f"entry {end} is missing, or is not the one that the signed checkpoint names")
            for delete_rows in _DELETE:
                connection.execute(delete_rows, {"through": end})
            connection.execute(_MOVE, {"through": end, "new_hash": hash_})
        removed += end - at
        report(end)
        pause(min(time.monotonic() - began, 1.0))


def _learned(connection: Connection, through: int) -> tuple[AdaptiveState, int, list[PrunedOutcome]]:
    """Return the state of the intervals up to a sequence, the sequence of the last outcome in it, and the outcomes."""
    state, start = AdaptiveState(), 0
    stored = learning.read_snapshot(connection, learning.INTERVALS, through + 1)
    if stored is not None:
        start = stored[0]
        state = pruned_statement.read_state(stored[1])
    last = start
    for game in learning.settled_games_after(connection, start):
        if game.sequence > through:
            break
        state, last = state.after(game.observations), game.sequence
    removed = []
    for game in learning.settled_games_after(connection, 0, with_observations=False):
        if game.sequence > through:
            break
        removed.append(PrunedOutcome(*(getattr(game, name) for name in PrunedOutcome._fields)))
    return state, last, removed


def _recorded_since(connection: Connection, plan: PrunePlan) -> str | None:
    """Return a game of the plan with entries recorded after the plan was made; None if there is none."""
    for table in (forecasts, outcomes, shadows):
        rows = select(table.c.game_id).where(table.c.sequence > plan.head.sequence).distinct()
        for game_id in connection.execute(rows).scalars():
            if game_id in plan.games:
                return str(game_id)
    return None


_HASH = select(entries.c.hash).where(entries.c.sequence == bindparam("at"))

# In this order: the others refer to entries.
_DELETE = tuple(
    delete(table).where(table.c.sequence <= bindparam("through"))
    for table in (shadows, markets, outcomes, forecasts, model_changes, entries)
)

_MOVE = update(ledger).values(pruned_through=bindparam("through"), pruned_hash=bindparam("new_hash"))
