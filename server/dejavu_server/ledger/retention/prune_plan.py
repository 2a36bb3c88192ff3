"""Decides which entries can be removed: the oldest ones, up to a signed checkpoint between two evenings.

Games and evenings are removed as a whole. The rest is verified from a checkpoint at the last removed entry, which was
signed long before the removal.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final, NamedTuple

from sqlalchemy import Connection, Table, exists, func, select

from dejavu_common.clock import from_microseconds, microseconds
from dejavu_server.ledger.audit import checkpoints as audit_checkpoints
from dejavu_server.ledger.audit.pruned_statement import MIN_AGE
from dejavu_server.ledger.database import store
from dejavu_server.ledger.database.schema import (
    checkpoints,
    entries,
    forecasts,
    markets,
    model_changes,
    outcomes,
    shadows,
)
from dejavu_server.ledger.database.standing import STANDS
from dejavu_server.ledger.database.store import ChainHead, Identity
from dejavu_server.ledger.errors import LedgerCorrupt, LedgerError
from dejavu_server.records import Checkpoint, LateReason

SHOWN: Final = 5
"""Games that a message names."""


class NothingToPrune(LedgerError):
    """No entries can be removed, or not the requested ones."""

    reason = "NOTHING_TO_PRUNE"


@dataclass(frozen=True, slots=True)
class PrunePlan:
    """Entries to be removed.

    Attributes:
        ledger_id: id of the ledger.
        after: last entry removed before.
        through: the last entry to remove.
        before: when the checkpoint there was signed.
        head: the ledger's newest entry when the plan was made.
        entries, forecasts, outcomes, markets, shadows: numbers of entries to remove, by kind.
        model_changes: number of changes of models to remove from the entries; they are kept separately.
        games: the games to remove, by id.
        first_day, last_day: days of the forecasts to remove; None without any.
        unsettled: games among them whose outcome is missing.
        limited_by: why less is removed than was requested; empty if everything is.
    """

    ledger_id: str
    after: ChainHead
    through: ChainHead
    before: datetime
    head: ChainHead
    entries: int
    forecasts: int
    outcomes: int
    markets: int
    shadows: int
    model_changes: int
    games: frozenset[str]
    first_day: date | None
    last_day: date | None
    unsettled: tuple[str, ...]
    limited_by: str


class _Span(NamedTuple):
    """First and last entry of a game or of an evening, and its description."""

    first: int
    last: int
    what: str


def plan(
    connection: Connection,
    *,
    through: int | None = None,
    before: datetime | None = None,
    include_unsettled: bool = False,
    now: datetime | None = None,
) -> PrunePlan:
    """Return the entries that can be removed.

    Args:
        connection: a read connection.
        through: remove entries up to this sequence at most; None: no such limit.
        before: remove entries that were recorded before this time (UTC); None: no such limit.
        include_unsettled: whether to remove games whose outcome is missing, too.
        now: the current time, UTC.

    Raises:
        NothingToPrune: if nothing can be removed; the message says why.
        LedgerCorrupt: if the checkpoint to verify from has another hash than its entry.
    """
    limit = min(before or datetime.max.replace(tzinfo=UTC), (now or datetime.now(UTC)) - MIN_AGE)
    with store.snapshot_read(connection):
        identity, head = store.identity(connection), store.head(connection)
        after = ChainHead(identity.pruned_through, identity.pruned_hash)
        candidates = _candidates(connection, identity, through, limit)
        spans = list(_spans(connection))
        unsettled = {} if include_unsettled else _unsettled(connection)
        reason = ""
        for each in candidates:
            obstacle = _obstacle(each.sequence, spans, unsettled)
            if not obstacle:
                return _plan(connection, identity, after, each, head, reason)
            reason = reason or obstacle
    if not reason and through is not None and through <= after.sequence:
        reason = f"entries up to {after.sequence:,} were removed before"
    if not reason:
        reason = f"there is no signed checkpoint of {limit:%Y-%m-%d %H:%M} UTC or before with entries up to it"
        if through is not None:
            reason += f", at {through:,} or before"
    raise NothingToPrune(f"nothing can be removed: {reason}")


def _candidates(connection: Connection, identity: Identity, through: int | None, limit: datetime) -> list[Checkpoint]:
    """Return the checkpoints at which the removal may end, newest first."""
    statement = (
        select(checkpoints)
        .where(checkpoints.c.sequence > identity.pruned_through, checkpoints.c.signed_us <= microseconds(limit))
        .order_by(checkpoints.c.sequence.desc())
    )
    if through is not None:
        statement = statement.where(checkpoints.c.sequence <= through)
    return [
        Checkpoint(
            ledger_id=identity.ledger_id,
            epoch=row.epoch,
            sequence=row.sequence,
            hash=row.hash,
            signed_time=from_microseconds(row.signed_us),
            public_key=row.public_key,
            signature=row.signature,
        )
        for row in connection.execute(statement)
    ]


def _spans(connection: Connection) -> Iterator[_Span]:
    """Yield first and last entry of each game and of each evening."""
    of_game: dict[str, tuple[int, int]] = {}
    for table in (forecasts, outcomes, shadows):
        rows = select(table.c.game_id, func.min(table.c.sequence), func.max(table.c.sequence)).group_by(table.c.game_id)
        for game_id, first, last in connection.execute(rows):
            known = of_game.get(game_id, (first, last))
            of_game[game_id] = min(first, known[0]), max(last, known[1])
    market_rows = (
        select(forecasts.c.game_id, func.max(markets.c.sequence))
        .join_from(markets, forecasts, forecasts.c.sequence == markets.c.forecast_sequence)
        .group_by(forecasts.c.game_id)
    )
    for game_id, last in connection.execute(market_rows):
        first, before = of_game[game_id]
        of_game[game_id] = first, max(last, before)
    yield from (_Span(first, last, f"game {game_id}") for game_id, (first, last) in of_game.items())
    days = select(forecasts.c.day, func.min(forecasts.c.sequence), func.max(forecasts.c.sequence))
    # A game of the past that was recorded later belongs to no evening of the ledger.
    days = days.where(forecasts.c.late != LateReason.GAME_DATE.value).group_by(forecasts.c.day)
    for day, first, last in connection.execute(days):
        yield _Span(first, last, f"the evening of {date.fromordinal(day)}")


def _unsettled(connection: Connection) -> dict[str, int]:
    """Return the games with forecasts whose outcome is missing, each with the sequence of the first such forecast."""
    settled = exists().where(
        outcomes.c.game_id == forecasts.c.game_id, outcomes.c.horizon == forecasts.c.horizon, STANDS
    )
    rows = (
        select(forecasts.c.game_id, func.min(forecasts.c.sequence).label("first"))
        .where(~settled)
        .group_by(forecasts.c.game_id)
        .order_by(func.min(forecasts.c.sequence))
    )
    return {row.game_id: row.first for row in connection.execute(rows)}


def _obstacle(sequence: int, spans: list[_Span], unsettled: dict[str, int]) -> str:
    """Return why the removal cannot end at a sequence; empty if it can."""
    waiting = [game_id for game_id, first in unsettled.items() if first <= sequence]
    if waiting:
        more = f" and {len(waiting) - SHOWN} more" if len(waiting) > SHOWN else ""
        named = ", ".join(waiting[:SHOWN]) + more
        return f"the outcome of {named} is missing (--include-unsettled removes such games, too)"
    for span in spans:
        if span.first <= sequence < span.last:
            return f"the entries of {span.what} go on until {span.last:,}, beyond the checkpoint at {sequence:,}"
    return ""


def _plan(
    connection: Connection, identity: Identity, after: ChainHead, end: Checkpoint, head: ChainHead, reason: str
) -> PrunePlan:
    hash_ = connection.execute(select(entries.c.hash).where(entries.c.sequence == end.sequence)).scalar()
    if hash_ != end.hash or not audit_checkpoints.is_signed(end):
        raise LedgerCorrupt(f"the ledger's checkpoint at {end.sequence} is not that of its entry, or not signed")
    first, last = connection.execute(
        select(func.min(forecasts.c.day), func.max(forecasts.c.day)).where(forecasts.c.sequence <= end.sequence)
    ).one()
    games = frozenset(
        game_id
        for table in (forecasts, outcomes)
        for game_id in connection.execute(
            select(table.c.game_id).where(table.c.sequence <= end.sequence).distinct()
        ).scalars()
    )
    return PrunePlan(
        ledger_id=identity.ledger_id,
        after=after,
        through=ChainHead(end.sequence, end.hash),
        before=end.signed_time,
        head=head,
        entries=_count(connection, entries, end.sequence),
        forecasts=_count(connection, forecasts, end.sequence),
        outcomes=_count(connection, outcomes, end.sequence),
        markets=_count(connection, markets, end.sequence),
        shadows=_count(connection, shadows, end.sequence),
        model_changes=_count(connection, model_changes, end.sequence),
        games=games,
        first_day=None if first is None else date.fromordinal(first),
        last_day=None if last is None else date.fromordinal(last),
        unsettled=tuple(game for game, at in _unsettled(connection).items() if at <= end.sequence),
        limited_by=reason,
    )


def _count(connection: Connection, table: Table, through: int) -> int:
    number: int = connection.execute(
        select(func.count()).select_from(table).where(table.c.sequence <= through)
    ).scalar_one()
    return number
