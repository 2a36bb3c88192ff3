"""The synchronous client."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Self, Unpack

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest

from dejavu.v1.forecast_pb2 import Forecast, Horizon
from dejavu.v1.market_pb2 import Market
from dejavu.v1.model_service_pb2 import ListModelsRequest, Model
from dejavu.v1.prediction_service_pb2 import (
    AssessRiskRequest,
    AssessRiskResponse,
    PredictBatchRequest,
    PredictBatchResult,
    PredictRequest,
    PredictResponse,
    StreamPredictionsResponse,
)
from dejavu.v1.record_pb2 import Checkpoint, RecordedPrediction
from dejavu.v1.record_service_pb2 import (
    LEADERBOARD_METRIC_CRPS,
    GetCheckpointRequest,
    GetLeaderboardRequest,
    GetLeaderboardResponse,
    GetPredictionRequest,
    GetPredictionResponse,
    GetScorecardRequest,
    LeaderboardMetric,
    ReportOutcomeResponse,
    Scorecard,
)
from dejavu_client import config
from dejavu_client.record_requests import (
    Conditions,
    ModelScope,
    Scope,
    outcome_request,
    predictions_request,
    score_filter,
)
from dejavu_client.requests import HALFTIME, PredictOptions, predict_request
from dejavu_client.transport.caller import Caller
from dejavu_client.transport.health import HealthStatus
from dejavu_client.transport.statistics import CallStatistics
from dejavu_client.transport.subscription import StreamResumption


class DejavuClient:
    """Calls a Dejavu server. Safe among threads; connects when it is first needed.

    ```python
    with DejavuClient("127.0.0.1:50051") as client:
        forecast = client.predict([0, 2, 3, 1, -2, 0, 1, 4, 6, 5, 5, 7, 8, 6, 9, 11, 8, 10], explain=True)
        print(forecast.point_forecast, forecast.interval_lower, forecast.interval_upper)
    ```

    Args:
        target: address of the server, as gRPC writes it.
        timeout: deadline of a call, in seconds, its retries included.
        channels: how many connections to use in turn; as many workers of the server can be reached at once.
        credentials: for TLS; None for plain text.
        metadata: what to send with every call.
        silence: seconds without any message after which a stream is taken to be dead.
        slow: a call that takes longer (seconds) is logged as a warning.
        very_slow: a call that takes longer (seconds) is logged as an error.
        channel_factory: makes a new channel, in the place of the default one, whenever it is called; `credentials`
            are then its affair.

    Raises:
        ValueError: if `timeout`, `silence` or `channels` cannot be; a call raises it for its own `timeout`.

    Every call raises a DejavuClientError of the tree in `dejavu_client.errors` when it gets no answer.
    """

    def __init__(
        self,
        target: str = config.DEFAULT_TARGET,
        *,
        timeout: float = config.DEFAULT_TIMEOUT,
        channels: int = config.DEFAULT_CHANNELS,
        credentials: grpc.ChannelCredentials | None = None,
        metadata: config.Metadata = (),
        silence: float = config.DEFAULT_SILENCE,
        slow: float = config.DEFAULT_SLOW,
        very_slow: float = config.DEFAULT_VERY_SLOW,
        channel_factory: Callable[[], grpc.Channel] | None = None,
    ) -> None:
        self.target = target
        self.timeout = timeout
        self._caller = Caller(
            target,
            timeout=timeout,
            channels=channels,
            credentials=credentials,
            metadata=metadata,
            silence=silence,
            slow=slow,
            very_slow=very_slow,
            channel_factory=channel_factory,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends every call and stream and gives the connections back. Closing again does nothing."""
        self._caller.close()

    @property
    def stats(self) -> CallStatistics:
        """Figures of the calls so far."""
        return self._caller.stats()

    def predict(
        self,
        pattern: Sequence[float],
        *,
        game_id: str = "",
        alpha: float | None = None,
        horizon: Horizon.ValueType = HALFTIME,
        home_team: str = "",
        away_team: str = "",
        pregame_margin: float | None = None,
        model_version: str = "",
        explain: bool = False,
        quantile_levels: Sequence[float] = (),
        timeout: float | None = None,
    ) -> Forecast:
        """Forecasts one game.

        With a `game_id` the forecast is in the server's ledger before it is answered; without one it is a what-if.

        Args:
            pattern: score differentials (home − away, in points) at the end of each minute, from the first on; 1 to 47,
                for the half at most 23.
            game_id: the NBA's id, ten digits; empty for a what-if.
            alpha: miscoverage rate of the interval, in (0, 1); None for the server's default, 0.05.
            horizon: `HALFTIME` or `FINAL`.
            home_team: NBA code of the home team, or a common alias; with both teams their strength counts.
            away_team: the same of the away team.
            pregame_margin: expected final differential before the game, in points; in place of the teams' ratings.
            model_version: the model to ask; empty for the active one.
            explain: whether the forecast shall say what it rests on.
            quantile_levels: levels in (0, 1), at most 99, of quantiles that the forecast shall have.
            timeout: deadline of this call, in seconds; None for the client's.
        """
        request = predict_request(
            pattern,
            game_id=game_id,
            alpha=alpha,
            horizon=horizon,
            home_team=home_team,
            away_team=away_team,
            pregame_margin=pregame_margin,
            model_version=model_version,
            explain=explain,
            quantile_levels=quantile_levels,
        )
        return self._caller.unary("Predict", lambda line: line.prediction.Predict, request, timeout).forecast

    def quote(
        self,
        pattern: Sequence[float],
        market: Market,
        *,
        timeout: float | None = None,
        **options: Unpack[PredictOptions],
    ) -> PredictResponse:
        """Forecasts one game, as `predict` does, and weighs the odds of a market: the answer has both.

        Args:
            pattern: score differentials (home − away, in points) at the end of each minute, from the first on.
            market: the odds, as `market` makes them.
            timeout: deadline of this call, in seconds; None for the client's.
            options: as of `predict`.
        """
        request = predict_request(pattern, market=market, **options)
        return self._caller.unary("Predict", lambda line: line.prediction.Predict, request, timeout)

    def assess_risk(
        self, pattern: Sequence[float], total_points: int | None = None, *, timeout: float | None = None
    ) -> AssessRiskResponse:
        """Tells how unsettled a game is, from its score alone; nothing is recorded.

        Args:
            pattern: score differentials (home − away, in points) at the end of each minute, from the first on; 2 to 47.
            total_points: points of both teams together so far; None leaves the pace of scoring out.
            timeout: deadline of this call, in seconds; None for the client's.
        """
        request = AssessRiskRequest(pattern=pattern, total_points=total_points)
        return self._caller.unary("AssessRisk", lambda line: line.prediction.AssessRisk, request, timeout)

    def predict_batch(
        self, requests: Iterable[PredictRequest], *, timeout: float | None = None
    ) -> list[PredictBatchResult]:
        """Forecasts 1 to 1,000 games; each succeeds or fails for itself. Results are in the order of the requests.

        Args:
            requests: as `predict_request` makes them.
            timeout: deadline of this call, in seconds; None for the client's.
        """
        request = PredictBatchRequest(requests=requests)
        return list(
            self._caller.unary("PredictBatch", lambda line: line.prediction.PredictBatch, request, timeout).results
        )

    def list_models(self, *, timeout: float | None = None) -> list[Model]:
        """The models that the server holds, the active one first.

        Args:
            timeout: deadline of this call, in seconds; None for the client's.
        """
        request = ListModelsRequest()
        return list(self._caller.unary("ListModels", lambda line: line.models.ListModels, request, timeout).models)

    def health(self, service: str = "", *, timeout: float | None = None) -> HealthStatus:
        """What the server says about itself; it is asked once, without retries.

        Args:
            service: full name of a service, for instance dejavu.v1.PredictionService; empty for the whole server.
            timeout: deadline of this call, in seconds; None for the client's.

        Raises:
            NotFoundError: if the server has no such service.
        """
        request = HealthCheckRequest(service=service)
        return HealthStatus.of(self._caller.unary("Check", lambda line: line.check_health, request, timeout))

    def report_outcome(
        self,
        game_id: str,
        differential: int,
        *,
        horizon: Horizon.ValueType = HALFTIME,
        home_team: str = "",
        away_team: str = "",
        observed_time: datetime | None = None,
        timeout: float | None = None,
    ) -> ReportOutcomeResponse:
        """Reports how a horizon of a game came out, which settles its forecasts. Doing so again does no harm.

        Args:
            game_id: the NBA's id, ten digits.
            differential: home − away at the horizon, in points; another one than before corrects it.
            horizon: `HALFTIME` or `FINAL`.
            home_team: NBA code of the home team, or a common alias; with both teams ratings learn from a final.
            away_team: the same of the away team.
            observed_time: when it was seen, aware; None: now.
            timeout: deadline of this call, in seconds; None for the client's.

        Raises:
            ValueError: if `observed_time` has no time zone.
        """
        request = outcome_request(
            game_id,
            differential,
            horizon=horizon,
            home_team=home_team,
            away_team=away_team,
            observed_time=observed_time,
        )
        return self._caller.unary("ReportOutcome", lambda line: line.record.ReportOutcome, request, timeout)

    def get_prediction(
        self,
        game_id: str,
        *,
        horizon: Horizon.ValueType = HALFTIME,
        elapsed_minutes: int | None = None,
        model_version: str = "",
        timeout: float | None = None,
    ) -> GetPredictionResponse:
        """The latest recorded forecast of a game, with its earlier revisions and the outcome.

        Args:
            game_id: the NBA's id, ten digits.
            horizon: `HALFTIME` or `FINAL`.
            elapsed_minutes: the minute of play after which it was made; None: the latest.
            model_version: who made it; empty: any.
            timeout: deadline of this call, in seconds; None for the client's.

        Raises:
            NotFoundError: if there is none.
        """
        request = GetPredictionRequest(
            game_id=game_id, horizon=horizon, elapsed_minutes=elapsed_minutes, model_version=model_version
        )
        return self._caller.unary("GetPrediction", lambda line: line.record.GetPrediction, request, timeout)

    def list_predictions(
        self, *, page_size: int = 0, timeout: float | None = None, **conditions: Unpack[Conditions]
    ) -> Iterator[RecordedPrediction]:
        """The recorded forecasts for which all conditions hold, newest first; pages are asked for as they are needed.

        None comes twice and none is passed over while others are recorded.

        Args:
            page_size: how many to ask for at a time, 1 to 500; 0 for the server's default.
            timeout: deadline of the call for each page, in seconds; None for the client's.
            conditions: game_id, from_date, to_date, team, horizon, min_confidence, settled, model_version,
                elapsed_minutes, include_superseded, include_replays; see `record_requests.Conditions`.
        """
        return self._caller.pages(predictions_request(page_size, **conditions), timeout)

    def get_scorecard(self, *, timeout: float | None = config.SCORES_TIMEOUT, **scope: Unpack[ModelScope]) -> Scorecard:
        """How settled forecasts fared, beside persistence on the same games.

        Args:
            timeout: deadline of this call, in seconds, longer than of others; None for the client's.
            scope: what counts: model_version, horizon, from_date, to_date, min_minutes, max_minutes, include_replays;
                see `record_requests.ModelScope`.
        """
        request = GetScorecardRequest(filter=score_filter(**scope))
        return self._caller.unary("GetScorecard", lambda line: line.record.GetScorecard, request, timeout).scorecard

    def get_leaderboard(
        self,
        *,
        metric: LeaderboardMetric.ValueType = LEADERBOARD_METRIC_CRPS,
        min_games: int = 0,
        timeout: float | None = config.SCORES_TIMEOUT,
        **scope: Unpack[Scope],
    ) -> GetLeaderboardResponse:
        """The model versions with enough games, best first.

        Args:
            metric: what to order by.
            min_games: the fewest games of a version that is listed; 0 for the server's default, 100.
            timeout: deadline of this call, in seconds, longer than of others; None for the client's.
            scope: what counts, as of `get_scorecard`, but for the model_version.
        """
        request = GetLeaderboardRequest(filter=score_filter(**scope), metric=metric, min_games=min_games)
        return self._caller.unary("GetLeaderboard", lambda line: line.record.GetLeaderboard, request, timeout)

    def get_checkpoint(self, *, timeout: float | None = None) -> Checkpoint:
        """The signed head of the server's ledger. Keep it: it proves later that nothing up to it was changed.

        Args:
            timeout: deadline of this call, in seconds; None for the client's.
        """
        request = GetCheckpointRequest()
        return self._caller.unary("GetCheckpoint", lambda line: line.record.GetCheckpoint, request, timeout).checkpoint

    def stream_predictions(
        self,
        game_ids: Iterable[str] = (),
        *,
        resume_token: str = "",
        include_current: bool = False,
        heartbeats: bool = False,
    ) -> Generator[StreamPredictionsResponse, None, None]:
        """Every recorded forecast and outcome, once and in order of sequence, for as long as the iterator is read.

        A broken connection is made again, and the stream goes on where it stood. Closing the client ends the iterator.

        Args:
            game_ids: the games wanted; none: all.
            resume_token: `resume_token` of an earlier response: begin right after it; empty: begin now.
            include_current: begin with the newest forecast of each game and horizon of the last 12 hours.
            heartbeats: yield heartbeats too; the first one says that the subscription stands.

        Raises:
            OutOfRangeError: if the place of the token is gone.
            InvalidArgumentError: if the token is another ledger's, or a game id is none.
            UnavailableError: if the server can't be reached at first; later the stream tries on and on.
        """
        subscription = StreamResumption(
            game_ids, resume_token=resume_token, include_current=include_current, heartbeats=heartbeats
        )
        return self._caller.stream(subscription)
