"""Tools for assistants, by the Model Context Protocol: tonight's games, a forecast, the record. They only read.

Answers are numbers, codes and times, with what an honest reader needs beside them: interval, persistence, coverage. No
free text of a feed or of a caller is passed on, so none can instruct an assistant.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from functools import wraps
from typing import Annotated, Any, Final, Literal, ParamSpec, TypeVar

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import BaseModel, Field

from dejavu.v1.game_service_pb2 import Game, GameStatus
from dejavu.v1.record_pb2 import RecordedPrediction
from dejavu.v1.scorecard_pb2 import Figure
from dejavu_client.aio import AsyncDejavuClient
from dejavu_client.errors import DejavuClientError
from dejavu_client.formatting import elapsed_seconds, enum_word, last_differential, late_text, play_time, warning_label
from dejavu_client.requests import FINAL, HALFTIME
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


class GameAnswer(BaseModel):
    """A game as the live feed shows it."""

    game_id: str
    home_team: str
    away_team: str
    status: str = Field(description="scheduled, live, final or postponed")
    home_score: int
    away_score: int
    period: int = Field(description="0 before tip-off, 1 to 4, 5 for the first overtime")
    seconds_left: float | None = Field(description="seconds left in the period; null: not known")
    tip_off: datetime | None
    pregame_margin: float | None = Field(description="the market's expected final differential before the game")
    read_seconds_ago: float = Field(description="age of this state; much more than 60 for a live game: out of date")


class GamesAnswer(BaseModel):
    """Games of the last 24 hours."""

    games: list[GameAnswer]


class ForecastAnswer(BaseModel):
    """The newest recorded forecast of a game, beside persistence."""

    game_id: str
    home_team: str
    away_team: str
    horizon: str
    made_at: str = Field(description="minute of play or clock at which it was made")
    made_seconds_ago: float
    is_current: bool = Field(
        description="false: too old, late, left behind by the score, or of a game that is over: not of now"
    )
    late: str | None = Field(
        description="why it does not count: it may have been made with hindsight; null if it counts"
    )
    is_replay: bool = Field(description="true: of a recorded or simulated game")
    point_forecast: float = Field(description="forecast differential at the horizon")
    interval_lower: float
    interval_upper: float
    interval_coverage: float = Field(description="nominal coverage of the interval, which is calibrated")
    home_lead_probability: float = Field(description="probability that the home team leads, or wins, at the horizon")
    persistence: float | None = Field(description="the baseline: the differential when it was made, repeated")
    expected_margin: float | None = Field(description="expected final differential before the game")
    warnings: list[str]
    outcome: int | None = Field(description="the differential at the horizon, once it is reported")
    interval_held: bool | None
    model_version: str
    note: str = NOTE


class MetricAnswer(BaseModel):
    """A mean over games, with its 95 % interval over games; null with fewer than two games."""

    value: float
    lower: float | None
    upper: float | None


class CoverageAnswer(BaseModel):
    """How often the intervals held."""

    nominal: float
    observed: float
    lower: float
    upper: float
    games: int


class BetsAnswer(BaseModel):
    """What bets by the recorded answers would have returned."""

    bets: int
    return_on_stakes: float | None
    lower: float | None
    upper: float | None
    notice: str


class ScorecardAnswer(BaseModel):
    """Scores of the settled forecasts, beside persistence and the leader on the same games."""

    games: int
    forecasts: int
    mean_absolute_error: MetricAnswer
    persistence_mean_absolute_error: MetricAnswer
    error_minus_persistence: MetricAnswer = Field(description="below 0: better than persistence")
    crps: MetricAnswer
    brier: MetricAnswer
    leader_brier: MetricAnswer = Field(description="Brier score of: the team that is ahead wins")
    brier_minus_leader: MetricAnswer = Field(description="below 0: better than the leader")
    coverage: list[CoverageAnswer]
    withdrawn_games: int
    corrected_games: int
    doubtful_games: int
    unsettled_games: int
    bets: BetsAnswer | None
    note: str = NOTE


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
    age = _seconds_since(forecast.generated_time.ToDatetime(UTC))
    return played - made > _BEHIND or (played >= max(made, _END) and other and age > _SECONDS_OF_A_SCORE)


class _Tools:
    """The tools. Their docstrings are what an assistant reads."""

    def __init__(self, client: AsyncDejavuClient, *, replays: bool) -> None:
        self._client = client
        self._replays = replays

    async def list_games(self) -> GamesAnswer:
        """List the games of the last 24 hours with score and clock, as the live feed shows them."""
        return GamesAnswer(games=[_state(game) for game in await self._games()])

    async def get_forecast(
        self,
        game: Annotated[str, Field(description="A game id of ten digits, or a team such as BOS or Celtics.")],
        horizon: HorizonName = "final",
    ) -> ForecastAnswer:
        """Return the newest recorded forecast of a game: point, interval, probability, and the outcome once known."""
        game_id = game if is_game_id(game) else await self._game_of(game)
        response = await self._client.get_prediction(game_id, horizon=_HORIZONS[horizon])
        recorded, forecast = response.prediction, response.prediction.forecast
        settled = recorded.HasField("settlement")
        late = late_text(forecast) if forecast.late else None
        state = next((each for each in await self._client.list_games() if each.game_id == game_id), None)
        passed = state is not None and (state.status in _OVER or _is_behind(recorded, state))
        now = utc_now()
        return ForecastAnswer(
            game_id=game_id,
            home_team=forecast.home_team,
            away_team=forecast.away_team,
            horizon=horizon,
            made_at=play_time(forecast),
            made_seconds_ago=_seconds_since(forecast.generated_time.ToDatetime(UTC)),
            is_current=now < forecast.expires_time.ToDatetime(UTC) and not (settled or late or passed),
            late=late,
            is_replay=game_id.startswith(REPLAY_PREFIX),
            point_forecast=round(forecast.point_forecast, 2),
            interval_lower=forecast.interval_lower,
            interval_upper=forecast.interval_upper,
            interval_coverage=forecast.coverage_probability,
            home_lead_probability=round(forecast.home_lead_probability, 4),
            persistence=last_differential(recorded),
            expected_margin=forecast.expected_margin if forecast.HasField("expected_margin") else None,
            warnings=[warning_label(each.reason) for each in forecast.warnings],
            outcome=recorded.outcome.differential if settled else None,
            interval_held=recorded.settlement.covered if settled else None,
            model_version=forecast.model_version,
        )

    async def get_scorecard(
        self,
        horizon: HorizonName = "final",
        team: Annotated[str, Field(description="Only games of this team; empty: all.")] = "",
        from_date: Annotated[str, Field(description="First local date of the games, YYYY-MM-DD; empty: any.")] = "",
        to_date: Annotated[str, Field(description="Last local date of the games, YYYY-MM-DD; empty: any.")] = "",
        min_minutes: Annotated[int | None, Field(description="First minute of play of the forecasts.")] = None,
        max_minutes: Annotated[int | None, Field(description="Last minute of play of the forecasts.")] = None,
    ) -> ScorecardAnswer:
        """Return the record: errors, coverage and probabilities of settled forecasts, beside simple baselines."""
        card = await self._client.get_scorecard(
            horizon=_HORIZONS[horizon],
            team=team,
            from_date=from_date,
            to_date=to_date,
            min_minutes=min_minutes,
            max_minutes=max_minutes,
            include_replays=self._replays,
        )
        market = card.market
        bets = BetsAnswer(
            bets=market.bets,
            return_on_stakes=market.roi if market.HasField("roi") else None,
            lower=market.roi_lower if market.HasField("roi_lower") else None,
            upper=market.roi_upper if market.HasField("roi_upper") else None,
            notice=market.notice,
        )
        return ScorecardAnswer(
            games=card.games,
            forecasts=card.forecasts,
            mean_absolute_error=_metric(card.mae),
            persistence_mean_absolute_error=_metric(card.persistence_mae),
            error_minus_persistence=_metric(card.mae_difference),
            crps=_metric(card.crps),
            brier=_metric(card.brier),
            leader_brier=_metric(card.leader_brier),
            brier_minus_leader=_metric(card.brier_difference),
            coverage=[
                CoverageAnswer(
                    nominal=1 - each.alpha,
                    observed=each.coverage,
                    lower=each.lower,
                    upper=each.upper,
                    games=each.games,
                )
                for each in card.coverage
            ],
            withdrawn_games=card.withdrawn_games,
            corrected_games=card.corrected_games,
            doubtful_games=card.doubtful_games,
            unsettled_games=card.unsettled_games,
            bets=bets if card.HasField("market") else None,
        )

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
            found, key=lambda game: (game.status == GameStatus.GAME_STATUS_LIVE, game.tip_off.ToMicroseconds())
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


def _state(game: Game) -> GameAnswer:
    return GameAnswer(
        game_id=game.game_id,
        home_team=game.home_team,
        away_team=game.away_team,
        status=enum_word(GameStatus.DESCRIPTOR, game.status) or "unknown",
        home_score=game.home_score,
        away_score=game.away_score,
        period=game.period,
        seconds_left=game.seconds_left if game.HasField("seconds_left") else None,
        tip_off=game.tip_off.ToDatetime(UTC) if game.HasField("tip_off") else None,
        pregame_margin=game.pregame_margin if game.HasField("pregame_margin") else None,
        read_seconds_ago=_seconds_since(game.observed_time.ToDatetime(UTC)),
    )


def _seconds_since(time: datetime) -> float:
    return round(max(0.0, (utc_now() - time).total_seconds()), 1)


def _metric(figure: Figure) -> MetricAnswer:
    return MetricAnswer(
        value=figure.value,
        lower=figure.lower if figure.HasField("lower") else None,
        upper=figure.upper if figure.HasField("upper") else None,
    )
