"""Means over games, and their intervals."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

Z = NormalDist().inv_cdf(0.975)

# The fields of a dejavu.v1.Figure.
Array = NDArray[Any]
Figure = dict[str, float]

# A game and a minute of play.
Minute = tuple[str, int]


def means(minutes: Sequence[Minute], values: Iterable[float]) -> Array:
    """Return the mean of each game: forecasts of one minute count as their mean, minutes of one game as their mean."""
    games: dict[str, defaultdict[int, list[float]]] = {}
    for (game, minute), value in zip(minutes, values, strict=True):
        games.setdefault(game, defaultdict(list))[minute].append(value)
    return np.array([_mean([_mean(each) for each in of.values()]) for of in games.values()])


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def weights(minutes: Sequence[Minute]) -> Array:
    """Return 1 / (minutes of the game) / (forecasts of the minute) for each forecast."""
    forecasts = Counter(minutes)
    of_games = Counter(game for game, _ in forecasts)
    return np.array([1.0 / of_games[each[0]] / forecasts[each] for each in minutes])


def estimate(of_games: Array, least: float = -math.inf, most: float = math.inf) -> Figure:
    """Return the mean of the games' means, with Student's interval within bounds if there are two games or more."""
    games, value = len(of_games), float(of_games.mean())
    if games < 2:
        return {"value": value}
    half = student(games - 1) * float(of_games.std(ddof=1)) / math.sqrt(games)
    return {"value": value, "lower": max(value - half, least), "upper": min(value + half, most)}


def ratio(numerators: Array, denominators: Array) -> Figure:
    """Return a ratio of two means of games, −1 or more, with the interval of its linearization if ratios differ."""
    games, value = len(numerators), float(numerators.sum() / denominators.sum())
    residuals = numerators - value * denominators
    if games < 2 or float(np.ptp(residuals)) <= 1e-9:
        return {"value": value}
    half = student(games - 1) * math.sqrt(games) * float(residuals.std(ddof=1) / denominators.sum())
    return {"value": value, "lower": max(value - half, -1.0), "upper": value + half}


def area(scores: Array, led: Array, minutes: Sequence[Minute]) -> Figure | None:
    """Return the area under the ROC curve of scores, with DeLong's interval over games; None with one outcome."""
    won = means(minutes, led) > 0.5
    if won.all() or not won.any():
        return None
    of, (values, place) = weights(minutes), np.unique(scores, return_inverse=True)
    of_led, of_others = (np.bincount(place, of * side, len(values)) / (of * side).sum() for side in (led, ~led))
    below, above = np.cumsum(of_others) - of_others / 2.0, np.cumsum(of_led[::-1])[::-1] - of_led / 2.0
    shares = means(minutes, np.where(led, below[place], above[place]))
    groups = shares[won], shares[~won]
    value = min(float(groups[0].mean()), 1.0)
    if min(map(len, groups)) < 2 or all(float(np.ptp(each)) <= 1e-9 for each in groups):
        return {"value": value}
    half = Z * math.sqrt(sum(float(each.var(ddof=1)) / len(each) for each in groups))
    return {"value": value, "lower": max(value - half, 0.0), "upper": min(value + half, 1.0)}


def wilson(share: float, trials: float) -> Figure:
    """Return the ends of Wilson's score interval of a share; it holds the share and lies in [0, 1]."""
    scale = 1.0 + Z**2 / trials
    centre = (share + Z**2 / (2.0 * trials)) / scale
    half = Z * math.sqrt(share * (1.0 - share) / trials + (Z / (2.0 * trials)) ** 2) / scale
    return {"lower": max(min(centre - half, share), 0.0), "upper": min(max(centre + half, share), 1.0)}


@cache
def student(degrees: int) -> float:
    """Return the 0.975 quantile of Student's t with a number of degrees of freedom.

    With t = √degrees · tan(u), the probability within ±t is a finite series (Abramowitz & Stegun 26.7.3 and 26.7.4).
    """
    odd = degrees % 2
    steps = np.arange(1 + odd, degrees + odd - 1, 2)
    factors = np.concatenate(([1.0], np.cumprod(steps / (steps + 1.0))))[: degrees // 2]
    powers = 2 * np.arange(degrees // 2) + odd

    def within(angle: float) -> float:
        series = math.sin(angle) * float((factors * math.cos(angle) ** powers).sum())
        return 2.0 / math.pi * (angle + series) if odd else series

    low, high = 0.0, math.pi / 2.0
    for _ in range(80):
        middle = (low + high) / 2.0
        low, high = (middle, high) if within(middle) < 0.95 else (low, middle)
    return math.sqrt(degrees) * math.tan(low)
