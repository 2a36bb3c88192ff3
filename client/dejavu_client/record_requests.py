"""Builds track record requests from plain Python values, for both clients."""

from __future__ import annotations

from datetime import date, datetime
from typing import TypedDict, Unpack

from google.protobuf.timestamp_pb2 import Timestamp

from dejavu.v1.forecast_pb2 import HORIZON_HALFTIME, HORIZON_UNSPECIFIED, Horizon
from dejavu.v1.record_service_pb2 import ListPredictionsRequest, ReportOutcomeRequest, ScoreFilter


class Conditions(TypedDict, total=False):
    """Filter of recorded forecasts; a forecast must match all conditions given.

    Attributes:
        game_id: NBA game id, ten digits.
        from_date, to_date: first and last local date of the games, inclusive.
        team: NBA code or alias of the home or away team.
        horizon: `HALFTIME` or `FINAL`; both by default.
        min_confidence: minimum probability of the likelier side, in [0.5, 1].
        settled: True for forecasts with a known outcome only, False for the others only.
        model_version: version of the model that made the forecasts.
        elapsed_minutes: minute of play after which the forecasts were made.
        include_superseded: include earlier revisions.
        include_replays: include games of replays and simulated seasons.
    """

    game_id: str
    from_date: date | None
    to_date: date | None
    team: str
    horizon: Horizon.ValueType
    min_confidence: float | None
    settled: bool | None
    model_version: str
    elapsed_minutes: int | None
    include_superseded: bool
    include_replays: bool


class Scope(TypedDict, total=False):
    """Filter of the settled forecasts to score.

    Attributes:
        horizon: `HALFTIME`, the default, or `FINAL`.
        from_date, to_date: first and last local date of the games, inclusive.
        min_minutes, max_minutes: first and last minute of play after which the forecasts were made, inclusive.
        include_replays: include games of replays and simulated seasons.
    """

    horizon: Horizon.ValueType
    from_date: date | None
    to_date: date | None
    min_minutes: int | None
    max_minutes: int | None
    include_replays: bool


class ModelScope(Scope, total=False):
    """A scope that can be limited to one model version.

    Attributes:
        model_version: version of the model that made the forecasts; any by default.
    """

    model_version: str


def outcome_request(
    game_id: str,
    differential: int,
    *,
    horizon: Horizon.ValueType = HORIZON_HALFTIME,
    home_team: str = "",
    away_team: str = "",
    observed_time: datetime | None = None,
) -> ReportOutcomeRequest:
    """Builds a report of a game's outcome at a horizon. The server validates the values.

    Args:
        game_id: NBA game id, ten digits.
        differential: home − away at the horizon, in points.
        horizon: `HALFTIME` or `FINAL`.
        home_team: NBA code or common alias of the home team. If both teams are given, a final score updates their
            ratings.
        away_team: NBA code or common alias of the away team.
        observed_time: when the outcome was observed, timezone-aware; None for now, by the server's clock.

    Raises:
        TypeError: if a value does not have the type of its field.
        ValueError: if `observed_time` has no time zone.
    """
    observed = None
    if observed_time is not None:
        if observed_time.tzinfo is None:
            raise ValueError(f"observed_time={observed_time!r} has no time zone; expected an aware datetime")
        observed = Timestamp()
        observed.FromDatetime(observed_time)
    return ReportOutcomeRequest(
        game_id=game_id,
        horizon=horizon,
        differential=differential,
        home_team=home_team,
        away_team=away_team,
        observed_time=observed,
    )


def predictions_request(page_size: int = 0, **conditions: Unpack[Conditions]) -> ListPredictionsRequest:
    """Builds a request for the first page of recorded forecasts.

    Args:
        page_size: maximum number of forecasts per page, 1 to 500; 0 for the server's default.
        conditions: see `Conditions`.
    """
    return ListPredictionsRequest(
        page_size=page_size,
        game_id=conditions.get("game_id", ""),
        from_date=_iso(conditions.get("from_date")),
        to_date=_iso(conditions.get("to_date")),
        team=conditions.get("team", ""),
        horizon=conditions.get("horizon", HORIZON_UNSPECIFIED),
        min_confidence=conditions.get("min_confidence"),
        settled=conditions.get("settled"),
        model_version=conditions.get("model_version", ""),
        elapsed_minutes=conditions.get("elapsed_minutes"),
        include_superseded=conditions.get("include_superseded", False),
        include_replays=conditions.get("include_replays", False),
    )


def score_filter(**scope: Unpack[ModelScope]) -> ScoreFilter:
    """Builds the filter of the forecasts to score; see `ModelScope`."""
    return ScoreFilter(
        model_version=scope.get("model_version", ""),
        horizon=scope.get("horizon", HORIZON_HALFTIME),
        from_date=_iso(scope.get("from_date")),
        to_date=_iso(scope.get("to_date")),
        min_minutes=scope.get("min_minutes"),
        max_minutes=scope.get("max_minutes"),
        include_replays=scope.get("include_replays", False),
    )


def _iso(day: date | None) -> str:
    """Formats a date as YYYY-MM-DD, or None as an empty string; of a datetime only the date is used."""
    return "" if day is None else f"{day:%Y-%m-%d}"
