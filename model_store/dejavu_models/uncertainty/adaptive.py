"""Adaptive intervals: online conformal adjustment of interval width to keep the nominal coverage.

The static score of an outcome is its standard-normal score in the recorded forecast: N(0, 1) over games while the
calibration is valid. For each of several target miscoverage rates, a tracker keeps the score at which intervals must
end (the radius), by two methods, and updates it with every settled game; no assumption about the games is made. One
monotone map interpolates between the targets, so intervals stay nested. States are a pure function of the ordered
scores.

*Adaptive conformal inference* updates the requested miscoverage by ACI_STEP × (target − miss) (Gibbs & Candès,
Adaptive conformal inference under distribution shift, NeurIPS 2021). *Conformal PID control* updates the score itself,
by a share of the largest recent score, and adds a saturating integral of the misses (Angelopoulos, Candès & Tibshirani,
Conformal PID control for time series prediction, NeurIPS 2023; without their score forecaster). Its step scales with
the scores; docs/adaptive.md describes how the share was chosen.
"""

from __future__ import annotations

import enum
import json
import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from statistics import NormalDist
from typing import Any, Final, NamedTuple, Self

from dejavu_feed.pattern import QUARTER_MINUTES, REGULATION_MINUTES
from dejavu_models.types import DISTRIBUTION_LEVELS, Horizon
from dejavu_models.uncertainty.conformal_scores import LEVEL_SCORES, ScoreGrid

QUARTER_MIDPOINTS: Final = tuple(range(QUARTER_MINUTES // 2, REGULATION_MINUTES, QUARTER_MINUTES))
"""Middle minute of each quarter. Trackers learn from the game's forecast nearest to it in each quarter."""

TARGETS: Final = (0.5, 0.2, 0.1, 0.05, 0.02)
"""Tracked miscoverage rates."""

MAX_SCORE: Final = 6.0
"""Bound of standard-normal scores: |score| exceeds it in one game in half a billion."""

ROLLING_GAMES: Final = 100
"""Window of the rolling coverage and of the largest recent score, in games."""

ACI_STEP: Final = 0.005
"""Step size of adaptive conformal inference; the value of Gibbs & Candès."""

PID_GAIN: Final = 0.07
"""Step size of conformal PID control, as a share of the largest recent score. The authors use 0.1, 0.05 and others: a
larger step adapts faster after a shift, and gives wider intervals without one. Chosen with the next two constants on
synthetic scores (docs/adaptive.md)."""

PID_INTEGRAL: Final = 0.25
"""Weight of the integral term, as a share of the largest recent score."""

HEAD_START: Final = 100
"""Offset added to the game count in the integral gain: without it, the first games would make the integral swing."""

_NORMAL = NormalDist()
_KNOTS: Final = tuple(_NORMAL.inv_cdf(1 - target / 2) for target in TARGETS)
_MIDDLE = len(DISTRIBUTION_LEVELS) // 2
_MIN_SLOPE = 0.01
"""Minimum slope of a score map, which must be invertible."""
_SATURATED = 1.5
"""Clipping bound of the integral's tangent argument: the tangent has a pole at π/2."""
_DIGITS = 9
"""Decimals of stored states: libraries whose logarithms differ in the last bit then give the same state."""


class AdaptationMethod(enum.Enum):
    """Adaptation method; the value is the name used in settings."""

    ACI = "aci"
    PID = "pid"


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
    """Returns the quarter of a forecast at a minute, 0 to 3."""
    return (minute - 1) // QUARTER_MINUTES


class ScoreMap:
    """Monotone, odd map from nominal to adapted standard-normal scores.

    Piecewise linear through 0 and the tracked targets; proportional beyond the outermost target.

    Args:
        radii: score at which intervals end for each of TARGETS, at least 0. A radius smaller than that of a less
            strict target is raised.
    """

    def __init__(self, radii: Sequence[float]) -> None:
        self.radii = make_nested(radii)
        self._from = (0.0, *_KNOTS, 2 * _KNOTS[-1])
        self._to = (0.0, *self.radii, 2 * self.radii[-1])

    @cached_property
    def distribution(self) -> tuple[float, ...]:
        """Adapted scores of the quantiles at DISTRIBUTION_LEVELS, in the model's own distribution, to 6 decimals."""
        return tuple(round(self(score), 6) for score in LEVEL_SCORES)

    @cached_property
    def grid(self) -> ScoreGrid:
        """The scores of `distribution`, as a grid."""
        return ScoreGrid(self.distribution)

    def __call__(self, score: float) -> float:
        """Returns the adapted score, in the model's own distribution."""
        return _interpolate(score, self._from, self._to)

    def inverse(self, score: float) -> float:
        """Returns the nominal score of a score in the model's own distribution, within ±MAX_SCORE."""
        return max(-MAX_SCORE, min(MAX_SCORE, _interpolate(score, self._to, self._from)))


def make_nested(radii: Sequence[float]) -> tuple[float, ...]:
    """Returns the radii of TARGETS, each raised if needed to exceed the previous one."""
    result: list[float] = []
    knot = radius = 0.0
    for next_knot, requested in zip(_KNOTS, radii, strict=True):
        radius = max(requested, radius + _MIN_SLOPE * (next_knot - knot))
        knot = next_knot
        result.append(radius)
    return tuple(result)


def _interpolate(value: float, start: Sequence[float], end: Sequence[float]) -> float:
    """Evaluates an odd, piecewise linear map through ascending points; extrapolates beyond the last."""
    size = abs(value)
    index = min(bisect_right(start, size), len(start) - 1)
    slope = (end[index] - end[index - 1]) / (start[index] - start[index - 1])
    return math.copysign(end[index - 1] + slope * (size - start[index - 1]), value)


def radius_of_alpha(alpha: float) -> float:
    """Returns the standard-normal score at which a central interval with miscoverage `alpha` ends."""
    return -_NORMAL.inv_cdf(alpha / 2)


def _between(score: float) -> tuple[tuple[int, float], tuple[int, float]]:
    """Returns the indices and weights of the two radii that a `ScoreMap` interpolates for a score; knots are fixed."""
    outer = bisect_left(_KNOTS, score)
    if outer == 0 or outer == len(_KNOTS):
        end = min(outer, len(_KNOTS) - 1)
        return (end, score / _KNOTS[end]), (end, 0.0)
    share = (_KNOTS[outer] - score) / (_KNOTS[outer] - _KNOTS[outer - 1])
    return (outer - 1, share), (outer, 1 - share)


class TrackedGame(NamedTuple):
    """A game applied to a tracker: its |score|, and the radii of each method before the game."""

    score: float
    aci: tuple[float, ...]
    pid: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Tracker:
    """Adaptation state of one model, horizon and quarter; immutable.

    Attributes:
        games: number of games applied.
        alphas: adaptive conformal inference: miscoverage to request for each of TARGETS; unbounded.
        quantiles: conformal PID control: tracked quantile of |score| for each of TARGETS.
        excess: conformal PID control: cumulative sum of miss − target.
        recent: the last ROLLING_GAMES games, oldest first.
    """

    games: int = 0
    alphas: tuple[float, ...] = TARGETS
    quantiles: tuple[float, ...] = _KNOTS
    excess: tuple[float, ...] = (0.0,) * len(TARGETS)
    recent: tuple[TrackedGame, ...] = ()

    def radii(self, method: AdaptationMethod) -> tuple[float, ...]:
        """Returns the radius of each of TARGETS: standard-normal scores in the model's own distribution."""
        if method is AdaptationMethod.ACI:
            return make_nested([_radius(alpha) for alpha in self.alphas])
        return make_nested(self._controlled())

    def map(self, method: AdaptationMethod) -> ScoreMap:
        """Returns the score map of a method, for any miscoverage."""
        return ScoreMap(self.radii(method))

    def after(self, score: float) -> Tracker:
        """Returns the state after one more settled game.

        Args:
            score: `static_score` of the game.

        Raises:
            ValueError: if it is not finite.
        """
        if not math.isfinite(score):
            raise ValueError(f"score: {score}; expected a finite number")
        size = min(MAX_SCORE, abs(score))
        past = TrackedGame(size, self.radii(AdaptationMethod.ACI), self.radii(AdaptationMethod.PID))
        recent = (*self.recent[1 - ROLLING_GAMES :], past)
        step = PID_GAIN * max(recent).score
        missed = [(size > radius) - target for radius, target in zip(past.pid, TARGETS, strict=True)]
        return Tracker(
            games=self.games + 1,
            alphas=tuple(
                round(alpha + ACI_STEP * (target - (size > radius)), _DIGITS)
                for alpha, radius, target in zip(self.alphas, past.aci, TARGETS, strict=True)
            ),
            quantiles=tuple(
                round(max(0.0, min(MAX_SCORE, quantile + step * miss)), _DIGITS)
                for quantile, miss in zip(self.quantiles, missed, strict=True)
            ),
            excess=tuple(round(total + miss, _DIGITS) for total, miss in zip(self.excess, missed, strict=True)),
            recent=recent,
        )

    def rolling_coverage(self, alpha: float, method: AdaptationMethod) -> float | None:
        """Returns the share of recent games covered by adapted intervals of this alpha; None without games."""
        if not self.recent:
            return None
        (inner, share), (outer, rest) = _between(radius_of_alpha(alpha))
        covered = 0
        for each in self.recent:
            radii = each.aci if method is AdaptationMethod.ACI else each.pid
            covered += each.score <= share * radii[inner] + rest * radii[outer]
        return covered / len(self.recent)

    def static_rolling_coverage(self, alpha: float) -> float | None:
        """Returns the share of recent games covered by static intervals of this alpha; None without games."""
        if not self.recent:
            return None
        radius = radius_of_alpha(alpha)
        return sum(each.score <= radius for each in self.recent) / len(self.recent)

    def _controlled(self) -> list[float]:
        """Returns the tracked quantiles plus the integral term: K·tan(excess · log(t)/(t·C)), C = 2/π."""
        games = self.games + 1 + HEAD_START
        gain = math.log(games) / games * math.pi / 2
        weight = PID_INTEGRAL * (max(self.recent).score if self.recent else 0.0)
        angles = [max(-_SATURATED, min(_SATURATED, total * gain)) for total in self.excess]
        return [
            round(max(0.0, min(MAX_SCORE, quantile + weight * math.tan(angle))), _DIGITS)
            for quantile, angle in zip(self.quantiles, angles, strict=True)
        ]


_LEAST_ALPHA = 2 * _NORMAL.cdf(-MAX_SCORE)


def _radius(alpha: float) -> float:
    """Returns the standard-normal radius of an interval with miscoverage `alpha`, 0 to MAX_SCORE."""
    if alpha <= _LEAST_ALPHA:
        return MAX_SCORE
    return round(_NORMAL.inv_cdf(1 - alpha / 2), _DIGITS) if alpha < 1 else 0.0


_FORMAT = 1


@dataclass(frozen=True, slots=True)
class AdaptiveState:
    """All trackers, after the outcomes up to a ledger sequence."""

    trackers: Mapping[TrackerKey, Tracker] = field(default_factory=dict)

    def after(self, observations: Iterable[Observation]) -> AdaptiveState:
        """Returns the state after more settled games, applied in this order."""
        trackers = dict(self.trackers)
        for key, score in observations:
            trackers[key] = trackers.get(key, _INITIAL).after(score)
        return AdaptiveState(trackers)

    def of(self, model_version: str) -> Mapping[tuple[Horizon, int], Tracker]:
        """Returns the trackers of a model version, by horizon and quarter."""
        return {
            (key.horizon, key.quarter): tracker
            for key, tracker in self.trackers.items()
            if key.model_version == model_version
        }

    def to_bytes(self) -> bytes:
        """Serializes to JSON; equal states give equal bytes, regardless of the order in which keys were first seen."""
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
        """Deserializes the output of `to_bytes`, bit for bit.

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
        alphas=_per_target(record["alphas"]),
        quantiles=_per_target(record["quantiles"]),
        excess=_per_target(record["excess"]),
        recent=tuple(
            TrackedGame(float(size), _per_target(aci), _per_target(pid)) for size, aci, pid in record["recent"]
        ),
    )


def _per_target(values: Sequence[float]) -> tuple[float, ...]:
    result = tuple(map(float, values))
    if len(result) != len(TARGETS):
        raise ValueError(f"{len(result)} values; expected {len(TARGETS)}")
    return result


def static_score(distribution: Sequence[float], static_scores: Sequence[float], outcome: float) -> float:
    """Returns the standard-normal score of an outcome in a recorded forecast, under the model as calibrated.

    Interpolates linearly between the recorded quantiles; beyond them, extrapolates in proportion to the distance from
    the median. If several quantiles equal the outcome, returns the middle of their scores.

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
        score = (scores[below] + scores[not_above - 1]) / 2
    elif 0 < below < len(distribution):
        left, right = distribution[below - 1], distribution[below]
        score = scores[below - 1] + (scores[below] - scores[below - 1]) * (outcome - left) / (right - left)
    else:
        end = 0 if below == 0 else -1
        median = (distribution[_MIDDLE - 1] + distribution[_MIDDLE]) / 2
        spread = distribution[end] - median
        score = scores[end] * ((outcome - median) / spread) if spread else math.copysign(MAX_SCORE, outcome - median)
    return round(max(-MAX_SCORE, min(MAX_SCORE, score)), _DIGITS)
