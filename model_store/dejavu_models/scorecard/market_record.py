"""Track record of the bets that forecasts recommended."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dejavu_models.arrays import Floats
from dejavu_models.scorecard.estimates import ScoreEstimate, estimate, ratio_estimate
from dejavu_models.scorecard.settled import SettledForecasts, SettledMarket

_NORMAL: Final = NormalDist()

CLOSING_SECONDS: Final = 120.0
"""Maximum seconds of play from a bet to its closing market."""

CLOSING_SHARE: Final = 0.9
"""Minimum share of bets with a closing market. With fewer, whoever records prices could choose those that moved towards
the bets."""

_LONGEST_SECONDS: Final = 1e6
"""More seconds than a game has."""

_DUST: Final = 1e-9
"""Tolerance for rounding in sums of stakes, as a share of the bankroll."""


@dataclass(frozen=True, slots=True)
class MarketRecord:
    """Track record of the recommended stakes, game by game in the order of outcomes.

    The bets of a game are open at the same time and correlated. Each bet stakes its share of the bankroll as of before
    the game, and the profit of a game is the sum of the profits of its bets. Bets are taken in the order in which their
    markets were recorded, and each stakes at most the rest of the caps that earlier bets on its game, and of its
    caller on its evening, leave: an answer does not know the other markets, and a later market takes nothing from a
    placed bet.

    Attributes:
        bets: number of markets with a stake, on the lead and on the total points.
        markets: number of markets with an outcome, with or without a stake.
        staked, profit: sums, as shares of the bankroll.
        roi: profit / staked, with its interval over games; None without a stake.
        total_return: final / initial − 1 of a bankroll that compounds these shares game by game; -1 once everything is
            lost.
        sharpe: mean profit per game over its standard deviation (Sharpe, The Sharpe ratio, Journal of Portfolio
            Management 21, 1994); the period is a game with bets. None with fewer than two games or equal profits.
        max_drawdown: largest fall of that bankroll from a peak, as a share of the peak.
        expected_profit: sum of the expected profits as recorded, as a share of the bankroll.
        won, lost, pushed: numbers of bets.
        games: number of games with bets.
        capped: number of stakes that the caps reduced, possibly to 0.
        closing_line_value: expected profit of 1 staked, by stake, at the fair probability of each bet's closing market:
            the next market of its game and kind from up to two minutes of play later that was recorded after the bet. A
            different line is converted with `SettledMarket.spread`. None if less than 90 % of the bets have one.
        closing_line_bets: number of bets with a closing market.
        model_brier, market_brier, brier_difference: Brier scores of the model's and of the market's fair probability of
            home, or over, on the same markets without pushes, with or without a stake, and the paired difference: means
            over games of the means over their markets. None without such a market.
        scored_markets: number of these markets.
        implausible_markets: number of those among them of which the model differed by more than is plausible: with more
            than a few, lines or prices are probably wrong.
        scored_games: number of their games.
    """

    bets: int
    markets: int
    staked: float
    profit: float
    roi: ScoreEstimate | None
    total_return: float
    sharpe: float | None
    max_drawdown: float
    expected_profit: float
    won: int
    lost: int
    pushed: int
    games: int
    capped: int
    closing_line_value: ScoreEstimate | None = None
    closing_line_bets: int = 0
    model_brier: ScoreEstimate | None = None
    market_brier: ScoreEstimate | None = None
    brier_difference: ScoreEstimate | None = None
    scored_markets: int = 0
    implausible_markets: int = 0
    scored_games: int = 0


class _Markets(NamedTuple):
    """Markets with an outcome as columns, in the order in which they were recorded; see `SettledMarket`."""

    game: NDArray[np.int64]
    order: NDArray[np.int64]
    day: NDArray[np.int32]
    caller: NDArray[np.int32]
    elapsed_s: Floats
    market: dict[str, Floats]

    @classmethod
    def of(cls, settled: SettledForecasts) -> _Markets:
        """Return the markets that count."""
        found = [
            (index, market)
            for index in np.flatnonzero(settled.markets != np.array(None)).tolist()
            for market in settled.markets[index]
            if market.settled
        ]
        found.sort(key=lambda each: each[1].sequence)
        at = np.array([index for index, _ in found], dtype=np.int64)
        columns = np.array([market for _, market in found], dtype=np.float64).reshape(-1, len(SettledMarket._fields)).T
        market = dict(zip(SettledMarket._fields, columns, strict=True))
        of = settled
        return cls(of.game[at], of.order[at], of.day[at], of.caller[at], of.elapsed_s[at], market)

    def by_game(self, chosen: NDArray[np.int64], *values: Floats) -> list[Floats]:
        """Return the sums over each game of values of the chosen markets, in the order of the games' first ones."""
        _, first, game = np.unique(self.game[chosen], return_index=True, return_inverse=True)
        order = np.argsort(first)
        return [np.bincount(game, weights=each).astype(np.float64)[order] for each in values]


def market_record(settled: SettledForecasts) -> MarketRecord | None:
    """Compute the track record of settled forecasts; None if none had a market."""
    markets = _Markets.of(settled)
    if not len(markets.game):
        return None
    market, stake = markets.market, _within_caps(markets)
    placed = np.flatnonzero(stake > 0.0)
    placed = placed[np.argsort(markets.order[placed], kind="stable")]
    kept = stake[placed] / market["stake"][placed]
    earned = market["profit"][placed] * kept
    stakes, profits = markets.by_game(placed, stake[placed], earned)
    bankroll = np.concatenate(([1.0], np.cumprod(np.maximum(1.0 + profits, 0.0))))
    spread = float(profits.std(ddof=1)) if len(profits) > 1 and np.ptp(profits) > _DUST else 0.0
    return MarketRecord(
        bets=len(placed),
        markets=len(markets.game),
        staked=float(stake[placed].sum()),
        profit=float(earned.sum()),
        roi=ratio_estimate(profits, stakes) if len(placed) else None,
        total_return=float(bankroll[-1]) - 1.0,
        sharpe=float(profits.mean()) / spread if spread > 0.0 else None,
        max_drawdown=float((1.0 - bankroll / np.maximum.accumulate(bankroll)).max()),
        expected_profit=float((market["expected_profit"][placed] * kept).sum()),
        won=int((earned > 0.0).sum()),
        lost=int((earned < 0.0).sum()),
        pushed=int((earned == 0.0).sum()),
        games=len(profits),
        capped=int((stake < market["stake"]).sum()),
        **_closing_line_value(markets, stake),
        **_brier_scores(markets),
    )


def _closing_line_value(markets: _Markets, stake: Floats) -> dict[str, Any]:
    """Return the figures of the closing-line value, given the stakes."""
    placed = np.flatnonzero(stake > 0.0)
    closing = _closing_markets(markets, placed)
    bets, at = placed[closing >= 0], closing[closing >= 0]
    if not len(bets) or len(bets) < CLOSING_SHARE * len(placed):
        return {"closing_line_bets": len(bets)}
    market = markets.market
    moved = (market["line"][at] - market["line"][bets]) / market["spread"][at]
    pairs = zip(market["fair_probability"][at].tolist(), moved.tolist(), strict=True)
    home = np.array([_NORMAL.cdf(_NORMAL.inv_cdf(fair) + score) for fair, score in pairs])
    fair = np.where(market["side"][bets] > 0, home, 1.0 - home)
    stakes, values = markets.by_game(bets, stake[bets], stake[bets] * (market["odds"][bets] * fair - 1.0))
    return {"closing_line_value": ratio_estimate(values, stakes), "closing_line_bets": len(bets)}


def _closing_markets(markets: _Markets, bets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the index of the closing market of each bet; −1 without one."""
    _, game = np.unique(markets.game, return_inverse=True)
    moment = (2 * game + markets.market["on_total"]) * _LONGEST_SECONDS + markets.elapsed_s  # apart by game and kind
    order = np.argsort(moment, kind="stable")
    ends = (np.searchsorted(moment[order], moment[bets] + wait, side="right") for wait in (0.0, CLOSING_SECONDS))
    # A price that was recorded before the bet was known when it was made.
    later = (next((at for at in order[i:j] if at > bet), -1) for bet, i, j in zip(bets, *ends, strict=True))
    return np.fromiter(later, dtype=np.int64)


def _brier_scores(markets: _Markets) -> dict[str, Any]:
    """Return the Brier scores of both probabilities; a market has the same weight as the others of its game."""
    market = markets.market
    scored = np.flatnonzero(~np.isnan(market["home_won"]) & ~np.isnan(market["model_probability"]))
    if not len(scored):
        return {}
    won = market["home_won"][scored]
    errors = (np.square(market[name][scored] - won) for name in ("model_probability", "fair_probability"))
    number, model, fair = markets.by_game(scored, np.ones(len(scored)), *errors)
    model, fair = model / number, fair / number
    return {
        "model_brier": estimate(model, 0.0, 1.0),
        "market_brier": estimate(fair, 0.0, 1.0),
        "brier_difference": estimate(model - fair, -1.0, 1.0),
        "scored_markets": len(scored),
        "implausible_markets": int(market["implausible"][scored].sum()),
        "scored_games": len(number),
    }


def _within_caps(markets: _Markets) -> Floats:
    """Return the stakes, each limited to the part of its caps that earlier markets leave."""
    stake = markets.market["stake"].copy()
    on_game: defaultdict[int, float] = defaultdict(float)
    on_evening: defaultdict[tuple[int, int], float] = defaultdict(float)
    bets = np.flatnonzero(stake > 0.0)
    market = markets.market
    columns = (stake, markets.caller, markets.game, markets.day, market["game_cap"], market["evening_cap"])
    kept = []
    rows = zip(*(each[bets].tolist() for each in columns), strict=True)
    for wanted, caller, game, day, game_cap, evening_cap in rows:
        evening = caller, day  # otherwise bets of others would use up its cap
        left = min(game_cap - on_game[game], evening_cap - on_evening[evening])
        kept.append(min(wanted, left) if left > _DUST else 0.0)
        on_game[game] += kept[-1]
        on_evening[evening] += kept[-1]
    stake[bets] = kept
    return stake
