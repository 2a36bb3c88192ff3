"""Intervals that follow what outcomes teach: how far out to go in a model's distribution to hold the share promised.

An outcome's place in a forecast is its standard-normal score: normal over games while the calibration holds. For some
target rates of miscoverage a tracker keeps the score that intervals must reach to, in two ways, and moves it with every
settled game; no assumption on the games is made. What lies between the targets is interpolated by one monotone map, so
that intervals stay nested. States are a pure function of the scores in their order.

*Adaptive conformal inference* moves the miscoverage that is asked for by STEP × (target − miss) (Gibbs & Candès,
Adaptive conformal inference under distribution shift, NeurIPS 2021). *Conformal PID control* moves the score itself, by
a share of the largest recent score, and adds a saturating integral of the misses (Angelopoulos, Candès & Tibshirani,
Conformal PID control for time series prediction, NeurIPS 2023; without their forecast of scores). Its steps follow the
scale of the scores; which share of that they are was chosen (docs/adaptive.md).
"""

from __future__ import annotations

import enum
import json
import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import NormalDist
from typing import Any, Final, NamedTuple, Self

from dejavu_models.types import DISTRIBUTION_LEVELS, Horizon
from dejavu_models.uncertainty.conformal_scores import LEVEL_SCORES, ScoreGrid

QUARTER_MIDPOINTS: Final = (6, 18, 30, 42)
"""The middle minute of each stage of a game: of the game's forecasts in it, intervals learn from the nearest one."""

TARGETS: Final = (0.5, 0.2, 0.1, 0.05, 0.02)
"""The rates of miscoverage that are tracked."""

MAX_SCORE: Final = 6.0
"""The furthest standard-normal score told apart: beyond it lies one game in half a billion."""

ROLLING_GAMES: Final = 100
"""How many games the rolling coverage is of, and the largest recent score."""

ACI_STEP: Final = 0.005
"""Of adaptive conformal inference, as Gibbs & Candès have it."""

PID_GAIN: Final = 0.07
"""Of conformal PID control: the step, as a share of the largest recent score. Its authors take 0.1, 0.05 and others:
the larger, the sooner intervals find their way, and the wider they are when there is none to find. Chosen with the next
two on made scores (docs/adaptive.md)."""

PID_INTEGRAL: Final = 0.25
"""The weight of the integral, as a share of the largest recent score."""

HEAD_START: Final = 100
"""Games that the integral is calm after as if it had counted them: it would swing with the very first ones."""

_NORMAL = NormalDist()
_KNOTS: Final = tuple(_NORMAL.inv_cdf(1 - target / 2) for target in TARGETS)
_MIDDLE = len(DISTRIBUTION_LEVELS) // 2
_FLATTEST = 0.01
"""The least slope of a map: it has to have an inverse."""
_SATURATED = 1.5
"""Where the integral's tangent, which has a pole at π/2, is cut off."""
_DIGITS = 9
"""Decimals that states are kept to, so that libraries that differ in the last bit of a logarithm lead to the same."""


class AdaptationMethod(enum.Enum):
    """How intervals adapt; its value is the name used in settings."""

    ACI = "aci"
    PID = "pid"


class TrackerKey(NamedTuple):
    """What a tracker is kept by."""

    model_version: str
    horizon: Horizon
    quarter: int


class Observation(NamedTuple):
    """A settled game: whose tracker learns from it, and its `static_score`."""

    key: TrackerKey
    score: float


def quarter_of(minute: int) -> int:
    """The stage of the game that a forecast after some minutes is of, 0 to 3: its quarter."""
    return (minute - 1) // 12


class ScoreMap:
    """How far out to go in a model's distribution, for how far out one means to go: an odd map of scores that rises.

    Piecewise linear through the tracked targets and 0, beyond the outermost target in proportion.

    Args:
        radii: of each of TARGETS, the score that intervals reach to, at least 0. Where a stricter target has a smaller
            one, it is raised.
    """

    def __init__(self, radii: Sequence[float]) -> None:
        self.radii = nested(radii)
        self._from = (0.0, *_KNOTS, 2 * _KNOTS[-1])
        self._to = (0.0, *self.radii, 2 * self.radii[-1])

    @cached_property
    def distribution(self) -> tuple[float, ...]:
        """The scores in the model's own distribution of the quantiles at DISTRIBUTION_LEVELS, to 6 decimals."""
        return tuple(round(self(score), 6) for score in LEVEL_SCORES)

    @cached_property
    def places(self) -> ScoreGrid:
        """The same, as places in a distribution."""
        return ScoreGrid(self.distribution)

    def __call__(self, score: float) -> float:
        """The score in the model's own distribution."""
        return _along(score, self._from, self._to)

    def inverse(self, score: float) -> float:
        """The score that a place in the model's own distribution is worth, within ±WIDEST."""
        return max(-MAX_SCORE, min(MAX_SCORE, _along(score, self._to, self._from)))


def nested(radii: Sequence[float]) -> tuple[float, ...]:
    """Radii of TARGETS, each raised so far that it lies beyond the one before it."""
    result: list[float] = []
    knot = radius = 0.0
    for next_knot, wanted in zip(_KNOTS, radii, strict=True):
        radius = max(wanted, radius + _FLATTEST * (next_knot - knot))
        knot = next_knot
        result.append(radius)
    return tuple(result)


def _along(value: float, start: Sequence[float], end: Sequence[float]) -> float:
    """A piecewise linear map through points with ascending coordinates, odd, and going on beyond the last ones."""
    size = abs(value)
    place = min(bisect_right(start, size), len(start) - 1)
    slope = (end[place] - end[place - 1]) / (start[place] - start[place - 1])
    return math.copysign(end[place - 1] + slope * (size - start[place - 1]), value)


def score_of(alpha: float) -> float:
    """The standard-normal score that a central interval of some miscoverage reaches to."""
    return -_NORMAL.inv_cdf(alpha / 2)


def _between(score: float) -> tuple[tuple[int, float], tuple[int, float]]:
    """The radii that a `ScoreMap` makes a score's of, and how much of each: its knots are always the same."""
    outer = bisect_left(_KNOTS, score)
    if outer == 0 or outer == len(_KNOTS):
        end = min(outer, len(_KNOTS) - 1)
        return (end, score / _KNOTS[end]), (end, 0.0)
    share = (_KNOTS[outer] - score) / (_KNOTS[outer] - _KNOTS[outer - 1])
    return (outer - 1, share), (outer, 1 - share)


class TrackedGame(NamedTuple):
    """A game that a tracker has learned from: its |score|, and where the intervals of each method reached to then."""

    score: float
    aci: tuple[float, ...]
    pid: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Tracker:
    """What settled games of one model, horizon and stage have taught; each gives a new one.

    Attributes:
        games: how many there were.
        alphas: by adaptive conformal inference, the miscoverage to ask for, for each of TARGETS; not bounded.
        quantiles: by conformal PID control, the tracked quantile of |score|, for each of TARGETS.
        excess: its misses beyond what the target allows, added up.
        recent: the last ROLLING games, oldest first.
    """

    games: int = 0
    alphas: tuple[float, ...] = TARGETS
    quantiles: tuple[float, ...] = _KNOTS
    excess: tuple[float, ...] = (0.0,) * len(TARGETS)
    recent: tuple[TrackedGame, ...] = ()

    def radii(self, method: AdaptationMethod) -> tuple[float, ...]:
        """Where intervals reach to for each of TARGETS: standard-normal scores of the model's distribution."""
        if method is AdaptationMethod.ACI:
            return nested([_radius(alpha) for alpha in self.alphas])
        return nested(self._controlled(self._largest()))

    def map(self, method: AdaptationMethod) -> ScoreMap:
        """How far out to go for any miscoverage."""
        return ScoreMap(self.radii(method))

    def after(self, score: float) -> Tracker:
        """Once one more game has settled.

        Args:
            score: its `static_score`.

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
        """The share of recent games whose outcome lay in an adapted interval of this alpha; None without games."""
        if not self.recent:
            return None
        (inner, share), (outer, rest) = _between(score_of(alpha))
        held = 0
        for each in self.recent:
            radii = each.aci if method is AdaptationMethod.ACI else each.pid
            held += each.score <= share * radii[inner] + rest * radii[outer]
        return held / len(self.recent)

    def static_rolling_coverage(self, alpha: float) -> float | None:
        """The same of intervals as the model was calibrated."""
        if not self.recent:
            return None
        reach = score_of(alpha)
        return sum(each.score <= reach for each in self.recent) / len(self.recent)

    def _largest(self) -> float:
        return max(self.recent).score if self.recent else 0.0

    def _controlled(self, largest: float) -> list[float]:
        """The tracked quantiles, and the integral that brings coverage home: K·tan(excess · log(t)/(t·C)), C = 2/π."""
        games = self.games + 1 + HEAD_START
        gain = math.log(games) / games * math.pi / 2
        weight = PID_INTEGRAL * largest
        return [
            round(max(0.0, min(MAX_SCORE, quantile + weight * math.tan(_clipped(total * gain)))), _DIGITS)
            for quantile, total in zip(self.quantiles, self.excess, strict=True)
        ]


def _clipped(angle: float) -> float:
    return max(-_SATURATED, min(_SATURATED, angle))


_LEAST_ALPHA = 2 * _NORMAL.cdf(-MAX_SCORE)


def _radius(alpha: float) -> float:
    """The score that an interval of some miscoverage reaches to, were it normal: from 0 to WIDEST."""
    if alpha <= _LEAST_ALPHA:
        return MAX_SCORE
    return round(_NORMAL.inv_cdf(1 - alpha / 2), _DIGITS) if alpha < 1 else 0.0


_FORM = 1


@dataclass(frozen=True, slots=True)
class AdaptiveState:
    """All trackers: what the outcomes up to a place in a ledger have taught."""

    trackers: Mapping[TrackerKey, Tracker] = field(default_factory=dict)

    def after(self, lessons: Iterable[Observation]) -> AdaptiveState:
        """Once more games have settled, in this order."""
        trackers = dict(self.trackers)
        for key, score in lessons:
            trackers[key] = trackers.get(key, _NEW).after(score)
        return AdaptiveState(trackers)

    def of(self, model_version: str) -> Mapping[tuple[Horizon, int], Tracker]:
        """The trackers of a model version, by horizon and stage."""
        return {
            (key.horizon, key.quarter): tracker
            for key, tracker in self.trackers.items()
            if key.model_version == model_version
        }

    def to_bytes(self) -> bytes:
        """As JSON; equal states give equal bytes, whatever order their lessons of different keys came in."""
        trackers = [
            {
                "model_version": key.model_version,
                "horizon": key.horizon.value,
                "stage": key.quarter,
                "games": tracker.games,
                "alphas": tracker.alphas,
                "quantiles": tracker.quantiles,
                "excess": tracker.excess,
                "recent": tracker.recent,
            }
            for key, tracker in sorted(
                self.trackers.items(), key=lambda item: (item[0].model_version, item[0].horizon.value, item[0].quarter)
            )
        ]
        return json.dumps({"form": _FORM, "trackers": trackers}, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Back from `to_bytes`, to the last bit.

        Raises:
            ValueError: if it is not what that writes.
        """
        try:
            found = json.loads(content)
            if found["form"] != _FORM:
                raise ValueError(f"form {found['form']}; expected {_FORM}")
            return cls({_key(each): _tracker(each) for each in found["trackers"]})
        except (KeyError, TypeError, IndexError) as error:
            raise ValueError(f"no state of intervals: {error!r}") from error


_NEW = Tracker()


def _key(record: Mapping[str, Any]) -> TrackerKey:
    return TrackerKey(str(record["model_version"]), Horizon(record["horizon"]), int(record["stage"]))


def _tracker(record: Mapping[str, Any]) -> Tracker:
    return Tracker(
        games=int(record["games"]),
        alphas=_of_targets(record["alphas"]),
        quantiles=_of_targets(record["quantiles"]),
        excess=_of_targets(record["excess"]),
        recent=tuple(
            TrackedGame(float(size), _of_targets(aci), _of_targets(pid)) for size, aci, pid in record["recent"]
        ),
    )


def _of_targets(values: Sequence[float]) -> tuple[float, ...]:
    result = tuple(map(float, values))
    if len(result) != len(TARGETS):
        raise ValueError(f"{len(result)} values; expected {len(TARGETS)}")
    return result


def static_score(distribution: Sequence[float], static_scores: Sequence[float], outcome: float) -> float:
    """Where an outcome lies in a recorded forecast, as the model was calibrated: a standard-normal score.

    Linear between the recorded quantiles, and beyond them in proportion to the distance from the median. On several
    equal ones it is the middle of theirs.

    Args:
        distribution: quantiles at DISTRIBUTION_LEVELS, in points, ascending.
        static_scores: of those quantiles, ascending; empty: those of the levels.
        outcome: the differential that came, in points.

    Returns:
        The score, within ±WIDEST; standard normal over games while the calibration holds.

    Raises:
        ValueError: if there is not one quantile for each level, or another number of scores.
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
