"""The lists that a server must return, computed from a record."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

from bets import Bet
from chain import Entry
from rules import MINUTES, Forecast, Place, Record

# Values of min_confidence by which forecasts are listed.
CONFIDENCES = (0.6, 0.8, 0.95)

# Revisions of an outcome that a server lists: the newest ones.
MOST_REVISIONS = 500

# Conditions of scorecards only, and those that are none of a further filter of a scorecard.
OF_CARDS = {"recorded_by", "min_minutes", "complete_minutes"}
MAX_ODDS = 1000.0

NOT_OF_CARDS = {"horizon", "settled", "include_superseded", "include_replays", "elapsed_minutes", "owners_only"}

# Fields of a filter, and their values.
Conditions = tuple[tuple[str, Any], ...]


def filters(record: Record) -> dict[Conditions, set[int]]:
    """Return the forecasts that meet conditions of lists and scorecards; without any, replays are included."""
    found: defaultdict[Conditions, set[int]] = defaultdict(set)
    for name, value in ("settled", True), ("settled", False), ("include_superseded", False), ("include_replays", False):
        found[(name, value),] = set()
    for horizon in MINUTES:
        found[("horizon", enum(horizon)),] = set()
    for sequence, forecast in record.forecasts.items():
        request, said = forecast.request, forecast.said
        confidence = abs(said["home_lead_probability"] - 0.5) + 0.5
        for name, value, met in (
            ("settled", record.outcome(forecast.place) is not None, True),
            ("horizon", enum(forecast.horizon), True),
            ("game_id", forecast.game, True),
            ("model_version", said["model_version"], True),
            ("elapsed_minutes", forecast.minute, True),
            ("recorded_by", forecast.caller, forecast.caller != ""),
            ("complete_minutes", True, forecast.elapsed == 60 * forecast.minute),
            ("owners_only", True, forecast.owned),
            ("include_superseded", False, not record.superseded(forecast)),
            ("include_replays", False, not forecast.is_replay),
            *(("team", team, team != "") for team in {request["home_team"], request["away_team"]}),
            *(("min_confidence", least, confidence >= least) for least in CONFIDENCES),
        ):
            if met:
                found[(name, value),].add(sequence)
        found[("from_date", forecast.day), ("to_date", forecast.day)].add(sequence)
        found[("min_minutes", forecast.minute), ("max_minutes", forecast.minute)].add(sequence)
    return found


def enum(horizon: str) -> str:
    """Return the name of a horizon in the contract."""
    return f"HORIZON_{horizon.upper()}"


def listed(record: Record, forecast: Forecast) -> dict[str, Any]:
    """Return a dejavu.v1.RecordedPrediction: values by the names of its fields."""
    late, markets = record.late(forecast), record.markets.get(forecast.sequence, {})
    parts: dict[str, Any] = {
        "forecast": _forecast(forecast, late),
        "pattern": forecast.request["pattern"],
        "superseded": record.superseded(forecast),
        "of_others": not forecast.owned,
        "recorded_by": forecast.caller,
    }
    if (outcome := record.outcome(forecast.place)) is not None:
        bets = {} if late else {kind: of for kind, of in markets.items() if not record.sent_late(forecast, of)}
        parts["outcome"] = _outcome(outcome)
        if not late and record.exchanges_sides(forecast):
            parts["forecast"]["late"], bets = "sides", {}
        parts["settlement"] = settlement(forecast, outcome, bets)
        parts["settlement"]["first_outcome_sequence"] = record.outcomes[forecast.place][0]["sequence"]
    if markets:
        parts["markets"] = [_market(each, late=record.sent_late(forecast, each)) for each in markets.values()]
    return parts


def revisions(record: Record) -> dict[Place, list[dict[str, Any]]]:
    """Return the revisions of the outcomes of all games and horizons with forecasts, as a server lists them."""
    places = sorted({forecast.place for forecast in record.forecasts.values()})
    return {at: [_outcome(each) for each in record.outcomes.get(at, ())][-MOST_REVISIONS:] for at in places}


def _forecast(forecast: Forecast, late: str) -> dict[str, Any]:
    """Return the fields of a dejavu.v1.Forecast, and others of the entry, which the message does not have."""
    request, said = forecast.request, forecast.said
    named, rated = request["home_team"] or request["away_team"], said.get("expected_margin") is not None
    source = "ratings" if request["pregame_margin"] is None else request.get("margin_source", "caller")
    fields: dict[str, Any] = (
        request
        | said
        | {
            "explanation": None,
            "point_forecast": said["point"],
            "coverage_probability": 1.0 - request["alpha"],
            "generated_time": forecast.made,
            "expires_time": said["expires_us"],
            "sequence": forecast.sequence,
            "revision": forecast.revision,
            "late": late,
            "game_date": forecast.date,
            "warnings": [{"reason": each} for each in said.get("warnings", ())],
            "finals_since": said.get("finals_since") if named else None,
            "margin_source": source if rated else None,
            "margin_time": request.get("margin_us") if rated else None,
        }
    )
    fields |= dict(zip(("home_known", "away_known"), said.get("teams_known", ()), strict=False))
    if total := said.get("total"):
        fields["total"] = total | {"point_forecast": total["point"]}
    return fields


def _outcome(entry: Entry) -> dict[str, Any]:
    """Return the fields of a dejavu.v1.Outcome."""
    payload: dict[str, Any] = entry["payload"]
    return payload | {
        "observed_time": payload["observed_us"],
        "recorded_time": payload["recorded_us"],
        "sequence": entry["sequence"],
        "revision": entry["revision"],
        "recorded_by": entry.get("made_by"),
    }


def settlement(forecast: Forecast, outcome: Entry, bets: dict[str, Entry]) -> dict[str, Any]:
    """Return the fields of a dejavu.v1.Settlement, given the markets that count, by kind."""
    said, differential = forecast.said, outcome["payload"]["differential"]
    led = 1.0 if differential > 0 else 0.0
    fields: dict[str, Any] = {
        "outcome_sequence": outcome["sequence"],
        "error": said["point"] - differential,
        "absolute_error": abs(said["point"] - differential),
        "persistence_absolute_error": abs(forecast.lead - differential),
        "covered": said["interval_lower"] <= differential <= said["interval_upper"],
        "brier": (said["home_lead_probability"] - led) ** 2,
        "crps": _crps(said["distribution"], differential) if said.get("distribution") else None,
        **_result(forecast, outcome, bets.get("lead")),
    }
    total, points = said.get("total"), outcome["payload"].get("total_points")
    if total is not None and points is not None and "total_points" in forecast.request:
        pace = forecast.request["total_points"] * MINUTES[forecast.horizon] / forecast.minute
        fields["total"] = {
            "error": total["point"] - points,
            "absolute_error": abs(total["point"] - points),
            "pace_absolute_error": abs(pace - points),
            "covered": total["interval_lower"] <= points <= total["interval_upper"],
            "crps": _crps(total["distribution"], points),
            **_result(forecast, outcome, bets.get("total")),
        }
    return fields


def _result(forecast: Forecast, outcome: Entry, market: Entry | None) -> dict[str, Any]:
    """Return result and profit of the bet on a market; nothing without a stake."""
    bet = None if market is None else Bet(forecast, outcome["payload"], market)
    if bet is None or bet.side is None:
        return {}
    result = "push" if bet.gain == 0.0 else "won" if bet.gain > 0.0 else "lost"
    return {"market_result": result, "market_profit": bet.stake * bet.gain}


def _crps(quantiles: list[float], outcome: float) -> float:
    levels = ((2 * place + 1) / (2 * len(quantiles)) for place in range(len(quantiles)))
    losses = ((level - (outcome < value)) * (outcome - value) for level, value in zip(levels, quantiles, strict=True))
    return 2.0 * math.fsum(losses) / len(quantiles)


def _market(market: Entry, *, late: bool) -> dict[str, Any]:
    """Return the fields of a dejavu.v1.RecordedMarket."""
    asked, answer = market["payload"]["market"], market["payload"]["answer"]
    prices = {
        side: {"american": asked[american]} if (american := f"{side}_american") in asked else {"decimal": asked[odds]}
        for side, odds in (("above", "above_odds"), ("below", "below_odds"))
    }
    added = {
        "kind": asked["kind"],
        "recording": "outcome_known" if late else "recorded",
        "staking": asked["policy"],
    }
    refused = any(answer.get(each) for each in ("implausible", "mismatched", "unrated"))
    decided = 1.0 - answer["push_probability"]
    for side in ("above", "below"):
        wins = answer[side]["staking_probability"]
        worth = not refused and 0.0 < decided <= MAX_ODDS * wins
        added[side] = answer[side] | ({"minimum_odds": decided / wins} if worth else {})
    if asked["kind"] == "total":
        added["lead_staked"] = answer.get("lead_staked", 0.0)
    sent = asked | prices | {"staking": asked["policy"], "traded_time": asked.get("traded_us")}
    return {"market": sent, "answer": answer | added, "sequence": market["sequence"]}
