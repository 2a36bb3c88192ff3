"""The long table of scores, and its figures: one group-by, with paired bootstrap intervals over games.

A row of the table is one forecast of a game, a target and a second of play; columns are by forecaster. It is made once
a fold and kept as arrays, and all figures of an evaluation are computed from it.

A metric is the unweighted mean over the forecasts of a group; at moments, the mean over games of the mean of a game's
forecasts. Uncertainty is computed by game, since the forecasts of one game are dependent: intervals are percentile
bootstrap intervals over games. Differences are paired, that is, computed on the same resampled games.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from dejavu_feed.errors import DataError
from dejavu_feed.pattern import OVERTIME_SECONDS, QUARTER_MINUTES
from dejavu_models import metrics
from dejavu_models.arrays import Floats, Integers, from_npz, to_npz
from dejavu_models.metrics import ECE_BINS, LEVEL, Estimate, GameBootstrap, probability_bin, student_quantile
from dejavu_models.types import CASES, HORIZONS, Horizon
from dejavu_models.uncertainty.lattice.calibration import MIN_PROBABILITY
from dejavu_models.uncertainty.lattice.distribution import LatticeDistribution, WholeNumberDistribution

LEVELS: Final = (95, 80, 50)
"""Nominal coverages of the scored intervals, in %."""

ALPHAS: Final = tuple(round(1 - level / 100, 2) for level in LEVELS)
"""Their miscoverages."""

MARGINS: Final = {horizon: horizon.value for horizon in HORIZONS}
"""Targets of margins, by horizon."""

TIP_OFF: Final = "tip-off"
"""Target of the final margin that is expected before a game: points alone."""

TOTALS: Final = {horizon: f"{horizon.value} total" for horizon in HORIZONS}
"""Targets of total points."""

MOMENTS: Final = {horizon: f"{horizon.value} moments" for horizon in HORIZONS}
"""Targets of forecasts after plays; a game has as many rows as such plays, which count as one forecast together."""

Columns = dict[str, NDArray[Any]]
"""Arrays by name. Of forecasts, (n,) or (n, cases): probability that the home team leads, point, crps and pit
(probability integral transform of the outcome: Dawid 1984); and by level lower_95, upper_95, the ends of the interval,
and held_95, whether the outcome counts as within."""


@dataclass(frozen=True)
class Table:
    """Scores of forecasts of the games of one or more folds, as flat columns.

    Attributes:
        columns: arrays by name. `fold.season` and others have one value a fold: `fold.train_seasons` and
            `fold.calibration_seasons` (texts), `fold.calibration_games` and `fold.total_games` (games behind the
            intervals of margins and totals), and `fold.cell_games`, (folds, cases, 4), calibration games by |lead|.
            `game.season` and others have one a game: `game.game_id`, `date`, `home` and `away`.
            Each target has one value a row, such as `final.game` (index of the game), `final.second` (seconds of play),
            `final.lead` and `final.outcome` (in points); and by forecaster the columns of `Columns`, such as
            `final.served.crps`. A forecaster has only the columns of what it says.
    """

    columns: Columns

    def __len__(self) -> int:
        """Return the number of games."""
        return len(self.columns["game.season"])

    @property
    def targets(self) -> tuple[str, ...]:
        """The targets, in the order in which they were added."""
        names = (name.rsplit(".", 1) for name in self.columns)
        return tuple(head for head, last in names if last == "second")

    def forecasters(self, target: str) -> tuple[str, ...]:
        """Return the forecasters of a target, in the order in which they were added; none if it is not there."""
        parts = (name.split(".") for name in self.columns)
        return tuple(dict.fromkeys(each[1] for each in parts if len(each) == 3 and each[0] == target))

    def of(self, target: str, column: str) -> NDArray[Any]:
        """Return a column of a target by its name, such as `outcome` or `served.crps`."""
        return self.columns[f"{target}.{column}"]

    def by_minute(self, horizon: Horizon, column: str) -> NDArray[Any]:
        """Return a column of the margins at a horizon, (games, minutes)."""
        return self.of(horizon.value, column).reshape(len(self), horizon.last_slot)

    def losses(self, target: str, forecaster: str, metric: str) -> Floats | None:
        """Return the loss of each forecast, (rows,); a metric is its mean (rmse: the root of it). None without any."""
        needs, loss = _LOSSES[metric]
        columns = [self.columns.get(f"{target}.{forecaster}.{each}") for each in needs]
        given = [column.astype(np.float64) for column in columns if column is not None]
        return loss(self.of(target, "outcome").astype(np.float64), *given) if len(given) == len(needs) else None

    def to_bytes(self) -> bytes:
        """Serialize the table as .npz; equal tables give equal bytes."""
        return to_npz(**self.columns)


def _winkler(alpha: float) -> Callable[..., Floats]:
    return lambda outcome, lower, upper: metrics.winkler(lower, upper, outcome, alpha)


def _log_loss(outcome: Floats, probability: Floats) -> Floats:
    stated = np.clip(probability, MIN_PROBABILITY, 1 - MIN_PROBABILITY)  # as a server states it
    return metrics.log_loss(stated, outcome > 0)


_LOSSES: Final[dict[str, tuple[tuple[str, ...], Callable[..., Floats]]]] = {
    "mae": (("point",), lambda outcome, point: np.abs(point - outcome)),
    "rmse": (("point",), lambda outcome, point: np.square(point - outcome)),
    "crps": (("crps",), lambda _, crps: crps),
    "brier": (("probability",), lambda outcome, probability: metrics.brier(probability, outcome > 0)),
    "log_loss": (("probability",), _log_loss),
    **{
        f"winkler_{level}": ((f"lower_{level}", f"upper_{level}"), _winkler(alpha))
        for level, alpha in zip(LEVELS, ALPHAS, strict=True)
    },
    **{f"coverage_{level}": ((f"held_{level}",), lambda _, held: held) for level in LEVELS},
    **{
        f"width_{level}": ((f"lower_{level}", f"upper_{level}"), lambda _, lower, upper: upper - lower)
        for level in LEVELS
    },
}
"""By metric, the columns that it needs and its loss, of the outcome and these."""

METRICS: Final = (*_LOSSES, "ece")
"""All metrics, in points or shares: lower is better, but for coverage and width."""


ALL_CASES: Final = range(len(CASES))
"""Indices of all cases."""

SEED: Final = 18
"""Seed of the random places within whole numbers; see `scored`."""


def scored(made: WholeNumberDistribution, outcomes: Floats, places: Floats) -> Columns:
    """Return the scores of the distributions of n outcomes, whole numbers, (n,) each.

    An interval with whole ends covers more than its level, by a part of the probability of its ends. Coverage is
    therefore computed from the randomised probability integral transform, which is uniform if the forecast is right
    (Czado, Gneiting & Held, Predictive model assessment for count data, 2009): an outcome at an end counts as covered
    with the share of its probability that the level needs.

    Args:
        made: the distributions.
        outcomes: (n,).
        places: (n,), random places within each whole number, in [−½, ½].
    """
    transform = made.pit(outcomes, places)
    result: Columns = {"crps": made.crps(outcomes), "pit": transform}
    if isinstance(made, LatticeDistribution):
        result["probability"] = made.home_leads
    for level, alpha in zip(LEVELS, ALPHAS, strict=True):
        result[f"lower_{level}"], result[f"upper_{level}"] = made.intervals(alpha)
        result[f"held_{level}"] = (alpha / 2 < transform) & (transform <= 1 - alpha / 2)
    return {name: each if each.dtype == np.bool_ else each.astype(np.float32) for name, each in result.items()}


def whole_number_scores(
    forecast: Callable[[int, int], tuple[Floats, WholeNumberDistribution]],
    outcomes: Floats,
    seed: int = SEED,
    *,
    cases: Sequence[int] = ALL_CASES,
) -> Columns:
    """Score forecasts of n games for some cases, (n, cases).

    Args:
        forecast: returns the point forecasts, (n,), and the distributions at a horizon, by its index, from a minute.
        outcomes: (n, 2), by horizon, whole numbers.
        seed: of the random places, which are the same in every run.
        cases: their indices in CASES.
    """
    places = np.random.default_rng(seed).uniform(-0.5, 0.5, (len(outcomes), len(CASES)))
    found = []
    for case in cases:
        index, minute = CASES[case]
        point, made = forecast(index, minute)
        of_case = scored(made, outcomes[:, index], places[:, case])
        found.append({"point": point.astype(np.float32), **of_case})
    return {name: np.stack([each[name] for each in found], axis=1) for name in found[0]}


def case_columns(
    targets: Mapping[Horizon, str],
    forecasts: Mapping[str, Columns],
    games: NDArray[np.integer],
    outcomes: NDArray[Any],
    leads: NDArray[Any] | None = None,
) -> Columns:
    """Return the columns of a table of forecasts after every minute.

    Args:
        targets: name of the target, by horizon.
        forecasts: by forecaster, (n, cases) each.
        games: (n,), index of each game in the table.
        outcomes: (n, 2), by horizon, in points.
        leads: (n, 47), differentials after minutes 1 to 47, in points; None: there is no such column.
    """
    result: Columns = {}
    for index, (horizon, target) in enumerate(targets.items()):
        cases = [column for column, (of_case, _) in enumerate(CASES) if HORIZONS[of_case] is horizon]
        minutes = np.array([CASES[column][1] for column in cases])
        result[f"{target}.game"] = np.repeat(games, len(cases)).astype(np.int32)
        result[f"{target}.second"] = np.tile(np.float32(60 * minutes), len(games)).astype(np.float32)
        result[f"{target}.outcome"] = np.repeat(outcomes[:, index], len(cases)).astype(np.int16)
        if leads is not None:
            result[f"{target}.lead"] = leads[:, minutes - 1].ravel().astype(np.int16)
        for name, columns in forecasts.items():
            for column, values in columns.items():
                lower = columns.get(f"lower_{column.partition('_')[2]}")  # an interval that no game lacks
                if lower is None or np.isfinite(lower[:, cases]).all():
                    result[f"{target}.{name}.{column}"] = values[:, cases].ravel()
    return result


def choose(which: NDArray[np.bool_], one: Columns, other: Columns) -> Columns:
    """Return the forecasts of `one` for the games of a mask, (n,), and of `other` for the rest: the columns of both."""
    return {name: np.where(which[:, None], one[name], other[name]) for name in one if name in other}


def pool(tables: Sequence[Table]) -> Table:
    """Pool the games of several tables: of each target the forecasters that all tables with this target have.

    Raises:
        ValueError: if there is no table.
    """
    if not tables:
        raise ValueError("no fold to pool")
    offsets = np.cumsum([0, *(len(table) for table in tables)])
    result: Columns = {}
    for name in dict.fromkeys(name for table in tables for name in table.columns):
        head = name.partition(".")[0]
        having = [index for index, table in enumerate(tables) if head in ("fold", "game") or head in table.targets]
        parts = [tables[index].columns.get(name) for index in having]
        if name == f"{head}.game":
            parts = [part + np.int32(offsets[index]) for part, index in zip(parts, having, strict=True)]  # type: ignore[operator]
        if all(part is not None for part in parts):
            result[name] = np.concatenate([part for part in parts if part is not None])
    return Table(result)


def read_table(path: Path) -> Table:
    """Read a table that `Table.to_bytes` serialized.

    Raises:
        DataError: if the file is not one.
    """
    try:
        table = Table(from_npz(path.read_bytes()))
        rows = {target: len(table.of(target, "game")) for target in table.targets}
        lengths = {name: rows.get(name.partition(".")[0], len(column)) for name, column in table.columns.items()}
        wrong = [name for name, column in table.columns.items() if len(column) != lengths[name]]
        if wrong or not len(table) or not len(table.columns["fold.season"]):
            raise ValueError(f"columns do not fit together: {', '.join(wrong) or 'there is no game'}")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path}: is not a valid walk-forward fold: {error}; delete it to recompute it") from error
    return table


ALL: Final = "all"
"""Kind and name of the group of all forecasts of a target."""

LEAD_EDGES: Final = (3.5, 8.5, 15.5)
"""Edges between groups of games by |lead|, in points: 0–3, 4–8, 9–15, 16 and more. Each group has a scale."""

UNSCALED: Final = (1.0,) * (len(LEAD_EDGES) + 1)
"""Scales of 1 for every group."""


def lead_groups(leads: Floats | NDArray[np.integer]) -> Integers:
    """Return the group of each |lead| (0–3, 4–8, 9–15, 16 or more points), 0 to 3: (n,) → (n,)."""
    return np.searchsorted(LEAD_EDGES, np.abs(leads), side="right").astype(np.int64)


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
