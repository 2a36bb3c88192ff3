"""Scorecards of settled forecasts, and leaderboards of model versions by a metric.

The game is the unit of analysis, because the forecasts of one game are correlated. A metric is the mean over games of
each game's mean, and its interval comes from the variance of the game means. Within a game each minute has the same
weight, regardless of its number of forecasts: requesting a minute with ten alphas or margins does not add weight.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

import numpy as np

from dejavu_models.metrics import leader_probability
from dejavu_models.scorecard.doubtful import doubtful_games
from dejavu_models.scorecard.estimates import (
    USUAL_ALPHA,
    Coverage,
    ReliabilityBin,
    ScoreEstimate,
    Units,
    calibration_error,
    coverages,
    estimate,
    ratio_estimate,
    reliability,
    roc_auc,
)
from dejavu_models.scorecard.market_record import MarketRecord, market_record
from dejavu_models.scorecard.settled import Exclusion, SettledForecasts


class LeftOut(NamedTuple):
    """Numbers of settled forecasts that do not count, by Exclusion, and of markets sent after observed outcomes."""

    superseded: int = 0
    later_second: int = 0
    late_time: int = 0
    reported: int = 0
    game_date: int = 0
    observed: int = 0
    withdrawn: int = 0
    clock: int = 0
    others: int = 0
    sides: int = 0
    late_markets: int = 0


@dataclass(frozen=True, slots=True)
class TotalScorecard:
    """Metrics of the forecasts whose total is settled; the game is the unit, as in `Scorecard`.

    Attributes:
        games, forecasts: their numbers.
        mae, pace_mae, mae_difference: mean absolute error, that of pace × time on the same forecasts, and the paired
            difference of the two, in points.
        relative_difference: mae_difference / pace_mae; None if pace × time had no error.
        crps: in points.
        coverage: by alpha, ascending.
    """

    games: int
    forecasts: int
    mae: ScoreEstimate
    pace_mae: ScoreEstimate
    mae_difference: ScoreEstimate
    relative_difference: ScoreEstimate | None
    crps: ScoreEstimate
    coverage: tuple[Coverage, ...]


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
        accuracy, leader_accuracy: share of forecasts whose likelier side came true, with 1/2 counting half, and that of
            the leader on the same games.
        roc_auc, persistence_roc_auc: area under the ROC curve of the probability that the home team leads, and of the
            last known lead; see `estimates.roc_auc`.
        reliability: by probability, ascending.
        total: None if no total is settled.
        withdrawn_games: games whose outcome was withdrawn.
        doubtful_games: games whose record may be wrong (see `doubtful`).
        corrected_games: games with a current outcome and an earlier report of another differential or total.
        unsettled_games: games of past evenings without a reported outcome.
        unsettled_totals: games with total forecasts that count or are superseded, so that a bet on them counts, but
            without total points in their current outcome.
        revised_late: seconds of play with a revision that came after a later play had been seen.
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
    left_out: LeftOut = field(default_factory=LeftOut)
    leader_brier: ScoreEstimate | None = None
    brier_difference: ScoreEstimate | None = None
    accuracy: ScoreEstimate | None = None
    leader_accuracy: ScoreEstimate | None = None
    roc_auc: ScoreEstimate | None = None
    persistence_roc_auc: ScoreEstimate | None = None
    reliability: tuple[ReliabilityBin, ...] = ()
    total: TotalScorecard | None = None
    withdrawn_games: int = 0
    corrected_games: int = 0
    doubtful_games: int = 0
    unsettled_games: int = 0
    unsettled_totals: int = 0
    revised_late: int = 0


def scorecard(
    settled: SettledForecasts, unsettled_games: int = 0, min_difference: float = 0.0, max_bets: int = 0
) -> Scorecard:
    """Compute the scorecard of settled forecasts, given the number of unsettled games; see also `market_record`."""
    excluded = np.bincount(settled.exclusion, minlength=len(Exclusion)).tolist()[1:]
    settled = settled.where(settled.exclusion != Exclusion.OTHERS)  # which make no game doubtful either
    bet_on = (settled.exclusion == Exclusion.NONE) | (settled.exclusion == Exclusion.SUPERSEDED)
    observed = settled.exclusion == Exclusion.OBSERVED
    late_markets = sum(len(each) for each in settled.markets[observed] if each is not None)
    late_markets += sum(market.late for each in settled.markets[bet_on] if each is not None for market in each)
    left_out = LeftOut(*excluded)._replace(late_markets=late_markets)
    market = market_record(settled.where(bet_on), min_difference, max_bets)
    withdrawn = settled.exclusion == Exclusion.WITHDRAWN
    empty = Scorecard(
        market=market,
        left_out=left_out,
        withdrawn_games=len(np.unique(settled.game[withdrawn])),
        revised_late=_revised_late(settled),
        corrected_games=len(np.unique(settled.game[settled.corrected & ~withdrawn])),
        doubtful_games=doubtful_games(settled),
        unsettled_games=unsettled_games,
        unsettled_totals=len(np.unique(settled.game[settled.total_open & bet_on])),
    )
    settled = settled.where(settled.exclusion == Exclusion.NONE)
    if not len(settled):
        return empty
    units = Units.of(settled.game, settled.minute)
    absolute = units.means(np.abs(settled.error))
    persistence = units.means(np.abs(settled.persistence_error))
    led, leader = settled.home_led, leader_probability(settled.lead)
    brier, leader_brier = (units.means(np.square(each - led)) for each in (settled.probability, leader))
    # A side that is likelier than the other is right or wrong; none is half of each.
    accuracy, leader_accuracy = (
        units.means(1.0 - np.abs((np.sign(each - 0.5) + 1.0) / 2.0 - led)) for each in (settled.probability, leader)
    )
    scored = ~np.isnan(settled.crps)
    crps = Units.of(settled.game[scored], settled.minute[scored]).means(settled.crps[scored])
    weights = units.weights()
    return replace(
        empty,
        games=len(units.minutes),
        forecasts=len(settled),
        mae=estimate(absolute, least=0.0),
        persistence_mae=estimate(persistence, least=0.0),
        mae_difference=estimate(absolute - persistence),
        coverage=tuple(coverages(settled.alpha, settled.game, settled.minute, settled.covered, settled.width)),
        crps=estimate(crps, least=0.0) if scored.any() else None,
        brier=estimate(brier, 0.0, 1.0),
        ece=calibration_error(settled, weights),
        leader_brier=estimate(leader_brier, 0.0, 1.0),
        brier_difference=estimate(brier - leader_brier, -1.0, 1.0),
        accuracy=estimate(accuracy, 0.0, 1.0),
        leader_accuracy=estimate(leader_accuracy, 0.0, 1.0),
        roc_auc=roc_auc(settled.probability, settled, units),
        persistence_roc_auc=roc_auc(settled.lead, settled, units),
        reliability=reliability(settled, weights),
        total=total_scorecard(settled),
    )


def _revised_late(settled: SettledForecasts) -> int:
    """Return the number of seconds of play with a revision that came after a later play had been seen."""
    late = np.isin(settled.exclusion, [Exclusion.LATER_SECOND, Exclusion.CLOCK]) & settled.revised
    return len(np.unique(np.stack([settled.game[late], settled.elapsed_s[late]]), axis=1).T)


def total_scorecard(settled: SettledForecasts) -> TotalScorecard | None:
    """Compute the scorecard of totals of forecasts that count; None if none has a settled total."""
    has_total = ~np.isnan(settled.total_error)
    if not has_total.any():
        return None
    settled = settled.where(has_total)
    units = Units.of(settled.game, settled.minute)
    absolute, pace = (units.means(np.abs(each)) for each in (settled.total_error, settled.total_pace_error))
    intervals = coverages(settled.alpha, settled.game, settled.minute, settled.total_covered, settled.total_width)
    return TotalScorecard(
        games=len(units.minutes),
        forecasts=len(settled),
        mae=estimate(absolute, least=0.0),
        pace_mae=estimate(pace, least=0.0),
        mae_difference=estimate(absolute - pace),
        relative_difference=ratio_estimate(absolute - pace, pace) if pace.any() else None,
        crps=estimate(units.means(settled.total_crps), least=0.0),
        coverage=tuple(intervals),
    )


class LeaderboardMetric(enum.Enum):
    """Metric that a leaderboard is sorted by."""

    CRPS = "crps"
    MAE = "mae"
    BRIER = "brier"
    MAE_DIFFERENCE = "mae_difference"
    COVERAGE_GAP = "coverage_gap"
    ACCURACY = "accuracy"
    ROC_AUC = "roc_auc"
    ROI = "roi"


_HIGHER_IS_BETTER: Final = {LeaderboardMetric.ACCURACY, LeaderboardMetric.ROC_AUC, LeaderboardMetric.ROI}

_DIGITS: Final = 9
"""Decimals by which values are ranked: equal ones may differ by rounding."""


def ranked(values: Mapping[str, float], limit: int = 0) -> list[tuple[int, str]]:
    """Return model versions with their ranks by value, lowest first, ties by name; equal values share a rank (1, 1, 3).

    Args:
        values: value by model version.
        limit: maximum number of versions; 0: all.
    """
    ordered = sorted((round(value, _DIGITS), version) for version, value in values.items())
    found = [value for value, _ in ordered]
    return [(found.index(value) + 1, version) for value, version in ordered[: limit or None]]


@dataclass(frozen=True, slots=True)
class LeaderboardEntry:
    """One model version on a leaderboard. Ranks start at 1; equal values share a rank (1, 1, 3)."""

    rank: int
    model_version: str
    value: float
    scorecard: Scorecard


def leaderboard(
    cards: Mapping[str, Scorecard], metric: LeaderboardMetric, min_games: int, limit: int = 0
) -> list[LeaderboardEntry]:
    """Rank model versions, best first and ties by name; omit versions whose metric is missing or has too few games.

    Args:
        cards: model version → its scorecard.
        metric: metric to sort by.
        min_games: minimum number of games of the metric.
        limit: maximum number of versions; 0: all.
    """
    found = {version: figure for version, card in cards.items() if (figure := _figure(card, metric)) is not None}
    sign = -1.0 if metric in _HIGHER_IS_BETTER else 1.0
    values = {version: sign * figure.value for version, figure in found.items() if figure.games >= min_games}
    return [
        LeaderboardEntry(rank, version, found[version].value, cards[version]) for rank, version in ranked(values, limit)
    ]


def _figure(card: Scorecard, metric: LeaderboardMetric) -> ScoreEstimate | None:
    match metric:
        case LeaderboardMetric.COVERAGE_GAP:
            gaps = (
                ScoreEstimate(abs(each.coverage - (1.0 - each.alpha)), each.games)
                for each in card.coverage
                if each.alpha == USUAL_ALPHA
            )
            return next(gaps, None)
        case LeaderboardMetric.ROI:
            return None if card.market is None else card.market.roi
    figure: ScoreEstimate | None = getattr(card, metric.value)
    return figure
