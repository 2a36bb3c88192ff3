"""Track record of the bets that forecasts recommended."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Final

import numpy as np

from dejavu_models.arrays import Floats
from dejavu_models.metrics import ratio_interval
from dejavu_models.scorecard.settled import SettledForecasts

_DUST: Final = 1e-9
"""Tolerance for rounding in sums of stakes, as a share of the bankroll."""


@dataclass(frozen=True, slots=True)
class MarketRecord:
    """Track record of the recommended stakes, game by game in the order of outcomes.

    The bets of a game are open at the same time and correlated. Each bet stakes its share of the bankroll as of before
    the game, and the profit of a game is the sum of the profits of its bets. Bets are taken in the order in which their
    markets were recorded, and each stakes at most the rest of the caps per game and per evening that earlier bets
    leave: an answer does not know the other markets, and a later market takes nothing from a placed bet.

    Attributes:
        bets: number of forecasts with a stake.
        markets: number of forecasts requested with a market, with or without a stake.
        staked, profit: sums, as shares of the bankroll.
        roi: profit / staked; None without a stake.
        total_return: final / initial − 1 of a bankroll that compounds these shares game by game; -1 once everything is
            lost.
        sharpe: mean profit per game over its standard deviation (Sharpe, The Sharpe ratio, Journal of Portfolio
            Management 21, 1994); the period is a game with bets. None with fewer than two games or equal profits.
        max_drawdown: largest fall of that bankroll from a peak, as a share of the peak.
        roi_lower, roi_upper: 95 % interval of roi over games; None with fewer than two games with bets, or if all
            returned the same share of their stakes.
        expected_profit: sum of the expected profits as recorded, as a share of the bankroll.
        won, lost, pushed: numbers of bets.
        games: number of games with bets.
        capped: number of stakes that the caps reduced, possibly to 0.
    """

    bets: int
    markets: int
    staked: float
    profit: float
    roi: float | None
    total_return: float
    sharpe: float | None
    max_drawdown: float
    roi_lower: float | None
    roi_upper: float | None
    expected_profit: float
    won: int
    lost: int
    pushed: int
    games: int
    capped: int


def market_record(settled: SettledForecasts) -> MarketRecord | None:
    """Compute the track record of settled forecasts; None if none had a market."""
    given = ~np.isnan(settled.stake)
    if not given.any():
        return None
    stake = _within_caps(settled)
    placed = np.flatnonzero(stake > 0.0)
    placed = placed[np.argsort(settled.order[placed], kind="stable")]
    staked, kept = stake[placed], stake[placed] / settled.stake[placed]
    earned = settled.profit[placed] * kept
    _, first, game = np.unique(settled.game[placed], return_index=True, return_inverse=True)
    in_order = np.argsort(first)
    stakes, profits = (np.bincount(game, weights=each).astype(np.float64)[in_order] for each in (staked, earned))
    roi = float(earned.sum()) / float(staked.sum()) if len(placed) else None
    roi_lower, roi_upper = ratio_interval(profits, stakes, least=-1.0)
    bankroll = np.concatenate(([1.0], np.cumprod(np.maximum(1.0 + profits, 0.0))))
    spread = float(profits.std(ddof=1)) if len(profits) > 1 else 0.0
    # The standard deviation of equal profits can be nonzero by rounding.
    varies = len(profits) > 1 and bool((profits != profits[0]).any())
    return MarketRecord(
        bets=len(placed),
        markets=int(given.sum()),
        staked=float(staked.sum()),
        profit=float(earned.sum()),
        roi=roi,
        total_return=float(bankroll[-1]) - 1.0,
        sharpe=float(profits.mean()) / spread if varies and spread > 0.0 else None,
        max_drawdown=float((1.0 - bankroll / np.maximum.accumulate(bankroll)).max()),
        roi_lower=roi_lower,
        roi_upper=roi_upper,
        expected_profit=float((settled.expected_profit[placed] * kept).sum()),
        won=int((earned > 0.0).sum()),
        lost=int((earned < 0.0).sum()),
        pushed=int((earned == 0.0).sum()),
        games=len(profits),
        capped=int((stake < settled.stake).sum()),
    )


def _within_caps(settled: SettledForecasts) -> Floats:
    """Return the stakes, each limited to the part of its caps that earlier markets leave; 0 without a market."""
    stake = np.nan_to_num(settled.stake)
    on_game: defaultdict[int, float] = defaultdict(float)
    on_evening: defaultdict[int, float] = defaultdict(float)
    bets = np.flatnonzero(stake > 0.0)
    bets = bets[np.argsort(settled.market_sequence[bets])]
    columns = (stake, settled.game, settled.day, settled.game_cap, settled.evening_cap)
    kept = []
    for wanted, game, evening, game_cap, evening_cap in zip(*(each[bets].tolist() for each in columns), strict=True):
        left = min(game_cap - on_game[game], evening_cap - on_evening[evening])
        kept.append(min(wanted, left) if left > _DUST else 0.0)
        on_game[game] += kept[-1]
        on_evening[evening] += kept[-1]
    stake[bets] = kept
    return stake
