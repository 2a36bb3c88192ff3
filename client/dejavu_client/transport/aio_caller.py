"""Calls of the asynchronous client; caller.py, of the synchronous one, is generated from this file by `make gen`."""
# ruff: noqa: ASYNC109 - timeout is a deadline sent to the server, not a local one

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import Self, TypeVar

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from dejavu.v1.model_service_pb2_grpc import ModelServiceStub
from dejavu.v1.prediction_service_pb2 import StreamPredictionsResponse
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu.v1.record_pb2 import RecordedPrediction
from dejavu.v1.record_service_pb2 import ListPredictionsRequest
from dejavu.v1.record_service_pb2_grpc import RecordServiceStub
from dejavu_client import config
from dejavu_client.errors import ClientClosedError, DejavuClientError, UnavailableError
from dejavu_client.transport.aio_connection import AsyncClosed, AsyncStreamReader, call
from dejavu_client.transport.channel_pool import ChannelPool, PooledChannel
from dejavu_client.transport.statistics import CallRecorder, CallStatistics
from dejavu_client.transport.subscription import StreamResumption

RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")


class AsyncConnection:
    """A channel and its stubs."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.prediction = PredictionServiceStub(channel)
        self.models = ModelServiceStub(channel)
        self.record = RecordServiceStub(channel)
        check = HealthStub(channel).Check  # type: ignore[attr-defined] # its stub file lacks the method
        self.check_health: grpc.aio.UnaryUnaryMultiCallable[HealthCheckRequest, HealthCheckResponse] = check


def dial(target: str, credentials: grpc.ChannelCredentials | None) -> grpc.aio.Channel:
    """Returns a channel to a server, with this client's options."""
    options = config.channel_options()
    if credentials is None:
        return grpc.aio.insecure_channel(target, options)
    return grpc.aio.secure_channel(target, credentials, options)


class AsyncCaller:
    """Makes the calls of AsyncDejavuClient, which lists the options, over a pool of connections."""

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
        self._metadata = tuple(metadata)
        self._silence = config.seconds("silence", silence)
        factory = channel_factory or partial(dial, target, credentials)
        self._pool = ChannelPool(lambda: AsyncConnection(factory()), channels)
        self._calls = CallRecorder(target, slow=slow, very_slow=very_slow)
        self._closed = AsyncClosed()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends all calls and streams and closes the connections. Closing again does nothing."""
        self._closed.set()
        for connection in self._pool.close():
            await connection.channel.close()

    @property
    def stats(self) -> CallStatistics:
        """Statistics of the calls so far."""
        return self._calls.snapshot()

    async def _unary(
        self,
        method: str,
        rpc: Callable[[AsyncConnection], grpc.aio.UnaryUnaryMultiCallable[RequestT, ResponseT]],
        request: RequestT,
        timeout: float | None,
    ) -> ResponseT:
        """Makes one call, by the RPC that `rpc` selects from a connection's stubs, and returns its response."""
        seconds = self.timeout if timeout is None else config.seconds("timeout", timeout)
        async with self._pooled() as pooled:
            with self._closed.guard(), self._calls.call(method, seconds):
                response, identity = await call(rpc(pooled.connection), request, seconds, self._metadata)
            self._calls.answered(identity.worker)
            self._pool.answered(pooled, identity)
        return response

    async def _pages(
        self, request: ListPredictionsRequest, timeout: float | None
    ) -> AsyncGenerator[RecordedPrediction, None]:
        """Yields the recorded forecasts of the requested page and all later ones; advances `request` page by page."""
        while True:
            page = await self._unary("ListPredictions", lambda stubs: stubs.record.ListPredictions, request, timeout)
            for prediction in page.predictions:
                yield prediction
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def _stream(self, subscription: StreamResumption) -> AsyncGenerator[StreamPredictionsResponse, None]:
        """Returns the events of a subscription, reconnecting as often as needed, until the client is closed."""
        if self._closed.is_set():
            raise ClientClosedError("the client is closed")
        return self._events(subscription)

    @asynccontextmanager
    async def _pooled(self) -> AsyncIterator[PooledChannel[AsyncConnection]]:
        """Yields a channel of the pool for one call, and gives it back."""
        pooled = self._pool.take()
        try:
            yield pooled
        finally:
            for connection in self._pool.give_back(pooled):
                await connection.channel.close()

    async def _events(self, subscription: StreamResumption) -> AsyncGenerator[StreamPredictionsResponse, None]:
        while True:
            try:
                async with aclosing(self._connection(subscription)) as events:
                    async for event in events:
                        yield event
            except ClientClosedError:
                return
            except DejavuClientError as error:
                await self._closed.pause(subscription.connection_lost(error))

    async def _connection(self, subscription: StreamResumption) -> AsyncGenerator[StreamPredictionsResponse, None]:
        """Yields the events of one connection. Ends with an exception unless the reader stops first."""
        async with self._pooled() as pooled:
            with self._closed.guard():
                stream = pooled.connection.prediction.StreamPredictions(subscription.request(), metadata=self._metadata)
            reader, recording = AsyncStreamReader(stream, self._silence), self._calls.call("StreamPredictions")
            try:
                while True:
                    with self._closed.guard(), recording:
                        response = await reader.read()
                    recording = self._calls.errors()
                    if response is None:
                        raise UnavailableError("the server ended the stream")
                    if subscription.accept(response):
                        yield response
            except TimeoutError as error:
                raise UnavailableError(f"no message for {self._silence:g} s") from error
            finally:
                reader.close()
