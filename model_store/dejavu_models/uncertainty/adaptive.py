"""Adaptive intervals: online adjustment of interval width to keep the nominal coverage.

The static score of an outcome is its standard-normal score in the recorded forecast: N(0, 1) over games while the
calibration is valid. The factor of the season, the root mean square of recent static scores (`SeasonScale`),
multiplies the scores at which the intervals of a horizon end. It follows the volatility of the season and keeps the
shape of the distribution. States are a pure function of the ordered scores.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from statistics import NormalDist
from typing import Final, Literal, NamedTuple, Self

from pydantic import ConfigDict, TypeAdapter

from dejavu_feed.pattern import QUARTER_MINUTES, REGULATION_MINUTES
from dejavu_models.types import DISTRIBUTION_LEVELS, Horizon

NORMAL: Final = NormalDist()
"""The standard normal distribution."""

LEVEL_SCORES: Final = tuple(NORMAL.inv_cdf(level) for level in DISTRIBUTION_LEVELS)
"""The standard-normal scores of DISTRIBUTION_LEVELS."""

MAX_SCORE: Final = 6.0
"""Bound of standard-normal scores: |score| exceeds it in one game in half a billion."""


def radius_of_alpha(alpha: float) -> float:
    """Return the standard-normal score at which a central interval with miscoverage `alpha` ends."""
    return -NORMAL.inv_cdf(alpha / 2)


@lru_cache(maxsize=64)
def scaled_scores(factor: float) -> tuple[float, ...]:
    """Return LEVEL_SCORES times a factor, to 6 decimals. A server uses one per horizon, and a new one per outcome."""
    return tuple(round(factor * score, 6) for score in LEVEL_SCORES)


QUARTER_MIDPOINTS: Final = tuple(range(QUARTER_MINUTES // 2, REGULATION_MINUTES, QUARTER_MINUTES))
"""Middle minute of each quarter. Trackers learn from the game's forecast nearest to it in each quarter."""

ROLLING_GAMES: Final = 100
"""Window of the rolling coverage, in games."""

HALF_LIFE_GAMES: Final = 200.0
"""Games after which an outcome counts half in the factor of the season; chosen on the seasons 2015 to 2018."""

PRIOR_GAMES: Final = 150.0

BOUNDS: Final = (0.8, 1.25)
"""Bounds of the factor, to limit the effect of wrong outcome reports. The seasons 2019 to 2023 needed 0.96 to 1.06."""

_KEEP: Final = 0.5 ** (1 / HALF_LIFE_GAMES)
_MIDDLE = len(DISTRIBUTION_LEVELS) // 2
_DIGITS = 9
"""Decimals of stored states: libraries whose logarithms differ in the last bit then give the same state."""


class TrackerKey(NamedTuple):
    """Key of a tracker."""

    model_version: str
    horizon: Horizon
    quarter: int


class Observation(NamedTuple):
    """A settled game: the key of the tracker to update, and its `static_score`."""

    key: TrackerKey
    score: float


def quarter_of(minute: int) -> int:
    """Return the quarter of a forecast at a minute, 0 to 3."""
    return (minute - 1) // QUARTER_MINUTES


class SeasonScale(NamedTuple):
    """State of the factor of the season after some games: intervals widen in more volatile seasons.

    The square of the standard-normal score of an outcome is 1 on average if the spread is right, less if it is too
    wide. The factor is the root of an exponentially weighted mean of these squares, which begins at 1 with the weight
    of PRIOR_GAMES games.

    Attributes:
        observed: weighted sum of the squared scores of settled games.
        expected: expectation of that sum if spreads are right.
    """

    observed: float = PRIOR_GAMES
    expected: float = PRIOR_GAMES

    @property
    def factor(self) -> float:
        """Factor of the spreads of the next forecasts, within BOUNDS."""
        least, most = BOUNDS
        return min(max(math.sqrt(self.observed / self.expected), least), most)

    def after(self, square: float) -> Self:
        """Return the state after a game whose squared score, or the mean of several of its forecasts, is `square`."""
        prior = (1 - _KEEP) * PRIOR_GAMES
        observed, expected = _KEEP * self.observed + square + prior, _KEEP * self.expected + 1.0 + prior
        return type(self)(round(observed, _DIGITS), round(expected, _DIGITS))


def pooled(states: Iterable[SeasonScale]) -> SeasonScale:
    """Return the state of several series of games together: at least one."""
    return SeasonScale(*map(sum, zip(*states, strict=True)))


class TrackedGame(NamedTuple):
    """A game applied to a tracker: its |score|, and the factor of the season as it was before this game.

    This factor is computed from this tracker only; forecasts use a factor pooled from all quarters, which differs a
    little.
    """

    score: float
    factor: float = 1.0


@dataclass(frozen=True, slots=True)
class Tracker:
    """Adaptation state of one model, horizon and quarter; immutable.

    Attributes:
        games: number of games applied.
        recent: the last ROLLING_GAMES games, oldest first.
        season: factor of the season.
    """

    games: int = 0
    recent: tuple[TrackedGame, ...] = ()
    season: SeasonScale = field(default_factory=SeasonScale)

    def after(self, score: float) -> Tracker:
        """Return the state after one more settled game.

        Args:
            score: `static_score` of the game.

        Raises:
            ValueError: if it is not finite.
        """
        if not math.isfinite(score):
            raise ValueError(f"score: {score}; expected a finite number")
        size = min(MAX_SCORE, abs(score))
        past = TrackedGame(size, round(self.season.factor, _DIGITS))
        return Tracker(
            games=self.games + 1,
            recent=(*self.recent[1 - ROLLING_GAMES :], past),
            season=self.season.after(size * size),
        )

    def rolling_coverages(self, alpha: float) -> tuple[float | None, float | None]:
        """Return the shares of recent games in adapted and in static intervals of this alpha; None without games."""
        if not self.recent:
            return None, None
        radius, games = radius_of_alpha(alpha), len(self.recent)
        adapted = sum(each.score <= each.factor * radius for each in self.recent)
        return adapted / games, sum(each.score <= radius for each in self.recent) / games


@dataclass(frozen=True, slots=True)
class AdaptiveState:
    """All trackers, after the outcomes up to a ledger sequence."""

    trackers: Mapping[TrackerKey, Tracker] = field(default_factory=dict)

    def after(self, observations: Iterable[Observation]) -> AdaptiveState:
        """Return the state after more settled games, applied in this order."""
        trackers = dict(self.trackers)
        for key, score in observations:
            trackers[key] = trackers.get(key, _INITIAL).after(score)
        return AdaptiveState(trackers)

    def of(self, model_version: str) -> Mapping[tuple[Horizon, int], Tracker]:
        """Return the trackers of a model version, by horizon and quarter."""
        return {
            (key.horizon, key.quarter): tracker
            for key, tracker in self.trackers.items()
            if key.model_version == model_version
        }

    def to_bytes(self) -> bytes:
        """Serialize to JSON; equal states give equal bytes, regardless of the order in which keys were first seen."""
        order = sorted(self.trackers, key=lambda key: (key.model_version, key.horizon.value, key.quarter))
        return _STORED.dump_json((_FORM, [(key, self.trackers[key]) for key in order]))

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Deserialize the output of `to_bytes`, bit for bit.

        Raises:
            ValueError: if the content is not valid output of `to_bytes`.
        """
        return cls(dict(_STORED.validate_json(content)[1]))


_FORM: Final = 4
_STORED: Final = TypeAdapter[tuple[int, list[tuple[TrackerKey, Tracker]]]](
    tuple[Literal[4], list[tuple[TrackerKey, Tracker]]],
    config=ConfigDict(defer_build=True),  # few processes store a state, and all import this
)
_INITIAL = Tracker()


def _mid_rank_score(scores: Sequence[float], below: int, not_above: int) -> float:
    """Return the standard-normal quantile of the mean of P(outcome < value) and P(outcome ≤ value).

    `below` and `not_above` are the numbers of quantiles below the value, and at or below it. Each probability is taken
    halfway between the levels of two neighbouring quantiles.
    """

    def share(index: int) -> float:
        if index in (0, len(scores)):
            return float(index > 0)
        return (NORMAL.cdf(scores[index - 1]) + NORMAL.cdf(scores[index])) / 2

    middle = (share(below) + share(not_above)) / 2
    return NORMAL.inv_cdf(middle) if 0.0 < middle < 1.0 else math.copysign(MAX_SCORE, middle - 0.5)


def static_score(distribution: Sequence[float], static_scores: Sequence[float], outcome: float) -> float:
    """Return the standard-normal score of an outcome in a recorded forecast, under the model as calibrated.

    Interpolates linearly between the recorded quantiles; beyond them, extrapolates in proportion to the distance from
    the median. If several quantiles equal the outcome, as is usual on whole numbers, the score is that of the middle of
    the outcome's probability: half of the outcomes that equal it count as lower (mid-rank).

    Args:
        distribution: quantiles at DISTRIBUTION_LEVELS, in points, ascending.
        static_scores: scores of those quantiles, ascending; empty for the scores of the levels.
        outcome: observed differential, in points.

    Returns:
        The score, within ±MAX_SCORE; standard normal over games while the calibration is valid.

    Raises:
        ValueError: if there is not exactly one quantile and one score per level.
    """
    scores = static_scores or LEVEL_SCORES
    if not len(distribution) == len(scores) == len(DISTRIBUTION_LEVELS):
        raise ValueError(f"{len(distribution)} quantiles, {len(scores)} scores; expected {len(DISTRIBUTION_LEVELS)}")
    below, not_above = bisect_left(distribution, outcome), bisect_right(distribution, outcome)
    if below < not_above:
        score = scores[below] if not_above - below == 1 else _mid_rank_score(scores, below, not_above)
    elif 0 < below < len(distribution):
        left, right = distribution[below - 1], distribution[below]
        score = scores[below - 1] + (scores[below] - scores[below - 1]) * (outcome - left) / (right - left)
    else:
        end = 0 if below == 0 else -1
        median = (distribution[_MIDDLE - 1] + distribution[_MIDDLE]) / 2
        spread = distribution[end] - median
        score = scores[end] * ((outcome - median) / spread) if spread else math.copysign(MAX_SCORE, outcome - median)
    return round(max(-MAX_SCORE, min(MAX_SCORE, score)), _DIGITS)
