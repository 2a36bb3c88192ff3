"""A synchronous ledger without an event loop or threads, and events of an evening's games as values.

with new_book(folder) as book:
    book.predict(forecast(game_id, minute=18, probability=0.7))
    book.report(game_id, Horizon.HALFTIME, 5)
    book.read(lambda connection: …)

made = told(book, said(20), said(47, 10.0, at=5), reported(11, at=4))
answers(book, said(20), reported(11), said(21))  # [None, "OutcomeAlreadyRecorded: …"]
figures(book, "forecasts", "left_out", "market.bets", "half.forecasts", "learned")
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from operator import attrgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeAlias, TypeVar

from tests.support.builders.empty_ledger import put_empty_ledger
from tests.support.builders.issued_forecasts import issued
from tests.support.builders.model_changes import shadow

from dejavu_feed.live_inputs import NO_LIVE_INPUTS, LiveInputs
from dejavu_feed.moment import Moment
from dejavu_ledger import outcomes
from dejavu_ledger.database import sql
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.database.sqlite import SqliteBackend
from dejavu_ledger.entries import codec
from dejavu_ledger.queries import learning, pages, predictions, scorecards
from dejavu_ledger.queries.completed_games import CompletedGame, completed_games
from dejavu_ledger.queries.learning import SettledGame
from dejavu_ledger.queries.pages import ForecastFilter
from dejavu_ledger.queries.scorecards import ScoreFilter
from dejavu_ledger.recording import KnownRecord, append_shadows, record_forecasts
from dejavu_ledger.records import IssuedForecast, LateReason, MarketRecording, ReportedOutcome, SentMarket
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
from dejavu_models.errors import DejavuError
from dejavu_models.results import Failed, Result
from dejavu_models.scorecard.cards import Scorecard, scorecard
from dejavu_models.types import DISTRIBUTION_LEVELS, ExpectedMarginTerms, Horizon, Interval, TotalForecast

EVENING = datetime(2026, 1, 14, 1, 30, tzinfo=UTC)
"""Default time of games: their local date is the 13th."""

_T = TypeVar("_T")


def forecast(
    game_id: str,
    *,
    minute: int = 18,
    lead: float = 3.0,
    point: float = 4.0,
    half_width: float = 12.0,
    probability: float = 0.6,
    distribution: bool = True,
    pregame_margin: float | None = None,
    live: LiveInputs = NO_LIVE_INPUTS,
    **more: Any,
) -> IssuedForecast:
    """Return a forecast of a game with a constant lead, ready to be recorded; more: see `issued`."""
    made = issued(game_id, (lead,) * minute, point=point, **{"generated_time": EVENING, **more})
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
    """A ledger with synchronous writes and reads.

    Attributes:
        rename: what becomes of the ids of games that are recorded, to record the same events of others.
    """

    def __init__(self, backend: SqliteBackend) -> None:
        self._backend = backend
        self.rename: Callable[[str], str] = lambda game_id: game_id

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
        named = [replace(each, game_id=self.rename(each.game_id)) for each in made]
        with self._backend.write() as connection:
            stored = record_forecasts(connection, [codec.prepare(each) for each in named], known, limits)
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
        outcome = ReportedOutcome(self.rename(game_id), horizon, differential, *teams, seen, seen, **more)
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
            answer = outcomes.withdraw_outcome(connection, self.rename(game_id), horizon, now)
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


@contextmanager
def new_book(folder: Path | None = None) -> Iterator[RecordBook]:
    """Create an empty ledger, in a temporary folder by default. All ledgers of a run have the same id."""
    with TemporaryDirectory(prefix="book-") if folder is None else nullcontext(folder) as home:
        path = Path(home) / "ledger.db"
        put_empty_ledger(path)
        with closing(SqliteBackend(f"sqlite:///{path}")) as backend:
            yield RecordBook(backend)


GAME, OTHER = "0022500001", "0022500002"
HALF, FINAL = Horizon.HALFTIME, Horizon.FINAL
NO_SHADOW = "no shadow"

Event: TypeAlias = Callable[[RecordBook], IssuedForecast | str | None]
"""Records something; returns a forecast as it is answered, and NO_SHADOW for one that is not recorded. Raises other
refusals."""


def forecast_of(
    minute: int = 0,
    lead: float = 3.0,
    game_id: str = GAME,
    *,
    at: float = 0.0,
    moment: Moment | None = None,
    market: dict[str, Any] | None = None,
    points: int | None = None,
    effect: float | None = None,
    by: str = "",
    clock: float | None = None,
    publisher: str = "",
    day: date | None = None,
    **more: Any,
) -> IssuedForecast:
    """Return a forecast of the end, at a moment if one is given, ready to be recorded.

    Args:
        minute: its minute; at a moment that of the moment.
        lead: the lead; at a moment that of the moment.
        game_id: its game.
        at: when it is made, in minutes after the evening's start.
        moment: the moment of play.
        market: arguments of `with_market`, for a forecast that is sent with a price.
        points: points of both teams so far, for a forecast with a total.
        effect: effect of missing players, in points.
        by: identity of the caller.
        clock: seconds of play by the published clock.
        publisher: identity of the caller who publishes it.
        day: date of the game.
        more: further arguments of `forecast`.
    """
    if moment is not None:
        minute, lead = moment.slots, float(moment.differential)
    time = EVENING + timedelta(minutes=at)
    made = forecast(game_id, minute=minute, lead=lead, generated_time=time, **{"horizon": FINAL, **more})
    made = replace(made, forecast=replace(made.forecast, moment=moment))
    made = replace(made, recorded_by=by, clock=clock, publisher=publisher, game_date=day)
    if points is not None:
        made = with_total(made, points=points)
    if effect is not None:
        terms = ExpectedMarginTerms(2.0, 2.5, missing_players=effect)
        made = replace(made, forecast=replace(made.forecast, expected_margin_terms=terms))
    if market is not None:
        made = with_market(made, **market)
    return made


def said(minute: int = 0, lead: float = 3.0, game_id: str = GAME, **more: Any) -> Event:
    """Return the recording of a forecast; see `forecast_of`."""
    made = forecast_of(minute, lead, game_id, **more)

    def record(book: RecordBook) -> IssuedForecast:
        [stored] = book.predict(made)
        if not isinstance(stored, IssuedForecast):
            raise stored.error
        return stored

    return record


def reported(
    differential: int = 11, horizon: Horizon = FINAL, game_id: str = GAME, *, at: float = 3 * 1440, **more: Any
) -> Event:
    """Return a report of an outcome that was observed some minutes after the evening's start."""

    def report(book: RecordBook) -> None:
        book.report(game_id, horizon, differential, seen=EVENING + timedelta(minutes=at), **more)

    return report


def shadowed(of: int, version: str = "v2", **more: Any) -> Event:
    """Return the forecast of another model beside that of an entry; see `RecordBook.shadow`."""
    return lambda book: None if book.shadow(of, version, **more) else NO_SHADOW


def withdrawn(horizon: Horizon = FINAL, game_id: str = GAME) -> Event:
    """Return the withdrawal of an outcome."""

    def withdraw(book: RecordBook) -> None:
        book.withdraw(game_id, horizon)

    return withdraw


def leads(caller: str, lease: str = "poll") -> Event:
    """Return the acquisition of a lease, in place of its holder."""
    return lambda book: book.lease(lease, caller)


def told(book: RecordBook, *events: Event) -> list[IssuedForecast]:
    """Record events one after another; return the forecasts as answered."""
    return [answer for answer in [event(book) for event in events] if isinstance(answer, IssuedForecast)]


def answers(book: RecordBook, *events: Event) -> list[object]:
    """Record events one after another; return what is answered: see `answer_of`, and refusals with their texts."""
    found = list[object]()
    for event in events:
        try:
            answer = event(book)
        except DejavuError as error:
            told_of = (error, *getattr(error, "others", ()))
            found.append(f"{type(error).__name__}: {'; '.join(map(str, told_of))}")
        else:
            if answer is not None:
                found.append(answer_of(answer) if isinstance(answer, IssuedForecast) else answer)
    return found


def answer_of(made: IssuedForecast) -> LateReason | MarketRecording | None:
    """Return whether the market of a forecast is recorded; without a market, why the forecast is late."""
    return made.markets[0].recording if made.markets else made.late


def card(book: RecordBook, horizon: Horizon = FINAL, **conditions: Any) -> Scorecard:
    """Return the scorecard of a horizon, with replays."""
    wanted = ScoreFilter(horizon=horizon, replays=True, **conditions)
    return scorecard(book.read(lambda connection: scorecards.settled(connection, wanted)).forecasts)


def lessons(book: RecordBook) -> list[SettledGame]:
    """Return what is learned from settled games."""
    return book.read(lambda connection: learning.settled_games_after(connection, 0))


def figures(book: RecordBook, *names: str) -> dict[str, Any]:
    """Return attributes of the scorecard of the end by name, and what else follows.

    Attributes of the card of the half follow `half.`, those of the card of a caller its name, a or b.

    learned: the number of observations of each settled game. neutral: whether its site is. standing: the sequences of
    the forecasts in time that no other has replaced. late: why each forecast in the lists is late. current: those of
    the current forecasts. revisions: the numbers of the revisions of all forecasts. exported: the last lead of each
    game that is exported, and its minutes with live inputs.
    """
    return {name: _OTHERS[name](book) if name in _OTHERS else _on_a_card(book, name) for name in names}


CALLERS: Final = ("a", "b")


def _on_a_card(book: RecordBook, name: str) -> Any:
    scope, _, figure = name.partition(".")
    if scope == "half":
        return attrgetter(figure)(card(book, HALF))
    if scope in CALLERS:
        return attrgetter(figure)(card(book, recorded_by=scope))
    return attrgetter(name)(card(book))


def _listed(book: RecordBook, *, superseded: bool) -> list[IssuedForecast]:
    wanted = ForecastFilter(superseded=superseded, replays=True)
    page = book.read(partial(pages.page, filter_=wanted, token="", size=500))
    return sorted((each.issued for each in page.forecasts), key=attrgetter("sequence"))


def _current(book: RecordBook) -> list[int]:
    return book.read(partial(predictions.current_sequences, game_ids=(), since_us=0, up_to=1000))


def exported(book: RecordBook) -> list[CompletedGame]:
    """Return the completed games that an export has."""
    games = book.read(lambda connection: list(completed_games(connection)))
    return [each for each in games if isinstance(each, CompletedGame)]


_OTHERS: dict[str, Callable[[RecordBook], Any]] = {
    "neutral": lambda book: [each.neutral_site for each in lessons(book)],
    "learned": lambda book: [len(each.observations) for each in lessons(book)],
    "standing": lambda book: [each.sequence for each in _listed(book, superseded=False) if each.late is None],
    "late": lambda book: [each.late for each in _listed(book, superseded=True)],
    "current": _current,
    "revisions": lambda book: [each.revision for each in _listed(book, superseded=True)],
    "exported": lambda book: [
        (each.scores[-2].home - each.scores[-2].away, sorted(each.live)) for each in exported(book)
    ],
}
