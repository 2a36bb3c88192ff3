"""What a bundle's forecasts of a season are worth, beside persistence on the same games.

Four forecasters are held against what came: the ensemble with the very residuals that it serves with, and Dejavu, the
LSTM and persistence alone, each with a split-conformal calibration of its own on the games that the ensemble was
calibrated on. Every figure has a 95 % bootstrap interval over games; differences from persistence are paired.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from dejavu_models import scores
from dejavu_models.arrays import Floats
from dejavu_models.conformal import ConformalScores
from dejavu_models.forecaster import Forecaster
from dejavu_models.scores import Estimate, GameBootstrap
from dejavu_models.types import Horizon
from dejavu_trainer.games import SLOTS, DataError, Games

BASELINE: Final = "persistence"
MODELS: Final = ("ensemble", "dejavu", "lstm", BASELINE)

ALPHAS: Final = (0.05, 0.2, 0.5)

LEADS: Final = (("0-3", 0, 3), ("4-8", 4, 8), ("9-15", 9, 15), ("16+", 16, None))
"""Groups by |differential| at the last slot, in points, both ends included."""

REGION_LEVEL: Final = 0.99
"""Probability with which a coverage lies in its region, where the nominal rate is the true one."""

RESIDUAL_TOLERANCE: Final = 1e-3
"""How far, in points, residuals computed anew may be from those in the bundle: rounding, on another machine."""


@dataclass(frozen=True, slots=True)
class IntervalFigures:
    """How intervals of one nominal coverage did.

    Attributes:
        alpha: miscoverage rate.
        nominal_coverage: 1 − alpha.
        coverage: share of games whose outcome the interval held.
        coverage_binomial: its 95 % Wilson interval, which, unlike the bootstrap's, holds for small groups too.
        region: the coverages that agree with the nominal one: the central 99 % of the binomial distribution; of groups,
            the level is Bonferroni's for their number.
        agrees: whether the coverage lies in that region.
        conformal_region: the coverages that agree with a split-conformal interval of that nominal coverage: the same
            with the chance counted that lies in the calibration.
        agrees_conformal: whether the coverage lies in that region.
        width: mean width, in points.
        winkler: mean interval score, in points.
        winkler_difference: from persistence, paired, below 0 is better; None for persistence.
    """

    alpha: float
    nominal_coverage: float
    coverage: Estimate
    coverage_binomial: tuple[float, float]
    region: tuple[float, float]
    agrees: bool
    conformal_region: tuple[float, float]
    agrees_conformal: bool
    width: Estimate
    winkler: Estimate
    winkler_difference: Estimate | None


@dataclass(frozen=True, slots=True)
class ModelFigures:
    """How one forecaster did. Differences and the ratio are to persistence on the same games; None for itself.

    There is no ratio either where persistence may be without error, as on a handful of games.

    Attributes:
        mae, rmse, crps: in points.
        brier: of the probability that the home team leads.
        intervals: one for each alpha that the calibration allows.
    """

    mae: Estimate
    rmse: Estimate
    crps: Estimate
    brier: Estimate
    mae_ratio: Estimate | None
    mae_difference: Estimate | None
    rmse_difference: Estimate | None
    crps_difference: Estimate | None
    brier_difference: Estimate | None
    intervals: tuple[IntervalFigures, ...]


@dataclass(frozen=True, slots=True)
class GroupFigures:
    """The figures of some games, by forecaster; no forecaster if there is no game."""

    name: str
    games: int
    models: dict[str, ModelFigures]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A bundle's forecasts of one season held against what came.

    Attributes:
        season: the year in which it ends.
        seen: the part of the bundle's own making that the season was used for; None if it is new to it.
        slots: minutes that the patterns cover.
        overall: of all games.
        by_lead: by |differential| at the last slot.
    """

    model_version: str
    horizon: str
    slots: int
    season: int
    seen: Literal["train", "calibrate"] | None
    train_seasons: tuple[int, ...]
    calibration_seasons: tuple[int, ...]
    calibration_games: int
    overall: GroupFigures
    by_lead: tuple[GroupFigures, ...]


@dataclass(frozen=True, slots=True)
class _Scored:
    """One forecaster's scores of each game, (n,) each, and how many games it was calibrated on."""

    calibration_games: int
    absolute: Floats
    squared: Floats
    crps: Floats
    brier: Floats
    intervals: dict[float, _ScoredIntervals]

    def select(self, which: NDArray[np.bool_]) -> _Scored:
        intervals = {alpha: each.select(which) for alpha, each in self.intervals.items()}
        return _Scored(
            self.calibration_games,
            self.absolute[which],
            self.squared[which],
            self.crps[which],
            self.brier[which],
            intervals,
        )


@dataclass(frozen=True, slots=True)
class _ScoredIntervals:
    covered: NDArray[np.bool_]
    width: Floats
    winkler: Floats

    def select(self, which: NDArray[np.bool_]) -> _ScoredIntervals:
        return _ScoredIntervals(self.covered[which], self.width[which], self.winkler[which])


def evaluate(
    forecaster: Forecaster, games: Games, calibration: Games, *, seed: int = 0, resamples: int = 2000
) -> Evaluation:
    """Evaluates a bundle on the games of one season.

    Args:
        forecaster: the bundle, loaded.
        games: at least one, all of one season.
        calibration: the very games that the bundle was calibrated on.
        seed: of the bootstrap.
        resamples: of the bootstrap.

    Raises:
        DataError: if `calibration` does not leave the residuals that are in the bundle.
    """
    patterns, outcome = games.patterns, games.halftime
    predicted = forecaster.predict_arrays(patterns)
    calibrated = calibrations(forecaster, calibration)
    scored = {name: _score(getattr(predicted, name), outcome, calibrated[name]) for name in MODELS}
    info = forecaster.info
    season = int(games.season[0])
    lead = np.abs(patterns[:, -1])

    def group(name: str, which: NDArray[np.bool_], level: float) -> GroupFigures:
        if not which.any():
            return GroupFigures(name, 0, {})
        bootstrap = GameBootstrap(int(which.sum()), seed=seed, resamples=resamples)
        return _group(name, {model: each.select(which) for model, each in scored.items()}, bootstrap, level)

    return Evaluation(
        model_version=forecaster.version,
        horizon=Horizon.HALFTIME.value,
        slots=SLOTS,
        season=season,
        seen="train" if season in info.train_seasons else "calibrate" if season in info.calibration_seasons else None,
        train_seasons=info.train_seasons,
        calibration_seasons=info.calibration_seasons,
        calibration_games=info.calibration_games,
        overall=group("all", lead >= 0, REGION_LEVEL),
        by_lead=tuple(
            group(name, (lead >= low) & (lead <= (high or np.inf)), 1 - (1 - REGION_LEVEL) / len(LEADS))
            for name, low, high in LEADS
        ),
    )


def calibrations(forecaster: Forecaster, calibration: Games) -> dict[str, ConformalScores]:
    """Each forecaster's residuals: those served for the ensemble, computed anew for the others.

    Raises:
        DataError: if the games are not those that the bundle was calibrated on.
    """
    served = forecaster.scores(SLOTS)
    predicted, outcome = forecaster.predict_arrays(calibration.patterns), calibration.halftime
    anew = {name: ConformalScores.of(outcome, getattr(predicted, name)) for name in MODELS}
    if anew["ensemble"].games != served.games or not np.allclose(
        anew["ensemble"].residuals, served.residuals, rtol=0, atol=RESIDUAL_TOLERANCE
    ):
        seasons = ", ".join(map(str, forecaster.info.calibration_seasons))
        raise DataError(
            f"the games of {seasons} are not those that bundle {forecaster.version} was calibrated on: they leave other"
            " residuals; without them there is nothing to calibrate persistence on"
        )
    return anew | {"ensemble": served}


def _score(point: Floats, outcome: Floats, calibrated: ConformalScores) -> _Scored:
    intervals = {}
    for alpha in ALPHAS:
        if alpha >= calibrated.smallest_alpha:
            below, above = calibrated.offsets(alpha)
            lower, upper = point + below, point + above
            intervals[alpha] = _ScoredIntervals(
                covered=scores.covered(lower, upper, outcome),
                width=upper - lower,
                winkler=scores.winkler(lower, upper, outcome, alpha),
            )
    return _Scored(
        calibration_games=calibrated.games,
        absolute=scores.absolute_error(point, outcome),
        squared=scores.squared_error(point, outcome),
        crps=scores.crps(point, calibrated.residuals, outcome),
        brier=scores.brier(calibrated.home_lead_probability(point), outcome > 0),
        intervals=intervals,
    )


def _group(name: str, scored: dict[str, _Scored], bootstrap: GameBootstrap, level: float) -> GroupFigures:
    baseline = scored[BASELINE]
    figures = {
        model: _figures(each, None if model == BASELINE else baseline, bootstrap, level)
        for model, each in scored.items()
    }
    return GroupFigures(name, len(baseline.absolute), figures)


def _figures(scored: _Scored, baseline: _Scored | None, bootstrap: GameBootstrap, level: float) -> ModelFigures:
    compared: dict[str, Any] = dict.fromkeys(
        ("mae_ratio", "mae_difference", "rmse_difference", "crps_difference", "brier_difference")
    )
    if baseline is not None:
        compared = {
            "mae_ratio": _ratio(bootstrap, scored.absolute, baseline.absolute),
            "mae_difference": bootstrap.difference(scored.absolute, baseline.absolute),
            "rmse_difference": bootstrap.estimate(
                lambda one, other: np.sqrt(one) - np.sqrt(other), scored.squared, baseline.squared
            ),
            "crps_difference": bootstrap.difference(scored.crps, baseline.crps),
            "brier_difference": bootstrap.difference(scored.brier, baseline.brier),
        }
    return ModelFigures(
        mae=bootstrap.mean(scored.absolute),
        rmse=bootstrap.root_mean(scored.squared),
        crps=bootstrap.mean(scored.crps),
        brier=bootstrap.mean(scored.brier),
        **compared,
        intervals=tuple(
            _interval_figures(
                alpha,
                each,
                baseline.intervals[alpha] if baseline else None,
                bootstrap,
                level,
                scored.calibration_games,
            )
            for alpha, each in scored.intervals.items()
        ),
    )


def _ratio(bootstrap: GameBootstrap, score: Floats, baseline: Floats) -> Estimate | None:
    try:
        return bootstrap.ratio(score, baseline)
    except ZeroDivisionError:
        return None


def _interval_figures(
    alpha: float,
    scored: _ScoredIntervals,
    baseline: _ScoredIntervals | None,
    bootstrap: GameBootstrap,
    level: float,
    calibration_games: int,
) -> IntervalFigures:
    games, held = len(scored.covered), int(scored.covered.sum())
    first, last = scores.binomial_region(games, 1 - alpha, level)
    least, most = scores.conformal_region(games, calibration_games, alpha, level)
    return IntervalFigures(
        alpha=alpha,
        nominal_coverage=1 - alpha,
        coverage=bootstrap.mean(scored.covered),
        coverage_binomial=scores.wilson_interval(held, games),
        region=(first / games, last / games),
        agrees=first <= held <= last,
        conformal_region=(least / games, most / games),
        agrees_conformal=least <= held <= most,
        width=bootstrap.mean(scored.width),
        winkler=bootstrap.mean(scored.winkler),
        winkler_difference=None if baseline is None else bootstrap.difference(scored.winkler, baseline.winkler),
    )
