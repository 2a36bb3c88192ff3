"""A bundle's forecasts of a season held against what came: at every minute and for both horizons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from dejavu_models.forecaster import Forecaster
from dejavu_models.ratings import RatingFilter, frozen_margins
from dejavu_models.types import MAX_SLOTS
from dejavu_trainer.data.games import Games
from dejavu_trainer.data.plays import DataError
from dejavu_trainer.evaluation.baselines import GamesWithMargins
from dejavu_trainer.evaluation.fold_scores import SCORING_STEPS, FoldScores, score_fold
from dejavu_trainer.evaluation.result import RESULT_STEPS, BacktestResult, RunProvenance, result_of
from dejavu_trainer.training.ratings import carry

STEPS: Final = SCORING_STEPS + RESULT_STEPS
"""How often `evaluate` tells how far it is."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a bundle's forecasts of a season were worth.

    Attributes:
        model_version: of the bundle.
        season: the year in which it ends.
        seen: the part of the bundle's own making that the season was used for; None if it is new to it.
        result: the figures; the references are calibrated on the games that the bundle was calibrated on.
        scores: what they were taken from.
    """

    model_version: str
    season: int
    seen: Literal["train", "calibrate"] | None
    result: BacktestResult
    scores: FoldScores


def seasons_needed(forecaster: Forecaster, season: int) -> list[int]:
    """The seasons whose games `evaluate` needs: those that the bundle was made from, and the one to test on."""
    info = forecaster.info
    return sorted({season, *info.train_seasons, *info.calibration_seasons})


def evaluate(
    forecaster: Forecaster,
    games: Games,
    season: int,
    *,
    seed: int = 0,
    resamples: int = 2000,
    advance: Callable[[int], object] | None = None,
) -> Evaluation:
    """Evaluates a bundle on the games of one season.

    Args:
        forecaster: the bundle, loaded.
        games: of `seasons_needed`.
        season: to test on.
        seed: of the bootstrap.
        resamples: of the bootstrap.
        advance: called with 1 after each of STEPS.

    Raises:
        DataError: if the games are not those that the bundle was made from, there are none of the season, or none
            before it for the references to learn from; or if the bundle does not know every minute.
    """
    info, manifest = forecaster.info, forecaster.manifest
    if missing := [minute for minute in range(1, MAX_SLOTS + 1) if minute not in forecaster.models.minutes]:
        raise DataError(
            f"bundle {forecaster.version} knows nothing of minute {missing[0]}; expected one of all minutes"
        )
    made_from = games.of_seasons([*info.train_seasons, *info.calibration_seasons])
    if made_from.fingerprint != manifest.data_fingerprint:
        raise DataError(
            f"the games of {min(info.train_seasons)} to {max(info.calibration_seasons)} are not those that bundle"
            f" {forecaster.version} was made from; without them there is nothing to calibrate the references on"
        )
    start = RatingFilter.start(forecaster.rating_filter.settings)
    rated = GamesWithMargins(games, carry(start, games).margins)
    earlier, test = rated.select(games.season < season), rated.of_seasons([season])
    for found, what in ((test, f"of season {season}"), (earlier, f"before {season} for the references to learn from")):
        if not len(found.games):
            raise DataError(f"there are no games {what}")
    scored = score_fold(
        forecaster.models,
        forecaster.calibration,
        earlier=earlier,
        calibrate=rated.of_seasons(info.calibration_seasons),
        test=test,
        frozen_margins=frozen_margins(forecaster.ratings, test.games.home, test.games.away),
        advance=advance,
    )
    entries = max(manifest.dejavu.entries) if manifest.dejavu.prototypes else None
    method = RunProvenance(manifest.verdict.recipe, entries, seed, games.fingerprint)
    return Evaluation(
        model_version=forecaster.version,
        season=season,
        seen="train" if season in info.train_seasons else "calibrate" if season in info.calibration_seasons else None,
        result=result_of([scored], method, resamples=resamples, advance=advance),
        scores=scored,
    )
