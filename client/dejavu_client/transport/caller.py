"""Calls of the synchronous client: connections, deadlines, stream retries, conversion of errors."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import TypeVar

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from dejavu.v1.model_service_pb2_grpc import ModelServiceStub
from dejavu.v1.prediction_service_pb2 import StreamPredictionsResponse
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu.v1.record_pb2 import RecordedPrediction
from dejavu.v1.record_service_pb2 import ListPredictionsRequest
from dejavu.v1.record_service_pb2_grpc import RecordServiceStub
from dejavu_client import config
from dejavu_client.errors import CallCancelledError, ClientClosedError, DejavuClientError, UnavailableError
from dejavu_client.transport.channel_pool import ChannelPool, PooledChannel
from dejavu_client.transport.health import CHECK
from dejavu_client.transport.statistics import CallRecorder, CallStatistics
from dejavu_client.transport.subscription import StreamResumption
from dejavu_client.transport.watchdog import Watchdog
from dejavu_client.transport.worker_identity import worker_identity

RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")


class Connection:
    """A channel and its stubs."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.channel = channel
        self.prediction = PredictionServiceStub(channel)
        self.models = ModelServiceStub(channel)
        self.record = RecordServiceStub(channel)
        self.check_health: grpc.UnaryUnaryMultiCallable[HealthCheckRequest, HealthCheckResponse] = channel.unary_unary(
            CHECK,
            request_serializer=HealthCheckRequest.SerializeToString,
            response_deserializer=HealthCheckResponse.FromString,
        )


class Caller:
    """Makes calls over a pool of connections. Takes the options of DejavuClient. Thread-safe."""

    def __init__(
        self,
        target: str,
        *,
        timeout: float,
        channels: int,
        credentials: grpc.ChannelCredentials | None,
        metadata: config.Metadata,
        silence: float,
        slow: float,
        very_slow: float,
        channel_factory: Callable[[], grpc.Channel] | None,
    ) -> None:
        self._target = target
        self._timeout = config.seconds("timeout", timeout)
        self._credentials = credentials
        self._metadata = tuple(metadata)
        self._silence = config.seconds("silence", silence)
        self._pool = ChannelPool(lambda: Connection((channel_factory or self._dial)()), channels)
        self._calls = CallRecorder(target, slow=slow, very_slow=very_slow)
        self._closed = threading.Event()

    def close(self) -> None:
        """Ends all calls and streams and closes the connections. Closing again does nothing."""
        self._closed.set()
        for connection in self._pool.close():
            connection.channel.close()

    def stats(self) -> CallStatistics:
        """Returns statistics of the calls so far."""
        return self._calls.snapshot()

    def unary(
        self,
        method: str,
        rpc: Callable[[Connection], grpc.UnaryUnaryMultiCallable[RequestT, ResponseT]],
        request: RequestT,
        timeout: float | None,
    ) -> ResponseT:
        """Makes one call and returns its response.

        Args:
            method: name of the RPC, for the statistics.
            rpc: selects the RPC from a connection's stubs.
            request: the request message.
            timeout: deadline of the call, in seconds; None for the client's.

        Raises:
            DejavuClientError: if the call fails.
        """
        seconds = self._timeout if timeout is None else config.seconds("timeout", timeout)
        pooled = self._pool.take()
        try:
            with self._open(), self._calls.call(method, seconds):
                response, call = rpc(pooled.connection).with_call(request, timeout=seconds, metadata=self._metadata)
            identity = worker_identity(call.initial_metadata(), call.trailing_metadata())
            self._calls.answered(identity.worker)
            self._pool.answered(pooled, identity)
        finally:
            self._give_back(pooled)
        return response

    def pages(self, request: ListPredictionsRequest, timeout: float | None) -> Iterator[RecordedPrediction]:
        """Yields the recorded forecasts of the requested page and all later ones; advances `request` page by page."""
        while True:
            page = self.unary("ListPredictions", lambda connection: connection.record.ListPredictions, request, timeout)
            yield from page.predictions
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def stream(self, subscription: StreamResumption) -> Generator[StreamPredictionsResponse, None, None]:
        """Returns the events of a subscription, reconnecting as often as needed.

        Raises:
            ClientClosedError: if the client is already closed. If it is closed later, the events end.
        """
        if self._closed.is_set():
            raise ClientClosedError("the client is closed")
        return self._events(subscription)

    def _dial(self) -> grpc.Channel:
        options = config.channel_options()
        if self._credentials is None:
            return grpc.insecure_channel(self._target, options)
        return grpc.secure_channel(self._target, self._credentials, options)

    @contextmanager
    def _open(self) -> Iterator[None]:
        """Raises ClientClosedError for a call that failed because this client was closed."""
        try:
            yield
        except (CallCancelledError, ValueError) as error:  # gRPC raises ValueError for a call on a closed channel
            if not self._closed.is_set():
                raise
            raise ClientClosedError("the client was closed during the call") from error

    def _give_back(self, pooled: PooledChannel[Connection]) -> None:
        for connection in self._pool.give_back(pooled):
            connection.channel.close()

    def _events(self, subscription: StreamResumption) -> Generator[StreamPredictionsResponse, None, None]:
        while True:
            try:
                yield from self._connection(subscription)
            except ClientClosedError:
                return
            except DejavuClientError as error:
                self._closed.wait(subscription.connection_lost(error))

    def _connection(self, subscription: StreamResumption) -> Generator[StreamPredictionsResponse, None, None]:
        """Yields the events of one connection. Ends with an exception unless the reader stops first."""
        pooled = self._pool.take()
        try:
            yield from self._responses(pooled.connection, subscription)
        finally:
            self._give_back(pooled)

    def _responses(
        self, connection: Connection, subscription: StreamResumption
    ) -> Generator[StreamPredictionsResponse, None, None]:
        with self._open():
            call = connection.prediction.StreamPredictions(subscription.request(), metadata=self._metadata)
        watchdog = Watchdog(self._silence, call.cancel)
        recording = self._calls.call("StreamPredictions")
        try:
            while True:
                with self._open(), recording, watchdog.waiting():
                    response = next(call, None)
                recording = self._calls.errors()
                if response is None:
                    raise UnavailableError("the server ended the stream")
                if subscription.accept(response):
                    yield response
        except CallCancelledError as error:
            if watchdog.fired:
                raise UnavailableError(f"no message for {self._silence:g} s") from error
            raise
        finally:
            watchdog.stop()
            call.cancel()
