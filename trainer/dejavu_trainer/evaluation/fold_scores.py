"""Forecasts held against what came, game by game and minute by minute: what all figures are made from.

Every forecaster is scored on the same games. The ensemble is so with the very distributions that it serves with; those
it is held against get a split-conformal calibration of their own, on the games that the ensemble was calibrated on.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dejavu_models import metrics
from dejavu_models.arrays import Floats, Singles
from dejavu_models.point.ensemble import PointEnsemble
from dejavu_models.types import HORIZONS, MAX_SLOTS, MarginSource
from dejavu_models.uncertainty.calibration import Calibration, Situation
from dejavu_models.uncertainty.conformal import LEAD_EDGES, MIN_CELL, PredictiveDistribution, lead_groups, least_cell
from dejavu_trainer.evaluation.baselines import GamesWithMargins, linear_forecasts, logistic_probabilities, persistence
from dejavu_trainer.training.ensemble import FIXED_DEJAVU_WEIGHT

CASES: Final = tuple(
    (place, minute) for place, horizon in enumerate(HORIZONS) for minute in range(1, horizon.last_slot + 1)
)
"""Horizons (by place in HORIZONS) and minutes that forecasts are made for, in the order of every axis over stages."""

ALPHAS: Final = (0.05, 0.2, 0.5)
"""Of the intervals that are scored."""

SERVED: Final = ("ensemble", "frozen", "no_teams")
"""The ensemble with ratings carried from game to game; with ratings as they stood before the season; without teams."""

PARTS: Final = ("dejavu", "lstm", "fixed")
"""What the ensemble is made of, and with fixed weights; each with ratings carried from game to game."""

BASELINES: Final = ("linear", "persistence")

LOGISTIC: Final = "logistic"
"""It gives probabilities and nothing else."""

FORECASTERS: Final = (*SERVED, *PARTS, *BASELINES, LOGISTIC)

SCORING_STEPS: Final = 6
"""How often `score_fold` tells how far it is."""


@dataclass(frozen=True, slots=True)
class Forecasts:
    """One forecaster's forecasts of n games at every stage; a logistic regression has probabilities only.

    Attributes:
        probability: (n, stages), that the home team leads at the horizon.
        point: (n, stages), in points.
        lower, upper: (n, stages, alphas), ends of intervals, in points; NaN where the calibration is too small.
        crps: (n, stages), in points.
        pit: (n, stages), the share of the predictive distribution below what came (Dawid 1984); where it is calibrated,
            these are uniform on (0, 1).
    """

    probability: Singles
    point: Singles | None = None
    lower: Singles | None = None
    upper: Singles | None = None
    crps: Singles | None = None
    pit: Singles | None = None


@dataclass(frozen=True)
class FoldScores:
    """What models that were made from earlier seasons forecast of n later games, and what came.

    Attributes:
        train_seasons, calibration_seasons: of the models.
        calibration_games: how many games they were calibrated on.
        cell_games: (stages, 4), the calibration games in the cell that leads of 0–3, 4–8, 9–15 and 16 or more lie in.
        home_advantage: the mean final differential of all earlier games, in points: what one expects who does not know
            the teams.
        game_id: (n,).
        season: (n,).
        date: (n,).
        phase: (n,), RS, PI or PO.
        home, away: (n,), NBA codes.
        leads: (n, 47), differentials after minutes 1 to 47, in points.
        outcomes: (n, 2), by horizon, in points.
        margins: (n,), expected final differentials with ratings carried from game to game, in points.
        frozen_margins: (n,), the same with ratings as they stood before the season.
        forecasts: by forecaster.
    """

    train_seasons: tuple[int, ...]
    calibration_seasons: tuple[int, ...]
    calibration_games: int
    cell_games: NDArray[np.int32]
    home_advantage: float
    game_id: NDArray[np.str_]
    season: NDArray[np.int16]
    date: NDArray[np.datetime64]
    phase: NDArray[np.str_]
    home: NDArray[np.str_]
    away: NDArray[np.str_]
    leads: NDArray[np.int16]
    outcomes: NDArray[np.int16]
    margins: Singles
    frozen_margins: Singles
    forecasts: dict[str, Forecasts]

    def __len__(self) -> int:
        return len(self.game_id)


def score_fold(
    models: PointEnsemble,
    calibration: Calibration,
    *,
    earlier: GamesWithMargins,
    calibrate: GamesWithMargins,
    test: GamesWithMargins,
    frozen_margins: Floats,
    min_cell: int = MIN_CELL,
    advance: Callable[[int], object] | None = None,
) -> FoldScores:
    """Scores models on games that are later than all that they were made from.

    Args:
        models: with a database for every minute.
        calibration: of the models, as it will be served.
        earlier: all games before those to test on, `calibrate` among them, with margins carried from game to game: what
            the logistic regression is fitted on.
        calibrate: the games that `calibration` was made from.
        test: games to test on, at least one, with margins carried from game to game.
        frozen_margins: (n,), of the games to test on, with ratings as they stood before the first of them, in points.
        min_cell: the fewest calibration games of a cell, for forecasters that are calibrated here.
        advance: called with 1 after each of SCORING_STEPS.

    Raises:
        KeyError: if the models or the calibration do not know a minute.
    """
    told = advance or (lambda _: None)
    games = test.games
    past = point_forecasts(models, calibrate)
    told(1)
    points = point_forecasts(models, test)
    told(1)
    frozen = point_forecasts(models, GamesWithMargins(games, frozen_margins))["ensemble"]
    told(1)
    no_teams = point_forecasts(models, GamesWithMargins(games, np.full(len(games), np.nan)))["ensemble"]
    told(1)
    served = {
        mode: [calibration.distributions[Situation(HORIZONS[place], minute, mode)] for place, minute in CASES]
        for mode in MarginSource
    }
    forecasts = {
        "ensemble": _forecasts(points["ensemble"], served[MarginSource.KNOWN], test),
        "frozen": _forecasts(frozen, served[MarginSource.RATED], test),
        "no_teams": _forecasts(no_teams, served[MarginSource.UNKNOWN], test),
    }
    for name in (*PARTS, *BASELINES):
        # Persistence has no training games that could tell how far off it is.
        scales = np.ones_like(models.linear.scales) if name == "persistence" else models.linear.scales
        own = _own_calibration(past[name], calibrate, scales[:, :, MarginSource.KNOWN], min_cell)
        forecasts[name] = _forecasts(points[name], own, test)
    told(1)
    forecasts[LOGISTIC] = Forecasts(_by_case(logistic_probabilities(earlier, test)))
    told(1)
    trained = earlier.select(~np.isin(earlier.games.game_id, calibrate.games.game_id))
    return FoldScores(
        train_seasons=_seasons(trained),
        calibration_seasons=_seasons(calibrate),
        calibration_games=len(calibrate.games),
        cell_games=np.array([_games_by_lead(each) for each in served[MarginSource.KNOWN]], dtype=np.int32),
        home_advantage=float(earlier.games.final.mean()),
        game_id=games.game_id,
        season=games.season,
        date=games.date,
        phase=games.phase,
        home=games.home,
        away=games.away,
        leads=games.differentials[:, :MAX_SLOTS],
        outcomes=games.outcomes.astype(np.int16),
        margins=test.margins.astype(np.float32),
        frozen_margins=frozen_margins.astype(np.float32),
        forecasts=forecasts,
    )


def point_forecasts(models: PointEnsemble, rated: GamesWithMargins) -> dict[str, Floats]:
    """What each model forecasts for n games after every minute.

    Returns:
        By forecaster, (n, 47 minutes, 2 horizons), in points; without meaning for a horizon that has passed.
    """
    leads = rated.games.levels
    names = ("ensemble", "dejavu", "lstm")
    result = {name: np.empty((*leads.shape, len(HORIZONS))) for name in (*names, "fixed")}
    residuals = models.lstm.residuals(leads, rated.margins)
    for minute in range(1, MAX_SLOTS + 1):
        predictions = models.predict_from_residuals(leads[:, :minute], rated.margins, residuals[:, minute - 1])
        for name in names:
            result[name][:, minute - 1] = getattr(predictions, name)
    result["fixed"] = FIXED_DEJAVU_WEIGHT * result["dejavu"] + (1 - FIXED_DEJAVU_WEIGHT) * result["lstm"]
    result["linear"] = linear_forecasts(models.linear, rated)
    result["persistence"] = persistence(rated.games)
    return result


def _own_calibration(
    points: Floats, calibrate: GamesWithMargins, scales: Floats, min_cell: int
) -> list[PredictiveDistribution]:
    leads, outcomes = calibrate.games.levels, calibrate.games.outcomes
    return [
        PredictiveDistribution.fit(
            HORIZONS[place],
            points[:, minute - 1, place],
            leads[:, minute - 1],
            outcomes[:, place],
            scales=scales[place, minute].tolist(),
            min_cell=least_cell(HORIZONS[place], minute, min_cell),
        )
        for place, minute in CASES
    ]


def _forecasts(points: Floats, distributions: list[PredictiveDistribution], test: GamesWithMargins) -> Forecasts:
    leads, outcomes = test.games.levels, test.games.outcomes
    shape = (len(leads), len(CASES))
    point, crps, probability, pit = (np.empty(shape, dtype=np.float32) for _ in range(4))
    lower, upper = (np.empty((*shape, len(ALPHAS)), dtype=np.float32) for _ in range(2))
    for column, ((place, minute), distribution) in enumerate(zip(CASES, distributions, strict=True)):
        at, lead, came = points[:, minute - 1, place], leads[:, minute - 1], outcomes[:, place]
        point[:, column] = at
        probability[:, column] = distribution.home_lead_probability(at, lead)
        for side, group in itertools.product((lead < 0, lead >= 0), range(len(LEAD_EDGES) + 1)):
            rows = np.flatnonzero(side & (lead_groups(lead) == group))
            if len(rows):
                # The games of one group and side share their distribution, up to the point forecast.
                one = float(lead[rows[0]])
                residuals, error = distribution.sample(one), came[rows] - at[rows]
                crps[rows, column] = metrics.crps(np.zeros(len(rows)), residuals.residuals, error)
                pit[rows, column] = 1 - residuals.share_above(error)
                lower[rows, column], upper[rows, column] = at[rows, None] + _offsets(distribution, one)
    return Forecasts(probability, point, lower, upper, crps, pit)


def _offsets(distribution: PredictiveDistribution, lead: float) -> Floats:
    """What the ends of intervals lie from the point forecast: (2, 1, alphas); NaN where there is no interval."""
    result = np.full((2, 1, len(ALPHAS)), np.nan)
    for column, alpha in enumerate(ALPHAS):
        if alpha >= distribution.smallest_alpha:
            interval = distribution.interval(0.0, lead, alpha)
            result[:, 0, column] = interval.lower, interval.upper
    return result


def _games_by_lead(distribution: PredictiveDistribution) -> list[int]:
    """How many calibration games the cell has in which each group of leads lies."""
    return [distribution.scores(smallest).games for smallest in (0.0, *LEAD_EDGES)]


def _by_case(values: Floats) -> Singles:
    """(n, 47 minutes, 2 horizons) → (n, stages)."""
    return np.stack([values[:, minute - 1, place] for place, minute in CASES], axis=1).astype(np.float32)


def _seasons(rated: GamesWithMargins) -> tuple[int, ...]:
    return tuple(int(season) for season in np.unique(rated.games.season))
