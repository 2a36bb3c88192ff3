"""A synchronous ledger without an event loop or threads, for tests of queries.

with new_book(folder) as book:
    book.predict(forecast(game_id, minute=18, probability=0.7))
    book.report(game_id, Horizon.HALFTIME, 5)
    book.read(lambda connection: …)
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from tests.support.builders.issued_forecasts import issued
from tests.support.builders.model_changes import shadow

from dejavu_feed.live_inputs import NO_LIVE_INPUTS, LiveInputs
from dejavu_ledger import outcomes
from dejavu_ledger.database import sql
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.database.sqlite import SqliteBackend
from dejavu_ledger.entries import codec
from dejavu_ledger.queries import predictions
from dejavu_ledger.recording import KnownRecord, append_shadows, record_forecasts
from dejavu_ledger.records import IssuedForecast, ReportedOutcome, SentMarket
from dejavu_ledger.rules import DEFAULT_LIMITS, RecordingLimits
from dejavu_models.betting import (
    Market,
    MarketAnswer,
    MarketKind,
    MarketSide,
    MarketSideAnswer,
    RiskLevel,
    StakingPolicy,
)
from dejavu_models.results import Failed, Result
from dejavu_models.types import DISTRIBUTION_LEVELS, Horizon, Interval, TotalForecast

EVENING = datetime(2026, 1, 14, 1, 30, tzinfo=UTC)
"""Default time of games: their local date is the 13th."""

_T = TypeVar("_T")


def forecast(
    game_id: str,
    *,
    minute: int = 18,
    lead: float = 3.0,
    horizon: Horizon = Horizon.HALFTIME,
    point: float = 4.0,
    half_width: float = 12.0,
    probability: float = 0.6,
    alpha: float = 0.05,
    model_version: str = "v1",
    home_team: str = "BKN",
    away_team: str = "GSW",
    generated_time: datetime = EVENING,
    distribution: bool = True,
    pregame_margin: float | None = None,
    live: LiveInputs = NO_LIVE_INPUTS,
) -> IssuedForecast:
    """Return a forecast of a game with a constant lead, ready to be recorded."""
    made = issued(
        game_id,
        (lead,) * minute,
        horizon=horizon,
        alpha=alpha,
        model_version=model_version,
        home_team=home_team,
        away_team=away_team,
        point=point,
        generated_time=generated_time,
    )
    quantiles = tuple(round(point + 2.0 * half_width * (level - 0.5), 3) for level in DISTRIBUTION_LEVELS)
    adjusted = replace(
        made.forecast,
        interval=Interval(point - half_width, point + half_width),
        home_lead_probability=probability,
        distribution=quantiles if distribution else (),
    )
    return replace(made, forecast=adjusted, pregame_margin=pregame_margin, live=live)


NO_CAPS = StakingPolicy(game_cap=1.0, evening_cap=1.0)


def with_market(
    made: IssuedForecast,
    *,
    line: float = 0.5,
    odds: float = 2.0,
    stake: float = 0.05,
    push: float = 0.0,
    policy: StakingPolicy = NO_CAPS,
) -> IssuedForecast:
    """Add a market to a forecast, with a stake on the home side; 0 for none, and the probability of a push."""
    home = MarketSideAnswer(0.6 * (1.0 - push), 0.55, odds, 0.5, 1.0 / odds, 0.2, 2.0 * stake, stake, stake)
    away = MarketSideAnswer(0.4 * (1.0 - push), 0.45, odds, 0.5, 1.0 / odds, -0.2)
    side = MarketSide.HOME if stake else None
    answer = MarketAnswer(home, away, push, 2.0 / odds - 1.0, side, stake, RiskLevel.LOW, True)
    return replace(
        made,
        markets=(SentMarket(Market(line, odds, odds, policy=policy)), *made.markets),
        forecast=replace(made.forecast, market=answer),
    )


def with_total(made: IssuedForecast, *, points: int) -> IssuedForecast:
    """Add the forecast of a total to a forecast, a little below the pace of the points so far."""
    point = 0.75 * points * made.forecast.horizon.minutes / made.forecast.elapsed_minutes + 25.0
    quantiles = tuple(round(point + 18.0 * (level - 0.5)) for level in DISTRIBUTION_LEVELS)
    total = TotalForecast(point, Interval(point - 9.0, point + 9.0), distribution=tuple(map(float, quantiles)))
    return replace(made, forecast=replace(made.forecast, total=total), live=LiveInputs(points))


def with_total_market(made: IssuedForecast, *, over: float, **given: Any) -> IssuedForecast:
    """Add a market of total points, at a line, to a forecast with a total; see `with_market`."""
    priced = with_market(made, **given)
    assert made.forecast.total is not None
    answer = priced.forecast.market
    assert answer is not None
    side = None if answer.side is None else MarketSide.OVER
    total = replace(made.forecast.total, market=replace(answer, side=side))
    market = replace(priced.markets[0].market, line=over, kind=MarketKind.TOTAL)
    return replace(made, markets=(*made.markets, SentMarket(market)), forecast=replace(made.forecast, total=total))


class RecordBook:
    """A ledger with synchronous writes and reads."""

    def __init__(self, backend: SqliteBackend) -> None:
        self._backend = backend

    def predict(
        self,
        *made: IssuedForecast,
        known: KnownRecord | None = None,
        limits: RecordingLimits = DEFAULT_LIMITS,
        fails: bool = False,
    ) -> list[Result[IssuedForecast]]:
        """Record forecasts; return the stored forecast or the error for each.

        Args:
            made: the forecasts.
            known: what the writer knows.
            limits: limits of a game's forecasts.
            fails: whether the transaction is rolled back in the end, by a ZeroDivisionError.
        """
        with self._backend.write() as connection:
            stored = record_forecasts(connection, [codec.prepare(each) for each in made], known, limits)
            if fails:
                raise ZeroDivisionError
            return stored

    def report(
        self,
        game_id: str,
        horizon: Horizon,
        differential: int,
        *,
        teams: tuple[str, str] = ("BKN", "GSW"),
        seen: datetime = EVENING + timedelta(days=3),
        correct: bool = True,
        **more: Any,
    ) -> ReportedOutcome:
        """Record an outcome that was observed at a time; return it as stored.

        Args:
            game_id, horizon, differential: the outcome.
            teams: codes of home and away.
            seen: when it was observed and is recorded.
            correct: whether it may correct the one that stands.
            more: further values of the outcome.

        Raises:
            DejavuError: if it is refused.
        """
        outcome = ReportedOutcome(game_id, horizon, differential, *teams, seen, seen, **more)
        with self._backend.write() as connection:
            answer = outcomes.record_outcome(connection, outcome, seen, correct=correct)
        if isinstance(answer, Failed):
            raise answer.error
        return answer[0]

    def withdraw(self, game_id: str, horizon: Horizon, now: datetime = EVENING + timedelta(days=3)) -> ReportedOutcome:
        """Withdraw an outcome at a time; return it as stored.

        Raises:
            DejavuError: if there is none.
        """
        with self._backend.write() as connection:
            answer = outcomes.withdraw_outcome(connection, game_id, horizon, now)
        if isinstance(answer, Failed):
            raise answer.error
        return answer[0]

    def shadow(self, of: int, version: str, *, known: KnownRecord | None = None, point: float | None = None) -> bool:
        """Record the forecast of another model beside the one of an entry; return whether it is admissible.

        Args:
            of: sequence of the entry.
            version: the model.
            known: what the writer knows.
            point: the only value of a distribution of its own, which gives the home side 0.9; None: that of the entry.
        """
        with self._backend.write() as connection:
            [beside] = predictions.forecasts_at(connection, [of])
            made = shadow(beside.issued, version)
            if point is not None:
                told: dict[str, Any] = {"point": point, "interval": Interval(point - 1.0, point + 1.0)}
                told |= {"distribution": (point,) * len(DISTRIBUTION_LEVELS), "home_lead_probability": 0.9}
                made = replace(made, forecast=replace(made.forecast, **told))
            return append_shadows(connection, [codec.prepare_shadow(made)], known) != []

    def write(self, function: Callable[[Connection], _T]) -> _T:
        """Return the result of a function that writes."""
        with self._backend.write() as connection:
            return function(connection)

    def lease(self, name: str, caller: str) -> None:
        """Give a caller a lease of five minutes, in place of its holder."""
        with self._backend.write() as connection:
            sql.rows(connection, "DELETE FROM leases WHERE name = :name", name=name)
            expires_us = sql.database_time(connection) + 300 * 10**6
            held = {"name": name, "holder": caller, "caller": caller, "acquired_us": 0, "expires_us": expires_us}
            sql.insert(connection, "leases", [held])

    def run(self, *statements: str) -> None:
        """Run statements in a transaction."""
        with self._backend.write() as connection:
            for statement in statements:
                sql.rows(connection, statement)

    def read(self, function: Callable[[Connection], _T]) -> _T:
        """Return the result of a function that reads."""
        with self._backend.read() as connection:
            return function(connection)


@cache
def _template() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        with closing(SqliteBackend(f"sqlite:///{path}")) as backend:
            backend.open(make=True)
        return path.read_bytes()


@contextmanager
def new_book(folder: Path | None = None) -> Iterator[RecordBook]:
    """Create an empty ledger, in a temporary folder by default. All ledgers of a process have the same id."""
    home = Path(tempfile.mkdtemp(prefix="book-")) if folder is None else folder
    path = home / "ledger.db"
    path.write_bytes(_template())
    try:
        with closing(SqliteBackend(f"sqlite:///{path}")) as backend:
            yield RecordBook(backend)
    finally:
        if folder is None:
            shutil.rmtree(home)
