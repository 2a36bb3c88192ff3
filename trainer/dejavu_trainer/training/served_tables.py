"""The distributions with which a server would forecast games, and the live inputs that they use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from dejavu_models.arrays import Floats
from dejavu_models.components.ensemble import Ensemble, GameOpinions
from dejavu_models.components.features import LIVE_COLUMNS
from dejavu_models.types import CASES, HORIZONS, MAX_SLOTS, MarginSource
from dejavu_models.uncertainty.lattice.calibration import LatticeCalibration
from dejavu_models.uncertainty.lattice.distribution import VALUES, LatticeDistribution
from dejavu_models.uncertainty.lattice.margin_model import COLUMNS, Base, LiveColumns, LiveKind, MarginModel, is_used
from dejavu_trainer.data.games import Games
from dejavu_trainer.training.ratings import RatedGames


class ServedTables:
    """The tables that forecast each of n games: the first ones whose live inputs the game has, as in a server.

    Args:
        models: the tables, the best first; those for games without live inputs last.
        games: the games.
        opinions: what the components beside the linear models say of them; None if only the linear models count.

    Attributes:
        games: the games.
        use_live: whether any of them is forecast by tables with live inputs.
    """

    def __init__(self, models: Sequence[MarginModel], games: Games, opinions: GameOpinions | None = None) -> None:
        self._opinions = opinions
        self.games = games
        self._models = [(model, *live_columns(games, model.kind)) for model in models if model.kind]
        self._without = next((model for model in models if not model.kind), None)
        self.use_live = any(known.any() for _, _, known in self._models)

    @classmethod
    def of_source(
        cls,
        ensemble: Ensemble,
        calibration: LatticeCalibration,
        source: MarginSource,
        rated: RatedGames,
        *,
        with_live: bool = True,
    ) -> Self:
        """Return the distributions for games whose expected margins, (n,) or (n, 47) by minute, are of one source.

        Args:
            ensemble: the components.
            calibration: the tables.
            source: source of the margins.
            rated: the games with their margins.
            with_live: whether their live inputs are used.
        """
        kinds = (*(calibration.kinds(source) if with_live else ()), LiveKind.NONE)
        opinions = opinions_on(ensemble, source, rated, with_live=with_live)
        return cls([calibration.model(source, kind) for kind in kinds], rated.games, opinions)

    def distribution(
        self, points: Floats, margins: Floats, horizon: int, minute: int
    ) -> tuple[Floats, LatticeDistribution]:
        """Return the point forecasts, (n,), and the distributions at a horizon, by its index, from a minute.

        Margins are those of the games, (n,), or of their minutes, (n, 47).
        """
        margins = margins if margins.ndim == 1 else margins[:, minute - 1]
        centers, mass = np.empty(len(self.games)), np.empty((len(self.games), len(VALUES)))
        for base, rows in self._bases(points, margins, horizon, minute):
            made = base.prediction if self._opinions is None else self._opinions.pool(base, rows)
            centers[rows], mass[rows] = made.points, base.finished(made.below).mass
        return centers, LatticeDistribution(mass)

    def residuals(self, points: Floats, margins: Floats) -> Floats:
        """Return the standardised residuals of the linear models, (n, cases); arguments as of `distribution`."""
        result = np.empty((len(self.games), len(CASES)))
        for column, (horizon, minute) in enumerate(CASES):
            for base, rows in self._bases(points, margins, horizon, minute):
                result[rows, column] = (self.games.outcomes[rows, horizon] - base.centers) / base.units
        return result

    def _bases(
        self, points: Floats, margins: Floats, horizon: int, minute: int
    ) -> Iterator[tuple[Base, NDArray[np.intp]]]:
        """Yield the distributions of the linear models, and the games that they are of."""
        for model, rows, live in self._parts(minute):
            centers, leads = points[rows, minute - 1, horizon], self.games.levels[rows, minute - 1]
            if live is not None:
                centers = centers + model.shifts(HORIZONS[horizon], minute, live)
            yield model.base(HORIZONS[horizon], minute, centers, leads, np.nan_to_num(margins[rows]), live), rows

    def _parts(self, minute: int) -> Iterator[tuple[MarginModel, NDArray[np.intp], LiveColumns | None]]:
        """Yield the tables that are used after a minute, with their games and these games' live inputs."""
        left = np.ones(len(self.games), dtype=bool)
        for model, live, known in self._models:
            rows = np.flatnonzero(left & known)
            if len(rows) and is_used(model.kind, minute):
                left[rows] = False
                yield model, rows, live[rows, minute - 1]
        if left.any() and self._without is not None:
            yield self._without, np.flatnonzero(left), None


def fits_live_tables(games: Games, kind: LiveKind = LiveKind.SCORES) -> NDArray[np.bool_]:
    """Return which games tables with live inputs are fitted on, (n,); pace also needs the points at the end."""
    return live_columns(games, kind)[1] & (games.final_total >= 0)


def live_rows(games: Games) -> Floats:
    """Return the live inputs of components after each minute, (n, 47, LIVE_COLUMNS); NaN where unknown."""
    columns = [games.live_column(name)[:, :MAX_SLOTS].astype(np.float64) for name in LIVE_COLUMNS]
    return np.stack(columns, axis=-1)


def opinions_on(ensemble: Ensemble, source: MarginSource, rated: RatedGames, *, with_live: bool = True) -> GameOpinions:
    """Return what the components beside the linear models say of games; see `ServedTables.of_source`."""
    live = live_rows(rated.games)
    return GameOpinions(ensemble, source, rated.games.levels, rated.margins, live if with_live else live * np.nan)


def live_columns(games: Games, kind: LiveKind) -> tuple[LiveColumns, NDArray[np.bool_]]:
    """Return the live inputs of a kind by minute, (n, 47) each, and which games have them in all minutes of their use.

    Unknown inputs are 0.
    """
    columns = [games.live_column(name)[:, :MAX_SLOTS].astype(np.float64) for name in COLUMNS[kind]]
    used = np.array([is_used(kind, minute) for minute in range(1, MAX_SLOTS + 1)])
    known = ~np.asarray(np.isnan(np.stack(columns)[:, :, used]).any(axis=(0, 2)))
    return LiveColumns.of(kind, [np.nan_to_num(each) for each in columns]), known
