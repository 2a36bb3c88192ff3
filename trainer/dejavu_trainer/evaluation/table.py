"""The long table of scores: a row is one forecast of a game, a target and a second of play; columns are by forecaster.

All figures of an evaluation are computed from it. It is made once a fold and kept as arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dejavu_feed.errors import DataError
from dejavu_models import metrics
from dejavu_models.arrays import Floats, from_npz, to_npz
from dejavu_models.types import CASES, HORIZONS, Horizon
from dejavu_models.uncertainty.lattice.game import MIN_PROBABILITY

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
    "mae": (("point",), lambda outcome, point: metrics.absolute_error(point, outcome)),
    "rmse": (("point",), lambda outcome, point: metrics.squared_error(point, outcome)),
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
