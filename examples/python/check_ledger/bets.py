"""Markets with their bets, and the record of bets that a scorecard has."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate
from statistics import NormalDist
from typing import Any

import numpy as np
from chain import Entry
from estimates import estimate, ratio
from rules import MINUTES, Forecast

NORMAL = NormalDist()

# Share of a bankroll up to which the rest of a cap counts as 0.
DUST = 1e-9

# Largest plausible difference between the model's probability and the market's.
MAX_DIFFERENCE = 0.15

# Standard deviation of an outcome around a fair line at tip-off, in points.
SPREADS = {("final", "lead"): 12.5, ("halftime", "lead"): 10.4, ("final", "total"): 17.9, ("halftime", "total"): 11.7}


class Bet:
    """A market of a forecast, on the lead or on the total points, and its answer.

    Args:
        forecast: the forecast.
        outcome: its outcome.
        market: the entry of the market.

    Attributes:
        points: the differential or total that decides it; None if that was not reported.
        above: by how many points that is above the line.
        model, fair: the probability of the first side, home or over, by the model without a push, and by the market;
            NaN for the model if a push is certain.
        difference: how far the two are apart.
        policy: the rules of its stakes.
        side: the side to bet on; None for no bet.
        odds, stake, expected: of that side; the stake is a share of the bankroll.
        gain: profit of a stake of 1; a push returns the stake.
        spread: standard deviation of the outcome around a fair line at the time of the forecast.
    """

    def __init__(self, forecast: Forecast, outcome: Mapping[str, Any], market: Entry) -> None:
        asked, self.answer = market["payload"]["market"], market["payload"]["answer"]
        self.policy = asked["policy"]
        self.forecast, self.sequence = forecast, market["sequence"]
        self.game, self.kind, self.line = forecast.game, asked["kind"], asked["line"]
        self.points: int | None = outcome.get("total_points" if self.kind == "total" else "differential")
        self.above: float = (self.points or 0) - self.line
        self.fair: float = asked["below_odds"] / (asked["above_odds"] + asked["below_odds"])
        decided = 1.0 - self.answer["push_probability"]
        self.model = self.answer["above"]["win_probability"] / decided if decided > 0.0 else math.nan
        self.difference = abs(self.model - self.fair)
        self.side, self.on_first = self.answer["side"], self.answer["side"] in {"home", "over"}
        chosen = self.answer["above" if self.on_first else "below"]
        self.odds: float = chosen["decimal_odds"]
        self.expected, self.stake = chosen["expected_value"], chosen["stake_fraction"] if self.side else 0.0
        won = (self.above > 0) == self.on_first
        self.gain = 0.0 if self.above == 0 else self.odds - 1.0 if won else -1.0
        minutes = MINUTES[forecast.horizon]
        left = max(minutes - forecast.elapsed / 60, 1.0)
        self.spread = SPREADS[forecast.horizon, self.kind] * math.sqrt(left / minutes)


def market_record(
    every: list[Bet], orders: Mapping[str, int], least: float = 0.0, most: int = 0
) -> dict[str, Any] | None:
    """Return the fields of a dejavu.v1.MarketRecord; None without a market.

    Args:
        every: the markets that count, and whose outcome was reported.
        orders: the first reports of the games' outcomes.
        least: minimum difference of the markets that are more than closing markets.
        most: maximum number of bets to list.
    """
    every = sorted(every, key=lambda each: each.sequence)
    markets = [each for each in every if least == 0.0 or each.difference >= least - DUST]
    if not markets:
        return None
    stakes = _within_caps(markets)
    placed = sorted((each for each in markets if stakes[each.sequence] > 0.0), key=lambda each: orders[each.game])
    staked = _by_game(placed, lambda each: stakes[each.sequence])
    earned = _by_game(placed, lambda each: stakes[each.sequence] * each.gain)
    bankroll = list(accumulate(np.maximum(1.0 + earned, 0.0).tolist(), lambda one, other: one * other, initial=1.0))
    roi = ratio(earned, staked) if placed else {}
    closing = _closing_line_values(every, placed)
    return {
        "bets": len(placed),
        "markets": len(markets),
        "staked": float(staked.sum()),
        "profit": float(earned.sum()),
        "roi": roi.get("value"),
        "roi_lower": roi.get("lower"),
        "roi_upper": roi.get("upper"),
        "total_return": bankroll[-1] - 1.0,
        "max_drawdown": max(1.0 - now / most for now, most in zip(bankroll, accumulate(bankroll, max), strict=True)),
        "sharpe": float(earned.mean() / earned.std(ddof=1)) if len(earned) > 1 and np.ptp(earned) > DUST else None,
        "expected_profit": math.fsum(stakes[each.sequence] * each.expected for each in placed),
        "won": sum(each.gain > 0.0 for each in placed),
        "lost": sum(each.gain < 0.0 for each in placed),
        "pushed": sum(each.gain == 0.0 for each in placed),
        "games": len(earned),
        "capped": sum(stakes[each.sequence] < each.stake for each in markets),
        "placed": [
            {
                "game_id": each.game,
                "game_date": each.forecast.day,
                "home_team": each.forecast.request["home_team"],
                "away_team": each.forecast.request["away_team"],
                "elapsed_seconds": each.forecast.elapsed,
                "kind": each.kind,
                "line": each.line,
                "side": each.side,
                "decimal_odds": each.odds,
                "win_probability": each.model if each.on_first else 1.0 - each.model,
                "fair_probability": each.fair if each.on_first else 1.0 - each.fair,
                "stake": stakes[each.sequence],
                "profit": stakes[each.sequence] * each.gain,
                "closing_line_value": closing.get(each.sequence),
                "sequence": each.sequence,
            }
            for each in placed[max(len(placed) - most, 0) :]
        ],
        **_closing_line(placed, stakes, closing),
        **_scores(markets),
    }


def _within_caps(markets: list[Bet]) -> dict[int, float]:
    """Return the stakes by sequence of the market, each within what earlier ones leave of its caps."""
    stakes: dict[int, float] = {}
    used: defaultdict[tuple[str, str], float] = defaultdict(float)  # of games, and of evenings of a caller
    for each in markets:
        caps = each.policy
        game, day = ("", each.game), (each.forecast.caller, each.forecast.day)
        left = min(caps["game_cap"] - used[game], caps["evening_cap"] - used[day])
        stakes[each.sequence] = stake = min(each.stake, left) if left > DUST else 0.0
        used[game] += stake
        used[day] += stake
    return stakes


def _by_game(markets: Iterable[Bet], value: Callable[[Bet], float]) -> np.ndarray[Any, Any]:
    """Return the sum of a value of the markets of each game, in the order of the first ones."""
    sums: defaultdict[str, float] = defaultdict(float)
    for each in markets:
        sums[each.game] += value(each)
    return np.array(list(sums.values()))


def _closing_line_values(markets: list[Bet], placed: list[Bet]) -> dict[int, float]:
    """Return the expected profit of 1 staked on each bet with a closing market, at its fair probability."""
    of_kind: defaultdict[tuple[str, str], list[Bet]] = defaultdict(list)
    for each in sorted(markets, key=lambda each: (each.forecast.elapsed, each.sequence)):
        of_kind[each.game, each.kind].append(each)
    values: dict[int, float] = {}
    for each in placed:
        for price in of_kind[each.game, each.kind]:
            if 0.0 < price.forecast.elapsed - each.forecast.elapsed <= 120.0 and price.sequence > each.sequence:
                score = NORMAL.inv_cdf(price.fair) + (price.line - each.line) / price.spread
                values[each.sequence] = each.odds * NORMAL.cdf(score if each.on_first else -score) - 1.0
                break
    return values


def _closing_line(placed: list[Bet], stakes: Mapping[int, float], closing: Mapping[int, float]) -> dict[str, Any]:
    """Return the figures of the closing-line value, given that of each bet."""
    bets = [each for each in placed if each.sequence in closing]
    if not bets or len(bets) < 0.9 * len(placed):
        return {"closing_line_bets": len(bets)}
    weighted = _by_game(bets, lambda each: stakes[each.sequence] * closing[each.sequence])
    value = ratio(weighted, _by_game(bets, lambda each: stakes[each.sequence]))
    return {"closing_line_bets": len(bets), "closing_line_value": value}


def _scores(markets: list[Bet]) -> dict[str, Any]:
    """Return the Brier scores of the model and of the market, and their distance, on the markets without pushes."""
    games: defaultdict[str, list[tuple[float, float, float]]] = defaultdict(list)
    scored = [each for each in markets if each.above != 0 and not math.isnan(each.model)]
    for each in scored:
        won = float(each.above > 0)
        games[each.game].append(((each.model - won) ** 2, (each.fair - won) ** 2, each.difference**2))
    if not games:
        return {}
    model, market, apart = np.array([np.mean(scores, axis=0) for scores in games.values()]).T
    return {
        "scored_markets": len(scored),
        "implausible_markets": sum(each.difference > MAX_DIFFERENCE + 1e-9 for each in scored),
        "scored_games": len(games),
        "model_brier": estimate(model, 0.0, 1.0),
        "market_brier": estimate(market, 0.0, 1.0),
        "brier_difference": estimate(model - market, -1.0, 1.0),
        "rms_difference": {name: math.sqrt(value) for name, value in estimate(apart, 0.0, 1.0).items()},
    }
