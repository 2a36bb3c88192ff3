"""A forecast in the canonical form of its entry (see `codec`)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any, Final

from dejavu_common.clock import microseconds
from dejavu_feed.moment import Moment
from dejavu_ledger.entries.explanations import (
    ADAPTATION,
    EXPLANATION,
    optional,
    read_adaptation,
    read_explanation,
)
from dejavu_ledger.entries.layout import Kind, Layout, Member
from dejavu_models.types import (
    ExpectedMarginTerms,
    Forecast,
    Horizon,
    Interval,
    TeamKnowledge,
    TotalForecast,
    WarningReason,
)

_SCORE_DIGITS = 6  # decimals of static scores; with more, insignificant digits would make up half of an entry


def rounded_scores(scores: Sequence[float]) -> tuple[float, ...]:
    """Return static scores as they are recorded."""
    return tuple(round(float(score), _SCORE_DIGITS) for score in scores)


_TERMS: Final = Layout(
    Member("altitude", Kind.NUMBER),
    Member("away_missing", Kind.INTEGER, any=True),
    Member("home_advantage", Kind.NUMBER),
    Member("home_missing", Kind.INTEGER, any=True),
    Member("missing_players", Kind.NUMBER, any=True),
    Member("playoffs", Kind.NUMBER),
    Member("schedule", Kind.NUMBER),
    Member("schedule_known", Kind.VALUE, convert=bool),
    Member("strength_difference", Kind.NUMBER),
    Member("usual_players", Kind.NUMBER, any=True),
)

_TEAM_KNOWN: Final = Layout(
    Member("deviation", Kind.NUMBER),
    Member("earlier_date", Kind.VALUE, convert=date.isoformat, any=True),
    Member("finals", Kind.INTEGER),
)

_TOTAL: Final = Layout(
    Member("distribution", Kind.NUMBERS),
    Member("expected_total", Kind.NUMBER, null=True),
    Member("interval_lower", Kind.NUMBER, "interval.lower"),
    Member("interval_upper", Kind.NUMBER, "interval.upper"),
    Member("point", Kind.NUMBER),
)

FORECAST_MEMBERS: Final = (
    Member("adaptation", Kind.OBJECT, "forecast.adaptation", ADAPTATION, null=True),
    Member("calibration_sequence", Kind.INTEGER, "forecast.calibration_sequence"),
    Member("distribution", Kind.NUMBERS, "forecast.distribution"),
    Member("elapsed_minutes", Kind.INTEGER, "forecast.elapsed_minutes"),
    Member("expected_margin", Kind.NUMBER, "forecast.expected_margin", null=True),
    Member("expires_us", Kind.VALUE, "expires_time", convert=microseconds),
    Member("explanation", Kind.OBJECT, "forecast.explanation", EXPLANATION, null=True),
    Member("generated_us", Kind.VALUE, "generated_time", convert=microseconds),
    Member("home_lead_probability", Kind.NUMBER, "forecast.home_lead_probability"),
    Member("interval_lower", Kind.NUMBER, "forecast.interval.lower"),
    Member("interval_upper", Kind.NUMBER, "forecast.interval.upper"),
    Member("model_version", Kind.VALUE, "forecast.model_version"),
    Member("point", Kind.NUMBER, "forecast.point"),
    Member("static_scores", Kind.NUMBERS, "forecast.static_scores"),
    # Optional fields of a forecast.
    Member("expected_margin_terms", Kind.OBJECT, "forecast.expected_margin_terms", _TERMS, any=True),
    Member("finals_since", Kind.INTEGER, "forecast.finals_since", when="forecast.ratings_date"),
    Member("outdated_teams", Kind.VALUE, "forecast.outdated_teams", any=True),
    Member("rated_margin", Kind.NUMBER, "forecast.rated_margin", when="forecast.rated_margin"),
    Member("ratings_date", Kind.VALUE, "forecast.ratings_date", convert=date.isoformat, any=True),
    Member("teams_known", Kind.OBJECTS, "forecast.teams_known", _TEAM_KNOWN, any=True),
    Member("total", Kind.OBJECT, "forecast.total", _TOTAL, any=True),
    Member("warnings", Kind.VALUE, "forecast.warnings", convert=lambda found: [each.value for each in found], any=True),
    Member("widened_by", Kind.NUMBER, "forecast.widened_by", any=True),
)
"""Members of the JSON object of an object with `forecast`, `generated_time` and `expires_time`."""


_WARNINGS: Final = [each.value for each in WarningReason]
"""The known reasons: a worker of a newer release writes others during a rolling restart."""


def read_forecast(
    value: dict[str, Any], horizon: Horizon, alpha: float, *, moment: Moment | None = None, explanation: bool = True
) -> Forecast:
    """Return the forecast of a JSON object, given fields of its request, with its explanation if requested."""
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
        warnings=tuple(WarningReason(each) for each in value.get("warnings", ()) if each in _WARNINGS),
        outdated_teams=tuple(value.get("outdated_teams", ())),
        expected_margin_terms=optional(_read_terms, value.get("expected_margin_terms")),
        total=optional(_read_total, value.get("total")),
        teams_known=tuple(map(_read_team_known, value.get("teams_known", ()))),
        widened_by=value.get("widened_by", 0.0),
        rated_margin=value.get("rated_margin"),
        moment=moment,
    )


def _read_team_known(value: dict[str, Any]) -> TeamKnowledge:
    earlier = optional(date.fromisoformat, value.get("earlier_date"))
    return TeamKnowledge(value["deviation"], value["finals"], earlier)


def _read_total(value: dict[str, Any]) -> TotalForecast:
    return TotalForecast(
        point=value["point"],
        interval=Interval(value["interval_lower"], value["interval_upper"]),
        expected_total=value["expected_total"],
        distribution=tuple(value["distribution"]),
    )


def _read_terms(value: dict[str, Any]) -> ExpectedMarginTerms:
    return ExpectedMarginTerms(**value)
