"""Evaluates a bundle on a season, at every minute and for both horizons."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from dejavu_feed.errors import DataError
from dejavu_models.forecaster import Forecaster
from dejavu_models.player_ratings import PlayerRatings
from dejavu_models.ratings import RatingFilter
from dejavu_models.team_filter import TotalFilter
from dejavu_trainer.data.games import Games
from dejavu_trainer.evaluation.result import BacktestResult, RunProvenance, result_of
from dejavu_trainer.evaluation.scoring.fold_scores import score_fold
from dejavu_trainer.evaluation.scoring.totals import score_totals
from dejavu_trainer.evaluation.table import Columns, Table
from dejavu_trainer.training.players import rate_players
from dejavu_trainer.training.ratings import carry, margins_with_frozen_ratings
from dejavu_trainer.training.totals import carry_totals

Seen = Literal["train", "calibrate", "ratings"]
"""Use that a bundle made of a season: its models were trained or calibrated on it, or its ratings know its results."""


def seasons_needed(forecaster: Forecaster, season: int) -> list[int]:
    """Return the seasons that `evaluate` needs: those the bundle was built from, and the test season."""
    info = forecaster.info
    return sorted({season, *info.train_seasons, *info.calibration_seasons})


def evaluate(
    forecaster: Forecaster,
    games: Games,
    season: int,
    *,
    seed: int = 0,
) -> tuple[BacktestResult, Seen | None]:
    """Evaluate a bundle on the games of one season.

    Args:
        forecaster: the loaded bundle.
        games: games of `seasons_needed`.
        season: test season.
        seed: random seed of the bootstrap.

    Returns:
        The figures, whose references are fitted on all given games before the season; and the use that the bundle made
        of the season, None if it is new to it.

    Raises:
        DataError: if the games differ from those that the bundle was built from, or there are no games of the season or
            none before it to fit the references on.
    """
    info, manifest = forecaster.info, forecaster.manifest
    seasons = [*info.train_seasons, *info.calibration_seasons]
    made_from = games.of_seasons(seasons)
    if made_from.fingerprint != manifest.data_fingerprint:
        raise DataError(
            f"the games of {min(info.train_seasons)} to {max(info.calibration_seasons)} are not those that bundle"
            f" {forecaster.version} was built from; the references are fitted on them too"
        )
    rating_filter = forecaster.rating_filter
    start = RatingFilter.start(rating_filter.settings)
    rated, _ = carry(start, games)
    earlier, test = rated.select(games.season < season), rated.of_seasons([season])
    for selected, description in (
        (test, f"of season {season}"),
        (earlier, f"before {season} to fit the references on"),
    ):
        if not len(selected.games):
            raise DataError(f"there are no games {description}")
    frozen = rating_filter
    knows_results = manifest.ratings.date >= test.games.date[0].item()
    if knows_results:  # use the ratings that the bundle would have had before the season
        _, frozen = carry(start, earlier.games)
    table = score_fold(
        forecaster.models,
        forecaster.calibration,
        earlier=earlier,
        calibrate=rated.of_seasons(info.calibration_seasons),
        test=test,
        frozen_margins=margins_with_frozen_ratings(frozen, test.games),
        players=_players(forecaster, earlier.games),
    )
    method = RunProvenance(manifest.verdict.recipe, seed, games.fingerprint)
    seen: Seen | None = "ratings" if knows_results else None
    if season in seasons:
        seen = "train" if season in info.train_seasons else "calibrate"
    table = Table(table.columns | _totals(forecaster, earlier.games, test.games))
    return result_of([table], method), seen


def _players(forecaster: Forecaster, earlier: Games) -> PlayerRatings | None:
    """Return the ratings of players as they stood after earlier games; None if the bundle has none."""
    players = forecaster.player_ratings
    return None if players is None else replace(rate_players(PlayerRatings(), earlier)[1], weights=players.weights)


def _totals(forecaster: Forecaster, earlier: Games, test: Games) -> Columns:
    """Score the totals of a season, with ratings as they stood before it; empty if the bundle has no totals."""
    totals = forecaster.totals
    if totals is None:
        return {}
    _, before = carry_totals(TotalFilter.start(totals.ratings.settings), earlier)
    return score_totals(replace(totals, ratings=before), earlier, test)
