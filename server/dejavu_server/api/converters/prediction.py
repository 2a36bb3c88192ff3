"""Reads requests for forecasts, streams and risks, and writes risks; forecast.py writes forecasts.

Readers return only valid values; an invalid field raises an InvalidInput that names it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Final

from dejavu.ops.v1.cache_service_pb2 import WarmCacheRequest
from dejavu.v1 import prediction_service_pb2
from dejavu.v1.prediction_service_pb2 import (
    AssessRiskRequest,
    PredictBatchRequest,
    PredictRequest,
    RiskAssessment,
    RiskFactor,
    RiskGame,
)
from dejavu_feed import live_inputs
from dejavu_feed import moment as moments
from dejavu_feed.box_score import MAX_PLAYERS, Lineups, lineups
from dejavu_feed.game_ids import is_game_id, is_of_season, is_playoffs, is_replay, season_days, season_of
from dejavu_feed.live_inputs import LIVE_INPUTS, NO_LIVE_INPUTS, LiveInputs
from dejavu_models import risk
from dejavu_models.errors import FieldErrors, InvalidGameDate, InvalidInput, InvalidLiveInput
from dejavu_models.forecast_query import (
    DEFAULT_ALPHA,
    ForecastQuery,
    ScorePattern,
    check_level_count,
    check_slots,
    check_total_points,
)
from dejavu_models.native import shared_floats
from dejavu_models.types import Horizon
from dejavu_server.api.converters.fields import (
    InvalidBatch,
    TooManyGames,
    check_both_teams,
    check_game_id,
    horizon_of,
    iso_date,
    message_of,
    requested_horizon,
    team,
)
from dejavu_server.api.converters.line_origin import ORIGIN_FIELDS, line_origin
from dejavu_server.api.converters.market import markets
from dejavu_server.forecast_request import ForecastRequest

MAX_BATCH = 1000
"""Maximum number of requests in a batch."""

MAX_RISKS: Final = 100
"""Maximum number of games in a request for risks; an assessment takes some 50 µs."""

MAX_GAMES = 200
"""Maximum number of games of a stream request, which are kept while the stream lasts; ten evenings have fewer."""

_AHEAD: Final = timedelta(days=1)
"""By how much the local date of a game in Asia is ahead of the game day."""

_LIVE_FIELDS: Final = frozenset(each.name for each in LIVE_INPUTS)

# Placeholders for invalid values.
_ANY_PATTERN = ScorePattern((0.0,))
_ANY_QUERY = ForecastQuery(_ANY_PATTERN)


def forecast_request(request: PredictRequest, today: date | None = None) -> ForecastRequest:
    """Read a request for one forecast.

    A forecast of a named game always has its explanation and distribution: the ledger stores both, whether or not this
    caller requested them.

    Args:
        request: the request.
        today: the date of the game if the request has none; None: the game's season is not checked then.

    Raises:
        InvalidInput: if a field is invalid, or the game id is of a season that has no games on the date; names the
            field, and `others` has the errors of further fields.
    """
    game_id = request.game_id
    faults = FieldErrors()
    if game_id and not is_game_id(game_id):
        faults.read(check_game_id, None, game_id, "game_id")
    # In place of an invalid horizon, the one that takes the longest patterns.
    requested = requested_horizon(request)
    pattern = faults.read(_pattern, _ANY_PATTERN, request, requested or Horizon.FINAL)
    horizon = requested or faults.read(horizon_of, Horizon.FINAL, request.horizon)
    # Most requests have few fields, and this is on the path of every call: only those that are set are read.
    given = {field.name for field, _ in request.ListFields()}
    home_team = faults.read(team, "", request.home_team, "home_team") if "home_team" in given else ""
    away_team = faults.read(team, "", request.away_team, "away_team") if "away_team" in given else ""
    if home_team or away_team:
        faults.read(check_both_teams, None, request.home_team, request.away_team)
    levels = faults.read(_levels, (), request) if "quantile_levels" in given else ()
    game_date = faults.read(_game_date, None, request, today) if "game_date" in given or game_id else None
    live = NO_LIVE_INPUTS if given.isdisjoint(_LIVE_FIELDS) else _live_inputs(request, pattern, faults)
    read_markets = markets(request, faults) if "markets" in given else ()
    line_ups = _lineups(request, faults) if "lineups" in given else None
    origin = None if given.isdisjoint(ORIGIN_FIELDS) else faults.read(line_origin, None, request, today)
    is_moment = "moment" in given
    query = _ANY_QUERY
    try:
        query = ForecastQuery(
            pattern=pattern,
            horizon=horizon,
            alpha=request.alpha if "alpha" in given else DEFAULT_ALPHA,
            home_team=home_team,
            away_team=away_team,
            pregame_margin=request.pregame_margin if "pregame_margin" in given else None,
            # A moment's would repeat most of its minute's, a dozen times over.
            explain=request.return_explanation or (game_id != "" and not is_moment),
            quantile_levels=levels,
            record=game_id != "",
            markets=read_markets,
            game_date=today if game_date is None else game_date,
            is_playoffs=game_id != "" and is_playoffs(game_id),
            live=live,
            lineups=line_ups,
            moment=moments.from_message(request) if is_moment and pattern is not _ANY_PATTERN else None,
        )
    except InvalidInput as error:
        faults.add(error)
    faults.raise_first()
    return ForecastRequest(game_id, request.model_version, query, game_date, origin)


def batch_requests(request: PredictBatchRequest | WarmCacheRequest) -> Sequence[PredictRequest]:
    """Return the requests of a batch, unparsed, because each fails on its own.

    Raises:
        InvalidBatch: if the batch has no requests, or too many.
    """
    if not 1 <= len(request.requests) <= MAX_BATCH:
        raise InvalidBatch(f"{len(request.requests)} requests", f"1 to {MAX_BATCH}")
    return request.requests


def stream_games(request: prediction_service_pb2.StreamPredictionsRequest) -> frozenset[str]:
    """Return the ids of the games of a request for a stream; empty: all games.

    Raises:
        TooManyGames: if it names too many games.
        InvalidGameId: if an id is not ten digits.
    """
    if len(request.game_ids) > MAX_GAMES:
        raise TooManyGames(f"{len(request.game_ids)} game ids", f"at most {MAX_GAMES}, or none for all games")
    for index, game_id in enumerate(request.game_ids):
        check_game_id(game_id, f"game_ids[{index}]")
    return frozenset(request.game_ids)


def risk_games(request: AssessRiskRequest) -> Sequence[RiskGame]:
    """Return the games of a request for risks.

    Raises:
        InvalidBatch: if it has no games, or too many.
    """
    if not 1 <= len(request.games) <= MAX_RISKS:
        raise InvalidBatch(f"{len(request.games)} games", f"1 to {MAX_RISKS}", field="games")
    return request.games


def risk_game(request: RiskGame) -> tuple[ScorePattern, int | None]:
    """Read the pattern and the combined points of both teams; None if the game has no points.

    Raises:
        InvalidPattern, InvalidLiveInput: if a field is invalid; `others` has the error of the other field.
    """
    faults = FieldErrors()
    pattern = faults.read(_risk_pattern, _ANY_PATTERN, request)
    total = request.total_points if request.HasField("total_points") else None
    if total is not None:
        faults.read(check_total_points, None, total, pattern.last, check_parity=False)
    faults.raise_first()
    return pattern, total


def risk_message(assessment: risk.RiskAssessment) -> RiskAssessment:
    """Convert a risk assessment to a message."""
    factors = [
        message_of(RiskFactor, each, kind=f"RISK_FACTOR_KIND_{each.name.upper()}") for each in assessment.factors
    ]
    return message_of(RiskAssessment, assessment, factors=factors)


def _pattern(request: PredictRequest, horizon: Horizon) -> ScorePattern:
    slots = request.pattern  # each access makes an object
    # Check the size before copying: a message can hold a million slots.
    check_slots(len(slots), horizon)
    return ScorePattern(shared_floats(slots[:]))  # a slice: protobuf copies all at once


def _live_inputs(request: PredictRequest, pattern: ScorePattern, faults: FieldErrors) -> LiveInputs:
    """Read the live inputs; if the pattern is invalid, run only the checks that do not need it, and return none."""
    live, unreadable = live_inputs.from_message(request)
    for fault in unreadable:
        faults.add(InvalidLiveInput(*fault))
    if pattern is not _ANY_PATTERN:
        return live
    for fault in live_inputs.faults_of(live, ()):
        faults.add(InvalidLiveInput(*fault))
    return NO_LIVE_INPUTS


def _lineups(request: PredictRequest, faults: FieldErrors) -> Lineups | None:
    """Read the lineups; None if a list has too many players."""
    given = request.lineups
    fields = {name: getattr(given, name) for name in Lineups._fields[:-1]}
    for name, players in fields.items():
        if len(players) > MAX_PLAYERS:  # before the copy
            faults.add(InvalidLiveInput(f"{len(players)} players", f"at most {MAX_PLAYERS}", f"lineups.{name}"))
            return None
    return lineups(**fields, minute=given.minute)


def _risk_pattern(request: RiskGame) -> ScorePattern:
    risk.check_slots(len(request.pattern))  # before the copy, as above
    return ScorePattern(tuple(request.pattern))


def _game_date(request: PredictRequest, today: date | None) -> date | None:
    """Return the date of a request, None if it has none.

    Raises:
        InvalidGameDate: if the game's season has no such day, or the game cannot have begun.
    """
    given = iso_date(request.game_date, "game_date", InvalidGameDate) if request.game_date else None
    day, game_id = today if given is None else given, request.game_id
    season = season_of(game_id)
    if season is not None and day is not None and not is_of_season(game_id, day):
        first, last = season_days(season)
        found = f"none, which means {day}" if given is None else f"{day}"
        of_season = f"game {game_id} is of the season {season - 1}–{season % 100:02d}"
        raise InvalidGameDate(f"{found}, but {of_season}", f"a date from {first} to {last}")
    # A caller could otherwise turn the ratings off in the minutes of its choice, by a date for which they are too old.
    # Replays and simulated seasons have dates of their own.
    if game_id and day is not None and today is not None and day > today + _AHEAD and not is_replay(game_id):
        raise InvalidGameDate(f"{day}", f"at most {today + _AHEAD}, for a game that has begun")
    return given


def _levels(request: PredictRequest) -> tuple[float, ...]:
    check_level_count(len(request.quantile_levels))  # before the copy
    return tuple(request.quantile_levels)
