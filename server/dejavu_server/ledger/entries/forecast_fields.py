"""A forecast in the canonical form of its entry (see `codec`), and the last score of the request that it answers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from dejavu_common.clock import microseconds
from dejavu_feed.pattern import LastScore, Side
from dejavu_models.types import ExpectedMarginTerms, Forecast, Horizon, Interval, TotalForecast, WarningReason
from dejavu_server.ledger.entries.explanations import (
    encode_adaptation,
    encode_explanation,
    optional,
    read_adaptation,
    read_explanation,
)

_SCORE_DIGITS = 6  # decimals of static scores; with more, insignificant digits would make up half of an entry


def rounded_scores(scores: Sequence[float]) -> tuple[float, ...]:
    """Returns static scores as they are recorded."""
    return tuple(round(float(score), _SCORE_DIGITS) for score in scores)


def encode_forecast(forecast: Forecast, generated_time: datetime, expires_time: datetime) -> dict[str, Any]:
    """Returns the JSON object of a forecast.

    Raises:
        ValueError: if a time is not UTC.
    """
    return {
        "adaptation": optional(encode_adaptation, forecast.adaptation),
        "calibration_sequence": int(forecast.calibration_sequence),
        "distribution": list(map(float, forecast.distribution)),
        "elapsed_minutes": int(forecast.elapsed_minutes),
        "expected_margin": optional(float, forecast.expected_margin),
        "expires_us": microseconds(expires_time),
        "explanation": optional(encode_explanation, forecast.explanation),
        "generated_us": microseconds(generated_time),
        "home_lead_probability": float(forecast.home_lead_probability),
        "interval_lower": float(forecast.interval.lower),
        "interval_upper": float(forecast.interval.upper),
        "model_version": forecast.model_version,
        "point": float(forecast.point),
        "static_scores": list(map(float, forecast.static_scores)),
        **_late_additions(forecast),
    }


def read_forecast(value: dict[str, Any], horizon: Horizon, alpha: float, *, explanation: bool = True) -> Forecast:
    """Returns the forecast of a JSON object, given what its request has, with its explanation if requested."""
    return Forecast(
        horizon=horizon,
        elapsed_minutes=value["elapsed_minutes"],
        alpha=alpha,
        point=value["point"],
        interval=Interval(value["interval_lower"], value["interval_upper"]),
        home_lead_probability=value["home_lead_probability"],
        model_version=value["model_version"],
        explanation=optional(read_explanation, value["explanation"]) if explanation else None,
        expected_margin=value.get("expected_margin"),
        calibration_sequence=value.get("calibration_sequence", 0),
        adaptation=optional(read_adaptation, value.get("adaptation")),
        distribution=tuple(value.get("distribution", ())),
        static_scores=tuple(value.get("static_scores", ())),
        ratings_date=optional(date.fromisoformat, value.get("ratings_date")),
        finals_since=value.get("finals_since", 0),
        warnings=tuple(map(WarningReason, value.get("warnings", ()))),
        outdated_teams=tuple(value.get("outdated_teams", ())),
        expected_margin_terms=optional(_read_terms, value.get("expected_margin_terms")),
        total=optional(_read_total, value.get("total")),
    )


def _encode_total(total: TotalForecast) -> dict[str, Any]:
    return {
        "distribution": [float(value) for value in total.distribution],
        "expected_total": optional(float, total.expected_total),
        "interval_lower": float(total.interval.lower),
        "interval_upper": float(total.interval.upper),
        "point": float(total.point),
    }


def _read_total(value: dict[str, Any]) -> TotalForecast:
    return TotalForecast(
        point=value["point"],
        interval=Interval(value["interval_lower"], value["interval_upper"]),
        expected_total=value["expected_total"],
        distribution=tuple(value["distribution"]),
    )


def _encode_terms(terms: ExpectedMarginTerms) -> dict[str, Any]:
    return {
        "altitude": float(terms.altitude),
        "home_advantage": float(terms.home_advantage),
        "playoffs": float(terms.playoffs),
        "schedule": float(terms.schedule),
        "schedule_known": bool(terms.schedule_known),
        "strength_difference": float(terms.strength_difference),
    }


def _read_terms(value: dict[str, Any]) -> ExpectedMarginTerms:
    return ExpectedMarginTerms(**value)


def encode_last_score(last_score: LastScore) -> dict[str, Any]:
    """Returns the JSON object of a last score."""
    return {"seconds": int(last_score.seconds), "side": last_score.side.name.lower()}


def read_last_score(value: dict[str, Any]) -> LastScore:
    """Returns the last score of a JSON object.

    Raises:
        ValueError: if it is none.
    """
    sides = {side.name.lower(): side for side in Side}
    if value["side"] not in sides or type(value["seconds"]) is not int:
        raise ValueError(f"{value!r}; expected a side and seconds")
    return LastScore(sides[value["side"]], value["seconds"])


def _late_additions(forecast: Forecast) -> dict[str, Any]:
    """Returns what earlier releases did not write and not every forecast has."""
    added: dict[str, Any] = {}
    if forecast.ratings_date is not None:
        added |= {"finals_since": int(forecast.finals_since), "ratings_date": forecast.ratings_date.isoformat()}
    if forecast.warnings:
        added["warnings"] = [reason.value for reason in forecast.warnings]
    if forecast.expected_margin_terms is not None:
        added["expected_margin_terms"] = _encode_terms(forecast.expected_margin_terms)
    if forecast.outdated_teams:
        added["outdated_teams"] = list(forecast.outdated_teams)
    if forecast.total is not None:
        added["total"] = _encode_total(forecast.total)
    return added
