"""The reference forecasts, fitted on all games before the tested ones, and their split-conformal distributions.

For n residuals that are exchangeable with the next game's, the interval between the k-th smallest and the k-th
largest, k = ⌊(n + 1)·α/2⌋, covers the outcome with probability at least 1 − α, and misses it on each side with at most
α/2 (Vovk, Gammerman & Shafer, Algorithmic Learning in a Random World, 2005; the asymmetric form: Romano, Patterson &
Candès, Conformalized Quantile Regression, 2019). All levels together form a conformal predictive distribution (Vovk,
Shen, Manokhin & Xie, Nonparametric predictive distributions based on conformal prediction, 2019).

Coverage should hold for close games and for blowouts, not only on average. Residuals are therefore divided by the RMSE
of the models at that size of lead on the training games (normalised conformal prediction: Papadopoulos, Gammerman &
Vovk, 2008), and split into cells by the size of the lead where there are enough of them (Mondrian categories: Vovk et
al. 2005, section 4.5).

A reference fitted on fewer seasons than possible would flatter the models. So linear and logistic regressions are
fitted on every earlier game, and the distributions of the linear ones and of persistence have a residual of every
earlier game. Residuals of the linear models are out of season: each season's by models fitted on the other seasons. On
2017 and 2018 this gave a lower CRPS than residuals of the two seasons before the tested one by models fitted without
them; one cell for all leads gave a lower CRPS than several, since residuals are scaled by lead. The expected margins of
the references are those of the models: ratings with the schedule or, where the models know it, the line.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dejavu_models import metrics
from dejavu_models.arrays import Floats
from dejavu_models.types import CASES, HORIZONS, MAX_SLOTS, THRESHOLDS, Horizon, MarginSource
from dejavu_models.uncertainty.lattice.distribution import EDGES, LatticeDistribution, from_cumulative
from dejavu_trainer.data.games import Games
from dejavu_trainer.evaluation.figures import (
    ALL_CASES,
    ALPHAS,
    LEAD_EDGES,
    LEVELS,
    UNSCALED,
    Columns,
    lead_groups,
    whole_number_scores,
)
from dejavu_trainer.training.lattice import MIN_SCALE
from dejavu_trainer.training.linear import fit_linear, linear_points, out_of_season_points
from dejavu_trainer.training.ratings import RatedGames

MIN_CELL: Final = 1000
"""Minimum games per cell if there is more than one cell. A probability from n residuals has a squared error of
p(1 − p)/n; in smaller cells it outweighs the gain from splitting. Chosen on the seasons 2017 and 2018."""

LATE_MIN_CELL: Final = 400
"""Minimum for forecasts of the final that are made in the fourth quarter. There, close games differ from others in more
than scale: the trailing team fouls, and a tie goes to overtime. Chosen on the same seasons."""

_LATE = 36

_ROUNDING = 1e-9


@dataclass(frozen=True)
class ResidualDistribution:
    """Predictive distribution of the differential at a horizon, given a point forecast and the lead.

    A residual is (outcome − forecast) / scale of its group. In all cells except the first, residuals are mirrored
    towards the leader (sign flipped if the away team leads), because home and away teams lose leads in the same way. In
    the first cell, where one basket may change the lead, they are not mirrored, so the distribution has no jump where
    the lead changes sign.

    Attributes:
        threshold: differential, in points, above which the home team leads.
        edges: edges between the cells by |lead|, in points: a subset of LEAD_EDGES, ascending.
        cells: residuals of each cell, ascending; one cell more than edges.
        scales: scale of each group between LEAD_EDGES, in points.
    """

    threshold: float
    edges: tuple[float, ...]
    cells: tuple[Floats, ...]
    scales: Floats

    @classmethod
    def fit(
        cls,
        horizon: Horizon,
        points: Floats,
        leads: Floats,
        outcomes: Floats,
        *,
        scales: Sequence[float] | Floats = UNSCALED,
        min_cell: int = MIN_CELL,
    ) -> ResidualDistribution:
        """Fit the distribution to forecasts of games that the model has not seen, (n,) each, in points; n ≥ 1.

        Starts with the cells between LEAD_EDGES and merges the smallest with its smaller neighbour until each has at
        least `min_cell` games.
        """
        size = np.abs(leads)
        edges = _merged_edges(size, min_cell)
        residuals = (outcomes - points) / np.asarray(scales)[lead_groups(leads)]
        cell_of = np.searchsorted(edges, size, side="right")
        mirrored = np.where((leads < 0) & (cell_of > 0), -residuals, residuals)
        cells = tuple(np.sort(mirrored[cell_of == cell]) for cell in range(len(edges) + 1))
        return cls(THRESHOLDS[horizon], edges, cells, np.asarray(scales, dtype=np.float64))

    def residuals(self, lead: float) -> Floats:
        """Return the residuals for a game with this lead: outcome − forecast, in points, ascending."""
        cell = self._cell(group := int(lead_groups(np.array([lead]))[0]))
        residuals: Floats = self.cells[cell] * self.scales[group]
        return -residuals[::-1] if lead < 0 and cell > 0 else residuals

    def _cell(self, group: int) -> int:
        return int(np.searchsorted(self.edges, (0.0, *LEAD_EDGES)[group], side="right"))

    def home_lead_probability(self, points: Floats, leads: Floats) -> Floats:
        """Return P(differential > threshold); non-decreasing in point and lead.

        Groups also differ by chance, and the probability must not fall when a lead grows into the next group. A lead is
        therefore at least as safe as under the cells of all smaller leads.

        Args:
            points: (n,) point forecasts.
            leads: (n,), in points.

        Returns:
            (n,), in (0, 1).
        """
        needed = self.threshold - points
        group = lead_groups(leads)
        result = share_above(self.cells[0], needed / self.scales[0])
        for smaller in range(1, len(self.scales)):
            cell = self._cell(smaller)
            home, away = (group >= smaller) & (leads > 0), (group >= smaller) & (leads < 0)
            scaled = needed / self.scales[smaller]
            result[home] = np.maximum(result[home], share_above(self.cells[cell], scaled[home]))
            turned = 1 - share_above(self.cells[cell], -scaled[away])
            share = turned if cell > 0 else share_above(self.cells[cell], scaled[away])
            result[away] = np.minimum(result[away], share)
        return result

    def scored(self, points: Floats, leads: Floats, outcomes: Floats) -> Columns:
        """Return the scores of forecasts of n games, (n,) each, in points; interval ends are NaN where there are none.

        Games of one lead group and side share their residuals.
        """
        result: Columns = {"point": points, "probability": self.home_lead_probability(points, leads)}
        ends = [f"{end}_{level}" for level in LEVELS for end in ("lower", "upper")]
        result |= {name: np.full(len(points), np.nan) for name in ("crps", "pit", *ends)}
        sides = lead_groups(leads) + len(self.scales) * (leads < 0)
        for side in np.unique(sides):
            rows = np.flatnonzero(sides == side)
            residuals, errors = self.residuals(float(leads[rows[0]])), outcomes[rows] - points[rows]
            result["crps"][rows] = metrics.crps(np.zeros(len(rows)), residuals, errors)
            result["pit"][rows] = 1 - share_above(residuals, errors)
            for level, alpha in zip(LEVELS, ALPHAS, strict=True):
                lower, upper = interval(residuals, alpha)
                result[f"lower_{level}"][rows] = points[rows] + lower
                result[f"upper_{level}"][rows] = points[rows] + upper
        return held(result, outcomes)


def held(columns: Columns, outcomes: Floats) -> Columns:
    """Return scores in single precision, and which outcomes are between the ends of the intervals, inclusive."""
    result: Columns = {name: values.astype(np.float32) for name, values in columns.items()}
    for level in LEVELS:
        lower, upper = (result[f"{end}_{level}"].astype(np.float64) for end in ("lower", "upper"))
        result[f"held_{level}"] = (lower <= outcomes) & (outcomes <= upper)
    return result


def interval(residuals: Floats, alpha: float) -> tuple[float, float]:
    """Return the interval of the next residual, nested in alpha; NaN for both ends if there are too few.

    For alpha near 1 both ranks may lie on one side of 0; the interval is then widened to contain the point forecast,
    which can only raise its coverage.

    Args:
        residuals: (n,), ascending.
        alpha: its miscoverage.
    """
    # _ROUNDING: levels such as 1 − 0.9 are slightly too small by floating-point rounding.
    rank = math.floor((len(residuals) + 1) * alpha / 2 + _ROUNDING)
    if rank < 1:
        return math.nan, math.nan
    return min(float(residuals[rank - 1]), 0.0), max(float(residuals[-rank]), 0.0)


def share_above(residuals: Floats, needed: Floats) -> Floats:
    """Return the share of residuals, ascending, above each value, (n,) in (0, 1), counting ties as half.

    Smoothed like a conformal p-value: the next game counts as one more residual, half above and half below.
    """
    not_above = residuals.searchsorted(needed, side="left") + residuals.searchsorted(needed, side="right")
    return (len(residuals) + 0.5 - not_above / 2) / (len(residuals) + 1)


def min_cell_size(horizon: Horizon, minute: int, min_cell: int = MIN_CELL) -> int:
    """Return the minimum games per cell: `min_cell`, or LATE_MIN_CELL if it applies and is smaller."""
    return min(min_cell, LATE_MIN_CELL) if horizon is Horizon.FINAL and minute > _LATE else min_cell


def _merged_edges(size: Floats, min_cell: int) -> tuple[float, ...]:
    """Return the edges left after merging cells until each has at least `min_cell` games, or one cell is left."""
    edges = list(LEAD_EDGES)
    while edges:
        counts = np.bincount(np.searchsorted(edges, size, side="right"), minlength=len(edges) + 1)
        smallest = int(counts.argmin())
        if counts[smallest] >= min_cell:
            break
        if smallest == 0:
            del edges[0]
        elif smallest == len(edges) or counts[smallest - 1] <= counts[smallest + 1]:
            del edges[smallest - 1]
        else:
            del edges[smallest]
    return tuple(edges)


NEWEST_SEASONS: Final = 2
"""Number of seasons whose residuals give the spread of the normal reference: it follows the volatility of the game."""

SCALE: Final = 10.0
"""Divisor of leads and margins before the regression, in points; conditions the optimisation."""

PRIOR_GAMES: Final = 40
"""Weight of all leads in the scale of a lead group, in games."""

SURE: Final = 1e-6
"""Minimum distance of the logistic regression's probabilities from 0 and 1: at the last minute they would round to 0 or
1, and a single game would make the log loss infinite."""


def references(past: RatedGames, rated: RatedGames, cases: Sequence[int] = ALL_CASES) -> dict[str, Columns]:
    """Score the references that know the lead and an expected margin, fitted on all earlier games.

    Args:
        past: the earlier games, at least one, with finite margins.
        rated: n games, with finite margins.
        cases: indices in CASES.

    Returns:
        (n, cases), by forecaster. `linear`: one linear model a minute with the distribution of its residuals; `normal`:
        the same point with a normal distribution on whole numbers, whose spread is that of the newest seasons by size
        of lead; `logistic`: one logistic regression a minute, probabilities alone.
    """
    games, models, known = past.games, fit_linear(*past), MarginSource.KNOWN
    points = linear_points(models, rated)
    out_of_season = out_of_season_points(past, {known: past.margins}, curved=False)[known]
    scales = lead_scales(games, games.outcomes[:, None, :] - linear_points(models, past))
    newest = np.isin(games.season, np.unique(games.season)[-NEWEST_SEASONS:])
    recent = games.select(newest)
    spreads = lead_scales(recent, recent.outcomes[:, None, :] - out_of_season[newest])

    def normal(index: int, minute: int) -> tuple[Floats, LatticeDistribution]:
        from scipy import special  # imported late: it takes a second

        center = points[:, minute - 1, index]
        spread = spreads[index, minute, lead_groups(rated.games.levels[:, minute - 1])]
        below = special.ndtr((EDGES - center[:, None]) / spread[:, None])
        return center, from_cumulative(below, ties=HORIZONS[index] is Horizon.HALFTIME)

    tested = points, rated.games
    return {
        # With all games as the minimum, there is one cell, except in the fourth quarter (`min_cell_size`).
        "linear": _residual_forecasts((out_of_season, games), tested, scales, len(games), cases),
        "normal": whole_number_scores(normal, rated.games.outcomes, cases=cases),
        "logistic": {"probability": logistic_probabilities(past, rated, cases).astype(np.float32)},
    }


def lead_scales(games: Games, residuals: Floats) -> Floats:
    """Return the root mean square of residuals by horizon, minute and lead group, (2, 48, 4), in points.

    Groups are shrunk towards the mean over all leads with the weight of PRIOR_GAMES games. Before tip-off, where there
    is no lead, and for horizons that have passed, the scale is 1.

    Args:
        games: n games.
        residuals: (n, 47 minutes, 2 horizons), in points.
    """
    squares = np.square(residuals)
    overall = squares.mean(axis=0)
    groups = lead_groups(games.levels)
    scales = np.ones((len(HORIZONS), MAX_SLOTS + 1, len(UNSCALED)))
    for group in range(len(UNSCALED)):
        of_group = (groups == group)[:, :, None]
        counts = of_group.sum(axis=0)
        mean = ((squares * of_group).sum(axis=0) + PRIOR_GAMES * overall) / (counts + PRIOR_GAMES)
        scales[:, 1:, group] = np.sqrt(mean).T
    for index, horizon in enumerate(HORIZONS):
        scales[index, horizon.last_slot + 1 :] = 1.0
    return np.maximum(scales, MIN_SCALE)


def persistence(past: Games, games: Games) -> Columns:
    """Score the forecast that the lead stays, with its changes in all earlier games as distribution, (n, cases)."""
    unscaled = np.ones((len(HORIZONS), MAX_SLOTS + 1, len(UNSCALED)))
    of_past, of_games = (np.repeat(each.levels[:, :, None], len(HORIZONS), axis=2) for each in (past, games))
    return _residual_forecasts((of_past, past), (of_games, games), unscaled, MIN_CELL, ALL_CASES)


def _residual_forecasts(
    past: tuple[Floats, Games], tested: tuple[Floats, Games], scales: Floats, min_cell: int, cases: Sequence[int]
) -> Columns:
    """Score point forecasts with the distributions of the residuals of earlier games, (n, cases).

    Args:
        past: points, (m, 47 minutes, 2 horizons), of earlier games that the model has not seen, and these games.
        tested: those of n games.
        scales: (2 horizons, 48 minutes, 4), see `lead_scales`.
        min_cell: minimum number of games of a cell by lead; see `min_cell_size`.
        cases: indices in CASES.
    """
    found = []
    for index, minute in (CASES[case] for case in cases):
        (points, leads, outcomes), of_games = (
            (of[:, minute - 1, index], games.levels[:, minute - 1], games.outcomes[:, index])
            for of, games in (past, tested)
        )
        distribution = ResidualDistribution.fit(
            HORIZONS[index],
            points,
            leads,
            outcomes,
            scales=scales[index, minute],
            min_cell=min_cell_size(HORIZONS[index], minute, min_cell),
        )
        found.append(distribution.scored(*of_games))
    return {name: np.stack([each[name] for each in found], axis=1) for name in found[0]}


def logistic_probabilities(past: RatedGames, rated: RatedGames, cases: Sequence[int] = ALL_CASES) -> Floats:
    """Forecast the probability of a home lead by unpenalised logistic regression on lead and expected margin.

    Fits one regression per horizon and minute (scikit-learn) on past games.

    Returns:
        (n, cases), in (0, 1).
    """
    happened = past.games.outcomes > 0
    found = [
        logistic_regression(_inputs(past, minute), happened[:, index], _inputs(rated, minute), np.inf)
        for index, minute in (CASES[case] for case in cases)
    ]
    return np.stack(found, axis=1)


def _inputs(rated: RatedGames, minute: int) -> Floats:
    return np.stack([rated.games.levels[:, minute - 1], rated.margins], axis=1) / SCALE


def logistic_regression(inputs: Floats, happened: NDArray[np.bool_], queries: Floats, inverse_penalty: float) -> Floats:
    """Return probabilities by logistic regression, (n,) in (0, 1).

    Args:
        inputs: (m, inputs), of earlier games.
        happened: (m,), their outcomes.
        queries: (n, inputs).
        inverse_penalty: see C of scikit-learn; infinite: none.
    """
    if happened.all() or not happened.any():  # with few games, all outcomes may be the same
        return np.full(len(queries), np.clip(float(happened[0]), SURE, 1 - SURE))
    # Imported late: scikit-learn takes seconds to load, and only fits of the references need it.
    from scipy.linalg import LinAlgWarning
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=inverse_penalty, solver="newton-cholesky", tol=1e-8)
    with warnings.catch_warnings():
        # If few games are perfectly separable, the coefficients diverge.
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", LinAlgWarning)
        model.fit(inputs, happened)
    probability: Floats = np.clip(model.predict_proba(queries)[:, 1], SURE, 1 - SURE)
    return probability
