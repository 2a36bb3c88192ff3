"""Events of an evening's games as values, and the record that they make: for tables of tests.

made = told(book, said(20), said(47, 10.0, at=5), reported(11, at=4))
answers(book, said(20), reported(11), said(21))  # [None, "OutcomeAlreadyRecorded: …"]
figures(book, "forecasts", "left_out", "market.bets", "half.forecasts", "learned")
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from functools import partial
from operator import attrgetter
from typing import Any, Final, TypeAlias

from tests.support.builders.record_book import EVENING, RecordBook, forecast, with_market, with_total

from dejavu_feed.moment import Moment
from dejavu_ledger.queries import learning, pages, predictions, scorecards
from dejavu_ledger.queries.completed_games import CompletedGame, completed_games
from dejavu_ledger.queries.learning import SettledGame
from dejavu_ledger.queries.pages import ForecastFilter
from dejavu_ledger.queries.predictions import CurrentFilter
from dejavu_ledger.queries.scorecards import ScoreFilter
from dejavu_ledger.records import IssuedForecast, LateReason, MarketRecording
from dejavu_models.errors import DejavuError
from dejavu_models.scorecard.cards import Scorecard, scorecard
from dejavu_models.types import ExpectedMarginTerms, Horizon

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
    wanted = CurrentFilter(frozenset(), 0, 1000)
    page = book.read(partial(predictions.current_page, filter_=wanted, after=0, limit=500))
    return [each.sequence for each in page.forecasts]


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
