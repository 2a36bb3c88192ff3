"""Reads the requests of the record service.

Readers return only valid values; an invalid field raises an InvalidInput that names it, with the errors of further
fields in `others`.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from functools import partial
from typing import Any, Final, NamedTuple

from google.protobuf.message import Message

from dejavu.v1 import forecast_pb2
from dejavu.v1 import record_service_pb2 as pb
from dejavu_common.clock import EPOCH, game_day
from dejavu_feed.box_score import MAX_PLAYERS, PlayerLine, final_faults
from dejavu_feed.game_ids import is_of_season, season_days, season_of, seasons_on
from dejavu_feed.horizon import MAX_OVERTIMES
from dejavu_ledger.errors import InvalidDifferential, InvalidOvertimes, InvalidPlayers, InvalidTime
from dejavu_ledger.queries import pages
from dejavu_ledger.queries.predictions import RecordedGame, latest_forecast
from dejavu_ledger.queries.scorecards import ScoreFilter
from dejavu_ledger.records import ReportedOutcome
from dejavu_models.errors import FieldErrors, InvalidGameId, InvalidTeam, quoted
from dejavu_models.forecast_query import check_total_points
from dejavu_models.scorecard.cards import LeaderboardMetric
from dejavu_models.types import MAX_DIFFERENTIAL, MAX_SLOTS, Horizon
from dejavu_server.api.converters.fields import (
    InvalidConfidence,
    InvalidDate,
    InvalidMetric,
    InvalidMinutes,
    InvalidScoreFilter,
    check_both_teams,
    check_game_id,
    enum_value,
    horizon_of,
    iso_date,
    requested_instant,
    team,
)
from dejavu_server.api.converters.record import METRIC_VALUES
from dejavu_server.api.paging import DEFAULT_PAGE, page_size

DEFAULT_MIN_GAMES: Final = 100
"""Minimum number of games of a model version to appear in a leaderboard, if the request has none."""

MAX_LIMIT: Final = 100_000
"""Largest limit of a scorecard's games, or of a leaderboard's rows: more than are recorded in seventy seasons."""

MAX_BETS: Final = 2_000
"""Largest number of bets that a scorecard lists: half a megabyte."""

MAX_CLOCK_SKEW: Final = timedelta(minutes=1)
"""Maximum time by which an observed time can be in the future, since clocks differ."""

METRICS: Final = {number: metric for metric, number in METRIC_VALUES.items()}
_METRIC_NAMES: Final = f"one of {', '.join(map(pb.LeaderboardMetric.Name, METRICS))}"
"""Domain metrics by enum number."""


class LeaderboardQuery(NamedTuple):
    """Query for a leaderboard."""

    filter: ScoreFilter
    metric: LeaderboardMetric
    min_games: int
    limit: int


def outcome(request: pb.ReportOutcomeRequest, now: datetime, caller: str = "") -> ReportedOutcome:
    """Read the report of an outcome.

    Args:
        request: the report.
        now: the current time, UTC; the observed time if the report has none.
        caller: identity of the caller; empty if it is not known.

    Raises:
        InvalidInput: if a field is invalid, or the game id is of a season in which no game was played when the outcome
            was observed (see `game_ids.season_days`).
    """
    faults = FieldErrors()
    faults.read(check_game_id, None, request.game_id, "game_id")
    horizon = faults.read(horizon_of, Horizon.HALFTIME, request.horizon)
    if abs(request.differential) > MAX_DIFFERENTIAL:
        faults.add(InvalidDifferential(f"{request.differential}", f"a whole number within ±{MAX_DIFFERENTIAL:g}"))
    elif request.differential == 0 and horizon is Horizon.FINAL:
        faults.add(InvalidDifferential("0 at the end", "another number: no game ends level"))
    home = faults.read(team, "", request.home_team, "home_team")
    away = faults.read(team, "", request.away_team, "away_team")
    faults.read(check_both_teams, None, request.home_team, request.away_team)
    if home and home == away:
        faults.add(InvalidTeam(away, "another team than home_team", field="away_team"))
    total_points = request.total_points if request.HasField("total_points") else None
    if total_points is not None:
        faults.read(check_total_points, None, total_points, float(request.differential))
    overtimes = request.overtimes if request.HasField("overtimes") else None
    if overtimes is not None and horizon is Horizon.HALFTIME:
        faults.add(InvalidOvertimes(f"{overtimes} at the half", "none: only a game's end has overtimes"))
    elif overtimes is not None and not 0 <= overtimes <= MAX_OVERTIMES:
        faults.add(InvalidOvertimes(f"{overtimes}", f"0 to {MAX_OVERTIMES}"))
    players = _players(request, horizon, faults)
    observed = faults.read(_observed, now, request, now)
    faults.raise_first()
    _check_season(request, game_day(observed))
    return ReportedOutcome(
        game_id=request.game_id,
        horizon=horizon,
        differential=request.differential,
        home_team=home,
        away_team=away,
        observed_time=observed,
        recorded_time=observed,
        recorded_by=caller,
        total_points=total_points,
        overtimes=overtimes,
        players=players,
    )


def _players(request: pb.ReportOutcomeRequest, horizon: Horizon, faults: FieldErrors) -> tuple[PlayerLine, ...]:
    """Read the box score in its canonical order; empty if it has too many players."""
    if len(request.players) > 2 * MAX_PLAYERS:  # before the copy
        faults.add(InvalidPlayers(f"{len(request.players)} players", f"at most {MAX_PLAYERS} of each team"))
        return ()
    if request.players and horizon is Horizon.HALFTIME:
        faults.add(InvalidPlayers("a box score at the half", "none: it is of the whole game"))
    lines = [
        PlayerLine(each.player_id, each.home, each.seconds, each.plus_minus, each.started) for each in request.players
    ]
    for name, found, expected in final_faults(lines, request.differential):
        faults.add(InvalidPlayers(found, expected, field=name))
    return tuple(sorted(lines))


def withdrawal(request: pb.WithdrawOutcomeRequest) -> tuple[str, Horizon]:
    """Read the game and horizon of an outcome to withdraw.

    Raises:
        InvalidInput: if a field is invalid.
    """
    faults = FieldErrors()
    faults.read(check_game_id, None, request.game_id, "game_id")
    horizon = faults.read(horizon_of, Horizon.HALFTIME, request.horizon)
    faults.raise_first()
    return request.game_id, horizon


def game_query(request: pb.GetPredictionRequest) -> partial[RecordedGame]:
    """Return the query for the latest forecast of a game; None or an empty text matches any value.

    Raises:
        InvalidInput: if a field is invalid.
    """
    faults = FieldErrors()
    faults.read(check_game_id, None, request.game_id, "game_id")
    horizon = faults.read(horizon_of, Horizon.HALFTIME, request.horizon)
    minute = faults.read(_minute, None, request, "elapsed_minutes")
    faults.raise_first()
    version = _storable(request.model_version)
    return partial(latest_forecast, game_id=request.game_id, horizon=horizon, minute=minute, model_version=version)


def list_query(request: pb.ListPredictionsRequest) -> partial[pages.Page]:
    """Return the query for a page, which parses the token.

    Raises:
        InvalidInput: if a field is invalid.
    """
    faults = FieldErrors()
    size = faults.read(page_size, DEFAULT_PAGE, request.page_size)
    common = _common_fields(faults, request, "")
    horizon = None
    if request.horizon != forecast_pb2.HORIZON_UNSPECIFIED:
        horizon = faults.read(horizon_of, None, request.horizon)
    minute = faults.read(_minute, None, request, "elapsed_minutes")
    faults.raise_first()
    wanted = pages.ForecastFilter(
        **common,
        horizon=horizon,
        settled=request.settled if request.HasField("settled") else None,
        minute=minute,
        superseded=request.include_superseded,
        owners_only=request.owners_only or None,
    )
    return partial(
        pages.page, filter_=wanted, token=request.page_token, size=size, explanation=request.return_explanation
    )


class ScorecardQuery(NamedTuple):
    """Query for a scorecard of at most `limit` games, 0 for all, and at most `max_bets` bets."""

    filter: ScoreFilter
    limit: int
    max_bets: int


def scorecard_query(request: pb.GetScorecardRequest) -> ScorecardQuery:
    """Read a request for a scorecard.

    Raises:
        InvalidInput: if a field is invalid.
    """
    faults = FieldErrors()
    score_filter = _score_filter(faults, request.filter)
    _check_limit(faults, request.limit)
    if not 0 <= request.max_bets <= MAX_BETS:
        faults.add(InvalidScoreFilter(f"{request.max_bets}", f"0 to {MAX_BETS}", field="max_bets"))
    faults.raise_first()
    return ScorecardQuery(score_filter, request.limit, request.max_bets)


def leaderboard_query(request: pb.GetLeaderboardRequest) -> LeaderboardQuery:
    """Read a request for a leaderboard.

    Raises:
        InvalidInput: if a field is invalid.
    """
    faults = FieldErrors()
    score_filter = _score_filter(faults, request.filter)
    if version := request.filter.model_version:
        expected = "none: a leaderboard compares model versions"
        faults.add(InvalidScoreFilter(quoted(version), expected, field="filter.model_version"))
    metric = faults.read(
        enum_value, LeaderboardMetric.CRPS, request.metric, METRICS, _METRIC_NAMES, "metric", InvalidMetric
    )
    if request.min_games < 0:
        expected = f"1 or more, or 0 for {DEFAULT_MIN_GAMES}"
        faults.add(InvalidScoreFilter(f"{request.min_games}", expected, field="min_games"))
    _check_limit(faults, request.limit)
    faults.raise_first()
    return LeaderboardQuery(score_filter, metric, request.min_games or DEFAULT_MIN_GAMES, request.limit)


def _check_limit(faults: FieldErrors, limit: int) -> None:
    if not 0 <= limit <= MAX_LIMIT:
        faults.add(InvalidScoreFilter(f"{limit}", f"1 to {MAX_LIMIT}, or 0 for all", field="limit"))


def _score_filter(faults: FieldErrors, request: pb.ScoreFilter) -> ScoreFilter:
    horizon = faults.read(horizon_of, Horizon.HALFTIME, request.horizon, "filter.horizon")
    common = _common_fields(faults, request, "filter.")
    first = faults.read(_minute, None, request, "min_minutes", "filter.")
    last = faults.read(_minute, None, request, "max_minutes", "filter.")
    if first is not None and last is not None and last < first:
        faults.add(InvalidMinutes(f"{last}", f"min_minutes, {first}, or more", field="filter.max_minutes"))
    if not 0.0 <= request.min_difference <= 1.0:  # false for NaN too
        faults.add(
            InvalidScoreFilter(f"{request.min_difference}", "a number from 0 to 1", field="filter.min_difference")
        )
    return ScoreFilter(
        **common,
        horizon=horizon,
        min_minutes=first,
        max_minutes=last,
        complete_minutes=request.complete_minutes or None,
        recorded_by=_storable(request.recorded_by),
        min_difference=request.min_difference,
    )


def _common_fields(
    faults: FieldErrors, request: pb.ListPredictionsRequest | pb.ScoreFilter, prefix: str
) -> dict[str, Any]:
    """Read the fields that the filters of pages and of scorecards share; days are ordinals."""
    if request.game_id:
        faults.read(check_game_id, None, request.game_id, f"{prefix}game_id")
    first_day = faults.read(_day, None, request.from_date, f"{prefix}from_date")
    last_day = faults.read(_day, None, request.to_date, f"{prefix}to_date")
    if first_day is not None and last_day is not None and last_day < first_day:
        faults.add(InvalidDate(quoted(request.to_date), f"{request.from_date} or later", field=f"{prefix}to_date"))
    code = faults.read(team, "", request.team, f"{prefix}team")
    confidence = request.min_confidence if request.HasField("min_confidence") else None
    if confidence is not None and not 0.5 <= confidence <= 1.0:  # false for NaN too
        faults.add(InvalidConfidence(f"{confidence}", "a number from 0.5 to 1", field=f"{prefix}min_confidence"))
    return {
        "game_id": request.game_id,
        "first_day": first_day,
        "last_day": last_day,
        "team": code,
        "min_confidence": confidence,
        "model_version": _storable(request.model_version),
        "replays": request.include_replays,
    }


def _storable(text: str) -> str:
    """Return a text to search for, without NUL, which no recorded text contains and PostgreSQL rejects."""
    return text.replace("\0", "\ufffd")


def _day(text: str, field: str) -> int | None:
    return iso_date(text, field, InvalidDate).toordinal() if text else None


def _observed(request: pb.ReportOutcomeRequest, now: datetime) -> datetime:
    if not request.HasField("observed_time"):
        return now
    expected = f"a time since 1970, not in the future (it is {now.isoformat(timespec='seconds')})"
    observed = requested_instant(request.observed_time, "observed_time", InvalidTime, expected)
    if not EPOCH <= observed <= now + MAX_CLOCK_SKEW:
        raise InvalidTime(observed.isoformat(), expected)
    return observed


def _check_season(request: pb.ReportOutcomeRequest, day: date) -> None:
    """Raise InvalidInput unless the season in the game id fits the day, so that models learn from no mistyped id.

    The error names the observed time if the report has one, otherwise the game id.
    """
    season = season_of(request.game_id)
    if season is None or is_of_season(request.game_id, day):
        return
    first, last = season_days(season)
    of_season = f"of the season {season - 1}–{season % 100:02d}"
    codes = " or ".join(f"{(each - 1) % 100:02d}" for each in seasons_on(day))
    right_id = f"an id with {codes} as its digits 4 and 5"
    right_time = f"observed_time from {first} to {last}"
    if request.HasField("observed_time"):
        raise InvalidTime(f"{day}, but game {request.game_id} is {of_season}", f"{right_time}, or {right_id}")
    raise InvalidGameId(f"{request.game_id}, {of_season}, observed on {day}", f"{right_id}, or an {right_time}")


def _minute(request: Message, name: str, prefix: str = "") -> int | None:
    """Return the minute in a field; None if the request has none."""
    minute: int = getattr(request, name)
    if not request.HasField(name):
        return None
    if not 1 <= minute <= MAX_SLOTS:
        raise InvalidMinutes(f"{minute}", f"1 to {MAX_SLOTS}", field=prefix + name)
    return minute
