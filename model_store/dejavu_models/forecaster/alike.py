"""Forecasts of requests that differ in their numbers only, by the compiled models: no object for a game.

What a forecast is besides its numbers follows from its request and the online state. Who answers many such requests
one after the other needs it once.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from dejavu_models.arrays import Floats
from dejavu_models.forecast_query import ForecastQuery
from dejavu_models.forecaster.active_state import ActiveState
from dejavu_models.point.compiled import CompiledModels
from dejavu_models.types import MarginSource
from dejavu_models.uncertainty.calibration import Situation
from dejavu_models.uncertainty.issued import adapted_probability
from dejavu_models.uncertainty.lattice.calibration import LatticeCalibration


class AlikeGame(NamedTuple):
    """What differs between requests that are alike.

    Attributes:
        differentials: the pattern, in points; as long as that of the first request.
        margin: expected final differential before the game, in points; None if the first request has none.
    """

    differentials: Sequence[float]
    margin: float | None


@dataclass(frozen=True, slots=True, eq=False)
class AlikeRows:
    """What differs between n requests that are alike; numbers that a query may have.

    Attributes:
        patterns: (n, minutes), differentials in points.
        margins: (n,), expected final differentials before the games, in points; all are NaN if the first request has
            none.
    """

    patterns: Floats
    margins: Floats

    def __len__(self) -> int:
        return len(self.margins)

    def part(self, start: int, stop: int) -> AlikeRows:
        """Returns some of the requests."""
        return AlikeRows(self.patterns[start:stop], self.margins[start:stop])


class AlikeNumbers(NamedTuple):
    """The numbers of a forecast that follow from its game.

    Attributes:
        point: the point forecast, in points.
        lower, upper: ends of the interval, in points.
        home_lead_probability: P(the home team leads at the horizon).
        static_lower, static_upper, adapted_lower, adapted_upper: ends of the intervals as calibrated and as adapted.
        quantiles: in points.
    """

    point: float
    lower: float
    upper: float
    home_lead_probability: float
    static_lower: float
    static_upper: float
    adapted_lower: float
    adapted_upper: float
    quantiles: Sequence[float]


_STATIC: Final = (0, 2, 3, 1, 2, 3, 4, 5)
_ADAPTED: Final = (0, 2, 3, 1, 4, 5, 2, 3)
"""Where the extension has the numbers of AlikeNumbers but quantiles, which follow: without and with an adaptation."""


class AlikeGames:
    """Forecasts games with the options of one query and one online state; thread-safe.

    Args:
        models: the point models.
        calibration: the distributions around them.
        state: the online state.
        query: a query that names no team and no total points, and that the model supports.
        version: version of the model.

    Attributes:
        state: a weak reference to the online state: it ends when the model has learned more, or is given up.
        version: version of the model.
        horizon: horizon of the query.
    """

    def __init__(
        self,
        models: CompiledModels,
        calibration: LatticeCalibration,
        state: ActiveState,
        query: ForecastQuery,
        version: str,
    ) -> None:
        self.state = weakref.ref(state)
        self.version, self.horizon = version, query.horizon
        source = MarginSource.UNKNOWN if query.pregame_margin is None else MarginSource.KNOWN
        situation = Situation(query.horizon, query.pattern.minutes, source)
        scores = state.scores(situation, query.alpha, query.quantile_levels)
        self._map = scores.map
        self._compiled = models.alike(calibration.compiled(situation), situation.minute, query.horizon, scores)

    def check(self, game: AlikeGame) -> None:
        """Checks nothing: the query was checked, and who asks checks the numbers."""

    def forecast_many(self, games: Sequence[AlikeGame]) -> list[AlikeNumbers]:
        """Returns the numbers that `Forecaster.forecast_many` gives for each game.

        Args:
            games: finite numbers that a query may have.
        """
        patterns = [game.differentials for game in games]
        rows = self._compiled.forecast(patterns, [math.nan if game.margin is None else game.margin for game in games])
        return [self._numbers(*row) for row in rows]

    def forecast_rows(self, rows: AlikeRows) -> Floats:
        """Returns the numbers that `forecast_many` gives for each game.

        Returns:
            (n, 8 + levels), in the order of AlikeNumbers; quantiles come last.
        """
        found: Floats = self._compiled.forecast_rows(rows.patterns, rows.margins)
        if self._map is not None:
            found[:, 1] = [adapted_probability(self._map, home) for home in found[:, 1].tolist()]
        order = _STATIC if self._map is None else _ADAPTED
        return found[:, [*order, *range(6, found.shape[1])]]

    def _numbers(
        self,
        point: float,
        home: float,
        lower: float,
        upper: float,
        other_lower: float,
        other_upper: float,
        *quantiles: float,
    ) -> AlikeNumbers:
        if self._map is None:
            return AlikeNumbers(point, lower, upper, home, lower, upper, other_lower, other_upper, quantiles)
        home = adapted_probability(self._map, home)
        return AlikeNumbers(point, lower, upper, home, other_lower, other_upper, lower, upper, quantiles)
