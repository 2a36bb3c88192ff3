"""Recorded forecasts and scorecards of a fake server."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from tests.support.fakes.service import forecast, outcome

from dejavu.v1.market_pb2 import MARKET_KIND_LEAD, MARKET_SIDE_AWAY, Market, MarketAnswer, MarketSideAnswer, Odds
from dejavu.v1.record_pb2 import MARKET_RESULT_WON, RecordedPrediction, Settlement
from dejavu.v1.scorecard_pb2 import CoverageFigure, Figure, MarketRecord, Scorecard

GAME = "0022500123"
MADE = datetime(2026, 1, 15, 2, 31, 0, 250, tzinfo=UTC)


def timestamp(moment: datetime = MADE) -> Timestamp:
    made = Timestamp()
    made.FromDatetime(moment)
    return made


def recorded(
    sequence: int,
    *,
    settled: bool = True,
    quoted: bool = False,
    superseded: bool = False,
    pattern: Sequence[float] = (0, 1, 5),
    **fields: Any,
) -> RecordedPrediction:
    """Return a recorded forecast: +6.3 for BOS against LAL, −4.2 to 17.9; the outcome, if it is settled, is −7."""
    teams = {"home_team": "BOS", "away_team": "LAL"}
    points = {"point_forecast": 6.3, "interval_lower": -4.2, "interval_upper": 17.9}
    values: dict[str, Any] = {"game_id": GAME, "generated_time": timestamp(), "model_version": "24a8ff7834922bc8"}
    values |= teams | points
    made = RecordedPrediction(
        forecast=forecast(**values | fields | {"sequence": sequence}), pattern=pattern, superseded=superseded
    )
    if settled:
        reported_outcome = outcome(9, game_id=GAME, differential=-7, recorded_time=timestamp(), **teams)
        made.outcome.CopyFrom(reported_outcome)
        settlement = Settlement(outcome_sequence=9, error=13.25, absolute_error=13.25, persistence_absolute_error=12.0)
        settlement.MergeFrom(Settlement(covered=False, brier=0.5625, crps=7.5))
        if quoted:
            settlement.market_result, settlement.market_profit = MARKET_RESULT_WON, 0.019
        made.settlement.CopyFrom(settlement)
    if quoted:
        market = Market(kind=MARKET_KIND_LEAD, line=5.5, above=Odds(american=-110), below=Odds(decimal=1.95))
        above = MarketSideAnswer(decimal_odds=1.909, win_probability=0.47, expected_value=-0.1)
        below = MarketSideAnswer(decimal_odds=1.95, win_probability=0.53, expected_value=0.03)
        answer = MarketAnswer(kind=MARKET_KIND_LEAD, above=above, below=below, side=MARKET_SIDE_AWAY, stake=0.02)
        made.markets.add(market=market, answer=answer, sequence=8)
    return made


def figure(value: float, lower: float, upper: float) -> Figure:
    return Figure(value=value, lower=lower, upper=upper)


def held(alpha: float, games: int, forecasts: int, coverage: Figure, width: float) -> CoverageFigure:
    ends = {"coverage": coverage.value, "lower": coverage.lower, "upper": coverage.upper}
    return CoverageFigure(alpha=alpha, games=games, forecasts=forecasts, mean_width=width, **ends)


MARKET = MarketRecord(bets=31, markets=40, won=16, lost=14, pushed=1, games=12, capped=3, staked=1.25, profit=0.031)
MARKET.MergeFrom(MarketRecord(roi=0.025, roi_lower=-0.1, roi_upper=0.15, expected_profit=0.0875))
MARKET.MergeFrom(MarketRecord(total_return=-0.03, max_drawdown=0.12, notice="not shown to be better than the market"))
MARKET.MergeFrom(MarketRecord(scored_markets=40, scored_games=14, rms_difference=Figure(value=0.031)))
MARKET.MergeFrom(MarketRecord(model_brier=Figure(value=0.2), market_brier=Figure(value=0.19)))
MARKET.brier_difference.CopyFrom(figure(0.01, -0.01, 0.03))


def card(**fields: Any) -> Scorecard:
    """Return a scorecard of 312 games; `fields` override."""
    values: dict[str, Any] = {
        "games": 312,
        "forecasts": 14890,
        "mae": figure(5.25, 4.5, 6.0),
        "persistence_mae": figure(6.06, 5.7, 6.34),
        "mae_difference": figure(-0.81, -1.0, -0.62),
        "crps": figure(3.8, 3.6, 4.1),
        "brier": figure(0.152, 0.14, 0.164),
        "leader_brier": figure(0.171, 0.16, 0.182),
        "brier_difference": figure(-0.019, -0.025, -0.013),
        "ece": 0.031,
        "coverage": [
            held(0.05, 312, 14000, figure(0.946, 0.929, 0.96), 23.1),
            held(0.2, 12, 890, figure(0.79, 0.7, 0.86), 13.1),
        ],
        "market": MARKET,
    }
    return Scorecard(**values | fields)
