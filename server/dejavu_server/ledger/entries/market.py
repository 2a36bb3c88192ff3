"""Canonical form of a market entry: the odds sent with a forecast request, and the answer to them."""

from __future__ import annotations

from typing import Any

from dejavu_models.betting import Market, MarketAnswer, MarketSide, MarketSideAnswer, RiskLevel
from dejavu_server.ledger.entries.encoding import MARKET, decode_entry, dumps, parse_errors


def market_payload(forecast_sequence: int, market: Market, answer: MarketAnswer) -> str:
    """Returns the payload of a market's canonical form.

    Args:
        forecast_sequence: sequence of the forecast that the market was sent with.
        market: the market.
        answer: the answer to it.

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
    """Parses the canonical form of a market entry.

    Returns:
        The forecast's sequence, the market and the answer.

    Raises:
        ValueError: if the text is not one.
    """
    entry = decode_entry(MARKET, canonical)
    with parse_errors(MARKET):
        payload = entry["payload"]
        market_fields, answer_fields = payload["market"], payload["answer"]
        market = Market(
            line=market_fields["line"],
            home_odds=market_fields["home_odds"],
            away_odds=market_fields["away_odds"],
            bankroll=market_fields["bankroll"],
            confidence_threshold=market_fields["confidence_threshold"],
        )
        answer = MarketAnswer(
            home=_read_side(answer_fields["home"]),
            away=_read_side(answer_fields["away"]),
            push_probability=answer_fields["push_probability"],
            overround=answer_fields["overround"],
            side=None if answer_fields["side"] is None else MarketSide(answer_fields["side"]),
            stake=answer_fields["stake"],
            risk_level=RiskLevel(answer_fields["risk_level"]),
            confidence_met=answer_fields["confidence_met"],
            confidence_threshold=answer_fields["confidence_threshold"],
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
