"""Risk score of a game, from its score timeline alone: 0 (the lead does not move) to 100 (highly volatile).

Computes four factors and compares each with real games at the same minute: the score of a factor is the percentage of
games with a lower value (probability integral transform; the quantiles are `USUAL`). The risk score is the
weighted mean of the factor scores, so each factor's contribution can be reported.

It describes the game so far and predicts next to nothing: on the 6,269 games of 2019 to 2023 its rank correlation with
the later movement of the lead is between −0.01 and 0.03 (docs/decisions/0025-markets.md).

The quantiles were measured by `python -m bench.risk` on the 6,263 games of the seasons 2019 to 2023 that were eligible
then; today 6,269 are. They are aggregates over whole seasons only, no data of a single game or team.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from dejavu_feed.pattern import REGULATION_MINUTES
from dejavu_models.betting import RiskLevel
from dejavu_models.errors import InvalidPattern
from dejavu_models.forecast_query import ScorePattern, check_total_points
from dejavu_models.types import MAX_SLOTS

SEASONS: Final = (2019, 2020, 2021, 2022, 2023)
"""Seasons measured, by the year in which they end."""

MINUTES: Final = (2, 3, 4, 6, 8, 12, 18, 24, 36, 47)
"""Minutes played; one table row each."""

SHARES: Final = (0.0, 25.0, 50.0, 75.0, 90.0, 99.0, 100.0)
"""Levels of the quantiles, in percent of games with a lower value. Level 0 has no column; the column of level 100 holds
the value that one game in a thousand exceeds."""

USUAL: Final[Mapping[str, tuple[tuple[float, ...], ...]]] = {
    "volatility": (
        (0.71, 1.41, 2.83, 4.24, 6.36, 7.78),
        (1.53, 2.08, 3.06, 4.04, 5.51, 6.56),
        (1.71, 2.38, 3.11, 3.77, 4.92, 5.73),
        (1.97, 2.5, 3.06, 3.56, 4.45, 4.87),
        (2.1, 2.55, 3.01, 3.44, 4.16, 4.62),
        (2.23, 2.57, 2.96, 3.3, 3.86, 4.17),
        (2.3, 2.59, 2.87, 3.14, 3.61, 3.99),
        (2.35, 2.6, 2.85, 3.08, 3.48, 3.77),
        (2.4, 2.6, 2.81, 2.99, 3.32, 3.59),
        (2.41, 2.59, 2.77, 2.93, 3.2, 3.5),
    ),
    "swing": (
        (2.0, 3.0, 5.0, 6.0, 8.0, 10.0),
        (3.0, 4.0, 6.0, 8.0, 11.0, 13.0),
        (4.0, 5.0, 7.0, 9.0, 13.0, 15.0),
        (5.0, 7.0, 9.0, 11.0, 16.0, 19.74),
        (5.0, 7.0, 9.0, 12.0, 17.0, 21.0),
        (5.0, 7.0, 9.0, 11.0, 16.0, 20.74),
        (5.0, 7.0, 9.0, 11.0, 16.0, 19.74),
        (5.0, 7.0, 9.0, 11.0, 16.0, 19.0),
        (5.0, 7.0, 9.0, 11.0, 16.0, 19.0),
        (5.0, 7.0, 9.0, 11.0, 15.38, 19.74),
    ),
    "pace": (
        (144.0, 192.0, 240.0, 288.0, 384.0, 456.0),
        (160.0, 208.0, 240.0, 288.0, 352.0, 400.0),
        (180.0, 216.0, 252.0, 288.0, 348.0, 392.86),
        (192.0, 216.0, 248.0, 280.0, 328.0, 376.0),
        (192.0, 222.0, 252.0, 276.0, 320.28, 360.0),
        (204.0, 224.0, 248.0, 268.0, 308.0, 338.95),
        (202.67, 221.33, 240.0, 258.67, 288.0, 314.67),
        (208.0, 226.0, 242.0, 258.0, 284.76, 305.48),
        (209.33, 224.0, 238.67, 253.33, 276.0, 300.63),
        (208.34, 220.6, 233.87, 246.13, 268.6, 285.96),
    ),
    "trend": (
        (0.5, 1.0, 2.0, 3.0, 4.0, 5.0),
        (0.5, 1.0, 1.7, 2.4, 3.6, 4.47),
        (0.4, 0.9, 1.5, 2.1, 3.2, 3.9),
        (0.36, 0.71, 1.21, 1.71, 2.71, 3.32),
        (0.32, 0.71, 1.21, 1.75, 2.79, 3.54),
        (0.32, 0.71, 1.21, 1.71, 2.61, 3.36),
        (0.32, 0.68, 1.18, 1.64, 2.61, 3.3),
        (0.32, 0.71, 1.21, 1.68, 2.68, 3.39),
        (0.32, 0.71, 1.21, 1.71, 2.59, 3.21),
        (0.32, 0.68, 1.18, 1.64, 2.54, 3.06),
    ),
}
"""Quantiles by factor: one row per entry of MINUTES, one column per level of SHARES after 0; in the factor's unit."""


MIN_SLOTS = 2
"""Minimum number of minutes for an assessment."""

WINDOW = 6
"""Look-back of swing and trend, in minutes."""

WEIGHTS: Final[Mapping[str, float]] = {"volatility": 0.4, "swing": 0.3, "pace": 0.2, "trend": 0.1}
"""Weights of the factors, set by judgement and not fitted: volatility, which uses the whole game, has the most weight,
and the trend, which a comeback and a rout have alike, the least. If a factor is missing, the others are scaled up."""

LEVEL_BOUNDS: Final = (25.0, 50.0, 75.0)
"""Minimum scores of moderate, high and extreme risk."""

WARNING_SCORE = 90.0
"""Minimum factor score that raises a warning."""

_LATE, _CLOSE = 42, 3.0
_FEW_MINUTES, _MANY_CHANGES = 6, 3


class RiskFactor(NamedTuple):
    """One factor of a risk score.

    Attributes:
        name: volatility, swing, pace or trend; see `measure`.
        value: measured value, in the unit of `measure`.
        score: percentage of games with a lower value at that minute, 0 to 100.
        weight: normalised; the weights of all factors sum to 1.
        contribution: weight × score.
    """

    name: str
    value: float
    score: float
    weight: float
    contribution: float


class RiskAssessment(NamedTuple):
    """Risk score of a game.

    Attributes:
        score: sum of the factors' contributions, 0 to 100.
        level: risk level by LEVEL_BOUNDS.
        warnings: human-readable warnings.
    """

    score: float
    level: RiskLevel
    factors: tuple[RiskFactor, ...]
    warnings: tuple[str, ...]


def assess(pattern: ScorePattern, total_points: int | None = None) -> RiskAssessment:
    """Assess the risk of a game. Symmetric in home and away.

    Args:
        pattern: at least MIN_SLOTS minutes.
        total_points: points of both teams at the end of the pattern; None omits the pace factor.

    Raises:
        InvalidPattern: if the pattern is too short.
        InvalidLiveInput: if the total points are fewer than the lead, or more than MAX_TOTAL_POINTS.
    """
    values = measure(pattern, total_points)
    total = math.fsum(WEIGHTS[name] for name in values)
    factors = tuple(
        RiskFactor(name, value, score, weight, weight * score)
        for name, value in values.items()
        for score, weight in [(percentile_score(name, pattern.minutes, value), WEIGHTS[name] / total)]
    )
    score = min(100.0, math.fsum(factor.contribution for factor in factors))
    level = list(RiskLevel)[sum(score >= bound for bound in LEVEL_BOUNDS)]
    return RiskAssessment(score, level, factors, tuple(_warnings(pattern, factors)))


def check_slots(slots: int) -> None:
    """Validate the number of slots of a pattern.

    Raises:
        InvalidPattern: if it is not in MIN_SLOTS to MAX_SLOTS.
    """
    if not MIN_SLOTS <= slots <= MAX_SLOTS:
        raise InvalidPattern(f"{slots} slots", f"{MIN_SLOTS} to {MAX_SLOTS}")


def measure(pattern: ScorePattern, total_points: int | None = None) -> dict[str, float]:
    """Compute the value of each factor, by name.

    - volatility: standard deviation of the change of the lead per minute, in points.
    - swing: range of the lead over the last WINDOW minutes, including the start of that window, in points.
    - pace: total_points extrapolated to 48 minutes. Absent without total_points.
    - trend: absolute slope of the lead over the same window, by least squares, in points per minute.

    Raises:
        InvalidPattern, InvalidLiveInput: see `assess`.
    """
    check_slots(pattern.minutes)
    if total_points is not None:
        check_total_points(total_points, pattern.last, check_parity=False)
    levels = np.array((0.0, *pattern.differentials))
    recent = levels[-WINDOW - 1 :]
    values = {"volatility": float(np.diff(levels).std(ddof=1)), "swing": float(np.ptp(recent))}
    if total_points is not None:
        values["pace"] = total_points / pattern.minutes * REGULATION_MINUTES
    times = np.arange(len(recent)) - (len(recent) - 1) / 2
    values["trend"] = abs(float(times @ recent / (times @ times)))
    return values


def percentile_score(name: str, minutes: int, value: float) -> float:
    """Return the percentage of games in which a factor is below `value` after a number of minutes.

    Non-decreasing in `value`. Interpolates linearly between the known quantiles; a value of 0 scores 0, a value that
    one game in a thousand exceeds scores 100.
    """
    of_minute = [np.interp(minutes, MINUTES, column) for column in zip(*USUAL[name], strict=True)]
    return float(np.interp(value, (0.0, *of_minute), SHARES)) if value > 0.0 else 0.0


def _warnings(pattern: ScorePattern, factors: Sequence[RiskFactor]) -> Iterator[str]:
    after = f"after {pattern.minutes} minutes"
    texts = {
        "volatility": "The lead changes by {:.1f} points from minute to minute",
        "swing": f"The lead ranged over {{:.0f}} points in the last {min(WINDOW, pattern.minutes)} minutes",
        "pace": "Both teams together score at a rate of {:.0f} points per game",
        "trend": "The lead moves in one direction by {:.1f} points per minute",
    }
    for factor in factors:
        if factor.score >= WARNING_SCORE:
            share = f"{min(factor.score, 99.9):.3g} %"
            yield f"{texts[factor.name].format(factor.value)}: more than in {share} of games {after}."
    leaders = [level > 0 for level in pattern.differentials[-WINDOW - 1 :] if level]  # ties are skipped
    changes = sum(before is not after for before, after in pairwise(leaders))
    if changes >= _MANY_CHANGES:
        yield f"The lead changed hands {changes} times over the last {WINDOW} minutes."
    if pattern.minutes >= _LATE and abs(pattern.last) <= _CLOSE:
        yield f"The lead is at most {_CLOSE:.0f} points {after}: one possession can decide the game."
    if pattern.minutes < _FEW_MINUTES:
        yield f"Only {pattern.minutes} minutes were played: the assessment is based on little data."
    if all(factor.name != "pace" for factor in factors):
        yield "The pace of scoring is not assessed without total_points."
