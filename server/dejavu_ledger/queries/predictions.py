"""Reads single forecasts on a read connection: the latest of a game, and any by their sequences.

Each comes with the current outcome, its scores, and the markets that were sent with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, FromClause, Row, Select, and_, bindparam, exists, false, select

from dejavu_ledger.database import store
from dejavu_ledger.database.canonical_value import canonical_number
from dejavu_ledger.database.schema import entries, forecasts, markets, outcomes
from dejavu_ledger.database.standing import FIRST_REPORT, STANDS, in_time, observed_before, sent_after
from dejavu_ledger.entries import codec
from dejavu_ledger.entries.settlement import Bet, settle
from dejavu_ledger.records import LateReason, RecordedForecast, RecordedMarket, ReportedOutcome
from dejavu_models.errors import FieldError, quoted
from dejavu_models.types import Horizon

MAX_REVISIONS = 500
"""Maximum number of other revisions of a forecast, and of revisions of an outcome, to return: the newest ones."""

_NAMED = 5  # number of values in an error


class UnknownGame(FieldError, reason="UNKNOWN_GAME", field="game_id", category="NOT_FOUND"):
    """The ledger has no forecast of the game, or none with the condition that the field names."""


@dataclass(frozen=True, slots=True)
class RecordedGame:
    """The latest forecast of a game, its other revisions and the outcome.

    Attributes:
        latest: the newest revision of the latest forecast that was recorded in time; a late one only if all are.
        revisions: its other revisions, oldest first; at most the newest MAX_REVISIONS.
        outcomes: the revisions of the outcome, oldest first; at most the newest MAX_REVISIONS.
    """

    latest: RecordedForecast
    revisions: tuple[RecordedForecast, ...]
    outcomes: tuple[ReportedOutcome, ...]


def latest_forecast(
    connection: Connection, game_id: str, horizon: Horizon, minute: int | None = None, model_version: str = ""
) -> RecordedGame:
    """Return the latest forecast in time of a game and horizon: of the latest second of play, and recorded last.

    Args:
        connection: a read connection.
        game_id: the game.
        horizon: the horizon.
        minute: only forecasts made after exactly this minute of play; None: after any.
        model_version: only forecasts of this model version; empty: of any.

    Raises:
        UnknownGame: if no forecast matches.
        LedgerCorrupt: if an entry cannot be read back.
    """
    parameters = {"game": game_id, "horizon": horizon.value, "minute": minute, "model": model_version}
    statement = _latest(minute is not None, model_version != "")
    with store.snapshot_read(connection):
        row = connection.execute(statement, parameters).one_or_none()
        if row is None:
            raise _unknown(connection, game_id, horizon, minute, model_version)
        others = connection.execute(_OTHERS, {"key": row.key, "revision": row.revision}).scalars().all()
        outcome_sequences = connection.execute(_OUTCOMES, {"game": game_id, "horizon": horizon.value}).scalars().all()
        *revisions, newest = forecasts_at(connection, [*reversed(others), row.sequence])
        texts = canonical_forms(connection, outcome_sequences)
    return RecordedGame(
        newest, tuple(revisions), tuple(_outcome(texts, sequence) for sequence in reversed(outcome_sequences))
    )


def forecasts_at(
    connection: Connection, sequences: Sequence[int], *, explanation: bool = True
) -> list[RecordedForecast]:
    """Return the forecasts with the given sequences, in that order, as they are now; skip sequences without one.

    Args:
        connection: a read connection.
        sequences: their sequences.
        explanation: whether to read their explanations, which takes much of the time.

    Raises:
        LedgerCorrupt: if an entry cannot be read back.
    """
    rows = {
        row.sequence: row for chunk in store.chunks(sequences) for row in connection.execute(_AT, {"sequences": chunk})
    }
    referenced = {getattr(row, name) for row in rows.values() for name in _REFERENCES}
    texts = canonical_forms(connection, sorted(referenced - {None}))
    with store.decoding():
        return [_recorded(rows[sequence], texts, explanation) for sequence in sequences if sequence in rows]


def _unknown(
    connection: Connection, game_id: str, horizon: Horizon, minute: int | None, model_version: str
) -> UnknownGame:
    """Return the error that names the first condition without a forecast, and the values that the ledger has."""
    rows = connection.execute(_CONDITIONS, {"game": game_id}).all()
    if not rows:
        return UnknownGame(f"no forecast of {quoted(game_id)} is recorded", "a game with a recorded forecast")
    rows = [row for row in rows if row.horizon == horizon.value]
    if not rows:
        other = next(each for each in Horizon if each is not horizon)
        found = f"HORIZON_{horizon.name}, of which no forecast is recorded"
        return UnknownGame(found, f"HORIZON_{other.name}", "horizon")
    if model_version and model_version not in {row.model_version for row in rows}:
        versions = sorted({row.model_version for row in rows})
        found = f"{quoted(model_version)}, of which no forecast is recorded"
        return UnknownGame(found, _some(versions), "model_version")
    minutes = sorted({row.minute for row in rows if model_version in {"", row.model_version} and not row.at_moment})
    return UnknownGame(f"{minute}, after which no forecast is recorded", _some(minutes), "elapsed_minutes")


def _some(values: Sequence[object]) -> str:
    """Return up to five values, and the number of further ones."""
    more = f" or {len(values) - _NAMED} more" if len(values) > _NAMED else ""
    return ", ".join(map(str, values[:_NAMED])) + more


@cache
def _latest(with_minute: bool, with_model: bool) -> Select[int, str, int]:
    conditions = [forecasts.c.game_id == bindparam("game"), forecasts.c.horizon == bindparam("horizon")]
    if with_minute:
        conditions += [forecasts.c.minute == bindparam("minute"), forecasts.c.at_moment == false()]
    if with_model:
        conditions.append(forecasts.c.model_version == bindparam("model"))
    return (
        select(forecasts.c.sequence, forecasts.c.key, forecasts.c.revision)
        .where(*conditions)
        .order_by(in_time(forecasts).desc(), forecasts.c.elapsed_s.desc(), forecasts.c.sequence.desc())
        .limit(1)
    )


_CONDITIONS = (
    select(forecasts.c.horizon, forecasts.c.minute, forecasts.c.at_moment, forecasts.c.model_version)
    .where(forecasts.c.game_id == bindparam("game"))
    .distinct()
)

_OTHERS = (
    select(forecasts.c.sequence)
    .where(forecasts.c.key == bindparam("key"), forecasts.c.revision != bindparam("revision"))
    .order_by(forecasts.c.revision.desc())
    .limit(MAX_REVISIONS)
)

_OUTCOMES = (
    select(outcomes.c.sequence)
    .where(outcomes.c.game_id == bindparam("game"), outcomes.c.horizon == bindparam("horizon"))
    .order_by(outcomes.c.revision.desc())
    .limit(MAX_REVISIONS)
)

_TEXTS = select(entries.c.sequence, entries.c.canonical).where(
    entries.c.sequence.in_(bindparam("sequences", expanding=True))
)

_later = forecasts.alias("later")


def superseded(up_to: ColumnElement[int] | None = None) -> ColumnElement[bool]:
    """Return whether a later revision that is not late replaces a row of `forecasts`.

    Args:
        up_to: sequence up to which reports of outcomes count; None for all.
    """
    conditions = _later.c.key == forecasts.c.key, _later.c.revision > forecasts.c.revision
    return exists().where(*conditions, in_time(_later, up_to)).correlate_except(_later)


_REFERENCES = ("outcome_sequence", "market_sequence", "total_market_sequence")
"""Columns of a row that name further entries."""

_market, _market_entry = markets.alias("market"), entries.alias("market_entry")
_total_market, _total_market_entry = markets.alias("total_market"), entries.alias("total_market_entry")


def _sent_after(market_entry: FromClause) -> ColumnElement[bool]:
    return sent_after(forecasts, canonical_number(market_entry.c.canonical, "payload", "requested_us"))


_AT = (
    select(
        forecasts.c.sequence,
        entries.c.canonical,
        superseded().label("superseded"),
        observed_before(forecasts).label("observed_before"),
        outcomes.c.sequence.label("outcome_sequence"),
        FIRST_REPORT.label("first_report"),
        _market.c.sequence.label("market_sequence"),
        _sent_after(_market_entry).label("market_sent_after"),
        _total_market.c.sequence.label("total_market_sequence"),
        _sent_after(_total_market_entry).label("total_market_sent_after"),
    )
    .join(entries, entries.c.sequence == forecasts.c.sequence)
    .outerjoin(
        outcomes,
        and_(outcomes.c.game_id == forecasts.c.game_id, outcomes.c.horizon == forecasts.c.horizon, STANDS),
    )
    .outerjoin(_market, and_(_market.c.forecast_sequence == forecasts.c.sequence, ~_market.c.on_total))
    .outerjoin(_market_entry, _market_entry.c.sequence == _market.c.sequence)
    .outerjoin(_total_market, and_(_total_market.c.forecast_sequence == forecasts.c.sequence, _total_market.c.on_total))
    .outerjoin(_total_market_entry, _total_market_entry.c.sequence == _total_market.c.sequence)
    .where(forecasts.c.sequence.in_(bindparam("sequences", expanding=True)))
)


def _recorded(row: Row[*tuple[Any, ...]], texts: dict[int, str], explanation: bool) -> RecordedForecast:
    issued = codec.parse(row.canonical, explanation=explanation)
    if row.observed_before and issued.late is None:
        issued = replace(issued, late=LateReason.OBSERVED)
    sent = (row.market_sequence, row.market_sent_after), (row.total_market_sequence, row.total_market_sent_after)
    recorded = tuple(_recorded_market(texts, sequence, bool(after)) for sequence, after in sent if sequence is not None)
    outcome = None if row.outcome_sequence is None else _outcome(texts, row.outcome_sequence)
    bets = {
        each.market.kind: Bet.from_market(each.market, each.answer)
        for each in recorded
        if each.answer.chosen is not None and not (issued.late or each.sent_after)
    }
    return RecordedForecast(
        issued=issued,
        superseded=row.superseded,
        outcome=outcome,
        settlement=None if outcome is None else settle(issued, outcome, bets),
        first_outcome_sequence=0 if outcome is None else row.first_report,
        markets=recorded,
    )


def _recorded_market(texts: dict[int, str], sequence: int, sent_after: bool) -> RecordedMarket:
    _, market, answer = codec.parse_market(_text(texts, sequence))
    return RecordedMarket(market, answer, sequence, sent_after)


def _outcome(texts: dict[int, str], sequence: int) -> ReportedOutcome:
    with store.decoding():
        return codec.parse_outcome(_text(texts, sequence))


def _text(texts: dict[int, str], sequence: int) -> str:
    try:
        return texts[sequence]
    except KeyError:
        raise ValueError(f"no entry with sequence {sequence}") from None


def canonical_forms(connection: Connection, sequences: Sequence[int]) -> dict[int, str]:
    """Return the canonical forms of entries by their sequences."""
    return {
        sequence: text
        for chunk in store.chunks(sequences)
        for sequence, text in connection.execute(_TEXTS, {"sequences": chunk})
    }
