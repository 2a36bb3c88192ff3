"""Inputs of forecasts that do not come from the plays: line, line-ups and prices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from dejavu_client.requests import market_of
from dejavu_feed.box_score import Lineups
from dejavu_feed.files.prices import PricedMarket


@dataclass(frozen=True, slots=True)
class GameLine:
    """The line of a game.

    Attributes:
        margin: expected final differential, home − away, in points; None if only the total is known.
        total: expected final points of both teams together; None if it is not known.
        source: where it is from; "published": the state of the game that another publisher made, without its source.
        time: when it was last read there, aware.
    """

    margin: float | None
    total: float | None
    source: Literal["feed", "file", "published"]
    time: datetime

    def options(self) -> dict[str, Any]:
        """Return the options of a request for a forecast; see `PredictOptions`."""
        options: dict[str, Any] = {} if self.total is None else {"pregame_total": self.total}
        if self.margin is not None:
            options["pregame_margin"] = self.margin
            if self.source != "published":  # whose source and time are not known
                options |= {"margin_source": self.source, "margin_time": self.time}
        return options


@dataclass(frozen=True, slots=True)
class GamePrices:
    """The prices of a game at a time.

    Attributes:
        lead: those of the spread or of the winner; None: none.
        total: those of total points; None: none.
    """

    lead: PricedMarket | None = None
    total: PricedMarket | None = None

    def options(self, *, with_total: bool) -> dict[str, Any]:
        """Return the arguments of `predict_request`.

        Args:
            with_total: whether to send prices of total points, which forecasts at a moment have no answer for.
        """
        priced = (self.lead, self.total if with_total else None)
        return {"markets": [market_of(each) for each in priced if each is not None]}


@dataclass(slots=True)
class ForecastInputs:
    """Inputs of the forecasts of a game that are requested in one call, and what the server says of the prices.

    Attributes:
        line: the line of the game; None if it has none: the server uses the ratings of the teams.
        lineups: players who had been on court, by the minute of a forecast.
        prices: current prices, to record beside the forecasts of its end; None: none are sent.
        price_faults: why the server refused prices, or found them further from the model than is plausible.
        recorded: whether it recorded a market.
    """

    line: GameLine | None = None
    lineups: Mapping[int, Lineups] = field(default_factory=dict)
    prices: GamePrices | None = None
    price_faults: list[str] = field(default_factory=list)
    recorded: bool = False
