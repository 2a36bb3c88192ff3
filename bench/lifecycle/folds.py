"""Pairs of forecasts from the folds of two walk-forwards, as the gate compares them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

import numpy as np

from dejavu_models.comparison import Comparison, GateSettings, PairedForecasts, ScoreComparison
from dejavu_models.comparison.eprocess import clipping_bounds
from dejavu_models.comparison.scores import FIRST_BOUND_IN_MARGINS
from dejavu_models.metrics import student_quantile
from dejavu_models.types import HORIZONS, Horizon
from dejavu_trainer.evaluation.metrics import losses
from dejavu_trainer.evaluation.scoring.forecasts import ALPHAS
from dejavu_trainer.evaluation.walk_comparison import read_walk

Losses = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class SeasonPairs:
    """The pairs of a season by horizon; games are numbered in order of their dates."""

    name: str
    pairs: Mapping[Horizon, PairedForecasts]

    @property
    def games(self) -> int:
        """Number of games."""
        return len(np.unique(next(iter(self.pairs.values())).game))

    def compared(self, settings: GateSettings, games: int) -> dict[Horizon, Comparison | None]:
        """Compare the forecasts of a number of games, from the first on."""
        return {
            horizon: settings.compare(each.where(each.game < each.game[0] + games))
            for horizon, each in self.pairs.items()
        }


def against_walk(folder: Path, other: Path, forecaster: str = "served") -> list[SeasonPairs]:
    """Pair the forecasts of two walk-forwards on their common seasons: all minutes of both horizons."""
    ours, theirs = read_walk(folder), read_walk(other)
    return [
        SeasonPairs(
            str(season),
            {
                horizon: _pairs(losses(ours[season], "served", horizon), losses(theirs[season], forecaster, horizon))
                for horizon in HORIZONS
            },
        )
        for season in sorted(ours.keys() & theirs.keys())
    ]


def against_scores(folder: Path, scores: Path) -> list[SeasonPairs]:
    """Pair the forecasts of the half from minute 18 in a walk-forward with the scores of another program."""
    with np.load(scores) as found:
        theirs = {name: found[name] for name in ("game_id", "season", "crps", "brier")}
    seasons = []
    for season, fold in read_walk(folder).items():
        of_season = theirs["season"] == season
        _, left, right = np.intersect1d(fold.game_id, theirs["game_id"][of_season], return_indices=True)
        left, right = left[np.argsort(left)], right[np.argsort(left)]
        ours = {name: values[left][:, [17]] for name, values in losses(fold, "served", Horizon.HALFTIME).items()}
        other = {name: theirs[name][of_season][right][:, None] for name in ("crps", "brier")}
        seasons.append(SeasonPairs(str(season), {Horizon.HALFTIME: _pairs(ours, other)}))
    return seasons


def _pairs(ours: Losses, theirs: Losses) -> PairedForecasts:
    games, minutes = ours["crps"].shape
    level = round(100 * (1 - ALPHAS[0]))
    return PairedForecasts(
        game=np.repeat(np.arange(games), minutes),
        minute=np.tile(np.arange(1, minutes + 1), games),
        alpha=np.full(games * minutes, ALPHAS[0]),
        crps=ours["crps"].ravel(),
        against_crps=theirs["crps"].ravel(),
        brier=ours["brier"].ravel(),
        against_brier=theirs["brier"].ravel(),
        covered=ours[f"coverage_{level}"].ravel() > 0.5,
    )


def joined(seasons: Sequence[SeasonPairs]) -> SeasonPairs:
    """Join seasons, one after the other."""
    parts: dict[Horizon, list[PairedForecasts]] = {}
    first = 0
    for season in seasons:
        for horizon, pairs in season.pairs.items():
            shifted = {name: getattr(pairs, name) for name in PairedForecasts.__dataclass_fields__}
            shifted["game"] = pairs.game + first
            parts.setdefault(horizon, []).append(PairedForecasts(**shifted))
        first += season.games
    names = PairedForecasts.__dataclass_fields__
    whole = {
        horizon: PairedForecasts(**{name: np.concatenate([getattr(part, name) for part in each]) for name in names})
        for horizon, each in parts.items()
    }
    return SeasonPairs("all", whole)


def spread(score: ScoreComparison) -> float:
    """Return the standard deviation of the differences of games."""
    difference = score.difference
    if difference.upper is None:
        return 0.0
    return (difference.upper - difference.value) * sqrt(difference.games) / student_quantile(difference.games - 1)


def spreads(folder: Path, other: Path, settings: GateSettings) -> Iterator[str]:
    """Yield mean and standard deviation of the differences, the share that is clipped, and the mean after clipping."""
    ours = read_walk(folder)
    margins = {"crps": settings.crps_margin, "brier": settings.brier_margin}
    yield "| season | horizon | against | score | mean | standard deviation | clipped | mean after clipping |"
    yield "|---|---|---|---|---|---|---|---|"
    for season, fold in read_walk(other).items():
        for horizon in HORIZONS:
            for name, against in (("served", fold), ("persistence", ours[season]), ("frozen", ours[season])):
                mine, theirs = losses(ours[season], "served", horizon), losses(against, name, horizon)
                label = "the other" if name == "served" else name
                for score, margin in margins.items():
                    differences = (mine[score] - theirs[score]).mean(axis=1)
                    bounds = clipping_bounds(differences, FIRST_BOUND_IN_MARGINS * margin)
                    clipped = float((np.abs(differences) > bounds).mean())
                    yield (
                        f"| {season} | {horizon.value} | {label} | {score} | {differences.mean():+.5f} |"
                        f" {differences.std():.5f} | {clipped:.1%} |"
                        f" {np.clip(differences, -bounds, bounds).mean():+.5f} |"
                    )
