"""The canonical form of a market's entry: the odds that a forecast was asked about with, and what it said of them."""

from __future__ import annotations

from typing import Any

from dejavu_models.betting import Market, MarketAnswer, MarketSide, MarketSideAnswer, RiskLevel
from dejavu_server.ledger.entries.encoding import MARKET, decode_entry, dumps, reading


def market_payload(forecast_sequence: int, market: Market, answer: MarketAnswer) -> str:
    """The payload of a market's canonical form.

    Args:
        forecast_sequence: place of the forecast that was asked.
        market: what it was asked about.
        answer: what it said.

    Raises:
        ValueError: if a value is not finite.
    """
    threshold = market.confidence_threshold
    return dumps(
        {
            "answer": {
                "away": _side(answer.away),
                "confidence_met": bool(answer.confidence_met),
                "confidence_threshold": float(answer.confidence_threshold),
                "home": _side(answer.home),
                "overround": float(answer.overround),
                "push_probability": float(answer.push_probability),
                "risk_level": answer.risk_level.value,
                "side": None if answer.side is None else answer.side.value,
                "stake": float(answer.stake),
            },
            "forecast_sequence": int(forecast_sequence),
            "market": {
                "away_odds": float(market.away_odds),
                "bankroll": float(market.bankroll),
                "confidence_threshold": None if threshold is None else float(threshold),
                "home_odds": float(market.home_odds),
                "line": float(market.line),
            },
        }
    )


def parse_market(canonical: str) -> tuple[int, Market, MarketAnswer]:
    """Reads the canonical form of a market's entry: the forecast's place, the market and the answer.

    Raises:
        ValueError: if it is not one.
    """
    entry = decode_entry(MARKET, canonical)
    with reading(MARKET):
        payload = entry["payload"]
        asked, said = payload["market"], payload["answer"]
        market = Market(
            line=asked["line"],
            home_odds=asked["home_odds"],
            away_odds=asked["away_odds"],
            bankroll=asked["bankroll"],
            confidence_threshold=asked["confidence_threshold"],
        )
        answer = MarketAnswer(
            home=_read_side(said["home"]),
            away=_read_side(said["away"]),
            push_probability=said["push_probability"],
            overround=said["overround"],
            side=None if said["side"] is None else MarketSide(said["side"]),
            stake=said["stake"],
            risk_level=RiskLevel(said["risk_level"]),
            confidence_met=said["confidence_met"],
            confidence_threshold=said["confidence_threshold"],
        )
        return payload["forecast_sequence"], market, answer


def _side(answer: MarketSideAnswer) -> dict[str, float]:
    return {
        "decimal_odds": float(answer.decimal_odds),
        "expected_value": float(answer.expected_value),
        "implied_probability": float(answer.implied_probability),
        "kelly_fraction": float(answer.kelly_fraction),
        "stake": float(answer.stake),
        "stake_fraction": float(answer.stake_fraction),
        "win_probability": float(answer.win_probability),
    }


def _read_side(value: dict[str, Any]) -> MarketSideAnswer:
    return MarketSideAnswer(
        decimal_odds=value["decimal_odds"],
        win_probability=value["win_probability"],
        implied_probability=value["implied_probability"],
        expected_value=value["expected_value"],
        kelly_fraction=value["kelly_fraction"],
        stake_fraction=value["stake_fraction"],
        stake=value["stake"],
    )
