"""What is read from and written to the ledger's tables, on a connection that the caller gives.

Writing needs a transaction that holds the write lock from its start (see `engine.writing`): the place of a new entry,
and whether a forecast is a new one, are decided by what is read in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

from sqlalchemy import Connection, bindparam, func, insert, select, update

from dejavu_models.types import Horizon
from dejavu_server.ledger.database.schema import entries, forecasts, ledger, markets, outcomes
from dejavu_server.ledger.entries import codec
from dejavu_server.ledger.entries.codec import PreparedForecast
from dejavu_server.ledger.entries.rows import Row, forecast_row, market_row
from dejavu_server.ledger.entries.settlement import Bet
from dejavu_server.ledger.errors import LedgerCorrupt, OutcomeAlreadyRecorded
from dejavu_server.records import IssuedForecast, ReportedOutcome

_T = TypeVar("_T")

_KEYS_AT_ONCE = 500  # SQLite takes 32,766 parameters a statement, PostgreSQL's driver as many


@dataclass(frozen=True, slots=True)
class Identity:
    """Which ledger this is, and from where on it is kept.

    Attributes:
        pruned_through: entries up to this place were removed; 0: none were.
        pruned_hash: the hash that the first entry kept is chained to.
    """

    ledger_id: str
    epoch: str
    pruned_through: int
    pruned_hash: bytes

    def same(self, other: Identity) -> bool:
        """Whether places in one are places in the other."""
        return (self.ledger_id, self.epoch) == (other.ledger_id, other.epoch)


class ChainHead(NamedTuple):
    """The newest entry's place in the chain."""

    sequence: int
    hash: bytes


class _Newest(NamedTuple):
    """The newest revision of a key."""

    revision: int
    pattern: str
    issued: IssuedForecast

    def answers(self, draft: PreparedForecast) -> bool:
        """Whether it is what a draft of its key would record."""
        mine, its = self.issued, draft.issued
        return self.pattern == draft.pattern and (mine.home_team, mine.away_team) == (its.home_team, its.away_team)


def identity(connection: Connection) -> Identity:
    """Which ledger this is."""
    row = connection.execute(_IDENTITY).one_or_none()
    if row is None:
        raise LedgerCorrupt("the ledger is damaged: it has lost its identity")
    return Identity(*row)


def head(connection: Connection) -> ChainHead:
    """Sequence and hash of the newest entry; of the last one pruned, or 0, where there is none."""
    row = connection.execute(_HEAD).one_or_none()
    if row is None:
        kept = identity(connection)
        return ChainHead(kept.pruned_through, kept.pruned_hash)
    return ChainHead(*row)


def entry_row(kind: str, payload: str, revision: int, sequence: int, previous: bytes) -> tuple[Row, bytes]:
    """The row of `entries` for an event, given the hash of the entry before it; and its own hash."""
    text = codec.encode_entry(kind, payload, revision, sequence)
    hash_ = codec.chain_hash(previous, text)
    return {"sequence": sequence, "kind": kind, "canonical": text, "hash": hash_}, hash_


def append(connection: Connection, drafts: Sequence[PreparedForecast]) -> list[IssuedForecast | OutcomeAlreadyRecorded]:
    """Records forecasts in their order, each unless the newest revision of its key has the same pattern and teams.

    Nothing is recorded with hindsight: once the ledger has the outcome of a horizon, no forecast of that game, whatever
    its own horizon, that was made after a minute before it. The first market that a forecast is asked about with is
    recorded after it, under the same rule.

    Returns:
        For each draft what stands in the ledger for it: itself with its place and revision, or what stood there; or why
        it was not recorded.
    """
    newest = _newest(connection, {draft.key for draft in drafts})
    known = _known(connection, {draft.issued.game_id for draft in drafts})
    with_market = _with_market(connection, drafts, newest)
    adding = _EntryBatch(*head(connection))
    answers: list[IssuedForecast | OutcomeAlreadyRecorded] = []
    for draft in drafts:
        stored, outcome = newest.get(draft.key), known.before(draft.issued)
        if stored is None or not stored.answers(draft):
            if outcome is not None:
                answers.append(outcome)
                continue
            stored = newest[draft.key] = adding.forecast(draft, 0 if stored is None else stored.revision + 1)
        answers.append(stored.issued)
        place = stored.issued.sequence
        if outcome is None and place not in with_market and adding.market(place, draft.issued):
            with_market.add(place)
    adding.execute(connection)
    return answers


class _EntryBatch:
    """Entries to be added behind the newest one, with their rows."""

    def __init__(self, sequence: int, previous: bytes) -> None:
        self._sequence = sequence
        self._previous = previous
        self._entries: list[Row] = []
        self._forecasts: list[Row] = []
        self._markets: list[Row] = []

    def forecast(self, draft: PreparedForecast, revision: int) -> _Newest:
        """Adds a forecast."""
        self._entry(codec.FORECAST, draft.payload, revision)
        issued = replace(draft.issued, sequence=self._sequence, revision=revision)
        self._forecasts.append(forecast_row(issued, draft))
        return _Newest(revision, draft.pattern, issued)

    def market(self, place: int, asked: IssuedForecast) -> bool:
        """Adds the market that the forecast in a place is asked about with, and what it says of it; whether any."""
        if asked.market is None or asked.forecast.market is None:
            return False
        self._entry(codec.MARKET, codec.market_payload(place, asked.market, asked.forecast.market), 0)
        self._markets.append(market_row(self._sequence, place, Bet.from_market(asked.market, asked.forecast.market)))
        return True

    def _entry(self, kind: str, payload: str, revision: int) -> None:
        self._sequence += 1
        row, self._previous = entry_row(kind, payload, revision, self._sequence, self._previous)
        self._entries.append(row)

    def execute(self, connection: Connection) -> None:
        """Writes what was added."""
        for statement, added in (
            (ADD_ENTRIES, self._entries),
            (_ADD_FORECASTS, self._forecasts),
            (_ADD_MARKETS, self._markets),
        ):
            if added:
                connection.execute(statement, added)


class _KnownOutcomes:
    """Outcomes that are in the ledger, by game."""

    def __init__(self) -> None:
        self._places: dict[str, dict[Horizon, int]] = {}

    def add(self, game_id: str, horizon: Horizon, sequence: int) -> None:
        """Notes the place of an outcome."""
        self._places.setdefault(game_id, {})[horizon] = sequence

    def before(self, issued: IssuedForecast) -> OutcomeAlreadyRecorded | None:
        """Why a forecast would be made with hindsight; None if it would not."""
        for horizon, sequence in self._places.get(issued.game_id, {}).items():
            if issued.forecast.elapsed_minutes <= horizon.last_slot:
                return OutcomeAlreadyRecorded(
                    f"the outcome of game {issued.game_id} at {horizon.value} is known: it stands in the ledger at "
                    f"{sequence}, and nothing new is recorded of what lies before it"
                )
        return None


def probe_write(connection: Connection) -> None:
    """Writes a row as it is: what is committed then shows whether anything can be recorded, and changes nothing."""
    connection.execute(_TOUCH)


def check_structure(connection: Connection) -> None:
    """Reads the whole file.

    Raises:
        LedgerCorrupt: if it is not built as SQLite builds one.
    """
    if connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one() != "ok":
        raise LedgerCorrupt("the ledger is damaged: its file is not a sound SQLite database")


@contextmanager
def snapshot_read(connection: Connection) -> Iterator[None]:
    """While in it, all statements see one state of the ledger.

    To be left soon: meanwhile the write-ahead log only grows.
    """
    connection.exec_driver_sql("BEGIN")
    try:
        yield
    finally:
        # After some failures there is no connection, or no transaction, any more; it is they that are to be told of.
        its = None if connection.invalidated else connection.connection.dbapi_connection
        if its is not None and its.in_transaction:
            connection.exec_driver_sql("ROLLBACK")


def read_after(connection: Connection, sequence: int, limit: int) -> list[IssuedForecast | ReportedOutcome]:
    """The first `limit` forecasts and outcomes after a place, in order."""
    found = connection.execute(_AFTER, {"after": sequence, "limit": limit})
    with _readable():
        return [_READERS[kind](text) for kind, text in found]


def newest(connection: Connection) -> int:
    """Place of the newest entry that `read_after` gives; 0 while there is none."""
    found: int | None = connection.execute(_NEWEST_READ).scalar()
    return found or 0


def current(connection: Connection, game_ids: frozenset[str], since_us: int, up_to: int) -> list[IssuedForecast]:
    """The newest forecast of each game and horizon, in order; of all games where none is named.

    Only forecasts made at `since_us` (microseconds since 1970) or later count, and only those up to the place `up_to`.
    """
    newest = connection.execute(_NEWEST_OF_EACH, {"since_us": since_us, "up_to": up_to}).all()
    places = [row.sequence for row in newest if not game_ids or row.game_id in game_ids]
    return _parse(
        text for chunk in _chunks(sorted(places)) for text in connection.execute(_AT, {"sequences": chunk}).scalars()
    )


# Made once: building a statement costs SQLAlchemy as much as running it.
_IDENTITY = select(ledger.c.ledger_id, ledger.c.epoch, ledger.c.pruned_through, ledger.c.pruned_hash)

_TOUCH = update(ledger).values(epoch=ledger.c.epoch)

_HEAD = select(entries.c.sequence, entries.c.hash).order_by(entries.c.sequence.desc()).limit(1)

ADD_ENTRIES = insert(entries)

_ADD_FORECASTS = insert(forecasts)

_ADD_MARKETS = insert(markets)

_READERS: dict[str, Callable[[str], IssuedForecast | ReportedOutcome]] = {
    codec.FORECAST: codec.parse,
    codec.OUTCOME: codec.parse_outcome,
}

_AFTER = (
    select(entries.c.kind, entries.c.canonical)
    .where(entries.c.sequence > bindparam("after"), entries.c.kind.in_(list(_READERS)))
    .order_by(entries.c.sequence)
    .limit(bindparam("limit"))
)

_NEWEST_READ = (
    select(entries.c.sequence).where(entries.c.kind.in_(list(_READERS))).order_by(entries.c.sequence.desc()).limit(1)
)

_AT = (
    select(entries.c.canonical)
    .where(entries.c.sequence.in_(bindparam("sequences", expanding=True)))
    .order_by(entries.c.sequence)
)

# By itself: else SQLite walks the whole index by games, whose order spares it the sorting of a few rows.
_recent = (
    select(forecasts.c.game_id, forecasts.c.horizon, forecasts.c.sequence)
    .where(forecasts.c.generated_us >= bindparam("since_us"), forecasts.c.sequence <= bindparam("up_to"))
    .cte("recent")
    .prefix_with("MATERIALIZED")
)
_NEWEST_OF_EACH = select(_recent.c.game_id, func.max(_recent.c.sequence).label("sequence")).group_by(
    _recent.c.game_id, _recent.c.horizon
)

_other = forecasts.alias("other")
_NEWEST_OF_KEYS = (
    select(forecasts.c.key, forecasts.c.revision, forecasts.c.pattern, entries.c.canonical)
    .join(entries, entries.c.sequence == forecasts.c.sequence)
    .where(
        forecasts.c.key.in_(bindparam("keys", expanding=True)),
        forecasts.c.revision
        == select(func.max(_other.c.revision)).where(_other.c.key == forecasts.c.key).scalar_subquery(),
    )
)

_OUTCOMES_OF = (
    select(outcomes.c.game_id, outcomes.c.horizon, func.max(outcomes.c.sequence))
    .where(outcomes.c.game_id.in_(bindparam("games", expanding=True)))
    .group_by(outcomes.c.game_id, outcomes.c.horizon)
)

_WITH_MARKET = select(markets.c.forecast_sequence).where(
    markets.c.forecast_sequence.in_(bindparam("sequences", expanding=True))
)


def _newest(connection: Connection, keys: set[str]) -> dict[str, _Newest]:
    found: dict[str, _Newest] = {}
    for chunk in _chunks(sorted(keys)):
        for key, revision, pattern, text in connection.execute(_NEWEST_OF_KEYS, {"keys": chunk}):
            found[key] = _Newest(revision, pattern, *_parse([text]))
    return found


def _known(connection: Connection, games: set[str]) -> _KnownOutcomes:
    found = _KnownOutcomes()
    for chunk in _chunks(sorted(games)):
        for game_id, horizon, sequence in connection.execute(_OUTCOMES_OF, {"games": chunk}):
            found.add(game_id, Horizon(horizon), sequence)
    return found


def _with_market(connection: Connection, drafts: Sequence[PreparedForecast], newest: Mapping[str, _Newest]) -> set[int]:
    """Places of the forecasts that stand for drafts with a market and have one already."""
    asked = {draft.key for draft in drafts if draft.issued.market is not None and draft.key in newest}
    places = sorted(newest[key].issued.sequence for key in asked)
    return {
        place for chunk in _chunks(places) for place in connection.execute(_WITH_MARKET, {"sequences": chunk}).scalars()
    }


def _parse(texts: Iterable[str]) -> list[IssuedForecast]:
    with _readable():
        return [codec.parse(text) for text in texts]


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise LedgerCorrupt("the ledger is damaged: an entry cannot be read back") from error


def _chunks(values: Sequence[_T]) -> Iterator[Sequence[_T]]:
    for start in range(0, len(values), _KEYS_AT_ONCE):
        yield values[start : start + _KEYS_AT_ONCE]
