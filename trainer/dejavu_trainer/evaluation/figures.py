"""Figures of a table: one group-by, with paired bootstrap intervals over games.

A metric is the unweighted mean over the forecasts of a group; at moments, the mean over games of the mean of a game's
forecasts. Uncertainty is computed by game, since the forecasts of one game are dependent: intervals are percentile
bootstrap intervals over games. Differences are paired, that is, computed on the same resampled games.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from dejavu_feed.pattern import OVERTIME_SECONDS, QUARTER_MINUTES
from dejavu_models.arrays import Floats, Integers
from dejavu_models.metrics import ECE_BINS, LEVEL, Estimate, GameBootstrap, probability_bin, student_quantile
from dejavu_models.types import Horizon
from dejavu_models.uncertainty.lead_groups import lead_groups
from dejavu_trainer.evaluation.table import MOMENTS, Table

ALL: Final = "all"
"""Kind and name of the group of all forecasts of a target."""

LEADS: Final = ("0-3", "4-8", "9-15", "16+")
"""Groups by |lead| at the minute of the forecast, in points, inclusive."""

QUARTERS: Final = ("first quarter", "second quarter", "third quarter", "fourth quarter")
"""By the minute of the forecast: 1–12, 13–24, 25–36, 37–47."""

LATE: Final = (42, 47)
"""First and last of the minutes whose forecasts of the final are also summarized together."""

LATE_NAME: Final = f"{LATE[0]}–{LATE[1]}"
"""Name of the group of LATE."""

OVERTIME: Final = "overtime"

BANDS: Final = {
    Horizon.HALFTIME: {"22:00–24:00": (0, 120), "last minute": (0, 60), "last 10 s": (0, 10)},
    Horizon.FINAL: {
        "44:00–48:00": (0, 240),
        "44:00–46:00": (120, 240),
        "46:00–47:00": (60, 120),
        "last minute": (0, 60),
        "last 30 s": (0, 30),
        "last 10 s": (0, 10),
    },
}
"""Names and seconds left of groups of moments, by horizon: more than the first, at most the second number. Overtime is
another group."""

_COUNT: Final = "forecasts"
"""Name of the mean number of a game's forecasts, in place of a metric."""

KINDS: Final = (ALL, "season", "minute", "late", "quarter", "lead", "band")
"""Kinds of groups: `band` at moments, the others elsewhere; those by lead where there is a lead."""


def seconds_left(elapsed: Floats, horizon: Horizon) -> Floats:
    """Return the seconds left until a horizon, or until the end of an overtime, (n,)."""
    end = horizon.seconds
    return np.where(elapsed < end, end - elapsed, OVERTIME_SECONDS - (elapsed - end) % OVERTIME_SECONDS)


def groups(table: Table, target: str, kind: str) -> dict[str, Integers]:
    """Return the rows of the groups of a kind, by name, without empty ones.

    Raises:
        KeyError: if the target is not in the table or has no such groups.
    """
    if kind == "band":
        return _bands(table, target)
    game, minute = table.of(target, "game"), table.of(target, "second") / 60
    kinds: dict[str, Callable[[], tuple[NDArray[Any], tuple[str, ...]]]] = {
        ALL: lambda: (np.zeros(len(game)), (ALL,)),
        "season": lambda: _values(table.columns["game.season"][game]),
        "minute": lambda: _values(minute),
        "late": lambda: ((minute < LATE[0]) | (minute > LATE[1]), (LATE_NAME,)),
        "quarter": lambda: ((minute - 1) // QUARTER_MINUTES, QUARTERS),
        "lead": lambda: (lead_groups(table.of(target, "lead")), LEADS),
    }
    labels, names = kinds[kind]()
    found = {name: np.flatnonzero(labels == number) for number, name in enumerate(names)}
    return {name: rows for name, rows in found.items() if len(rows)}


def _values(column: NDArray[Any]) -> tuple[Integers, tuple[str, ...]]:
    """Return the index of each value among the different ones, and the names of these."""
    values, labels = np.unique(column, return_inverse=True)
    return labels, tuple(f"{value:g}" for value in values.tolist())


def _bands(table: Table, target: str) -> dict[str, Integers]:
    [horizon] = [each for each, name in MOMENTS.items() if name == target]
    elapsed = table.of(target, "second")
    left, overtime = seconds_left(elapsed, horizon), elapsed >= horizon.seconds
    masks = {name: ~overtime & (left > first) & (left <= last) for name, (first, last) in BANDS[horizon].items()} | {
        OVERTIME: overtime
    }
    return {name: np.flatnonzero(mask) for name, mask in masks.items() if mask.any()}


class Figures:
    """Metrics of the groups of a table, and their differences, with intervals.

    Args:
        table: the scores.
        seed: random seed of the bootstrap over games.
        resamples: number of bootstrap resamples.
        level: confidence level of the intervals.
    """

    def __init__(self, table: Table, *, seed: int = 0, resamples: int = 2000, level: float = LEVEL) -> None:
        self.table = table
        self._bootstrap = GameBootstrap(len(table), seed=seed, resamples=resamples, level=level)
        self._groups: dict[tuple[str, str], dict[str, Integers]] = {}
        self._means: dict[tuple[str, ...], Floats | None] = {}
        self._found: dict[tuple[str, ...], dict[str, Estimate]] = {}

    def groups(self, target: str, kind: str) -> dict[str, Integers]:
        """Return the rows of the groups of a kind by name; see `groups`."""
        key = target, kind
        if key not in self._groups:
            self._groups[key] = groups(self.table, *key)
        return self._groups[key]

    def games(self, target: str, kind: str = ALL, group: str = ALL) -> int:
        """Return the number of games of a group."""
        return len(np.unique(self.table.of(target, "game")[self.groups(target, kind)[group]]))

    def get(
        self,
        target: str,
        forecaster: str,
        metric: str,
        reference: str = "",
        *,
        kind: str = ALL,
        group: str = ALL,
        compare: Literal["relative", "difference", "seasons"] = "relative",
    ) -> Estimate | None:
        """Return a metric of a forecaster, or its difference from that of a reference on the same games.

        Args:
            target: target of the forecasts.
            forecaster: who made them.
            metric: one of METRICS.
            reference: another forecaster; empty: none.
            kind: one of KINDS.
            group: name of a group of that kind.
            compare: `relative`: as a share of the reference's metric; `difference`: in the unit of the metric;
                `seasons`: relative, the mean over seasons with an interval of Student's t for which a season is the
                unit.

        Returns:
            The estimate; None if a forecaster does not have the metric, the group has no forecast, or the reference's
            metric can be 0 in a resample.
        """
        if target not in self.table.targets or group not in self.groups(target, kind):
            return None
        if reference and compare == "seasons":
            return self._over_seasons(target, forecaster, metric, reference, self.groups(target, kind)[group])
        key = target, kind, forecaster, metric, reference, compare if reference else ""
        if key not in self._found:
            self._found[key] = self._estimates(*key)
        return self._found[key].get(group)

    def _estimates(
        self, target: str, kind: str, forecaster: str, metric: str, reference: str, compare: str
    ) -> dict[str, Estimate]:
        own = self._resampled(target, kind, forecaster, metric)
        other = self._resampled(target, kind, reference, metric) if reference else own
        if own is None or other is None:
            return {}
        with np.errstate(divide="ignore", invalid="ignore"):
            values = own / other - 1 if compare == "relative" else own - other if reference else own
        ends = np.vstack([values[:1], self._bootstrap.intervals(values[1:])]).T.tolist()
        found = zip(self.groups(target, kind), ends, strict=True)
        return {name: Estimate(*each) for name, each in found if all(map(math.isfinite, each))}

    def _resampled(self, target: str, kind: str, forecaster: str, metric: str) -> Floats | None:
        """Return a metric of all games, in row 0, and of each resample, (1 + resamples, groups); NaN without games."""
        key = target, kind, forecaster, metric
        if self._means and next(iter(self._means))[:2] != key[:2]:
            self._means.clear()  # figures are asked for kind by kind, and these arrays are large
        if key not in self._means:
            self._means[key] = self._compute(*key)
        return self._means[key]

    def _compute(self, target: str, kind: str, forecaster: str, metric: str) -> Floats | None:
        if metric == _COUNT:
            counts = self._sums(target, kind, np.ones(len(self.table.of(target, "game"))))
            return np.where(np.rint(counts * len(self.table)) > 0, counts, np.nan)
        counted = self._resampled(target, kind, "", _COUNT)
        if metric == "ece":
            sums = self._gaps(target, kind, forecaster)
        else:
            losses = self.table.losses(target, forecaster, metric)
            sums = None if losses is None else self._sums(target, kind, losses)
        if sums is None or counted is None:
            return None
        means: Floats = sums / counted
        return np.sqrt(means) if metric == "rmse" else means

    def _sums(self, target: str, kind: str, values: Floats) -> Floats:
        """Return the means over games of the sum of a game's values, in all and in resamples, by group."""
        by_game = [self._by_game(target, rows, values) for rows in self.groups(target, kind).values()]
        return self._resample(np.stack(by_game, axis=1))

    def _resample(self, by_game: Floats) -> Floats:
        return np.vstack([by_game.mean(axis=0), self._bootstrap.resampled_means(by_game)])

    def _by_game(self, target: str, rows: Integers, values: Floats) -> Floats:
        """Return the sum of each game's values in some rows, (games,); at moments, their mean, or 0 if it has none."""
        game = self.table.of(target, "game")[rows]
        sums: Floats = np.bincount(game, values[rows], minlength=len(self.table)).astype(np.float64)
        if target not in MOMENTS.values():
            return sums
        return sums / np.maximum(np.bincount(game, minlength=len(self.table)), 1)

    def _gaps(self, target: str, kind: str, forecaster: str) -> Floats | None:
        """Return the expected calibration errors of groups, times their mean number of forecasts per game."""
        if f"{target}.{forecaster}.probability" not in self.table.columns:
            return None
        probability = self.table.of(target, f"{forecaster}.probability")
        gaps = probability.astype(np.float64) - (self.table.of(target, "outcome") > 0)
        bins = probability_bin(probability)
        result = []
        for rows in self.groups(target, kind).values():
            by_bin = [self._by_game(target, rows, gaps * (bins == number)) for number in range(ECE_BINS)]
            result.append(np.abs(self._resample(np.stack(by_bin, axis=1))).sum(axis=1))
        return np.stack(result, axis=1)

    def _over_seasons(
        self, target: str, forecaster: str, metric: str, reference: str, rows: Integers
    ) -> Estimate | None:
        own, other = (self.table.losses(target, name, metric) for name in (forecaster, reference))
        season = self.table.columns["game.season"][self.table.of(target, "game")[rows]]
        names = np.unique(season)
        if own is None or other is None or len(names) < 2:
            return None
        shares = [float(own[rows[season == each]].mean() / other[rows[season == each]].mean() - 1) for each in names]
        mean, half = float(np.mean(shares)), student_quantile(len(shares) - 1) * float(np.std(shares, ddof=1))
        half /= math.sqrt(len(shares))
        return Estimate(mean, mean - half, mean + half)
