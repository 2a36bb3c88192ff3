"""Track record of the bets that forecasts recommended."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dejavu_models.arrays import Floats
from dejavu_models.betting import MarketKind, MarketSide
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


class PlacedBet(NamedTuple):
    """A bet.

    Attributes:
        order, day, home, away, elapsed_seconds: those of its forecast; see `SettledForecasts`.
        kind, line, side, decimal_odds, sequence: those of its market.
        win_probability, fair_probability: of the side without a push, by the model and by the market.
        stake, profit: within the caps, as shares of the bankroll.
        closing_line_value: expected profit of 1 staked at its closing market; None without one.
    """

    order: int
    day: int
    home: int
    away: int
    elapsed_seconds: float
    kind: MarketKind
    line: float
    side: MarketSide
    decimal_odds: float
    win_probability: float
    fair_probability: float
    stake: float
    profit: float
    closing_line_value: float | None
    sequence: int


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
        rms_difference: root mean square of the difference between both probabilities, of the same markets and with the
            same weights; None without such a market.
        placed: the last bets in the order of outcomes, as many as were asked for.
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
    rms_difference: ScoreEstimate | None = None
    placed: tuple[PlacedBet, ...] = ()


class _Markets(NamedTuple):
    """Markets with an outcome as columns, in the order in which they were recorded; see `SettledMarket`.

    Attributes:
        chosen: whether they count as more than a closing market.
    """

    game: NDArray[np.int64]
    order: NDArray[np.int64]
    day: NDArray[np.int32]
    caller: NDArray[np.int32]
    home: NDArray[np.int32]
    away: NDArray[np.int32]
    elapsed_s: Floats
    market: dict[str, Floats]
    chosen: NDArray[np.bool_]

    @classmethod
    def of(cls, settled: SettledForecasts, min_difference: float) -> _Markets:
        """Return the markets that count; those of a smaller difference are not chosen, and have no stake."""
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
        difference = np.abs(market["model_probability"] - market["fair_probability"])
        chosen = (difference >= min_difference - _DUST) | (min_difference <= 0.0)
        market["stake"] = np.where(chosen, market["stake"], 0.0)
        of = {name: getattr(settled, name)[at] for name in cls._fields[:-2]}
        return cls(**of, market=market, chosen=chosen)

    def by_game(self, of: NDArray[np.int64], *values: Floats) -> list[Floats]:
        """Return the sums over each game of values of some markets, in the order of the games' first ones."""
        _, first, game = np.unique(self.game[of], return_index=True, return_inverse=True)
        order = np.argsort(first)
        return [np.bincount(game, weights=each).astype(np.float64)[order] for each in values]


def market_record(settled: SettledForecasts, min_difference: float = 0.0, max_bets: int = 0) -> MarketRecord | None:
    """Compute the track record of settled forecasts; None if none had such a market.

    Args:
        settled: the forecasts.
        min_difference: minimum difference between the model's probability and the market's; markets of a smaller one
            are closing markets only.
        max_bets: maximum number of bets to list.
    """
    markets = _Markets.of(settled, min_difference)
    if not markets.chosen.any():
        return None
    market, stake = markets.market, _within_caps(markets)
    placed = np.flatnonzero(stake > 0.0)
    placed = placed[np.argsort(markets.order[placed], kind="stable")]
    kept = stake[placed] / market["stake"][placed]
    earned = market["profit"][placed] * kept
    stakes, profits = markets.by_game(placed, stake[placed], earned)
    bankroll = np.concatenate(([1.0], np.cumprod(np.maximum(1.0 + profits, 0.0))))
    spread = float(profits.std(ddof=1)) if len(profits) > 1 and np.ptp(profits) > _DUST else 0.0
    closing = _closing_line_values(markets, placed)
    valued = ~np.isnan(closing)
    closing_line = None
    if valued.any() and valued.mean() >= CLOSING_SHARE:
        weights, values = markets.by_game(placed[valued], stake[placed][valued], (stake[placed] * closing)[valued])
        closing_line = ratio_estimate(values, weights)
    last = slice(max(len(placed) - max_bets, 0), None)
    listed = _listed(markets, placed[last], stake[placed][last], earned[last], closing[last])
    return MarketRecord(
        bets=len(placed),
        markets=int(markets.chosen.sum()),
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
        closing_line_value=closing_line,
        closing_line_bets=int(valued.sum()),
        placed=listed,
        **_market_scores(markets),
    )


def _listed(
    markets: _Markets, placed: NDArray[np.int64], stakes: Floats, profits: Floats, closing: Floats
) -> tuple[PlacedBet, ...]:
    """Return bets, given the indexes of their markets and, of each, its figures."""
    bets = []
    columns = (placed, stakes, profits, closing)
    for at, stake, profit, value in zip(*(each.tolist() for each in columns), strict=True):
        market = {name: column[at].item() for name, column in markets.market.items()}
        kind, above = MarketKind.TOTAL if market["on_total"] else MarketKind.LEAD, market["side"] > 0.0
        model, fair = market["model_probability"], market["fair_probability"]
        bets.append(
            PlacedBet(
                order=markets.order[at].item(),
                day=markets.day[at].item(),
                home=markets.home[at].item(),
                away=markets.away[at].item(),
                elapsed_seconds=markets.elapsed_s[at].item(),
                kind=kind,
                line=market["line"],
                side=kind.sides[0 if above else 1],
                decimal_odds=market["odds"],
                win_probability=model if above else 1.0 - model,
                fair_probability=fair if above else 1.0 - fair,
                stake=stake,
                profit=profit,
                closing_line_value=None if math.isnan(value) else value,
                sequence=int(market["sequence"]),
            )
        )
    return tuple(bets)


def _closing_line_values(markets: _Markets, placed: NDArray[np.int64]) -> Floats:
    """Return the closing-line value of each bet; NaN without a closing market."""
    closing, found = _closing_markets(markets, placed), np.full(len(placed), np.nan)
    bets, at = placed[closing >= 0], closing[closing >= 0]
    market = markets.market
    moved = (market["line"][at] - market["line"][bets]) / market["spread"][at]
    pairs = zip(market["fair_probability"][at].tolist(), moved.tolist(), strict=True)
    home = np.array([_NORMAL.cdf(_NORMAL.inv_cdf(fair) + score) for fair, score in pairs])
    fair = np.where(market["side"][bets] > 0, home, 1.0 - home)
    found[closing >= 0] = market["odds"][bets] * fair - 1.0
    return found


def _closing_markets(markets: _Markets, bets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the index of the closing market of each bet; −1 without one."""
    _, game = np.unique(markets.game, return_inverse=True)
    moment = (2 * game + markets.market["on_total"]) * _LONGEST_SECONDS + markets.elapsed_s  # apart by game and kind
    order = np.argsort(moment, kind="stable")
    ends = (np.searchsorted(moment[order], moment[bets] + wait, side="right") for wait in (0.0, CLOSING_SECONDS))
    # A price that was recorded before the bet was known when it was made.
    later = (next((at for at in order[i:j] if at > bet), -1) for bet, i, j in zip(bets, *ends, strict=True))
    return np.fromiter(later, dtype=np.int64)


def _market_scores(markets: _Markets) -> dict[str, Any]:
    """Return how far both probabilities are from the results (Brier) and from each other (root mean square).

    A market has the same weight as the others of its game.
    """
    market = markets.market
    scored = np.flatnonzero(markets.chosen & ~np.isnan(market["home_won"]) & ~np.isnan(market["model_probability"]))
    if not len(scored):
        return {}
    won, model, fair = (market[name][scored] for name in ("home_won", "model_probability", "fair_probability"))
    squares = (np.square(each) for each in (model - won, fair - won, model - fair))
    number, *sums = markets.by_game(scored, np.ones(len(scored)), *squares)
    model, fair, apart = (each / number for each in sums)
    return {
        "rms_difference": _root(estimate(apart, 0.0, 1.0)),
        "model_brier": estimate(model, 0.0, 1.0),
        "market_brier": estimate(fair, 0.0, 1.0),
        "brier_difference": estimate(model - fair, -1.0, 1.0),
        "scored_markets": len(scored),
        "implausible_markets": int(market["implausible"][scored].sum()),
        "scored_games": len(number),
    }


def _root(square: ScoreEstimate) -> ScoreEstimate:
    """Return the root of an estimate and of its interval."""
    lower, upper = (None if end is None else math.sqrt(end) for end in (square.lower, square.upper))
    return ScoreEstimate(math.sqrt(square.value), square.games, lower, upper)


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
