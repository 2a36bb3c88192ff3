"""Tools for assistants, by the Model Context Protocol: tonight's games, a forecast, the record. They only read.

Answers are fields of the contract, numbers, codes and times, with what an honest reader needs beside them: interval,
persistence, coverage. No free text of a feed or of a caller is passed on, so none can instruct an assistant.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import UTC
from functools import wraps
from typing import Annotated, Any, Final, Literal, ParamSpec, TypeAlias, TypeVar

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import Field

from dejavu.v1.game_service_pb2 import Game, GameStatus
from dejavu.v1.record_pb2 import RecordedPrediction
from dejavu_client.aio import AsyncDejavuClient
from dejavu_client.errors import DejavuClientError
from dejavu_client.formatting import elapsed_seconds, last_differential, late_text, play_time, warning_label
from dejavu_client.requests import FINAL, HALFTIME
from dejavu_client.similar_games import seen_before, seen_together
from dejavu_common.clock import utc_now
from dejavu_common.shown_text import visible
from dejavu_feed.game_ids import REPLAY_PREFIX, is_game_id
from dejavu_feed.pattern import elapsed_seconds as elapsed_by_clock
from dejavu_feed.teams import team_code

NOTE: Final = (
    "Differentials are home minus away, in points. The model is not shown to be better than the betting market; this "
    "is no advice to bet."
)

_HORIZONS: Final = {"half": HALFTIME, "final": FINAL}
HorizonName = Annotated[Literal["half", "final"], Field(description="The end of the second quarter, or of the game.")]

_P = ParamSpec("_P")
_T = TypeVar("_T")

Answer: TypeAlias = dict[str, Any]
"""Fields of a message in protobuf's JSON form, by their names in the contract, and what is computed from them."""

_GAME: Final = (
    *("game_id", "home_team", "away_team", "status", "home_score", "away_score"),
    *("period", "seconds_left", "tip_off_time", "pregame_margin"),
)
_FORECAST: Final = (
    *("game_id", "home_team", "away_team", "horizon", "point_forecast", "interval_lower", "interval_upper"),
    *("coverage_probability", "home_lead_probability", "expected_margin", "model_version"),
)
_EXPLANATION: Final = ("components", "contributions", "similar_summary", "similar_games")
_SCORECARD: Final = (
    *("games", "forecasts", "mae", "persistence_mae", "mae_difference", "crps", "brier", "leader_brier"),
    *("brier_difference", "accuracy", "leader_accuracy", "roc_auc", "persistence_roc_auc", "coverage"),
    *("withdrawn_games", "corrected_games", "doubtful_games", "unsettled_games"),
)
_BETS: Final = ("bets", "roi", "roi_lower", "roi_upper", "notice")


def _fields(message: Message, names: tuple[str, ...]) -> Answer:
    """Return fields of a message; those that it lacks are left out."""
    fields = MessageToDict(message, always_print_fields_with_no_presence=True, preserving_proto_field_name=True)
    return {name: fields[name] for name in names if name in fields}


def mcp_server(client: AsyncDejavuClient, version: str, *, replays: bool = False) -> MCPServer:
    """Return a server of the tools.

    Args:
        client: client of the Dejavu server.
        version: release of this program.
        replays: whether games of replays are included.
    """
    tools = _Tools(client, replays=replays)
    server = MCPServer(
        "dejavu",
        version=version,
        instructions=(
            "Forecasts of NBA games in play. State the interval with each forecast, say when it is not current, and "
            f"name persistence beside the scores. {NOTE}"
        ),
        log_level="WARNING",
    )
    reads = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)
    for tool in (tools.list_games, tools.get_forecast, tools.get_scorecard):
        server.tool(annotations=reads)(_answered(tool))
    return server


_OVER: Final = {GameStatus.GAME_STATUS_FINAL, GameStatus.GAME_STATUS_POSTPONED}


_BEHIND: Final = 90.0
"""Seconds of play after which a forecast is behind the state of its game: there is one a minute at least."""
_END: Final = 44 * 60
"""Seconds of play from which on each score has its forecast, within the next."""
_SECONDS_OF_A_SCORE: Final = 30.0


def _is_behind(recorded: RecordedPrediction, state: Game) -> bool:
    """Return whether a game went on since its newest forecast, as when its plays cannot be read."""
    if state.status != GameStatus.GAME_STATUS_LIVE or not state.HasField("seconds_left") or not state.period:
        return False
    forecast, played = recorded.forecast, elapsed_by_clock(state.period, state.seconds_left)
    made = elapsed_seconds(forecast)
    other = state.home_score - state.away_score != last_differential(recorded)
    return played - made > _BEHIND or (
        played >= max(made, _END) and other and _age(forecast.generated_time) > _SECONDS_OF_A_SCORE
    )


class _Tools:
    """The tools. Their docstrings are what an assistant reads."""

    def __init__(self, client: AsyncDejavuClient, *, replays: bool) -> None:
        self._client = client
        self._replays = replays

    async def list_games(self) -> Answer:
        """List the games of the last 24 hours with score and clock, as the live feed shows them.

        period is 0 before tip-off, 1 to 4, and 5 for the first overtime; pregame_margin the market's expected final
        differential before the game; read_seconds_ago the age of the state: much more than 60 for a live game means
        out of date. Fields that are not known are left out.
        """
        games = await self._games()
        return {"games": [_fields(each, _GAME) | {"read_seconds_ago": _age(each.observed_time)} for each in games]}

    async def get_forecast(
        self,
        game: Annotated[str, Field(description="A game id of ten digits, or a team such as BOS or Celtics.")],
        horizon: HorizonName = "final",
    ) -> Answer:
        """Return the newest recorded forecast of a game: point, interval, probability, and the outcome once known.

        point_forecast is the differential at the horizon; interval_lower and interval_upper hold with
        coverage_probability, calibrated; home_lead_probability: that the home team leads, or wins, at the horizon.
        persistence is the baseline, the differential when the forecast was made, repeated. made_at is the minute of
        play or the clock then. is_current is false if it is too old, late, left behind by the score, or of a game that
        is over: not of now. late says why a forecast does not count: it may have been made with hindsight; null if it
        counts. is_replay: of a recorded or simulated game. outcome is the differential at the horizon, once reported.

        seen_before tells of the past game most like this one, seen_together of all similar games with its lead: name
        both. components are the models that the forecast is made of; contributions what moved it, in points, the
        largest first. similar_summary: the number of past games like this one after a minute (a game and its mirror
        image count as two), how many of them had its lead to two points (same_lead), in how many of these the home side
        led at the horizon (home_led), and in how many the side that is behind did (turned). similar_games: the nearest
        of all, whatever their lead. In a mirrored one the away team has the part of the home team here, and
        differentials are away minus home.
        """
        game_id = game if is_game_id(game) else await self._game_of(game)
        response = await self._client.get_prediction(game_id, horizon=_HORIZONS[horizon])
        recorded, forecast = response.prediction, response.prediction.forecast
        settled = recorded.HasField("settlement")
        late = late_text(forecast) if forecast.late else None
        state = next((each for each in await self._client.list_games() if each.game_id == game_id), None)
        passed = state is not None and (state.status in _OVER or _is_behind(recorded, state))
        explained = _fields(forecast.explanation, _EXPLANATION)
        for similar in explained["similar_games"]:
            del similar["course"]  # half a page of numbers
        return (
            _fields(forecast, _FORECAST)
            | explained
            | {
                "seen_before": seen_before(forecast),
                "seen_together": seen_together(forecast),
                "made_at": play_time(forecast),
                "made_seconds_ago": _age(forecast.generated_time),
                "is_current": utc_now() < forecast.expires_time.ToDatetime(UTC) and not (settled or late or passed),
                "late": late,
                "is_replay": game_id.startswith(REPLAY_PREFIX),
                "persistence": last_differential(recorded),
                "warnings": [warning_label(each.reason) for each in forecast.warnings],
                "outcome": recorded.outcome.differential if settled else None,
                "interval_held": recorded.settlement.covered if settled else None,
                "note": NOTE,
            }
        )

    async def get_scorecard(
        self,
        horizon: HorizonName = "final",
        team: Annotated[str, Field(description="Only games of this team; empty: all.")] = "",
        from_date: Annotated[str, Field(description="First local date of the games, YYYY-MM-DD; empty: any.")] = "",
        to_date: Annotated[str, Field(description="Last local date of the games, YYYY-MM-DD; empty: any.")] = "",
        min_minutes: Annotated[int | None, Field(description="First minute of play of the forecasts.")] = None,
        max_minutes: Annotated[int | None, Field(description="Last minute of play of the forecasts.")] = None,
    ) -> Answer:
        """Return the record: errors, coverage and probabilities of settled forecasts, beside simple baselines.

        Each figure is a mean over games with its 95 % interval over games, lower to upper, from two games on. mae is
        the mean absolute error, persistence_mae that of persistence; leader_brier the Brier score of: the team that is
        ahead wins. Differences below 0 are better than these. accuracy and roc_auc (area under the ROC curve) are of
        the side that leads, beside those of the team ahead and of its lead. coverage: how often intervals of 1 − alpha
        held. bets: what bets by the recorded answers would have returned (roi: return on stakes).
        """
        card = await self._client.get_scorecard(
            horizon=_HORIZONS[horizon],
            team=team,
            from_date=from_date,
            to_date=to_date,
            min_minutes=min_minutes,
            max_minutes=max_minutes,
            include_replays=self._replays,
        )
        bets = _fields(card.market, _BETS) if card.HasField("market") else None
        return _fields(card, _SCORECARD) | {"bets": bets, "note": NOTE}

    async def _games(self) -> list[Game]:
        games = await self._client.list_games()
        return [game for game in games if self._replays or not game.game_id.startswith(REPLAY_PREFIX)]

    async def _game_of(self, team: str) -> str:
        """Return the id of a team's game: the one in play or, without one, the latest.

        Raises:
            ToolError: if the team is unknown, or has no game.
        """
        try:
            code = team_code(team)
        except ValueError as error:
            raise ToolError(f"game: {error}; expected a game id of ten digits, or a team") from None
        found = [game for game in await self._games() if code in {game.home_team, game.away_team}]
        if not found:
            raise ToolError(f"game: {code} has no game in the last 24 hours; expected a game id, or another team")
        return max(
            found, key=lambda game: (game.status == GameStatus.GAME_STATUS_LIVE, game.tip_off_time.ToMicroseconds())
        ).game_id


def _answered(tool: Callable[_P, Coroutine[Any, Any, _T]]) -> Callable[_P, Coroutine[Any, Any, _T]]:
    """Return a tool whose errors of the server are its answer, without a traceback."""

    @wraps(tool)
    async def answered(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return await tool(*args, **kwargs)
        except (DejavuClientError, ValueError) as error:
            raise ToolError(visible(str(error), line=True)) from None

    return answered


def _age(time: Timestamp) -> float:
    """Return the seconds since a time."""
    return round(max(0.0, (utc_now() - time.ToDatetime(UTC)).total_seconds()), 1)
