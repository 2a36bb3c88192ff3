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

*A factor of the season* multiplies all scores of a horizon by one number, the root of the mean square of recent ones:
it follows how wild a season is, and leaves the shape alone (`season_scale`).
"""

from __future__ import annotations

import enum
import json
import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from statistics import NormalDist
from typing import Any, Final, NamedTuple, Self

from dejavu_feed.pattern import QUARTER_MINUTES, REGULATION_MINUTES
from dejavu_models.types import DISTRIBUTION_LEVELS, Horizon
from dejavu_models.uncertainty.conformal_scores import LEVEL_SCORES
from dejavu_models.uncertainty.score_map import KNOTS, MAX_SCORE, TARGETS, ScoreMap, make_nested
from dejavu_models.uncertainty.season_scale import SeasonScale

QUARTER_MIDPOINTS: Final = tuple(range(QUARTER_MINUTES // 2, REGULATION_MINUTES, QUARTER_MINUTES))
"""Middle minute of each quarter. Trackers learn from the game's forecast nearest to it in each quarter."""

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
_MIDDLE = len(DISTRIBUTION_LEVELS) // 2
_SATURATED = 1.5
"""Clipping bound of the integral's tangent argument: the tangent has a pole at π/2."""
_DIGITS = 9
"""Decimals of stored states: libraries whose logarithms differ in the last bit then give the same state."""


class AdaptationMethod(enum.Enum):
    """Adaptation method; the value is the name used in settings."""

    ACI = "aci"
    PID = "pid"
    SEASON = "season"


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


def radius_of_alpha(alpha: float) -> float:
    """Returns the standard-normal score at which a central interval with miscoverage `alpha` ends."""
    return -_NORMAL.inv_cdf(alpha / 2)


def _between(score: float) -> tuple[tuple[int, float], tuple[int, float]]:
    """Returns the indices and weights of the two radii that a `ScoreMap` interpolates for a score; knots are fixed."""
    outer = bisect_left(KNOTS, score)
    if outer == 0 or outer == len(KNOTS):
        end = min(outer, len(KNOTS) - 1)
        return (end, score / KNOTS[end]), (end, 0.0)
    share = (KNOTS[outer] - score) / (KNOTS[outer] - KNOTS[outer - 1])
    return (outer - 1, share), (outer, 1 - share)


class TrackedGame(NamedTuple):
    """A game applied to a tracker: its |score|, and the radii of each method before the game.

    The factor is that of this tracker alone; forecasts have that of all quarters together, which differs a little.
    """

    score: float
    aci: tuple[float, ...]
    pid: tuple[float, ...]
    factor: float = 1.0

    def radii(self, method: AdaptationMethod) -> tuple[float, ...]:
        """Returns the radii of a method before the game."""
        if method is AdaptationMethod.SEASON:
            return scaled_radii(self.factor)
        return self.aci if method is AdaptationMethod.ACI else self.pid


def scaled_radii(factor: float) -> tuple[float, ...]:
    """Returns the radius of each of TARGETS if all scores are multiplied by a factor."""
    return tuple(factor * knot for knot in KNOTS)


@dataclass(frozen=True, slots=True)
class Tracker:
    """Adaptation state of one model, horizon and quarter; immutable.

    Attributes:
        games: number of games applied.
        alphas: adaptive conformal inference: miscoverage to request for each of TARGETS; unbounded.
        quantiles: conformal PID control: tracked quantile of |score| for each of TARGETS.
        excess: conformal PID control: cumulative sum of miss − target.
        recent: the last ROLLING_GAMES games, oldest first.
        season: factor of the season.
    """

    games: int = 0
    alphas: tuple[float, ...] = TARGETS
    quantiles: tuple[float, ...] = KNOTS
    excess: tuple[float, ...] = (0.0,) * len(TARGETS)
    recent: tuple[TrackedGame, ...] = ()
    season: SeasonScale = field(default_factory=SeasonScale)

    def radii(self, method: AdaptationMethod) -> tuple[float, ...]:
        """Returns the radius of each of TARGETS: standard-normal scores in the model's own distribution."""
        if method is AdaptationMethod.SEASON:
            return scaled_radii(self.season.factor)
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
        aci, pid = self.radii(AdaptationMethod.ACI), self.radii(AdaptationMethod.PID)
        past = TrackedGame(size, aci, pid, round(self.season.factor, _DIGITS))
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
            season=self.season.after(size * size).rounded(_DIGITS),
        )

    def rolling_coverage(self, alpha: float, method: AdaptationMethod) -> float | None:
        """Returns the share of recent games covered by adapted intervals of this alpha; None without games."""
        if not self.recent:
            return None
        (inner, share), (outer, rest) = _between(radius_of_alpha(alpha))
        covered = 0
        for each in self.recent:
            radii = each.radii(method)
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


_FORMAT = 2
_WITHOUT_SEASON = 1
"""Format of earlier releases, whose snapshots have no factor of the season: it begins with their recent games."""


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

    def to_bytes(self, *, earlier: bool = False) -> bytes:
        """Serializes to JSON; equal states give equal bytes, regardless of the order in which keys were first seen.

        Args:
            earlier: whether as releases without the factor of the season did, to compare with what they stored.
        """
        trackers = [
            {
                "model_version": key.model_version,
                "horizon": key.horizon.value,
                "stage": key.quarter,
                **(_without_season(tracker) if earlier else _parts(tracker)),
            }
            for key, tracker in sorted(
                self.trackers.items(), key=lambda item: (item[0].model_version, item[0].horizon.value, item[0].quarter)
            )
        ]
        form = _WITHOUT_SEASON if earlier else _FORMAT
        return json.dumps({"form": form, "trackers": trackers}, separators=(",", ":")).encode()

    def is_stored_as(self, content: bytes) -> bool:
        """Whether this release, or one without the factor of the season, stores the state as this content."""
        return content in (self.to_bytes(), self.to_bytes(earlier=True))

    @classmethod
    def from_bytes(cls, content: bytes, *, earlier: bool = False) -> Self:
        """Deserializes the output of `to_bytes`, bit for bit.

        Args:
            content: the output.
            earlier: whether it may be of an earlier release, for what cannot be computed again. Its factors of the
                season begin with the recent games, so they differ from those of a state that knows all games.

        Raises:
            ValueError: if the content is not valid output of `to_bytes`.
        """
        try:
            stored = json.loads(content)
            if stored["form"] != _FORMAT and not (earlier and stored["form"] == _WITHOUT_SEASON):
                raise ValueError(f"form {stored['form']}; expected {_FORMAT}")
            return cls(dict(map(_tracker, stored["trackers"])))
        except (KeyError, TypeError, IndexError) as error:
            raise ValueError(f"invalid adaptive state: {error!r}") from error


_INITIAL = Tracker()


def _parts(tracker: Tracker) -> dict[str, Any]:
    return {part.name: getattr(tracker, part.name) for part in fields(tracker)}


def _without_season(tracker: Tracker) -> dict[str, Any]:
    parts = _parts(tracker)
    del parts["season"]
    return parts | {"recent": [game[:-1] for game in tracker.recent]}


def _tracker(record: Mapping[str, Any]) -> tuple[TrackerKey, Tracker]:
    key = TrackerKey(str(record["model_version"]), Horizon(record["horizon"]), int(record["stage"]))
    recent = tuple(
        TrackedGame(float(size), _per_target(aci), _per_target(pid), *map(float, factor))
        for size, aci, pid, *factor in record["recent"]
    )
    return key, Tracker(
        games=int(record["games"]),
        alphas=_per_target(record["alphas"]),
        quantiles=_per_target(record["quantiles"]),
        excess=_per_target(record["excess"]),
        recent=recent,
        season=_season(recent) if "season" not in record else SeasonScale(*map(float, record["season"])),
    )


def _season(recent: Sequence[TrackedGame]) -> SeasonScale:
    result = SeasonScale()
    for game in recent:
        result = result.after(game.score**2).rounded(_DIGITS)
    return result


def _per_target(values: Sequence[float]) -> tuple[float, ...]:
    result = tuple(map(float, values))
    if len(result) != len(TARGETS):
        raise ValueError(f"{len(result)} values; expected {len(TARGETS)}")
    return result


def _mid_rank_score(scores: Sequence[float], below: int, not_above: int) -> float:
    """Returns the score of the middle of the shares below, and at or below, what quantiles from `below` on equal.

    The shares end halfway between the levels of two quantiles: where bins of equal probability meet.
    """

    def share(index: int) -> float:
        if index in (0, len(scores)):
            return float(index > 0)
        return (_NORMAL.cdf(scores[index - 1]) + _NORMAL.cdf(scores[index])) / 2

    middle = (share(below) + share(not_above)) / 2
    return _NORMAL.inv_cdf(middle) if 0.0 < middle < 1.0 else math.copysign(MAX_SCORE, middle - 0.5)


def static_score(distribution: Sequence[float], static_scores: Sequence[float], outcome: float) -> float:
    """Returns the standard-normal score of an outcome in a recorded forecast, under the model as calibrated.

    Interpolates linearly between the recorded quantiles; beyond them, extrapolates in proportion to the distance from
    the median. If several quantiles equal the outcome, which of whole numbers they mostly do, the score is that of the
    middle of its probability: half of the outcomes that are equal count as lower ones (mid-rank).

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
