"""Events of an evening's games as values, and the record that they make: for tables of tests.

made = told(book, said(20), said(47, 10.0, at=5), reported(11, at=4))
figures(book, "forecasts", "left_out", "market.bets", "learned")
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from operator import attrgetter
from typing import Any, TypeAlias

from tests.support.builders.record_book import EVENING, RecordBook, forecast, with_market, with_total

from dejavu_feed.moment import Moment
from dejavu_ledger.queries import learning, scorecards
from dejavu_ledger.queries.learning import SettledGame
from dejavu_ledger.queries.scorecards import ScoreFilter
from dejavu_ledger.records import IssuedForecast, LateReason, MarketRecording
from dejavu_models.scorecard.cards import Scorecard, scorecard
from dejavu_models.types import ExpectedMarginTerms, Horizon

GAME, OTHER = "0022500001", "0022500002"
HALF, FINAL = Horizon.HALFTIME, Horizon.FINAL

Event: TypeAlias = Callable[[RecordBook], IssuedForecast | None]
"""Records something; returns a forecast as it is answered."""


def said(
    minute: int = 0,
    lead: float = 3.0,
    game_id: str = GAME,
    *,
    at: float = 0.0,
    moment: Moment | None = None,
    market: dict[str, Any] | None = None,
    points: int | None = None,
    effect: float | None = None,
    **more: Any,
) -> Event:
    """Return a forecast of the end, at a moment if one is given.

    Args:
        minute: its minute; at a moment that of the moment.
        lead: the lead; at a moment that of the moment.
        game_id: its game.
        at: when it is made, in minutes after the evening's start.
        moment: the moment of play.
        market: arguments of `with_market`, for a forecast that is sent with a price.
        points: points of both teams so far, for a forecast with a total.
        effect: effect of missing players, in points.
        more: further arguments of `forecast`.
    """
    if moment is not None:
        minute, lead = moment.slots, float(moment.differential)
    time = EVENING + timedelta(minutes=at)
    made = forecast(game_id, minute=minute, lead=lead, generated_time=time, **{"horizon": FINAL, **more})
    made = replace(made, forecast=replace(made.forecast, moment=moment))
    if points is not None:
        made = with_total(made, points=points)
    if effect is not None:
        terms = ExpectedMarginTerms(2.0, 2.5, missing_players=effect)
        made = replace(made, forecast=replace(made.forecast, expected_margin_terms=terms))
    if market is not None:
        made = with_market(made, **market)

    def record(book: RecordBook) -> IssuedForecast:
        [stored] = book.predict(made)
        assert isinstance(stored, IssuedForecast)
        return stored

    return record


def reported(
    differential: int = 11, horizon: Horizon = FINAL, game_id: str = GAME, *, at: float = 3 * 1440, **more: Any
) -> Event:
    """Return a report of an outcome that was observed some minutes after the evening's start."""

    def report(book: RecordBook) -> None:
        book.report(game_id, horizon, differential, seen=EVENING + timedelta(minutes=at), **more)

    return report


def withdrawn(horizon: Horizon = FINAL, game_id: str = GAME) -> Event:
    """Return the withdrawal of an outcome."""
    return lambda book: book.withdraw(game_id, horizon)


def told(book: RecordBook, *events: Event) -> list[IssuedForecast]:
    """Record events one after another; return the forecasts as answered."""
    return [answer for answer in [event(book) for event in events] if answer is not None]


def answer_of(made: IssuedForecast) -> LateReason | MarketRecording | None:
    """Return whether the market of a forecast is recorded; without a market, why the forecast is late."""
    return made.markets[0].recording if made.markets else made.late


def card(book: RecordBook, horizon: Horizon = FINAL, **conditions: Any) -> Scorecard:
    """Return the scorecard of a horizon, with replays."""
    wanted = ScoreFilter(horizon=horizon, replays=True, **conditions)
    return scorecard(book.read(lambda connection: scorecards.settled(connection, wanted)).forecasts)


def lessons(book: RecordBook) -> list[SettledGame]:
    """Return what is learned from settled games."""
    return book.read(lambda connection: list(learning.settled_games_after(connection, 0)))


def figures(book: RecordBook, *names: str) -> dict[str, Any]:
    """Return attributes of the scorecard of the end by name; `learned` is the number of observations of each game."""
    found = card(book)
    return {
        name: [len(each.observations) for each in lessons(book)] if name == "learned" else attrgetter(name)(found)
        for name in names
    }
