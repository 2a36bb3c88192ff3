"""Requests to the record made of plain Python values: the same for both clients."""

from __future__ import annotations

from datetime import date, datetime
from typing import TypedDict, Unpack

from google.protobuf.timestamp_pb2 import Timestamp

from dejavu.v1.forecast_pb2 import HORIZON_HALFTIME, HORIZON_UNSPECIFIED, Horizon
from dejavu.v1.record_service_pb2 import ListPredictionsRequest, ReportOutcomeRequest, ScoreFilter


class Conditions(TypedDict, total=False):
    """Which recorded forecasts to list; all that are given must hold.

    Attributes:
        game_id: the NBA's id of the game, ten digits.
        from_date, to_date: the first and the last local date of the games.
        team: NBA code or alias; home or away.
        horizon: `HALFTIME` or `FINAL`; both by default.
        min_confidence: the least probability of the likelier side, in [0.5, 1].
        settled: True: only those whose outcome is known; False: only the others.
        model_version: who made them.
        elapsed_minutes: the minute of play after which they were made.
        include_superseded: earlier revisions too.
        include_replays: games of replays and simulated seasons too.
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
    """Which settled forecasts count in figures.

    Attributes:
        horizon: `HALFTIME`, the default, or `FINAL`.
        from_date, to_date: the first and the last local date of the games.
        min_minutes, max_minutes: the first and the last minute of play after which they were made.
        include_replays: games of replays and simulated seasons too.
    """

    horizon: Horizon.ValueType
    from_date: date | None
    to_date: date | None
    min_minutes: int | None
    max_minutes: int | None
    include_replays: bool


class ModelScope(Scope, total=False):
    """A scope, of one model version if wanted.

    Attributes:
        model_version: who made the forecasts; any by default.
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
    """A report of how a horizon of a game came out; what is wrong with its values, the server says.

    Args:
        game_id: the NBA's id, ten digits.
        differential: home − away at the horizon, in points.
        horizon: `HALFTIME` or `FINAL`.
        home_team: NBA code of the home team, or a common alias; with both teams ratings learn from a final.
        away_team: the same of the away team.
        observed_time: when it was seen, aware; None: now.

    Raises:
        TypeError: if a value has not the type of its field.
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
    """A request for the first page of recorded forecasts.

    Args:
        page_size: the most forecasts of a page, 1 to 500; 0 for the server's default.
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
    """What counts in figures; see `ModelScope`."""
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
    """A day as the contract writes it; of a datetime its date."""
    return "" if day is None else f"{day:%Y-%m-%d}"
