"""Distribution with which a forecast is issued: the model's own, or the one adapted to reported outcomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from dejavu_models import betting
from dejavu_models.betting import Market, MarketAnswer
from dejavu_models.types import Adaptation, AdaptationMode, Horizon, Interval, Quantile
from dejavu_models.uncertainty.adaptive import (
    LEVEL_SCORES,
    MAX_SCORE,
    NORMAL,
    Tracker,
    pooled,
    radius_of_alpha,
    scaled_scores,
)
from dejavu_models.uncertainty.lattice.calibration import LatticeGame

Positions = tuple[tuple[float, ...], tuple[float, ...]]
"""Standard-normal scores of some quantiles, and their levels."""


class IntervalAdapter:
    """Adapts intervals by a factor; caches the rolling coverage of a tracker.

    Args:
        tracker: the tracker.
        factor: factor of the season.

    Attributes:
        factor: factor of all standard-normal scores.
        games: number of games in the rolling window.
        rolling: see `Tracker.rolling_coverages`.
    """

    def __init__(self, tracker: Tracker, factor: float) -> None:
        self.factor = factor
        self.games = len(tracker.recent)
        # The cache is limited: clients that vary alpha on every call must not exhaust memory.
        self.rolling = lru_cache(maxsize=64)(tracker.rolling_coverages)


def adapters(trackers: Mapping[tuple[Horizon, int], Tracker]) -> dict[tuple[Horizon, int], IntervalAdapter]:
    """Return the adapter of each tracker. The factor of the season is that of all quarters of a horizon together."""
    factors = {
        horizon: pooled(each.season for (of, _), each in trackers.items() if of is horizon).factor
        for horizon in {horizon for horizon, _ in trackers}
    }
    return {key: IntervalAdapter(tracker, factors[key[0]]) for key, tracker in trackers.items()}


class IssuedDistribution:
    """All numbers of a forecast that depend on its distribution.

    Args:
        game: distribution of the model as calibrated.
        mode: None if adaptation is off.
        adapter: None before the first settled game.
        widening: factor of all scores, at least 1, relative to the calibrated width, adapted or not.
    """

    def __init__(
        self,
        game: LatticeGame,
        mode: AdaptationMode | None,
        adapter: IntervalAdapter | None,
        widening: float = 1.0,
    ) -> None:
        self._game = game
        self._mode = mode
        self._adapter = adapter
        self._widening = widening
        adapted = adapter.factor if adapter is not None and mode is AdaptationMode.ON else 1.0
        self._factor = widening * adapted
        self.static_scores: tuple[float, ...] = () if adapted == 1.0 else scaled_scores(adapted)
        """See `types.Forecast`."""

    def static(self, alpha: float) -> Interval:
        """Return the interval that is not adapted."""
        if self._widening == 1.0:
            return self._game.interval(alpha)
        return self._game.interval_at(self._widening * radius_of_alpha(alpha))

    def adaptation(self, alpha: float, static: Interval) -> Adaptation | None:
        """Return the adapted interval with the static one; they are equal before the first settled game."""
        if self._mode is None:
            return None
        if self._adapter is None:
            return Adaptation(self._mode, adapted=static, static=static)
        adapted = self._game.interval_at(self._widening * self._adapter.factor * radius_of_alpha(alpha))
        return Adaptation(self._mode, adapted, static, self._adapter.games, *self._adapter.rolling(alpha))

    def quantiles(self, levels: Sequence[float]) -> tuple[Quantile, ...]:
        """Return quantiles in the order of the levels."""
        if not levels:
            return ()
        if self._factor == 1.0:
            values = self._game.quantiles(levels)
        else:
            values = self._game.values_at([self._factor * NORMAL.inv_cdf(level) for level in levels])
        return tuple(Quantile(level, value) for level, value in zip(levels, values, strict=True))

    def recorded(self) -> tuple[float, ...]:
        """Return the quantiles at DISTRIBUTION_LEVELS."""
        return self._game.recorded_quantiles(LEVEL_SCORES if self._factor == 1.0 else scaled_scores(self._factor))

    def home_lead_probability(self) -> float:
        """Return P(the home team leads at the horizon)."""
        return adapted_probability(self._factor, self._game.home_lead_probability)

    def evaluate(self, market: Market, horizon: Horizon, *, unrated: bool = False) -> MarketAnswer:
        """Evaluate a market with this distribution."""

        def at_least(differential: int) -> float:
            # No game ends in a tie: P(final ≥ 0) = P(final ≥ 1).
            bound = 0.0 if horizon is Horizon.FINAL and differential in (0, 1) else differential - 0.5
            return adapted_probability(self._factor, self._game.probability_above(bound))

        return betting.evaluate_market(market, at_least, unrated=unrated)


def adapted_probability(factor: float, probability: float) -> float:
    """Return a probability of the model's own distribution, whose scores are multiplied by a factor."""
    if factor == 1.0:
        return probability
    return NORMAL.cdf(max(-MAX_SCORE, min(MAX_SCORE, NORMAL.inv_cdf(probability) / factor)))


@lru_cache(maxsize=256)
def adapted_scores(factor: float, alpha: float, levels: tuple[float, ...]) -> Positions:
    """Return the positions of a forecast's quantiles in the model's own distribution: their scores, and their levels.

    The ends of the interval come first. Without adaptation, levels are never extrapolated, and scores are 0.

    Args:
        factor: factor of the season; 1 without adaptation.
        alpha: miscoverage rate of the interval.
        levels: levels of the quantiles.
    """
    if factor == 1.0:
        of_levels = (alpha / 2, 1 - alpha / 2, *levels)
        return (0.0,) * len(of_levels), of_levels
    reach = factor * radius_of_alpha(alpha)
    adapted = (-reach, reach, *(factor * NORMAL.inv_cdf(level) for level in levels))
    return adapted, tuple(map(NORMAL.cdf, adapted))
