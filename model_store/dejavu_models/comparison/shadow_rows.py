"""Leaderboard rows that compare each staged model with the champion, on exactly the games and minutes of both."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from dejavu_models.arrays import Floats
from dejavu_models.comparison.scores import PairedForecasts
from dejavu_models.scorecard.cards import LeaderboardMetric
from dejavu_models.scorecard.estimates import ScoreEstimate, Units, estimate


@dataclass(frozen=True, slots=True)
class PairedScore:
    """A score of two models on the same games and minutes.

    Attributes:
        score, against_score: mean over games of the model's score and of the other's.
        difference: mean difference per game, model − other, with Student's interval.
    """

    score: float
    against_score: float
    difference: ScoreEstimate


@dataclass(frozen=True, slots=True)
class ShadowRow:
    """One staged model. Ranks start at 1; equal values share a rank.

    Attributes:
        model_version, against_version: the model, and the champion.
        games, forecasts: number of games, and of forecasts of each.
    """

    rank: int
    model_version: str
    against_version: str
    games: int
    forecasts: int
    crps: PairedScore
    brier: PairedScore


def shadow_rows(
    pairs: Mapping[str, PairedForecasts], against_version: str, metric: LeaderboardMetric, min_games: int
) -> list[ShadowRow]:
    """Rank staged models by their difference in Brier score if `metric` is that, else in CRPS; best first.

    Models with equal differences are sorted by version.

    Args:
        pairs: model version → its forecasts and those of the champion.
        against_version: the champion.
        metric: metric that the leaderboard is sorted by.
        min_games: minimum number of games; a model with fewer is omitted.
    """
    of_brier = metric is LeaderboardMetric.BRIER
    rows = [_row(version, against_version, paired) for version, paired in pairs.items() if len(paired)]
    ranked = sorted(
        (
            ((row.brier if of_brier else row.crps).difference.value, row.model_version, row)
            for row in rows
            if row.games >= min_games
        ),
        key=lambda each: each[:2],
    )
    values = [value for value, _, _ in ranked]
    return [replace(row, rank=values.index(value) + 1) for value, _, row in ranked]


def _row(model_version: str, against_version: str, pairs: PairedForecasts) -> ShadowRow:
    units = Units.of(pairs.game, pairs.minute)
    return ShadowRow(
        rank=0,
        model_version=model_version,
        against_version=against_version,
        games=len(units.minutes),
        forecasts=len(pairs),
        crps=_score(units.means(pairs.crps), units.means(pairs.against_crps), math.inf),
        brier=_score(units.means(pairs.brier), units.means(pairs.against_brier), 1.0),
    )


def _score(scores: Floats, against: Floats, most: float) -> PairedScore:
    return PairedScore(float(scores.mean()), float(against.mean()), estimate(scores - against, -most, most))
