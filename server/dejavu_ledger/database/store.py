"""Reads and writes the ledger's tables on a connection that the caller provides.

Writing requires a transaction that holds the write lock from its start (see `Backend.write`): the sequence of a new
entry, and whether a forecast is new, depend on reads in that transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

from sqlalchemy import Connection, bindparam, insert, select, union_all, update

from dejavu_ledger.database.recording.known_record import Appended, KnownRecord, KnownRevision, MarketKey
from dejavu_ledger.database.recording.prepared import PreparedInsert
from dejavu_ledger.database.recording_rules import DEFAULT_LIMITS, RecordingLimits, market_window
from dejavu_ledger.database.schema import entries, forecasts, ledger, markets, outcomes
from dejavu_ledger.entries import codec
from dejavu_ledger.entries.codec import PreparedForecast
from dejavu_ledger.entries.rows import Row, forecast_row, market_row
from dejavu_ledger.errors import LedgerCorrupt, ModelsChanged, copy_of
from dejavu_ledger.records import (
    IssuedForecast,
    LateReason,
    MarketRecording,
    ReportedOutcome,
    SentMarket,
)
from dejavu_models.betting import Market, MarketAnswer, MarketKind
from dejavu_models.errors import DejavuError
from dejavu_models.results import Failed, Result


def market_recording(
    market: Market, standing: Market | None, outcome_known: bool, late: bool, mismatched: bool
) -> MarketRecording:
    """Return whether a market is recorded, or is to be recorded, for its forecast, and otherwise why not.

    Args:
        market: the market.
        standing: the recorded market of its kind of the forecast; None if it has none.
        outcome_known: whether the outcome of the forecast is known.
        late: whether the market is late: the forecast would now be late, or was made too long ago.
        mismatched: whether the two prices do not belong together.
    """
    if standing is not None:
        # The bankroll and the threshold are no part of a price: in the record, stakes are shares.
        same = all(getattr(standing, name) == getattr(market, name) for name in ("line", "above_odds", "below_odds"))
        return MarketRecording.RECORDED if same else MarketRecording.EARLIER_STANDS
    if outcome_known:
        return MarketRecording.OUTCOME_KNOWN
    if late:
        return MarketRecording.FORECAST_LATE
    # A mistyped price must not keep the right one out of the record.
    return MarketRecording.ODDS_MISMATCHED if mismatched else MarketRecording.RECORDED


_T = TypeVar("_T")

_KEYS_AT_ONCE = 500  # SQLite and PostgreSQL's driver take up to 32,766 parameters per statement


@dataclass(frozen=True, slots=True)
class Identity:
    """Identity of a ledger: where two are equal, sequences of one ledger are valid in the other.

    Attributes:
        ledger_id: UUID of the ledger, 32 hexadecimal digits.
        epoch: 16 hexadecimal digits, redrawn by a restore.
    """

    ledger_id: str
    epoch: str


class ChainHead(NamedTuple):
    """Sequence and hash of the newest entry of the chain."""

    sequence: int
    hash: bytes


def identity(connection: Connection) -> Identity:
    """Return the identity of the ledger.

    Raises:
        LedgerCorrupt: if its row is missing.
    """
    row = connection.execute(_IDENTITY).one_or_none()
    if row is None:
        raise LedgerCorrupt("the ledger is damaged: its identity is missing")
    return Identity(*row)


def head(connection: Connection) -> ChainHead:
    """Return sequence and hash of the newest entry; without entries, the start of the chain."""
    row = connection.execute(_HEAD).one_or_none()
    return start_of_chain(identity(connection).ledger_id) if row is None else ChainHead(*row)


def start_of_chain(ledger_id: str) -> ChainHead:
    """Return the head of a ledger without entries: sequence 0, and the hash that the first entry is chained to."""
    return ChainHead(0, codec.genesis_hash(ledger_id))


def entry_row(
    kind: str, payload: str, revision: int, sequence: int, previous: bytes, made_by: str, late: LateReason | None = None
) -> tuple[Row, bytes]:
    """Return the row of `entries` for an event, given the hash of the previous entry, and the entry's own hash."""
    text = codec.encode_entry(kind, payload, revision, sequence, late, made_by)
    hash_ = codec.chain_hash(previous, text)
    return {"sequence": sequence, "kind": kind, "canonical": text, "hash": hash_}, hash_


def append(
    connection: Connection,
    drafts: Sequence[PreparedForecast],
    limits: RecordingLimits = DEFAULT_LIMITS,
    refusal: DejavuError | None = None,
    known: KnownRecord | None = None,
) -> list[Result[IssuedForecast]]:
    """Record forecasts in order, except those whose key already has the same pattern, teams, date and live inputs.

    A draft is compared with the newest revision of its key, and with the newest timely one.

    Nothing is recorded with hindsight. Once the ledger has the outcome of a horizon, it takes no forecast of that game,
    for any horizon, whose elapsed minutes are at most `last_slot` of the settled horizon. The first market of each kind
    of a forecast, on the lead and on the total, is recorded after it, under the same rule. A late forecast in a running
    game is marked as late. The market of a late forecast is not recorded, nor is a late market of a timely forecast,
    nor one evaluated with another day, other live inputs or other line-ups than those of the recorded forecast, nor one
    evaluated by a model that gives another forecast although it has learned from no further outcomes.

    A new forecast whose model was chosen by a roster is recorded only if that roster is still current, so that every
    writer of the ledger answers with the same model at the same sequence.

    Args:
        connection: a connection in a transaction that holds the write lock.
        drafts: the forecasts.
        limits: limits of a game's forecasts.
        refusal: why no new forecast is recorded at the moment; None if forecasts are recorded.
        known: knowledge of earlier calls about the same ledger; None to read everything.

    Returns:
        For each draft: the new forecast with its sequence and revision, the one that was recorded before, or the reason
        why it was not recorded.
    """
    known = KnownRecord() if known is None else known
    try:
        return _append(connection, drafts, limits, refusal, known)
    except BaseException:
        known.forget()
        raise


def _append(
    connection: Connection,
    drafts: Sequence[PreparedForecast],
    limits: RecordingLimits,
    refusal: DejavuError | None,
    known: KnownRecord,
) -> list[Result[IssuedForecast]]:
    position = known.read(connection, drafts)
    batch = _EntryBatch(position.sequence, position.hash)
    results: list[Result[IssuedForecast]] = []
    for draft in drafts:
        issued = draft.issued
        outcome = known.games.known_outcome(issued.game_id, issued.forecast.elapsed_minutes)
        late = known.games.late(issued)
        revisions = known.revisions.get(draft.key, ())
        stored = next((each.issued for each in revisions if each.matches(draft)), None) if revisions else None
        if stored is None:
            refused = outcome or known.games.full(issued.game_id, issued.recorded_by, limits)
            if refused is None and refusal is not None:
                refused = Failed(copy_of(refusal))
            if refused is None and issued.roster_sequence is not None:
                roster = position.model_change
                refused = None if issued.roster_sequence == roster else Failed(ModelsChanged(roster))
            if refused is not None:
                results.append(refused)
                continue
            number = 1 + max(each.issued.revision for each in revisions) if revisions else 0
            stored, revision = batch.forecast(draft, number, late)
            in_time = [each for each in revisions if not each.issued.late] if late else []
            known.revisions[draft.key] = [*in_time, revision]
            known.games.add(stored)
        # A forecast that came late stays late, although it would be in time again once a later minute is recorded.
        is_late = late is not None or stored.late is not None
        is_late |= issued.generated_time - stored.generated_time > market_window(stored)
        if issued.markets:
            stored = _with_markets(batch, known.markets, stored, issued, outcome is not None, is_late)
        results.append(stored)
    batch.execute(connection)
    sequence, hash_, recorded = batch.end
    known.advance(
        position._replace(sequence=sequence, hash=hash_), Appended(position.sequence, tuple(recorded), sequence)
    )
    return results


def _with_markets(
    batch: _EntryBatch,
    known: dict[MarketKey, Market],
    stored: IssuedForecast,
    requested: IssuedForecast,
    outcome_known: bool,
    late: bool,
) -> IssuedForecast:
    """Return a stored forecast with the markets of a request, and whether each is recorded (see `market_recording`).

    The first market of each kind of a forecast is recorded, and added to `known`: the recorded markets by forecast
    sequence and kind; that of the lead first, whatever the order of the request.
    """
    sent = {
        kind: _recorded_market(batch, known, stored, requested, each.market, outcome_known, late)
        for kind in MarketKind
        if (each := requested.market(kind)) is not None
    }
    return replace(stored, markets=tuple(sent[each.market.kind] for each in requested.markets))


def _recorded_market(
    batch: _EntryBatch,
    known: dict[MarketKey, Market],
    stored: IssuedForecast,
    requested: IssuedForecast,
    market: Market,
    outcome_known: bool,
    late: bool,
) -> SentMarket:
    """Record a market of a request if it is the first of its kind; return whether it is recorded."""
    answer, key = requested.answer(market.kind), (stored.sequence, market.kind)
    standing = known.get(key)
    recording = market_recording(market, standing, outcome_known, late, answer is not None and answer.mismatched)
    if recording is not MarketRecording.RECORDED or standing is not None:
        return SentMarket(market, recording, standing if recording is MarketRecording.EARLIER_STANDS else None)
    # With other optional inputs the market is sent again, evaluated for those of the stored forecast. A worker that is
    # behind, or has other settings, weighs no bet on this forecast.
    learned = requested.forecast.calibration_sequence > stored.forecast.calibration_sequence
    if stored.optional_inputs != requested.optional_inputs or not (learned or _is_of(stored, requested, market.kind)):
        return SentMarket(market)
    batch.market(stored, requested, market, answer)
    known[key] = market
    return SentMarket(market, recording)


def _is_of(stored: IssuedForecast, requested: IssuedForecast, kind: MarketKind) -> bool:
    """Return whether a request was answered with the forecast, of the lead or of the total, that is stored for it."""
    one, other = stored.forecast, requested.forecast
    if kind is MarketKind.TOTAL:
        totals = [None if each.total is None else each.total.distribution for each in (one, other)]
        return totals[0] == totals[1] and one.teams_known == other.teams_known
    names = ("home_lead_probability", "distribution", "teams_known")
    return all(getattr(one, name) == getattr(other, name) for name in names)


class _EntryBatch:
    """Entries to append to the chain, with their index rows."""

    def __init__(self, sequence: int, previous: bytes) -> None:
        self._sequence = sequence
        self._previous = previous
        self._entries: list[Row] = []
        self._forecasts: list[Row] = []
        self._markets: list[Row] = []
        self._followed = 0  # the forecast that only its markets follow so far; 0: none
        self._issued: list[IssuedForecast] = []

    @property
    def end(self) -> tuple[int, bytes, list[IssuedForecast]]:
        """Sequence and hash of the last entry, and the forecasts, each as it will be read back."""
        return self._sequence, self._previous, self._issued

    def forecast(
        self, draft: PreparedForecast, revision: int, late: LateReason | None
    ) -> tuple[IssuedForecast, KnownRevision]:
        """Add a forecast; return it with its unrecorded parts, and as it will be read back."""
        self._entry(codec.FORECAST, draft.payload, revision, draft.issued.recorded_by, late)
        self._followed = self._sequence
        issued = recorded = codec.as_read(draft.issued, self._sequence, revision, late)
        if codec.has_unrecorded(draft.issued):
            issued = replace(draft.issued, sequence=self._sequence, revision=revision, late=late)
        self._forecasts.append(forecast_row(issued, draft))
        self._issued.append(recorded)
        return issued, KnownRevision(draft.pattern, recorded)

    def market(
        self, stored: IssuedForecast, requested: IssuedForecast, market: Market, answer: MarketAnswer | None
    ) -> None:
        """Add a market of a recorded forecast, and its evaluation.

        Raises:
            ValueError: if it has no evaluation.
        """
        if answer is None:
            raise ValueError("a market without an evaluation")
        learned = None if _is_of(stored, requested, market.kind) else requested.forecast.calibration_sequence
        # Only markets that directly follow their forecast have its time: verification knows no other bound.
        together = requested.generated_time == stored.generated_time and self._followed == stored.sequence
        if not together:
            self._followed = 0
        sent = None if together else requested.generated_time
        payload = codec.market_payload(stored.sequence, market, answer, learned, sent)
        self._entry(codec.MARKET, payload, 0, requested.recorded_by)
        self._markets.append(market_row(self._sequence, stored.sequence, market))

    def _entry(self, kind: str, payload: str, revision: int, made_by: str, late: LateReason | None = None) -> None:
        self._sequence += 1
        row, self._previous = entry_row(kind, payload, revision, self._sequence, self._previous, made_by, late)
        self._entries.append(row)

    def execute(self, connection: Connection) -> None:
        """Insert the added rows."""
        _ADD_ENTRIES.execute(connection, self._entries)
        _ADD_FORECASTS.execute(connection, self._forecasts)
        _ADD_MARKETS.execute(connection, self._markets)


def probe_write(connection: Connection) -> None:
    """Rewrite a row with its own values: committing it tests whether the ledger is writable and changes nothing."""
    connection.execute(_PROBE)


@contextmanager
def snapshot_read(connection: Connection) -> Iterator[None]:
    """Make all statements in the block see the same state of the ledger.

    Keep the block short: the write-ahead log only grows meanwhile.
    """
    connection.exec_driver_sql(_SNAPSHOT[connection.dialect.name])
    try:
        yield
    finally:
        # After some failures the connection or the transaction is gone. Skip the rollback, to keep the original error.
        raw = None if connection.invalidated else connection.connection.dbapi_connection
        if raw is not None:
            raw.rollback()  # does nothing without a transaction


def read_after(
    connection: Connection, sequence: int, limit: int, game_ids: Collection[str] = ()
) -> list[IssuedForecast | ReportedOutcome]:
    """Return the first `limit` forecasts and outcomes after a sequence, in order: of some games, or of all."""
    bounds = {"after": sequence, "limit": limit}
    if game_ids:
        rows = connection.execute(_AFTER_OF_GAMES, {**bounds, "games": list(game_ids)})
    else:
        rows = connection.execute(_AFTER, bounds)
    with decoding():
        return [_READERS[kind](text) for kind, text in rows]


def newest(connection: Connection) -> int:
    """Return the sequence of the newest forecast or outcome; 0 if there is none."""
    sequence: int | None = connection.execute(_NEWEST_READ).scalar()
    return sequence or 0


_SNAPSHOT = {"sqlite": "BEGIN", "postgresql": "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"}

# Built once: building a statement costs SQLAlchemy as much as running it.
_IDENTITY = select(ledger.c.ledger_id, ledger.c.epoch)

_PROBE = update(ledger).values(epoch=ledger.c.epoch)

_HEAD = select(entries.c.sequence, entries.c.hash).order_by(entries.c.sequence.desc()).limit(1)

ADD_ENTRIES = insert(entries)

_ADD_ENTRIES = PreparedInsert(entries)
_ADD_FORECASTS = PreparedInsert(forecasts)
_ADD_MARKETS = PreparedInsert(markets)

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

# The rows of these games are found by their indexes: the entries of all others are neither read nor decoded. The limit
# is applied before the join, so that only the entries of the page are read.
_OF_GAMES = (
    union_all(
        *(
            select(rows.c.sequence).where(
                rows.c.sequence > bindparam("after"), rows.c.game_id.in_(bindparam("games", expanding=True))
            )
            for rows in (forecasts, outcomes)
        )
    )
    .order_by("sequence")
    .limit(bindparam("limit"))
    .subquery()
)
_AFTER_OF_GAMES = (
    select(entries.c.kind, entries.c.canonical)
    .join(_OF_GAMES, entries.c.sequence == _OF_GAMES.c.sequence)
    .order_by(_OF_GAMES.c.sequence)
)

_NEWEST_READ = (
    select(entries.c.sequence).where(entries.c.kind.in_(list(_READERS))).order_by(entries.c.sequence.desc()).limit(1)
)


@contextmanager
def decoding() -> Iterator[None]:
    """Convert the ValueError of an entry that cannot be parsed to a LedgerCorrupt."""
    try:
        yield
    except ValueError as error:
        raise LedgerCorrupt("the ledger is damaged: an entry cannot be read back") from error


def chunks(values: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """Yield the values in groups that fit into one statement."""
    for start in range(0, len(values), _KEYS_AT_ONCE):
        yield values[start : start + _KEYS_AT_ONCE]
