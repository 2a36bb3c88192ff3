"""Reads the requests of the record service.

Readers return only valid values; an invalid field raises an InvalidInput that names it, with the errors of further
fields in `others`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final, NamedTuple, TypedDict

from dejavu.v1 import forecast_pb2
from dejavu.v1 import record_service_pb2 as pb
from dejavu_common.clock import EPOCH
from dejavu_models.errors import FieldErrors, InvalidTeam, quoted
from dejavu_models.scorecard import LeaderboardMetric
from dejavu_models.types import MAX_DIFFERENTIAL, MAX_SLOTS, Horizon
from dejavu_server.api.converters.errors import (
    InvalidConfidence,
    InvalidDate,
    InvalidDifferential,
    InvalidMetric,
    InvalidMinutes,
    InvalidPageSize,
    InvalidScoreFilter,
    InvalidTime,
    InvalidView,
)
from dejavu_server.api.converters.horizon import horizon_of
from dejavu_server.api.converters.prediction import check_game_id, team
from dejavu_server.ledger.queries.pages import ForecastFilter
from dejavu_server.ledger.queries.scorecards import ScoreFilter
from dejavu_server.records import ReportedOutcome

DEFAULT_PAGE: Final = 50
MAX_PAGE: Final = 500
"""Maximum number of forecasts in a page."""

DEFAULT_MIN_GAMES: Final = 100
"""Minimum number of games of a model version to appear in a leaderboard, if the request has none."""

MAX_CLOCK_SKEW: Final = timedelta(minutes=1)
"""How far in the future an observed time may be, because clocks differ."""

_MAX_TEXT: Final = 32  # characters of a date to parse

METRICS: Final = {
    pb.LEADERBOARD_METRIC_UNSPECIFIED: LeaderboardMetric.CRPS,
    pb.LEADERBOARD_METRIC_CRPS: LeaderboardMetric.CRPS,
    pb.LEADERBOARD_METRIC_MAE: LeaderboardMetric.MAE,
    pb.LEADERBOARD_METRIC_BRIER: LeaderboardMetric.BRIER,
    pb.LEADERBOARD_METRIC_MAE_DIFFERENCE: LeaderboardMetric.MAE_DIFFERENCE,
    pb.LEADERBOARD_METRIC_COVERAGE_GAP: LeaderboardMetric.COVERAGE_GAP,
}

_EXPLAINED: Final = {
    pb.PREDICTION_VIEW_UNSPECIFIED: False,
    pb.PREDICTION_VIEW_BASIC: False,
    pb.PREDICTION_VIEW_FULL: True,
}


class GameQuery(NamedTuple):
    """Query for the latest forecast of a game; None or an empty text matches any value."""

    game_id: str
    horizon: Horizon
    minute: int | None
    model_version: str


class ListQuery(NamedTuple):
    """Query for a page of recorded forecasts, with or without their explanations."""

    filter: ForecastFilter
    token: str
    size: int
    explanation: bool


@dataclass(frozen=True, slots=True)
class LeaderboardQuery:
    """Query for a leaderboard."""

    filter: ScoreFilter
    metric: LeaderboardMetric
    min_games: int


class _CommonFields(TypedDict):
    """Values of the fields that the filters of pages and of scorecards share."""

    game_id: str
    first_day: int | None
    last_day: int | None
    team: str
    min_confidence: float | None
    model_version: str
    replays: bool


def outcome(request: pb.ReportOutcomeRequest, now: datetime) -> ReportedOutcome:
    """Reads the report of an outcome.

    Args:
        request: the report.
        now: the current time, UTC; the observed time if the report has none.

    Raises:
        InvalidInput: if a field is invalid.
    """
    faults = FieldErrors()
    faults.read(check_game_id, None, request.game_id, "game_id")
    horizon = faults.read(horizon_of, Horizon.HALFTIME, request.horizon)
    faults.read(_check_differential, None, request.differential, horizon)
    home = faults.read(team, "", request.home_team, "home_team")
    away = faults.read(team, "", request.away_team, "away_team")
    faults.read(_check_teams, None, request, home, away)
    observed = faults.read(_observed, now, request, now)
    faults.raise_first()
    return ReportedOutcome(
        game_id=request.game_id,
        horizon=horizon,
        differential=request.differential,
        home_team=home,
        away_team=away,
        observed_time=observed,
        recorded_time=observed,
    )


def game_query(request: pb.GetPredictionRequest) -> GameQuery:
    """Reads a request for the latest forecast of a game.

    Raises:
        InvalidInput: if a field is invalid.
    """
    faults = FieldErrors()
    faults.read(check_game_id, None, request.game_id, "game_id")
    horizon = faults.read(horizon_of, Horizon.HALFTIME, request.horizon)
    minute = request.elapsed_minutes if request.HasField("elapsed_minutes") else None
    faults.read(_check_minute, None, minute, "elapsed_minutes")
    faults.raise_first()
    return GameQuery(request.game_id, horizon, minute, request.model_version)


def list_query(request: pb.ListPredictionsRequest) -> ListQuery:
    """Reads a request for a page; the ledger query parses its token.

    Raises:
        InvalidInput: if a field is invalid.
    """
    faults = FieldErrors()
    faults.read(_check_page_size, None, request.page_size)
    common = _common_fields(faults, request, "")
    horizon = None
    if request.horizon != forecast_pb2.HORIZON_UNSPECIFIED:
        horizon = faults.read(horizon_of, None, request.horizon)
    minute = request.elapsed_minutes if request.HasField("elapsed_minutes") else None
    faults.read(_check_minute, None, minute, "elapsed_minutes")
    explanation = faults.read(_explained, False, request.view)
    faults.raise_first()
    forecast_filter = ForecastFilter(
        **common,
        horizon=horizon,
        settled=request.settled if request.HasField("settled") else None,
        minute=minute,
        superseded=request.include_superseded,
    )
    return ListQuery(forecast_filter, request.page_token, request.page_size or DEFAULT_PAGE, explanation)


def scorecard_filter(request: pb.GetScorecardRequest) -> ScoreFilter:
    """Reads a request for a scorecard.

    Raises:
        InvalidInput: if a field is invalid.
    """
    faults = FieldErrors()
    score_filter = _score_filter(faults, request.filter)
    faults.raise_first()
    return score_filter


def leaderboard_query(request: pb.GetLeaderboardRequest) -> LeaderboardQuery:
    """Reads a request for a leaderboard.

    Raises:
        InvalidInput: if a field is invalid.
    """
    faults = FieldErrors()
    score_filter = _score_filter(faults, request.filter)
    faults.read(_check_no_model, None, request.filter.model_version)
    metric = faults.read(_metric, LeaderboardMetric.CRPS, request.metric)
    faults.raise_first()
    return LeaderboardQuery(score_filter, metric, request.min_games or DEFAULT_MIN_GAMES)


def _score_filter(faults: FieldErrors, request: pb.ScoreFilter) -> ScoreFilter:
    horizon = faults.read(horizon_of, Horizon.HALFTIME, request.horizon, "filter.horizon")
    common = _common_fields(faults, request, "filter.")
    first = request.min_minutes if request.HasField("min_minutes") else None
    last = request.max_minutes if request.HasField("max_minutes") else None
    faults.read(_check_minute, None, first, "filter.min_minutes")
    faults.read(_check_minute, None, last, "filter.max_minutes")
    faults.read(_check_order, None, first, last)
    return ScoreFilter(**common, horizon=horizon, min_minutes=first, max_minutes=last)


def _common_fields(
    faults: FieldErrors, request: pb.ListPredictionsRequest | pb.ScoreFilter, prefix: str
) -> _CommonFields:
    if request.game_id:
        faults.read(check_game_id, None, request.game_id, f"{prefix}game_id")
    first_day, last_day = _days(faults, request.from_date, request.to_date, prefix)
    code = faults.read(team, "", request.team, f"{prefix}team")
    confidence = request.min_confidence if request.HasField("min_confidence") else None
    faults.read(_check_confidence, None, confidence, f"{prefix}min_confidence")
    return _CommonFields(
        game_id=request.game_id,
        first_day=first_day,
        last_day=last_day,
        team=code,
        min_confidence=confidence,
        model_version=request.model_version,
        replays=request.include_replays,
    )


def _days(faults: FieldErrors, first: str, last: str, prefix: str) -> tuple[int | None, int | None]:
    """Reads the first and the last day of a request, as ordinals."""
    first_day = faults.read(_day, None, first, f"{prefix}from_date")
    last_day = faults.read(_day, None, last, f"{prefix}to_date")

    def check() -> None:
        if first_day is not None and last_day is not None and last_day < first_day:
            raise InvalidDate(quoted(last), f"{first} or later", field=f"{prefix}to_date")

    faults.read(check, None)
    return first_day, last_day


def _day(text: str, field: str) -> int | None:
    if not text:
        return None
    try:
        day = date.fromisoformat(text[:_MAX_TEXT])
    except ValueError:
        day = None
    if day is None or day.isoformat() != text:  # rejects other forms of ISO 8601
        raise InvalidDate(quoted(text), "a date as YYYY-MM-DD", field=field)
    return day.toordinal()


def _check_differential(differential: int, horizon: Horizon) -> None:
    if abs(differential) > MAX_DIFFERENTIAL:
        raise InvalidDifferential(f"{differential}", f"a whole number within ±{MAX_DIFFERENTIAL:g}")
    if differential == 0 and horizon is Horizon.FINAL:
        raise InvalidDifferential("0 at the end", "another number: no game ends level")


def _check_teams(request: pb.ReportOutcomeRequest, home: str, away: str) -> None:
    if bool(request.home_team) != bool(request.away_team):
        missing = "away_team" if request.home_team else "home_team"
        raise InvalidTeam("none", "both teams, or neither", field=missing)
    if home and home == away:
        raise InvalidTeam(away, "another team than home_team", field="away_team")


def _observed(request: pb.ReportOutcomeRequest, now: datetime) -> datetime:
    if not request.HasField("observed_time"):
        return now
    given = request.observed_time
    expected = f"a time since 1970, not in the future (it is {now.isoformat(timespec='seconds')})"
    if not 0 <= given.nanos < 1_000_000_000 or given.seconds < 0:
        raise InvalidTime(f"{given.seconds} seconds and {given.nanos} nanoseconds", expected)
    # Compared as seconds, because datetime ends with the year 9999.
    if given.seconds > (now + MAX_CLOCK_SKEW - EPOCH).total_seconds():
        raise InvalidTime(f"{given.seconds} seconds since 1970", expected)
    return EPOCH + timedelta(seconds=given.seconds, microseconds=given.nanos // 1000)


def _check_minute(minute: int | None, field: str) -> None:
    if minute is not None and not 1 <= minute <= MAX_SLOTS:
        raise InvalidMinutes(f"{minute}", f"1 to {MAX_SLOTS}", field=field)


def _check_order(first: int | None, last: int | None) -> None:
    if first is not None and last is not None and last < first:
        raise InvalidMinutes(f"{last}", f"min_minutes, {first}, or more", field="filter.max_minutes")


def _check_confidence(confidence: float | None, field: str) -> None:
    if confidence is not None and not 0.5 <= confidence <= 1.0:  # false for NaN too
        raise InvalidConfidence(f"{confidence}", "a number from 0.5 to 1", field=field)


def _check_page_size(size: int) -> None:
    if size > MAX_PAGE:
        raise InvalidPageSize(f"{size}", f"1 to {MAX_PAGE}, or 0 for {DEFAULT_PAGE}")


def _check_no_model(version: str) -> None:
    if version:
        raise InvalidScoreFilter(
            quoted(version), "none: a leaderboard compares model versions", field="filter.model_version"
        )


def _explained(view: pb.PredictionView.ValueType) -> bool:
    explained = _EXPLAINED.get(view)
    if explained is None:
        raise InvalidView(f"{view}", f"a value of dejavu.v1.PredictionView: {', '.join(map(str, _EXPLAINED))}")
    return explained


def _metric(number: pb.LeaderboardMetric.ValueType) -> LeaderboardMetric:
    metric = METRICS.get(number)
    if metric is None:
        known = ", ".join(map(str, METRICS))
        raise InvalidMetric(f"{number}", f"a value of dejavu.v1.LeaderboardMetric: {known}")
    return metric
