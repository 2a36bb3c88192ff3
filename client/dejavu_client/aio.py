"""The asynchronous client: the synchronous one's methods, awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from typing import Self, TypeVar

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from dejavu.v1.forecast_pb2 import Forecast, Horizon
from dejavu.v1.model_service_pb2 import ListModelsRequest, Model
from dejavu.v1.model_service_pb2_grpc import ModelServiceStub
from dejavu.v1.prediction_service_pb2 import (
    PredictBatchRequest,
    PredictBatchResult,
    PredictRequest,
    StreamPredictionsResponse,
)
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu_client import config
from dejavu_client.errors import ClientClosedError, DejavuClientError, UnavailableError
from dejavu_client.health import CHECK, HealthStatus
from dejavu_client.origin import origin
from dejavu_client.pool import Place, Pool
from dejavu_client.requests import HALFTIME, predict_request
from dejavu_client.stats import CallRecorder, CallStatistics
from dejavu_client.subscription import Subscription

RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")


class _Line:
    """One connection and its stubs."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.prediction = PredictionServiceStub(channel)
        self.models = ModelServiceStub(channel)
        self.check_health: grpc.aio.UnaryUnaryMultiCallable[HealthCheckRequest, HealthCheckResponse] = (
            channel.unary_unary(
                CHECK,
                request_serializer=HealthCheckRequest.SerializeToString,
                response_deserializer=HealthCheckResponse.FromString,
            )
        )


class AsyncDejavuClient:
    """Calls a Dejavu server from one event loop; connects when it is first needed.

    ```python
    async with AsyncDejavuClient("127.0.0.1:50051") as client:
        async for event in client.stream_predictions(include_current=True):
            print(event.forecast.game_id, event.forecast.point_forecast)
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

    Every call raises a DejavuClientError of the tree in `dejavu_client.errors` when it gets no answer. Cancelling the
    task that awaits a call cancels the call.
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
        channel_factory: Callable[[], grpc.aio.Channel] | None = None,
    ) -> None:
        self.target = target
        self.timeout = config.seconds("timeout", timeout)
        self._credentials = credentials
        self._metadata = tuple(metadata)
        self._silence = config.seconds("silence", silence)
        self._pool = Pool(lambda: _Line((channel_factory or self._dial)()), channels)
        self._calls = CallRecorder(target, slow=slow, very_slow=very_slow)
        self._closed = asyncio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends every call and stream and gives the connections back. Closing again does nothing."""
        self._closed.set()
        for line in self._pool.close():
            await line.channel.close()

    @property
    def stats(self) -> CallStatistics:
        """Figures of the calls so far."""
        return self._calls.snapshot()

    async def predict(
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
        timeout: float | None = None,  # noqa: ASYNC109 - a deadline that the server learns of, not a local time-out
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
        return (await self._unary("Predict", lambda line: line.prediction.Predict, request, timeout)).forecast

    async def predict_batch(
        self,
        requests: Iterable[PredictRequest],
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - as in predict
    ) -> list[PredictBatchResult]:
        """Forecasts 1 to 1,000 games; each succeeds or fails for itself. Results are in the order of the requests.

        Args:
            requests: as `predict_request` makes them.
            timeout: deadline of this call, in seconds; None for the client's.
        """
        request = PredictBatchRequest(requests=requests)
        response = await self._unary("PredictBatch", lambda line: line.prediction.PredictBatch, request, timeout)
        return list(response.results)

    async def list_models(
        self,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - as in predict
    ) -> list[Model]:
        """The models that the server holds, the active one first.

        Args:
            timeout: deadline of this call, in seconds; None for the client's.
        """
        request = ListModelsRequest()
        return list((await self._unary("ListModels", lambda line: line.models.ListModels, request, timeout)).models)

    async def health(
        self,
        service: str = "",
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - as in predict
    ) -> HealthStatus:
        """What the server says about itself; it is asked once, without retries.

        Args:
            service: full name of a service, for instance dejavu.v1.PredictionService; empty for the whole server.
            timeout: deadline of this call, in seconds; None for the client's.

        Raises:
            NotFoundError: if the server has no such service.
        """
        request = HealthCheckRequest(service=service)
        return HealthStatus.of(await self._unary("Check", lambda line: line.check_health, request, timeout))

    def stream_predictions(
        self,
        game_ids: Iterable[str] = (),
        *,
        resume_token: str = "",
        include_current: bool = False,
        heartbeats: bool = False,
    ) -> AsyncGenerator[StreamPredictionsResponse, None]:
        """Every recorded forecast, once and in order of sequence, for as long as the iterator is read.

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
        if self._closed.is_set():
            raise ClientClosedError("the client is closed")
        subscription = Subscription(
            game_ids, resume_token=resume_token, include_current=include_current, heartbeats=heartbeats
        )
        return self._events(subscription)

    def _dial(self) -> grpc.aio.Channel:
        options = config.channel_options()
        if self._credentials is None:
            return grpc.aio.insecure_channel(self.target, options)
        return grpc.aio.secure_channel(self.target, self._credentials, options)

    @contextmanager
    def _open(self) -> Iterator[None]:
        """Tells a call that ended because this client was closed meanwhile from one whose task was cancelled."""
        try:
            yield
        except (asyncio.CancelledError, grpc.aio.UsageError) as error:
            task = asyncio.current_task()
            if not self._closed.is_set() or (task is not None and task.cancelling()):
                raise
            raise ClientClosedError("the client was closed during the call") from error

    async def _unary(
        self,
        method: str,
        rpc: Callable[[_Line], grpc.aio.UnaryUnaryMultiCallable[RequestT, ResponseT]],
        request: RequestT,
        timeout: float | None,  # noqa: ASYNC109 - as in predict
    ) -> ResponseT:
        seconds = self.timeout if timeout is None else config.seconds("timeout", timeout)
        place = self._pool.take()
        try:
            with self._open(), self._calls.call(method, seconds):
                call = rpc(place.line)(request, timeout=seconds, metadata=self._metadata)
                response = await call
            whence = origin(await call.initial_metadata(), await call.trailing_metadata())
            self._calls.answered(whence.worker)
            self._pool.answered(place, whence)
        finally:
            await self._give_back(place)
        return response

    async def _give_back(self, place: Place[_Line]) -> None:
        for line in self._pool.give_back(place):
            await line.channel.close()

    async def _events(self, subscription: Subscription) -> AsyncGenerator[StreamPredictionsResponse, None]:
        while True:
            try:
                async with aclosing(self._connection(subscription)) as events:
                    async for event in events:
                        yield event
            except ClientClosedError:
                return
            except DejavuClientError as error:
                delay = subscription.lost(error)
                try:
                    await asyncio.wait_for(self._closed.wait(), delay)
                except TimeoutError:
                    continue

    async def _connection(self, subscription: Subscription) -> AsyncGenerator[StreamPredictionsResponse, None]:
        """The events of one connection; ends with an exception, unless the reader leaves first."""
        place = self._pool.take()
        try:
            async with aclosing(self._responses(place.line, subscription)) as responses:
                async for response in responses:
                    yield response
        finally:
            await self._give_back(place)

    async def _responses(
        self, line: _Line, subscription: Subscription
    ) -> AsyncGenerator[StreamPredictionsResponse, None]:
        with self._open():
            call = line.prediction.StreamPredictions(subscription.request(), metadata=self._metadata)
        counting = self._calls.call("StreamPredictions")
        try:
            while True:
                with self._open(), counting:
                    async with asyncio.timeout(self._silence):
                        response = await call.read()
                counting = self._calls.errors()
                if not isinstance(response, StreamPredictionsResponse):
                    raise UnavailableError("the server ended the stream")
                if subscription.accept(response):
                    yield response
        except TimeoutError as error:
            raise UnavailableError(f"nothing came for {self._silence:g} s") from error
        finally:
            call.cancel()
