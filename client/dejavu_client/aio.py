"""The asynchronous client. The synchronous one (client.py) makes its calls by it."""
# ruff: noqa: ASYNC109 - timeout is a deadline sent to the server, not a local one

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from datetime import datetime
from typing import Any, Final, Unpack

from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from dejavu.ops.v1 import cache_service_pb2 as cache
from dejavu.ops.v1 import feed_service_pb2 as feed_service
from dejavu.ops.v1 import lease_service_pb2 as leases
from dejavu.ops.v1 import notification_service_pb2 as notifications
from dejavu.ops.v1 import operations_service_pb2 as state
from dejavu.v1 import game_service_pb2 as game_service
from dejavu.v1 import model_service_pb2 as models
from dejavu.v1 import prediction_service_pb2 as predictions
from dejavu.v1 import record_service_pb2 as records
from dejavu.v1.forecast_pb2 import HORIZON_HALFTIME, Forecast, Horizon
from dejavu.v1.game_service_pb2 import Game
from dejavu.v1.market_pb2 import Market
from dejavu.v1.model_comparison_pb2 import ModelComparison
from dejavu.v1.prediction_service_pb2 import PredictRequest
from dejavu.v1.record_pb2 import Checkpoint
from dejavu.v1.scorecard_pb2 import Scorecard
from dejavu_client import config
from dejavu_client.columns import ColumnsOptions, ForecastColumns, columns_of, columns_request
from dejavu_client.export import AsyncRecordedPredictions
from dejavu_client.requests import (
    HALFTIME,
    Conditions,
    ModelScope,
    PredictOptions,
    Scope,
    predict_request,
    predictions_request,
    score_filter,
)
from dejavu_client.transport.caller import Transport
from dejavu_client.transport.servers import HealthStatus
from dejavu_client.transport.subscription import GameUpdates, StreamResumption

ALIASES: Final = frozenset({"champion", "challenger", "previous"})
"""Aliases of versions."""


class AsyncDejavuClient(Transport):
    """Client of a Dejavu server for use in one event loop; connects on first use.

    ```python
    async with AsyncDejavuClient("127.0.0.1:50051") as client:
        async for event in client.stream_predictions(include_current=True):
            if event.HasField("forecast"):
                print(event.forecast.game_id, event.forecast.point_forecast)
    ```

    Args:
        target: server address, in gRPC's notation; for several servers with one ledger HOST:PORT,HOST:PORT,… or
            dns:///NAME:PORT, whose DNS records are looked up repeatedly.
        timeout: deadline of a call, in seconds, including its retries; does not apply to streams.
        channels: number of connections, used in turn; if there are more servers, one per server. Also the maximum
            number of workers reached at a time.
        credentials: TLS credentials, e.g. of `tls_credentials`, or a function that returns the newest ones; None for
            plain text.
        token: bearer token that identifies the caller, or a function that returns the newest one, e.g. a `TokenFile`;
            None for none. The function is called before each attempt of a call.
        allow_plaintext_token: whether to send the token to another machine without TLS, where others can read it.
        metadata: metadata to send with every call.
        silence: seconds without a message, heartbeats included, after which a stream is considered dead.
        slow: calls that take longer than this, in seconds, are logged as warnings, and as errors past five times it.
        channel_factory: creates a new `grpc.aio.Channel` on each call, in place of the default; `credentials` is then
            not used.

    Raises:
        ValueError: if `timeout`, `silence` or `channels` is out of range, `target` is a list with an entry that is no
            address, or the token is invalid or would be sent in plain text to another machine. A call raises it if its
            own `timeout` is out of range, or if the function `token` returns an invalid token.

    A model is named by its version or by an alias: champion, challenger or previous. Every change of models is safe to
    repeat: if there is nothing to change, the answer has the models as they are, without a `change`. A change by alias
    first resolves the alias to a version, so that a repeated request changes the same model.

    Leases and notifications decide which of several programs does a piece of work, or sends a message.

    A call that gets no answer raises a DejavuClientError; `dejavu_client.errors` lists its subclasses. Cancelling the
    task that awaits a call cancels the call.
    """

    async def predict(
        self, pattern: Sequence[float], *, timeout: float | None = None, **options: Unpack[PredictOptions]
    ) -> Forecast:
        """Forecast one game.

        With a `game_id`, the server writes the forecast to its ledger before it answers. Without one, the forecast is a
        what-if and is not recorded.

        Args:
            pattern: score differentials (home − away, in points) at the end of each minute, starting with the first;
                1 to 47 values, at most 23 for halftime.
            timeout: deadline of this call, in seconds; None for the client's.
            options: those of `dejavu_client.requests.PredictOptions`.
        """
        response = await self._unary(predict_request(pattern, **options), predictions.PredictResponse, timeout)
        return response.forecast

    async def quote(
        self,
        pattern: Sequence[float],
        *markets: Market,
        timeout: float | None = None,
        **options: Unpack[PredictOptions],
    ) -> predictions.PredictResponse:
        """Forecast one game, as `predict` does, and evaluate odds. Returns the whole response.

        Args:
            pattern: score differentials (home − away, in points) at the end of each minute, starting with the first.
            markets: odds, created with `market` and `total_market`, at most one of each; answered in this order.
            timeout: deadline of this call, in seconds; None for the client's.
            options: the options of `predict`.
        """
        request = predict_request(pattern, markets=markets, **options)
        return await self._unary(request, predictions.PredictResponse, timeout)

    async def assess_risk(
        self, games: Iterable[predictions.RiskGame], *, timeout: float | None = None
    ) -> list[predictions.RiskResult]:
        """Assess how volatile 1 to 100 games have been, from their scores alone. Nothing is recorded.

        Each succeeds or fails on its own. Results are in the order of the games.

        Args:
            games: the games: each with its pattern, of 2 to 47 minutes, and total_points, without which the scoring
                pace is no factor.
            timeout: deadline of this call, in seconds; None for the client's.
        """
        request = predictions.AssessRiskRequest(games=games)
        response = await self._unary(request, predictions.AssessRiskResponse, timeout)
        return list(response.results)

    async def predict_batch(
        self, requests: Iterable[predictions.PredictRequest], *, timeout: float | None = None
    ) -> list[predictions.PredictBatchResult]:
        """Forecast 1 to 1,000 games. Each succeeds or fails on its own. Results are in the order of the requests.

        Args:
            requests: requests created with `predict_request`.
            timeout: deadline of this call, in seconds; None for the client's.
        """
        request = predictions.PredictBatchRequest(requests=requests)
        response = await self._unary(request, predictions.PredictBatchResponse, timeout)
        return list(response.results)

    async def predict_columns(
        self, patterns: Any, minutes: Any = None, *, timeout: float | None = None, **options: Unpack[ColumnsOptions]
    ) -> ForecastColumns:
        """Forecast 1 to 5,000 games with the same options, for example to score whole seasons. Nothing is recorded.

        Every array may be an Arrow or numpy array, or any iterable.

        Args:
            patterns: the pattern of each game, as rows (padded with NaN in a two-dimensional array); or, if `minutes`
                is given, the differentials of all games in one flat array, one game after another. In points, as in
                `predict`.
            minutes: number of minutes of each game's pattern; None if `patterns` has one row per game.
            timeout: deadline of this call, in seconds; None for the client's.
            options: those of `dejavu_client.columns.ColumnsOptions`.
        """
        request = columns_request(patterns, minutes, **options)
        response = await self._unary(request, predictions.PredictColumnsResponse, timeout)
        return columns_of(response, request.quantile_levels)

    async def health(self, service: str = "", *, timeout: float | None = None) -> HealthStatus:
        """Return the health status that the server reports. Makes one attempt, without retries.

        Args:
            service: full name of a service, e.g. dejavu.v1.PredictionService; empty for the whole server.
            timeout: deadline of this call, in seconds; None for the client's.

        Raises:
            NotFoundError: if the server has no such service.
        """
        response = await self._unary(HealthCheckRequest(service=service), HealthCheckResponse, timeout)
        return HealthStatus(response.status)

    async def report_outcome(
        self,
        game_id: str,
        differential: int,
        *,
        horizon: Horizon.ValueType,
        home_team: str = "",
        away_team: str = "",
        observed_time: datetime | None = None,
        refuse_correction: bool = False,
        total_points: int | None = None,
        overtimes: int | None = None,
        players: Sequence[records.PlayerLine] = (),
        timeout: float | None = None,
    ) -> records.ReportOutcomeResponse:
        """Report the outcome of a game at a horizon, which settles its forecasts. Safe to repeat.

        Args:
            game_id: NBA game id, ten digits.
            differential: home − away at the horizon, in points. A different value corrects an earlier report.
            horizon: `HALFTIME` or `FINAL`.
            home_team: NBA code or common alias of the home team. If both teams are given, a final score updates their
                ratings.
            away_team: NBA code or common alias of the away team.
            observed_time: when the outcome was observed, timezone-aware, in the season that the game id names; None for
                now, by the server's clock.
            refuse_correction: whether to refuse a report that would correct the current outcome.
            total_points: points of both teams together at the horizon; None if not known.
            overtimes: overtimes that the game had, for `FINAL`; None if not known.
            players: the box score, for `FINAL`, a `record_service_pb2.PlayerLine` for every player who was on court;
                empty if not known.
            timeout: deadline of this call, in seconds; None for the client's.

        Raises:
            ValueError: if `observed_time` has no time zone.
            FailedPreconditionError: if the report would correct an outcome, and `refuse_correction` is set.
        """
        request = records.ReportOutcomeRequest(
            game_id=game_id,
            horizon=horizon,
            differential=differential,
            home_team=home_team,
            away_team=away_team,
            refuse_correction=refuse_correction,
            total_points=total_points,
            overtimes=overtimes,
            players=players,
        )
        if observed_time is not None:
            if observed_time.tzinfo is None:
                raise ValueError(f"observed_time={observed_time!r} has no time zone; expected an aware datetime")
            request.observed_time.FromDatetime(observed_time)
        return await self._unary(request, records.ReportOutcomeResponse, timeout)

    async def withdraw_outcome(
        self, game_id: str, *, horizon: Horizon.ValueType, timeout: float | None = None
    ) -> records.WithdrawOutcomeResponse:
        """Withdraw the outcome of a game at a horizon, as if it had never been reported. Safe to repeat.

        Args:
            game_id: NBA game id, ten digits.
            horizon: `HALFTIME` or `FINAL`.
            timeout: deadline of this call, in seconds; None for the client's.

        Raises:
            NotFoundError: if no outcome was ever reported.
        """
        request = records.WithdrawOutcomeRequest(game_id=game_id, horizon=horizon)
        return await self._unary(request, records.WithdrawOutcomeResponse, timeout)

    async def get_prediction(
        self,
        game_id: str,
        *,
        horizon: Horizon.ValueType = HALFTIME,
        elapsed_minutes: int | None = None,
        model_version: str = "",
        timeout: float | None = None,
    ) -> records.GetPredictionResponse:
        """Return the latest recorded forecast of a game, with its earlier revisions and the outcome.

        Args:
            game_id: NBA game id, ten digits.
            horizon: `HALFTIME` or `FINAL`.
            elapsed_minutes: minute of play after which the forecast was made; None for the latest.
            model_version: version of the model that made it; empty for any.
            timeout: deadline of this call, in seconds; None for the client's.

        Raises:
            NotFoundError: if no forecast matches.
        """
        request = records.GetPredictionRequest(
            game_id=game_id, horizon=horizon, elapsed_minutes=elapsed_minutes, model_version=model_version
        )
        return await self._unary(request, records.GetPredictionResponse, timeout)

    def list_predictions(
        self,
        *,
        page_size: int = 0,
        explain: bool = False,
        timeout: float | None = None,
        **conditions: Unpack[Conditions],
    ) -> AsyncRecordedPredictions:
        """Yield the recorded forecasts that match all conditions, newest first. Fetches pages as needed.

        Yields each forecast exactly once, even if others are recorded meanwhile. `to_arrow()` and `to_pandas()` of the
        result read all of them into one table.

        Args:
            page_size: forecasts per page, at most 500; 0 for the server's default.
            explain: whether to return the explanations, which make pages larger.
            timeout: deadline of each page's call, in seconds; None for the client's.
            conditions: those of `dejavu_client.requests.Conditions`.
        """
        request = predictions_request(page_size, explain=explain, **conditions)
        pages = self._pages(request, records.ListPredictionsResponse, timeout)
        return AsyncRecordedPredictions(pages)

    async def get_scorecard(
        self, *, limit: int = 0, timeout: float | None = config.SCORES_TIMEOUT, **scope: Unpack[ModelScope]
    ) -> Scorecard:
        """Return the scores of the settled forecasts, with those of persistence on the same games.

        Args:
            limit: maximum number of games, those with the newest outcomes; 0 for all.
            timeout: deadline of this call, in seconds; longer by default than for other calls. None for the client's.
            scope: which forecasts to include, see `dejavu_client.requests.ModelScope`.
        """
        request = records.GetScorecardRequest(filter=score_filter(**scope), limit=limit)
        response = await self._unary(request, records.GetScorecardResponse, timeout)
        return response.scorecard

    async def get_leaderboard(
        self,
        *,
        metric: records.LeaderboardMetric.ValueType = records.LEADERBOARD_METRIC_CRPS,
        min_games: int = 0,
        limit: int = 0,
        timeout: float | None = config.SCORES_TIMEOUT,
        **scope: Unpack[Scope],
    ) -> records.GetLeaderboardResponse:
        """Return the model versions with enough games, best first.

        Args:
            metric: metric to sort by.
            min_games: minimum number of games for a version to be listed; 0 for the server's default, 100.
            limit: maximum number of versions; 0 for all.
            timeout: deadline of this call, in seconds; longer by default than for other calls. None for the client's.
            scope: which forecasts to include, as for `get_scorecard` but without model_version.
        """
        request = records.GetLeaderboardRequest(
            filter=score_filter(**scope), metric=metric, min_games=min_games, limit=limit
        )
        return await self._unary(request, records.GetLeaderboardResponse, timeout)

    async def get_checkpoint(self, *, timeout: float | None = None) -> Checkpoint:
        """Return the signed head of the server's ledger. Keep it to prove later that no entry up to it was changed.

        Args:
            timeout: deadline of this call, in seconds; None for the client's.
        """
        response = await self._unary(records.GetCheckpointRequest(), records.GetCheckpointResponse, timeout)
        return response.checkpoint

    def stream_predictions(
        self,
        game_ids: Iterable[str] = (),
        *,
        resume_token: str = "",
        include_current: bool = False,
        heartbeats: bool = False,
        reconnect: bool = True,
    ) -> AsyncGenerator[predictions.StreamPredictionsResponse, None]:
        """Stream every recorded forecast and outcome, each once and in sequence order, while the iterator is read.

        Reconnects after a broken connection and resumes where the stream stopped. Closing the client ends the iterator.

        Args:
            game_ids: games to subscribe to; empty for all.
            resume_token: `resume_token` of an earlier response, to start right after it; empty to start now.
            include_current: start with the newest forecast of each game and horizon of the last 12 hours.
            heartbeats: also yield heartbeats; the first one confirms the subscription.
            reconnect: False to end with the error that ended the first connection.

        Raises:
            OutOfRangeError: if the token's position is no longer available.
            InvalidArgumentError: if the token is from another ledger, or a game id is invalid.
            UnavailableError: if the server can't be reached at first. Once connected, the stream retries without limit.
        """
        subscription = StreamResumption(
            game_ids, resume_token=resume_token, include_current=include_current, heartbeats=heartbeats
        )
        return self._stream(subscription, reconnect=reconnect)

    async def list_games(self, *, timeout: float | None = None) -> list[game_service.Game]:
        """Return the games whose state was published in the last 24 hours, by tip-off and id.

        Args:
            timeout: deadline of this call, in seconds; None for the client's.
        """
        pages = self._pages(game_service.ListGamesRequest(page_size=500), game_service.ListGamesResponse, timeout)
        return [game async for page in pages for game in page.games]

    def stream_games(self, *, heartbeats: bool = False) -> AsyncGenerator[game_service.StreamGamesResponse, None]:
        """Stream the games of the last 24 hours, then each new state, while the iterator is read.

        Reconnects after a broken connection, and then starts again with the newest state of each game. Closing the
        client ends the iterator.

        Args:
            heartbeats: also yield heartbeats; the first one follows the games of the beginning.

        Raises:
            UnavailableError: if the server can't be reached at first. Once connected, the stream retries without limit.
        """
        return self._stream(GameUpdates(heartbeats=heartbeats))

    async def _version(self, name: str, timeout: float | None) -> str:
        """Return the version that an alias stands for; return any other name unchanged."""
        return (await self.get_model(name, timeout=timeout)).model.version if name in ALIASES else name

    async def list_models(self, *, timeout: float | None = None) -> list[models.Model]:
        """List the models, the active one first: the loaded ones and, with a model store, all registered ones.

        Args:
            timeout: deadline of this call, in seconds; None for the client's.
        """
        pages = self._pages(models.ListModelsRequest(), models.ListModelsResponse, timeout)
        return [model async for page in pages for model in page.models]

    async def get_model(self, model_version: str = "", *, timeout: float | None = None) -> models.GetModelResponse:
        """Return a model, its lineage, and the workers that have it loaded.

        Args:
            model_version: version of the model, or an alias; empty for the champion.
            timeout: deadline of this call, in seconds; None for the client's.

        Raises:
            NotFoundError: if the model is not registered.
        """
        return await self._unary(models.GetModelRequest(model_version=model_version), models.GetModelResponse, timeout)

    async def load_model(
        self, model_version: str, *, reason: str = "", timeout: float | None = config.MODELS_TIMEOUT
    ) -> models.LoadModelResponse:
        """Stage a model: every worker loads it and makes shadow forecasts with it. Registers it if it is new.

        Args:
            model_version: its version. Its bundle must be in the server's model store, where `dejavu-trainer publish`
                puts it.
            reason: why, for people; at most 500 characters.
            timeout: deadline of this call, in seconds; longer by default than for other calls. None for the client's.

        Raises:
            FailedPreconditionError: if its bundle is not in the store, incomplete, altered or unfit, or if a worker
                cannot load the model; nothing is changed then.
        """
        request = models.LoadModelRequest(model_version=model_version, reason=reason)
        return await self._unary(request, models.LoadModelResponse, timeout)

    async def unload_model(
        self, model_version: str, *, reason: str = "", timeout: float | None = config.MODELS_TIMEOUT
    ) -> models.UnloadModelResponse:
        """Unstage a model; its stage becomes none.

        Args:
            model_version: its version, or an alias.
            reason: why, for people; at most 500 characters.
            timeout: deadline of this call, in seconds; longer by default than for other calls. None for the client's.

        Raises:
            FailedPreconditionError: if it answers requests.
        """
        version = await self._version(model_version, timeout)
        request = models.UnloadModelRequest(model_version=version, reason=reason)
        return await self._unary(request, models.UnloadModelResponse, timeout)

    async def promote_model(
        self,
        model_version: str,
        *,
        reason: str = "",
        force: bool = False,
        timeout: float | None = config.MODELS_TIMEOUT,
    ) -> models.PromoteModelResponse:
        """Make a staged model the champion on all workers, from one position of the ledger on.

        Args:
            model_version: its version, or an alias.
            reason: why, for people; at most 500 characters.
            force: whether to promote it without evidence; the ledger records that the change was forced.
            timeout: deadline of this call, in seconds; longer by default than for other calls. None for the client's.

        Raises:
            FailedPreconditionError: if the evidence does not suffice, or the model is not staged.
        """
        version = await self._version(model_version, timeout)
        request = models.PromoteModelRequest(model_version=version, reason=reason, force=force)
        return await self._unary(request, models.PromoteModelResponse, timeout)

    async def rollback_model(
        self, *, from_version: str = "", reason: str = "", timeout: float | None = config.MODELS_TIMEOUT
    ) -> models.RollbackModelResponse:
        """Make the previous model the champion again, and retire the model that had replaced it.

        Args:
            from_version: the champion to be replaced, so that a repeated call does not roll back twice; empty for the
                champion at the time of the call.
            reason: why, for people; at most 500 characters.
            timeout: deadline of this call, in seconds; longer by default than for other calls. None for the client's.

        Raises:
            FailedPreconditionError: if there is no previous model.
        """
        champion = from_version or await self._version("champion", timeout)
        request = models.RollbackModelRequest(from_version=champion, reason=reason)
        return await self._unary(request, models.RollbackModelResponse, timeout)

    async def retire_model(
        self, model_version: str, *, reason: str = "", timeout: float | None = config.MODELS_TIMEOUT
    ) -> models.RetireModelResponse:
        """Retire a model that answers no requests.

        Args:
            model_version: its version, or an alias.
            reason: why, for people; at most 500 characters.
            timeout: deadline of this call, in seconds; longer by default than for other calls. None for the client's.

        Raises:
            FailedPreconditionError: if it answers requests.
        """
        version = await self._version(model_version, timeout)
        request = models.RetireModelRequest(model_version=version, reason=reason)
        return await self._unary(request, models.RetireModelResponse, timeout)

    async def compare_models(
        self,
        model_version: str = "",
        against_version: str = "",
        *,
        horizon: Horizon.ValueType = HORIZON_HALFTIME,
        include_replays: bool = False,
        timeout: float | None = config.SCORES_TIMEOUT,
    ) -> ModelComparison:
        """Compare two models on exactly the same games and minutes.

        Args:
            model_version: version of the model, or an alias; empty for the challenger.
            against_version: the other model: a version, an alias or "persistence"; empty for the champion.
            horizon: `HALFTIME` or `FINAL`; `HALFTIME` by default.
            include_replays: whether to include games of replays and simulated seasons.
            timeout: deadline of this call, in seconds; longer by default than for other calls. None for the client's.
        """
        request = models.CompareModelsRequest(
            model_version=model_version,
            against_version=against_version,
            horizon=horizon,
            include_replays=include_replays,
        )
        response = await self._unary(request, models.CompareModelsResponse, timeout)
        return response.comparison

    async def list_model_changes(
        self,
        *,
        model_version: str = "",
        page_size: int = 0,
        page_token: str = "",
        timeout: float | None = None,
    ) -> models.ListModelChangesResponse:
        """Return a page of the changes of models in the ledger, newest first.

        Args:
            model_version: version of the model, or an alias; empty for all.
            page_size: changes on the page, at most 500; 0 for the server's default, 50.
            page_token: `next_page_token` of the page before; empty for the newest changes.
            timeout: deadline of this call, in seconds; None for the client's.
        """
        request = models.ListModelChangesRequest(
            model_version=model_version, page_size=page_size, page_token=page_token
        )
        return await self._unary(request, models.ListModelChangesResponse, timeout)

    async def get_cache_stats(self, *, timeout: float | None = None) -> cache.GetCacheStatsResponse:
        """Return the statistics of the server's cache of what-ifs, over all of its workers.

        Args:
            timeout: deadline of this call, in seconds; None for the client's.
        """
        return await self._unary(cache.GetCacheStatsRequest(), cache.GetCacheStatsResponse, timeout)

    async def clear_cache(self, *, timeout: float | None = None) -> cache.ClearCacheResponse:
        """Clear the server's cache of what-ifs in all of its workers, and the one that servers share. Safe to repeat.

        Args:
            timeout: deadline of this call, in seconds; None for the client's.
        """
        return await self._unary(cache.ClearCacheRequest(), cache.ClearCacheResponse, timeout)

    async def warm_cache(
        self, requests: Iterable[PredictRequest], *, timeout: float | None = None
    ) -> cache.WarmCacheResponse:
        """Compute and cache the answers to 1 to 1,000 what-ifs in the answering worker. Safe to repeat.

        Args:
            requests: requests created with `predict_request`, without a `game_id`.
            timeout: deadline of this call, in seconds; None for the client's.

        Raises:
            FailedPreconditionError: if the cache is off.
        """
        return await self._unary(cache.WarmCacheRequest(requests=requests), cache.WarmCacheResponse, timeout)

    async def get_service_stats(self, *, timeout: float | None = None) -> state.GetServiceStatsResponse:
        """Return the server's state, and statistics of the last minutes and since the start, over all of its workers.

        Args:
            timeout: deadline of this call, in seconds; None for the client's.
        """
        return await self._unary(state.GetServiceStatsRequest(), state.GetServiceStatsResponse, timeout)

    async def report_feed(
        self,
        feed: str,
        read_age_seconds: float,
        *,
        data_age_seconds: float | None = None,
        live_games: int = 0,
        timeout: float | None = None,
    ) -> None:
        """Report the age of a feed's data, for `get_service_stats`. Nothing is recorded. Safe to repeat.

        Args:
            feed: name of the feed, e.g. nba: 1 to 32 characters of a to z, 0 to 9 and hyphen.
            read_age_seconds: time since the feed was last read successfully, in seconds.
            data_age_seconds: age of the oldest data of a game in play, in seconds; None without such a game.
            live_games: number of games in play.
            timeout: deadline of this call, in seconds; None for the client's.
        """
        request = feed_service.ReportFeedRequest(
            feed=feed, read_age_seconds=read_age_seconds, data_age_seconds=data_age_seconds, live_games=live_games
        )
        await self._unary(request, feed_service.ReportFeedResponse, timeout)

    async def publish_games(self, games: Iterable[Game], *, timeout: float | None = None) -> None:
        """Publish the states of games to all subscribers; they are kept for a day and are no part of the record.

        Args:
            games: the states, 1 to 100, each of another game.
            timeout: deadline of this call, in seconds; None for the client's.
        """
        await self._unary(feed_service.PublishGamesRequest(games=games), feed_service.PublishGamesResponse, timeout)

    async def acquire_lease(
        self, name: str, holder: str, ttl: float, *, timeout: float | None = None
    ) -> leases.AcquireLeaseResponse:
        """Acquire or renew a lease. Returns whether the holder has it, and the current lease.

        Args:
            name: name of the lease.
            holder: name of the requesting process; each process needs a name of its own.
            ttl: seconds for which the lease is granted, 1 to 300; count them from the time before this call.
            timeout: deadline of this call, in seconds; None for the client's.
        """
        request = leases.AcquireLeaseRequest(name=name, holder=holder, ttl_seconds=ttl)
        return await self._unary(request, leases.AcquireLeaseResponse, timeout)

    async def release_lease(self, name: str, holder: str, *, timeout: float | None = None) -> bool:
        """Release a lease; return whether `holder` had it until now.

        Args:
            name: name of the lease.
            holder: name of the process that holds it.
            timeout: deadline of this call, in seconds; None for the client's.
        """
        request = leases.ReleaseLeaseRequest(name=name, holder=holder)
        response = await self._unary(request, leases.ReleaseLeaseResponse, timeout)
        return response.released

    async def get_lease(self, name: str, *, timeout: float | None = None) -> leases.Lease | None:
        """Return the lease of a name; None if nobody holds it.

        Args:
            name: name of the lease.
            timeout: deadline of this call, in seconds; None for the client's.
        """
        response = await self._unary(leases.GetLeaseRequest(name=name), leases.GetLeaseResponse, timeout)
        return response.lease if response.HasField("lease") else None

    async def claim_notification(
        self, notification: notifications.Notification, sender: str, ttl: float, *, timeout: float | None = None
    ) -> notifications.ClaimNotificationResponse:
        """Claim a notification before sending it. Returns whether the sender has it, and the notification.

        Args:
            notification: id, target, rule, game_id and text.
            sender: name of the requesting process; each process needs a name of its own.
            ttl: seconds for which the claim is granted, 1 to 300; count them from the time before this call.
            timeout: deadline of this call, in seconds; None for the client's.
        """
        request = notifications.ClaimNotificationRequest(notification=notification, sender=sender, ttl_seconds=ttl)
        return await self._unary(request, notifications.ClaimNotificationResponse, timeout)

    async def confirm_notification(
        self,
        id: str,  # noqa: A002 - the contract's name
        target: str,
        sender: str,
        status: notifications.NotificationStatus.ValueType,
        *,
        failure: str = "",
        retry_delay: float | None = None,
        timeout: float | None = None,
    ) -> bool:
        """Confirm how an attempt to send a notification ended; return whether it was noted.

        Args:
            id: id of the notification.
            target: name of its target.
            sender: name of the process that sent it.
            status: NOTIFICATION_STATUS_SENT, NOTIFICATION_STATUS_FAILED or, before another attempt,
                NOTIFICATION_STATUS_WAITING.
            failure: why the attempt failed.
            retry_delay: seconds until the notification can be claimed again, at most 300; None: at once.
            timeout: deadline of this call, in seconds; None for the client's.
        """
        request = notifications.ConfirmNotificationRequest(
            id=id, target=target, sender=sender, status=status, failure=failure, retry_delay_seconds=retry_delay
        )
        response = await self._unary(request, notifications.ConfirmNotificationResponse, timeout)
        return response.confirmed

    async def list_notifications(
        self, *, limit: int = 100, timeout: float | None = None
    ) -> list[notifications.Notification]:
        """Return the notifications of the last three days, newest first.

        Args:
            limit: maximum number, at least 1.
            timeout: deadline of each call, in seconds; None for the client's.
        """
        found = list[notifications.Notification]()
        request = notifications.ListNotificationsRequest(page_size=limit)
        async for page in self._pages(request, notifications.ListNotificationsResponse, timeout):
            found += page.notifications
            if len(found) >= limit:
                break
        return found[:limit]
