"""Requests for forecasts, as read from a call."""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

from dejavu_common.frozen import fast_frozen
from dejavu_ledger.records import LineOrigin
from dejavu_models.forecast_query import ForecastQuery


class PublishedClock(NamedTuple):
    """The clock of a game, as published.

    Attributes:
        seconds: seconds of play since tip-off.
        publisher: identity of the caller who published it; empty if it is not known.
    """

    seconds: float
    publisher: str


@fast_frozen
class ForecastRequest:
    """Request for one forecast.

    Attributes:
        game_id: the NBA's id, ten digits; empty for a what-if.
        model_version: the requested model; empty for the active one.
        query: the query for the model.
        game_date: local date of the game as given; None if the request has none. The query then has today's date.
        line_origin: source of the query's margin; None if the request does not give it.
        clock: how far the game is by its published clock; None if nobody publishes it.
    """

    game_id: str
    model_version: str
    query: ForecastQuery
    game_date: date | None = None
    line_origin: LineOrigin | None = None
    clock: PublishedClock | None = None
