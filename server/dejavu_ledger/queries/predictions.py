"""Reads forecasts: the latest of a game, any by their sequences, and the current ones of recent games.

A single one comes with the current outcome, its scores, and the markets that were sent with it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dejavu_ledger.database import sql, store
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.entries import codec
from dejavu_ledger.records import (
    IssuedForecast,
    LateReason,
    MarketResult,
    RecordedForecast,
    RecordedMarket,
    ReportedOutcome,
    Settlement,
    TotalSettlement,
)
from dejavu_ledger.settling import FORECASTS, MARKETS
from dejavu_models.errors import FieldError, quoted
from dejavu_models.scorecard.settled import Exclusion, SettledMarket
from dejavu_models.types import Horizon
from dejavu_models.uncertainty.adaptive import static_score

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

    One of the owner of the game if there is any.

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
    of_game = {"game_id": game_id, "horizon": horizon.value}
    conditions = ["f.game_id = :game_id", "f.horizon = :horizon"]
    if minute is not None:
        conditions += ["f.minute = :minute", "f.at_moment = FALSE"]
    if model_version:
        conditions.append("f.model_version = :model")
    query = f"""
        SELECT f.sequence, f.key FROM forecasts f WHERE {" AND ".join(conditions)}
        ORDER BY CASE WHEN NOT ({_IN_TIME}) THEN 2 WHEN f.owned THEN 0 ELSE 1 END, f.elapsed_s DESC, f.sequence DESC
        LIMIT 1"""  # noqa: S608
    with sql.snapshot(connection):
        row = sql.row(connection, query, **of_game, minute=minute, model=model_version)
        if row is None:
            raise _unknown(connection, game_id, horizon, minute, model_version)
        latest, key = row
        others = sql.rows(connection, _OTHERS, key=key, latest=latest, most=MAX_REVISIONS)
        *revisions, newest = forecasts_at(connection, [*(sequence for (sequence,) in reversed(others)), latest])
        reports = sql.rows(connection, _REPORTS, **of_game, most=MAX_REVISIONS)
    with store.decoding():
        return RecordedGame(newest, tuple(revisions), tuple(codec.parse_outcome(text) for (text,) in reversed(reports)))


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
    found: dict[int, RecordedForecast] = {}
    markets: dict[int, list[RecordedMarket]] = {}
    with store.decoding():
        for text, hindsight, owned, superseded in sql.rows(connection, _AT, sequences=[*sequences], start=_NOW):
            issued = codec.parse(text, explanation=explanation)
            if hindsight is not None and issued.late is None:
                issued = replace(issued, late=LateReason.OBSERVED)
            found[issued.sequence] = RecordedForecast(issued, bool(superseded), not owned)
        for sequence, hindsight, text in sql.rows(connection, _MARKETS, sequences=[*found]):
            sent = codec.parse_market(text)
            recorded = RecordedMarket(sent.market, sent.answer, sequence, hindsight is not None)
            markets.setdefault(sent.forecast_sequence, []).append(recorded)
        games = sorted({each.issued.game_id for each in found.values()})
        scores = [_Scores.of(*row) for row in sql.rows(connection, _SCORES, games=games)]
        by_game = {(each.outcome.game_id, each.outcome.horizon): each for each in scores}
        for sequence, each in found.items():
            settled = by_game.get((each.issued.game_id, each.issued.forecast.horizon))
            priced = replace(each, markets=tuple(markets.get(sequence, ())))
            found[sequence] = priced if settled is None else settled.added_to(priced)
    return [found[sequence] for sequence in sequences if sequence in found]


def _unknown(
    connection: Connection, game_id: str, horizon: Horizon, minute: int | None, model_version: str
) -> UnknownGame:
    """Return the error that names the first condition without a forecast, and the values that the ledger has."""
    found_of = sql.rows(connection, _CONDITIONS, game_id=game_id)
    if not found_of:
        return UnknownGame(f"no forecast of {quoted(game_id)} is recorded", "a game with a recorded forecast")
    rows = [row for of, *row in found_of if of == horizon.value]
    if not rows:
        other = next(each for each in Horizon if each is not horizon)
        found = f"HORIZON_{horizon.name}, of which no forecast is recorded"
        return UnknownGame(found, f"HORIZON_{other.name}", "horizon")
    versions = sorted({version for *_, version in rows})
    if model_version and model_version not in versions:
        found = f"{quoted(model_version)}, of which no forecast is recorded"
        return UnknownGame(found, _some(versions), "model_version")
    minutes = sorted({of for of, at_moment, version in rows if model_version in {"", version} and not at_moment})
    return UnknownGame(f"{minute}, after which no forecast is recorded", _some(minutes), "elapsed_minutes")


def _some(values: Sequence[object]) -> str:
    """Return up to five values, and the number of further ones."""
    more = f" or {len(values) - _NAMED} more" if len(values) > _NAMED else ""
    return ", ".join(map(str, values[:_NAMED])) + more


_IN_TIME: Final = "f.late = '' AND f.hindsight IS NULL"

_CONDITIONS: Final = "SELECT DISTINCT horizon, minute, at_moment, model_version FROM forecasts WHERE game_id = :game_id"

_OTHERS: Final = """
    SELECT sequence FROM forecasts WHERE key = :key AND sequence <> :latest ORDER BY revision DESC LIMIT :most"""

_REPORTS: Final = """
    SELECT e.canonical FROM outcomes o JOIN entries e ON e.sequence = o.sequence
    WHERE o.game_id = :game_id AND o.horizon = :horizon ORDER BY o.revision DESC LIMIT :most"""

SUPERSEDED: Final = """
    EXISTS (
        SELECT 1 FROM forecasts later
        WHERE later.key = f.key AND later.revision > f.revision AND later.sequence <= :start
            AND later.late = '' AND (later.hindsight IS NULL OR later.hindsight > :start))"""
"""Condition of a row `f` of `forecasts` that a later revision, recorded in time, replaced by the sequence `start`."""

_NOW: Final = 2**63 - 1
"""A sequence after all others."""

_AT: Final = f"""
    SELECT e.canonical, f.hindsight, f.owned, {SUPERSEDED}
    FROM forecasts f JOIN entries e ON e.sequence = f.sequence WHERE f.sequence IN :sequences"""  # noqa: S608

_MARKETS: Final = """
    SELECT m.sequence, m.hindsight, e.canonical FROM markets m JOIN entries e ON e.sequence = m.sequence
    WHERE m.forecast_sequence IN :sequences ORDER BY m.on_total"""

_SCORES: Final = """
    SELECT e.canonical, s.first_report, s.forecasts, s.markets FROM scores s JOIN entries e ON e.sequence = s.outcome
    WHERE s.game_id IN :games"""


class _Scores(NamedTuple):
    """An outcome that stands, and the scores of the forecasts that it settles and of their markets; see `settling`."""

    outcome: ReportedOutcome
    first_report: int
    forecasts: NDArray[Any]
    markets: NDArray[Any]

    @classmethod
    def of(cls, outcome: str, first_report: int, forecasts: bytes, markets: bytes) -> _Scores:
        """Return the scores in a row of `_SCORES`."""
        arrays = np.frombuffer(forecasts, dtype=FORECASTS), np.frombuffer(markets, dtype=MARKETS)
        return cls(codec.parse_outcome(outcome), first_report, *arrays)

    def added_to(self, recorded: RecordedForecast) -> RecordedForecast:
        """Return a forecast of the game and horizon with the outcome, its scores, and the mark of exchanged sides."""
        issued = recorded.issued
        place = int(np.searchsorted(self.forecasts["sequence"], issued.sequence))  # they are packed in this order
        if self.forecasts["own_exclusion"][place] == Exclusion.SIDES:
            issued = replace(issued, late=LateReason.SIDES)
        return replace(
            recorded,
            issued=issued,
            outcome=self.outcome,
            settlement=self._settlement(issued, place),
            first_outcome_sequence=self.first_report,
        )

    def _settlement(self, issued: IssuedForecast, place: int) -> Settlement:
        """Return the scores of a forecast, given its place."""
        scores = dict(zip(FORECASTS.names or (), self.forecasts[place].tolist(), strict=True))
        bets = {} if issued.late else self._bets(place)
        forecast, led, total = issued.forecast, scores["differential"] > 0, None
        if not math.isnan(scores["total_error"]):
            figures = (scores[f"total_{name}"] for name in ("error", "pace_error", "covered", "crps"))
            total = TotalSettlement(*figures, *bets.get(True, ()))
        profit, result = bets.get(False, (None, None))
        score = None
        if forecast.distribution:
            score = static_score(forecast.distribution, forecast.static_scores, scores["differential"])
        return Settlement(
            outcome_sequence=self.outcome.sequence,
            error=scores["error"],
            persistence_error=scores["lead"] - scores["differential"],
            covered=scores["covered"],
            brier=(scores["probability"] - led) ** 2,
            crps=None if math.isnan(scores["crps"]) else scores["crps"],
            score=score,
            market_profit=profit,
            market_result=result,
            total=total,
        )

    def _bets(self, place: int) -> dict[bool, tuple[float, MarketResult]]:
        """Return profit and result of the bets of a forecast by kind: whether they are on the total."""
        found = {}
        for _, *values in self.markets[self.markets["forecast"] == place].tolist():
            market = SettledMarket(*values)
            if market.side and market.settled:
                won = MarketResult.WON if (market.side > 0) == (market.home_won > 0.0) else MarketResult.LOST
                found[market.on_total] = market.profit, MarketResult.PUSH if math.isnan(market.home_won) else won
        return found


def current_sequences(connection: Connection, game_ids: Collection[str], since_us: int, up_to: int) -> list[int]:
    """Return the sequences of the newest forecast in time of each game's owner and of each horizon, in order.

    Args:
        connection: a read connection.
        game_ids: the games; empty: all.
        since_us: only forecasts made at or after this time, in microseconds since 1970 (UTC).
        up_to: only forecasts up to this sequence; their rows never change.
    """
    query = _CURRENT.format(of_games="AND COALESCE(game_id, NULL) IN :games" if game_ids else "")
    rows = sql.rows(connection, query, since_us=since_us, up_to=up_to, games=sorted(game_ids))
    return [sequence for (sequence,) in rows]


def issued_at(connection: Connection, sequences: Sequence[int]) -> list[IssuedForecast]:
    """Return the forecasts with the given sequences, in order of sequence, as they were recorded.

    Raises:
        LedgerCorrupt: if an entry cannot be read back.
    """
    with store.decoding():
        rows = sql.rows(connection, _ISSUED, sequences=[*sequences])
        return [replace(codec.parse(text), hash=hash_) for text, hash_ in rows]


# COALESCE keeps the database from another index than the covering one of recent forecasts.
_CURRENT: Final = """
    SELECT MAX(COALESCE(sequence, NULL)) FROM forecasts
    WHERE generated_us >= :since_us AND COALESCE(sequence, NULL) <= :up_to AND late = '' AND owned {of_games}
    GROUP BY COALESCE(game_id, NULL), horizon ORDER BY 1"""

_ISSUED: Final = "SELECT canonical, hash FROM entries WHERE sequence IN :sequences ORDER BY sequence"
