"""Scorecards of settled forecasts, and leaderboards of model versions by a metric.

The game is the unit of analysis, because the forecasts of one game are correlated. A metric is the mean over games of
each game's mean, and its interval comes from the variance of the game means. Within a game each minute has the same
weight, regardless of its number of forecasts: requesting a minute with ten alphas or margins does not add weight.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np

from dejavu_models.scorecard.doubtful import doubtful_games
from dejavu_models.scorecard.estimates import USUAL_ALPHA, Coverage, ScoreEstimate, Units, coverages, crps, estimate
from dejavu_models.scorecard.market_record import MarketRecord, market_record
from dejavu_models.scorecard.reliability import ReliabilityBin, calibration_error, reliability
from dejavu_models.scorecard.settled import Exclusion, SettledForecasts
from dejavu_models.scorecard.totals import TotalScorecard, total_scorecard

LEADERBOARD_ALPHA = USUAL_ALPHA
"""Miscoverage rate of the intervals that the COVERAGE_GAP leaderboard compares."""


class LeftOut(NamedTuple):
    """Numbers of settled forecasts that do not count, by Exclusion, and of markets sent after observed outcomes."""

    superseded: int = 0
    later_minute: int = 0
    late_time: int = 0
    reported: int = 0
    game_date: int = 0
    observed: int = 0
    withdrawn: int = 0
    late_markets: int = 0


NOTHING_LEFT_OUT: Final = LeftOut()


@dataclass(frozen=True, slots=True)
class Scorecard:
    """Metrics of settled forecasts; a metric is None if no forecast provides it.

    Attributes:
        mae, persistence_mae, mae_difference: mean absolute error, that of persistence on the same games, and the paired
            difference of the two, in points.
        coverage: by alpha, ascending.
        crps: in points, over the forecasts that have one.
        ece: expected calibration error of the probability that the home team leads; 0 without forecasts.
        market: None if no forecast had a market.
        left_out: numbers of settled forecasts that do not count, by reason.
        leader_brier, brier_difference: Brier score of the leader on the same games, and the paired difference of the
            two.
        reliability: by probability, ascending.
        total: None if no total is settled.
        withdrawn_games: games whose outcome was withdrawn.
        doubtful_games: games whose record may be wrong (see `doubtful`).
        corrected_games: games with a current outcome and an earlier report of another differential or total.
        unsettled_games: games of past evenings without a reported outcome.
        unsettled_totals: games with total forecasts that count or are superseded, so that a bet on them counts, but
            without total points in their current outcome.
    """

    games: int = 0
    forecasts: int = 0
    mae: ScoreEstimate | None = None
    persistence_mae: ScoreEstimate | None = None
    mae_difference: ScoreEstimate | None = None
    coverage: tuple[Coverage, ...] = ()
    crps: ScoreEstimate | None = None
    brier: ScoreEstimate | None = None
    ece: float = 0.0
    market: MarketRecord | None = None
    left_out: LeftOut = NOTHING_LEFT_OUT
    leader_brier: ScoreEstimate | None = None
    brier_difference: ScoreEstimate | None = None
    reliability: tuple[ReliabilityBin, ...] = ()
    total: TotalScorecard | None = None
    withdrawn_games: int = 0
    corrected_games: int = 0
    doubtful_games: int = 0
    unsettled_games: int = 0
    unsettled_totals: int = 0


def scorecard(settled: SettledForecasts, unsettled_games: int = 0) -> Scorecard:
    """Compute the scorecard of settled forecasts, given the number of unsettled games."""
    excluded = np.bincount(settled.exclusion, minlength=len(Exclusion)).tolist()[1:]
    bet_on = (settled.exclusion == Exclusion.NONE) | (settled.exclusion == Exclusion.SUPERSEDED)
    observed = settled.exclusion == Exclusion.OBSERVED
    late_markets = sum(len(each) for each in settled.markets[observed] if each is not None)
    late_markets += sum(market.late for each in settled.markets[bet_on] if each is not None for market in each)
    left_out = LeftOut(*excluded)._replace(late_markets=late_markets)
    market = market_record(settled.where(bet_on))
    withdrawn = settled.exclusion == Exclusion.WITHDRAWN
    empty = Scorecard(
        market=market,
        left_out=left_out,
        withdrawn_games=len(np.unique(settled.game[withdrawn])),
        corrected_games=len(np.unique(settled.game[settled.corrected & ~withdrawn])),
        doubtful_games=doubtful_games(settled),
        unsettled_games=unsettled_games,
        unsettled_totals=len(np.unique(settled.game[settled.total_open & bet_on])),
    )
    if any(left_out):
        settled = settled.where(settled.exclusion == Exclusion.NONE)
    if not len(settled):
        return empty
    units = Units.of(settled.game, settled.minute)
    absolute = units.means(np.abs(settled.error))
    persistence = units.means(np.abs(settled.persistence_error))
    brier, leader_brier = units.means(settled.brier), units.means(settled.leader_brier)
    weights = units.weights()
    return replace(
        empty,
        games=len(units.minutes),
        forecasts=len(settled),
        mae=estimate(absolute, least=0.0),
        persistence_mae=estimate(persistence, least=0.0),
        mae_difference=estimate(absolute - persistence),
        coverage=tuple(coverages(settled)),
        crps=crps(settled),
        brier=estimate(brier, 0.0, 1.0),
        ece=calibration_error(settled, weights),
        leader_brier=estimate(leader_brier, 0.0, 1.0),
        brier_difference=estimate(brier - leader_brier, -1.0, 1.0),
        reliability=reliability(settled, weights),
        total=total_scorecard(settled),
    )


class LeaderboardMetric(enum.Enum):
    """Metric that a leaderboard is sorted by; lower is better for each."""

    CRPS = "crps"
    MAE = "mae"
    BRIER = "brier"
    MAE_DIFFERENCE = "mae_difference"
    COVERAGE_GAP = "coverage_gap"


@dataclass(frozen=True, slots=True)
class LeaderboardEntry:
    """One model version on a leaderboard. Ranks start at 1; equal values share a rank (1, 1, 3)."""

    rank: int
    model_version: str
    value: float
    scorecard: Scorecard


def leaderboard(cards: Mapping[str, Scorecard], metric: LeaderboardMetric, min_games: int) -> list[LeaderboardEntry]:
    """Rank model versions, best first and ties by name; omit versions whose metric is missing or has too few games.

    Args:
        cards: model version → its scorecard.
        metric: metric to sort by.
        min_games: minimum number of games of the metric.
    """
    estimates = {version: value for version, card in cards.items() if (value := _metric(card, metric)) is not None}
    ranked = sorted((estimate.value, version) for version, estimate in estimates.items() if estimate.games >= min_games)
    values = [value for value, _ in ranked]
    return [LeaderboardEntry(values.index(value) + 1, version, value, cards[version]) for value, version in ranked]


def _metric(card: Scorecard, metric: LeaderboardMetric) -> ScoreEstimate | None:
    if metric is not LeaderboardMetric.COVERAGE_GAP:
        estimate: ScoreEstimate | None = getattr(card, metric.value)
        return estimate
    for each in card.coverage:
        if each.alpha == LEADERBOARD_ALPHA:
            return ScoreEstimate(abs(each.coverage - (1.0 - each.alpha)), each.games)
    return None
