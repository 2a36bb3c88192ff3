"""Scores forecasts by game and minute; all metrics are computed from these scores.

Every forecaster is scored on the same games. The references use all earlier games, see `baselines`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dejavu_feed.box_score import MARKS, mark_of
from dejavu_models import metrics
from dejavu_models.arrays import Floats, Singles
from dejavu_models.components.ensemble import Ensemble, Weights
from dejavu_models.player_ratings import PlayerRatings
from dejavu_models.types import CASES, COMPONENTS, HORIZONS, MAX_SLOTS, THRESHOLDS, MarginSource
from dejavu_models.uncertainty.lattice.calibration import LatticeCalibration
from dejavu_models.uncertainty.lead_groups import LEAD_EDGES, lead_groups
from dejavu_trainer.data.games import Games
from dejavu_trainer.evaluation.scoring.baselines import (
    SURE,
    diffusion,
    hindsight_margins,
    linear_baseline,
    logistic_probabilities,
    persistence_baseline,
)
from dejavu_trainer.evaluation.scoring.conformal import PredictiveDistribution
from dejavu_trainer.evaluation.scoring.forecasts import ALPHAS, Forecasts, choose
from dejavu_trainer.evaluation.scoring.lattice_scores import lattice_forecasts, season_factors
from dejavu_trainer.evaluation.scoring.moments import COLUMNS_SCORED, score_moments
from dejavu_trainer.execution import Advance, ignore
from dejavu_trainer.training.calibrate import CalibratedModels
from dejavu_trainer.training.linear import have_line, linear_points
from dejavu_trainer.training.players import rate_players
from dejavu_trainer.training.ratings import RatedGames, carry, margins_with_frozen_ratings
from dejavu_trainer.training.served_tables import ServedTables, fits_live_tables

SERVED: Final = ("served", "frozen", "no_teams")
"""The forecasts of a server, with carried ratings; with ratings frozen before the season; without teams.

Their scores are multiplied by a factor of the season, as a server does by default.
"""

STATIC: Final = {"served": "static", "frozen": "static_frozen"}
"""Name, by some of SERVED, of the same forecasts without the factor of the season."""

NO_LIVE: Final = "no_live"
"""The served forecasts without total points and last scores, as for requests that do not have them."""

PLAYERS: Final = "players"
"""The served forecasts with expected margins that use the line-ups so far. Scored if the models have ratings of players
and the line-ups of at least half of the test games are known; the other games are forecast as without them."""

PARTS: Final = {
    "base": Weights.fixed(1.0, 0.0, 0.0),
    "dejavu": Weights.fixed(0.0, 1.0, 0.0),
    "lstm": Weights.fixed(0.0, 0.0, 1.0),
    "documents": Weights.fixed(0.0, 0.4, 0.6),
}
"""Other weights of the components: the linear models alone, each other component alone, and Dejavu and the LSTM by 0.4
and 0.6; with carried ratings and the served ranks, without the factor of the season. Scored if the models have both
components."""

BASELINES: Final = ("linear", "persistence")
"""References with a distribution, fitted on all earlier games."""

LOGISTIC: Final = "logistic"
"""Reference that gives only probabilities, fitted on all earlier games."""

CEILING: Final = ("diffusion", "hindsight")
"""A Brownian motion with the expected margin as its drift; the linear reference with ratings in hindsight. See
`baselines`."""

LINE: Final = "line"
"""The served forecasts with the closing line of a betting market as their expected margin."""

OF_LINE: Final = ("linear_line", "logistic_line")
"""The references `linear` and `logistic` with the same line. These and LINE are scored if the models and at least half
of the test games have lines; a game without one is forecast as without the line."""

FORECASTERS: Final = (
    *(*SERVED, STATIC["served"], NO_LIVE, *PARTS),
    *(*BASELINES, LOGISTIC, *CEILING, PLAYERS, LINE, *OF_LINE),
)
"""All forecasters; those of line and players may be missing in a fold."""

_LEAST_SHARE: Final = 0.5
"""Least share of test games with a line, or with known line-ups."""

SCORING_STEPS: Final = 5
"""Number of progress updates of `score_fold`."""


@dataclass(frozen=True)
class FoldScores:
    """Forecasts of n games by models from earlier seasons, with outcomes and scores.

    Attributes:
        train_seasons, calibration_seasons: seasons of the models.
        calibration_games: number of calibration games.
        cell_games: (cases, 4), number of calibration games with a |lead| of 0–3, 4–8, 9–15 and 16 or more.
        home_advantage: mean final differential of all earlier games, in points; the expected margin without knowing the
            teams.
        game_id: (n,).
        season: (n,).
        date: (n,).
        phase: (n,), RS, PI or PO.
        home, away: (n,), NBA codes.
        leads: (n, 47), differentials after minutes 1 to 47, in points.
        outcomes: (n, 2), differentials by horizon, in points.
        margins: (n,), expected final differentials with carried ratings, in points.
        frozen_margins: (n,), the same with ratings frozen before the season.
        hindsight_margins: (n,), the same from all other games of the season, later ones too; see `baselines`.
        forecasts: forecasts by forecaster.
        moments: (states, COLUMNS_SCORED), scores at moments (`score_moments`); empty without any.
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
    hindsight_margins: Singles
    forecasts: dict[str, Forecasts]
    moments: Singles = field(default_factory=lambda: np.empty((0, len(COLUMNS_SCORED)), np.float32))

    def __len__(self) -> int:
        return len(self.game_id)


def served(folds: Sequence[FoldScores]) -> tuple[str, ...]:
    """Return the forecasters that the verdict checks: SERVED, and PLAYERS and LINE if all folds have them."""
    return (*SERVED, *(name for name in (PLAYERS, LINE) if all(name in fold.forecasts for fold in folds)))


def score(models: CalibratedModels, games: Games, advance: Advance = ignore) -> FoldScores:
    """Score calibrated models on one or more games later than all games of the models; see `score_fold`."""
    test, _ = carry(models.after, games)
    scored = score_fold(
        models.models,
        models.calibration,
        earlier=models.games,
        calibrate=models.calibrate,
        test=test,
        frozen_margins=margins_with_frozen_ratings(models.after, games),
        players=models.players,
        advance=advance,
    )
    if models.moments is None:
        return scored
    of_moments = score_moments(models.models, models.calibration, models.moments, models.games, test)
    return replace(scored, moments=of_moments)


def score_fold(
    models: Ensemble,
    calibration: LatticeCalibration,
    *,
    earlier: RatedGames,
    calibrate: RatedGames,
    test: RatedGames,
    frozen_margins: Floats,
    players: PlayerRatings | None = None,
    advance: Advance = ignore,
) -> FoldScores:
    """Score models on games later than all their training and calibration games.

    Args:
        models: the components.
        calibration: calibration of the models, as served.
        earlier: all games before the test games, including `calibrate`, with margins from carried ratings; the
            references are fitted on them.
        calibrate: the games whose ranks made `calibration`.
        test: test games, at least one, with margins from carried ratings.
        frozen_margins: (n,), margins of the test games with ratings frozen before the first of them, in points.
        players: ratings of players after all earlier games; None if the models have none.
        advance: called with 1 after each of SCORING_STEPS.
    """
    past, games = earlier.games, test.games
    frozen = linear_points(models.linear, RatedGames(games, frozen_margins))
    advance(1)
    no_teams = linear_points(models.linear, RatedGames(games, np.full(len(games), np.nan)))
    advance(1)
    by_name = {"served": linear_points(models.linear, test), "frozen": frozen, "no_teams": no_teams}
    known = ServedTables.of_source(models, calibration, MarginSource.KNOWN, test)
    # Tables with live inputs are calibrated only by games that have live inputs.
    counted = calibrate.select(fits_live_tables(calibrate.games)) if known.use_live else calibrate
    forecasts, cell_games = _of_models(models, calibration, known, by_name, test, frozen_margins, counted)
    advance(1)
    forecasts |= _parts(models, calibration, by_name["served"], test)
    advance(1)
    hindsight = hindsight_margins(games)
    forecasts |= _references(earlier, test, hindsight)
    if calibration.has_line and have_line(games).mean() >= _LEAST_SHARE:
        of_line, lined = _with_line(models, calibration, earlier.games, test), have_line(games)
        for name, without in zip((LINE, *OF_LINE), ("served", "linear", LOGISTIC), strict=True):
            forecasts[name] = choose(lined, of_line[name], forecasts[without])
    if players is not None:
        with_players = _with_players(models, calibration, players, test)
        if with_players is not None:
            forecasts[PLAYERS] = with_players
    advance(1)
    apart = past.season[~np.isin(past.game_id, calibrate.games.game_id)]
    return FoldScores(
        train_seasons=_seasons(apart if len(apart) else past.season),
        calibration_seasons=_seasons(calibrate.games.season),
        calibration_games=len(counted.games),
        cell_games=cell_games,
        home_advantage=float(past.final.mean()),
        **{name: getattr(games, name) for name in ("game_id", "season", "date", "phase", "home", "away")},
        leads=games.differentials[:, :MAX_SLOTS],
        outcomes=games.outcomes.astype(np.int16),
        margins=test.margins.astype(np.float32),
        frozen_margins=frozen_margins.astype(np.float32),
        hindsight_margins=hindsight.astype(np.float32),
        forecasts=forecasts,
    )


def _of_models(
    models: Ensemble,
    calibration: LatticeCalibration,
    known: ServedTables,
    served: dict[str, Floats],
    test: RatedGames,
    frozen_margins: Floats,
    calibrate: RatedGames,
) -> tuple[dict[str, Forecasts], NDArray[np.int32]]:
    """Return the forecasts of SERVED, STATIC and NO_LIVE, and the calibration games by case and lead group."""
    games = test.games
    sources = {
        "served": (MarginSource.KNOWN, test.margins),
        "frozen": (MarginSource.RATED, frozen_margins),
        "no_teams": (MarginSource.UNKNOWN, np.full(len(games), np.nan)),
    }
    factors = season_factors(served["served"], known, test.margins)
    forecasts = {}
    for name, (source, margins) in sources.items():
        of_source = RatedGames(games, margins)
        tables = known if name == "served" else ServedTables.of_source(models, calibration, source, of_source)
        forecasts[name] = lattice_forecasts(served[name], tables, margins, factors)
        if name in STATIC:
            forecasts[STATIC[name]] = lattice_forecasts(served[name], tables, margins)
    without = ServedTables.of_source(models, calibration, MarginSource.KNOWN, test, with_live=False)
    forecasts[NO_LIVE] = lattice_forecasts(served["served"], without, test.margins, factors)
    groups = lead_groups(calibrate.games.levels)
    by_minute = np.stack([np.bincount(of_minute, minlength=len(LEAD_EDGES) + 1) for of_minute in groups.T])
    return forecasts, np.array([by_minute[minute - 1] for _, minute in CASES], dtype=np.int32)


def _parts(models: Ensemble, calibration: LatticeCalibration, points: Floats, test: RatedGames) -> dict[str, Forecasts]:
    """Return the forecasts by the weights of PARTS, and by other components alone; none without COMPONENTS."""
    if models.components[: len(COMPONENTS)] != COMPONENTS:
        return {}
    result, names = {}, models.weights.names
    alone = {each: Weights.fixed(*(float(name == each) for name in names), names=names) for each in names[3:]}
    for name, weights in (PARTS | alone).items():
        tables = ServedTables.of_source(replace(models, weights=weights), calibration, MarginSource.KNOWN, test)
        result[name] = lattice_forecasts(points, tables, test.margins)
    return result


def _with_line(
    models: Ensemble, calibration: LatticeCalibration, earlier: Games, test: RatedGames
) -> dict[str, Forecasts]:
    """Return the forecasts of models and references with the line; meaningless for games without one."""
    games = test.games
    lines = RatedGames(games, np.where(have_line(games), games.line, test.margins).astype(np.float64))
    points = linear_points(models.linear, lines, line=True)
    tables = ServedTables.of_source(models, calibration, MarginSource.LINE, lines)
    past = earlier.select(have_line(earlier))
    with_line = RatedGames(past, past.line.astype(np.float64))
    linear, logistic = OF_LINE
    return {
        LINE: lattice_forecasts(points, tables, lines.margins, season_factors(points, tables, lines.margins)),
        linear: _forecasts(*linear_baseline(with_line, lines), lines),
        logistic: _logistic_forecasts(with_line, lines),
    }


def _with_players(
    models: Ensemble, calibration: LatticeCalibration, players: PlayerRatings, test: RatedGames
) -> Forecasts | None:
    """Return the forecasts that use line-ups; None if too few line-ups are known."""
    line_ups = rate_players(players, test.games)[0]
    if np.isfinite(line_ups.usual).mean() < _LEAST_SHARE:
        return None
    marks = np.array([mark_of(minute) for minute in range(1, MAX_SLOTS + 1)])
    of_marks = test.margins[:, None] + line_ups.added(players.weights, test.margins)
    points = np.empty((len(test.games), MAX_SLOTS, len(HORIZONS)))
    for mark in range(len(MARKS)):
        slots = np.flatnonzero(marks == mark)
        rated = RatedGames(test.games, of_marks[:, mark])
        points[:, slots] = linear_points(models.linear, rated)[:, slots]
    margins = of_marks[:, marks]
    tables = ServedTables.of_source(models, calibration, MarginSource.KNOWN, RatedGames(test.games, margins))
    return lattice_forecasts(points, tables, margins, season_factors(points, tables, margins))


def _logistic_forecasts(past: RatedGames, rated: RatedGames) -> Forecasts:
    probabilities = logistic_probabilities(past, rated)
    by_case = np.stack([probabilities[:, minute - 1, index] for index, minute in CASES], axis=1)
    return Forecasts(by_case.astype(np.float32))


def _references(earlier: RatedGames, test: RatedGames, hindsight: Floats) -> dict[str, Forecasts]:
    in_hindsight = RatedGames(earlier.games, hindsight_margins(earlier.games))
    known = RatedGames(test.games, hindsight)
    return {
        "linear": _forecasts(*linear_baseline(earlier, test), test),
        "persistence": _forecasts(*persistence_baseline(earlier, test), test),
        LOGISTIC: _logistic_forecasts(earlier, test),
        "diffusion": _normal_forecasts(*diffusion(earlier, test), test.games),
        "hindsight": _forecasts(*linear_baseline(in_hindsight, known), test),
    }


def _normal_forecasts(means: Floats, deviations: Floats, games: Games) -> Forecasts:
    """Score normal distributions: means (n, cases) and standard deviations (cases,), in points."""
    from scipy import special  # imported late: it takes a second

    indices = [index for index, _ in CASES]
    thresholds = np.array([THRESHOLDS[HORIZONS[index]] for index in indices])
    score = (games.outcomes[:, indices] - means) / deviations
    pit, density = special.ndtr(score), np.exp(-np.square(score) / 2) / np.sqrt(2 * np.pi)
    tails = deviations[:, None] * special.ndtri(np.array(ALPHAS) / 2)
    probability = np.clip(special.ndtr((means - thresholds) / deviations), SURE, 1 - SURE)
    return Forecasts(
        probability=probability.astype(np.float32),
        point=means.astype(np.float32),
        lower=(means[:, :, None] + tails).astype(np.float32),
        upper=(means[:, :, None] - tails).astype(np.float32),
        # Gneiting & Raftery 2007, equation 5.
        crps=(deviations * (score * (2 * pit - 1) + 2 * density - 1 / np.sqrt(np.pi))).astype(np.float32),
        pit=pit.astype(np.float32),
    )


def _forecasts(points: Floats, distributions: list[PredictiveDistribution], test: RatedGames) -> Forecasts:
    leads, outcomes = test.games.levels, test.games.outcomes
    shape = (len(leads), len(CASES))
    point, crps, probability, pit = (np.empty(shape, dtype=np.float32) for _ in range(4))
    lower, upper = (np.empty((*shape, len(ALPHAS)), dtype=np.float32) for _ in range(2))
    for column, ((index, minute), distribution) in enumerate(zip(CASES, distributions, strict=True)):
        center, lead, outcome = points[:, minute - 1, index], leads[:, minute - 1], outcomes[:, index]
        point[:, column] = center
        probability[:, column] = distribution.home_lead_probability(center, lead)
        group_of_each = lead_groups(lead)
        for side, group in itertools.product((lead < 0, lead >= 0), range(len(LEAD_EDGES) + 1)):
            rows = np.flatnonzero(side & (group_of_each == group))
            if len(rows):
                # Games of one lead group and side share their residual distribution.
                group_lead = float(lead[rows[0]])
                residuals, error = distribution.residuals_for(group_lead), outcome[rows] - center[rows]
                crps[rows, column] = metrics.crps(np.zeros(len(rows)), residuals.residuals, error)
                pit[rows, column] = 1 - residuals.share_above(error)
                lower[rows, column], upper[rows, column] = center[rows, None] + _offsets(distribution, group_lead)
    return Forecasts(probability=probability, point=point, lower=lower, upper=upper, crps=crps, pit=pit)


def _offsets(distribution: PredictiveDistribution, lead: float) -> Floats:
    """Return the interval ends relative to the point forecast: (2, 1, alphas); NaN where there is no interval."""
    result = np.full((2, 1, len(ALPHAS)), np.nan)
    for column, alpha in enumerate(ALPHAS):
        if alpha >= distribution.smallest_alpha:
            interval = distribution.interval(0.0, lead, alpha)
            result[:, 0, column] = interval.lower, interval.upper
    return result


def _seasons(season: NDArray[np.integer]) -> tuple[int, ...]:
    return tuple(np.unique(season).tolist())
