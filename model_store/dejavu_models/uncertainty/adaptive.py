"""Adaptive intervals: online adjustment of interval width to keep the nominal coverage.

The static score of an outcome is its standard-normal score in the recorded forecast: N(0, 1) over games while the
calibration is valid. The factor of the season, the root mean square of recent static scores (`season_scale`),
multiplies the scores at which the intervals of a horizon end. It follows the volatility of the season and keeps the
shape of the distribution. States are a pure function of the ordered scores.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from statistics import NormalDist
from typing import Any, Final, NamedTuple, Self

from dejavu_feed.pattern import QUARTER_MINUTES, REGULATION_MINUTES
from dejavu_models.types import DISTRIBUTION_LEVELS, Horizon
from dejavu_models.uncertainty.normal_scores import LEVEL_SCORES
from dejavu_models.uncertainty.score_map import KNOTS, MAX_SCORE
from dejavu_models.uncertainty.season_scale import SeasonScale

QUARTER_MIDPOINTS: Final = tuple(range(QUARTER_MINUTES // 2, REGULATION_MINUTES, QUARTER_MINUTES))
"""Middle minute of each quarter. Trackers learn from the game's forecast nearest to it in each quarter."""

ROLLING_GAMES: Final = 100
"""Window of the rolling coverage, in games."""

_NORMAL = NormalDist()
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


def radius_of_alpha(alpha: float) -> float:
    """Return the standard-normal score at which a central interval with miscoverage `alpha` ends."""
    return -_NORMAL.inv_cdf(alpha / 2)


def _between(score: float) -> tuple[tuple[int, float], tuple[int, float]]:
    """Return indices and weights of the two radii between which a `ScoreMap` interpolates at a score."""
    outer = bisect_left(KNOTS, score)
    if outer == 0 or outer == len(KNOTS):
        end = min(outer, len(KNOTS) - 1)
        return (end, score / KNOTS[end]), (end, 0.0)
    share = (KNOTS[outer] - score) / (KNOTS[outer] - KNOTS[outer - 1])
    return (outer - 1, share), (outer, 1 - share)


class TrackedGame(NamedTuple):
    """A game applied to a tracker: its |score|, and the factor of the season as it was before this game.

    This factor is computed from this tracker only; forecasts use a factor pooled from all quarters, which differs a
    little.
    """

    score: float
    factor: float = 1.0


def scaled_radii(factor: float) -> tuple[float, ...]:
    """Return the radii at KNOTS: the knots multiplied by a factor."""
    return tuple(factor * knot for knot in KNOTS)


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
            season=self.season.after(size * size).rounded(_DIGITS),
        )

    def rolling_coverage(self, alpha: float) -> float | None:
        """Return the share of recent games covered by adapted intervals of this alpha; None without games."""
        if not self.recent:
            return None
        (inner, share), (outer, rest) = _between(radius_of_alpha(alpha))
        covered = 0
        for each in self.recent:
            radii = scaled_radii(each.factor)
            covered += each.score <= share * radii[inner] + rest * radii[outer]
        return covered / len(self.recent)

    def static_rolling_coverage(self, alpha: float) -> float | None:
        """Return the share of recent games covered by static intervals of this alpha; None without games."""
        if not self.recent:
            return None
        radius = radius_of_alpha(alpha)
        return sum(each.score <= radius for each in self.recent) / len(self.recent)


_FORMAT = 3


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
        trackers = [
            {
                "model_version": key.model_version,
                "horizon": key.horizon.value,
                "stage": key.quarter,
                **{part.name: getattr(tracker, part.name) for part in fields(tracker)},
            }
            for key, tracker in sorted(
                self.trackers.items(), key=lambda item: (item[0].model_version, item[0].horizon.value, item[0].quarter)
            )
        ]
        return json.dumps({"form": _FORMAT, "trackers": trackers}, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Deserialize the output of `to_bytes`, bit for bit.

        Raises:
            ValueError: if the content is not valid output of `to_bytes`.
        """
        try:
            stored = json.loads(content)
            if stored["form"] != _FORMAT:
                raise ValueError(f"form {stored['form']}; expected {_FORMAT}")
            return cls(dict(map(_tracker, stored["trackers"])))
        except (KeyError, TypeError, IndexError) as error:
            raise ValueError(f"invalid adaptive state: {error!r}") from error


_INITIAL = Tracker()


def _tracker(record: Mapping[str, Any]) -> tuple[TrackerKey, Tracker]:
    key = TrackerKey(str(record["model_version"]), Horizon(record["horizon"]), int(record["stage"]))
    return key, Tracker(
        games=int(record["games"]),
        recent=tuple(TrackedGame(float(size), float(factor)) for size, factor in record["recent"]),
        season=SeasonScale(*map(float, record["season"])),
    )


def _mid_rank_score(scores: Sequence[float], below: int, not_above: int) -> float:
    """Return the standard-normal quantile of the mean of P(outcome < value) and P(outcome ≤ value).

    `below` and `not_above` are the numbers of quantiles below the value, and at or below it. Each probability is taken
    halfway between the levels of two neighbouring quantiles.
    """

    def share(index: int) -> float:
        if index in (0, len(scores)):
            return float(index > 0)
        return (_NORMAL.cdf(scores[index - 1]) + _NORMAL.cdf(scores[index])) / 2

    middle = (share(below) + share(not_above)) / 2
    return _NORMAL.inv_cdf(middle) if 0.0 < middle < 1.0 else math.copysign(MAX_SCORE, middle - 0.5)


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
