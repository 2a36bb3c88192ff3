"""Calls of the client, over a pool of connections."""
# ruff: noqa: ASYNC109 - timeout is a deadline sent to the server, not a local one

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterable
from contextlib import ExitStack, aclosing, asynccontextmanager
from functools import cache
from typing import Any, Protocol, Self, TypeAlias, TypeVar

import grpc
from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from dejavu.ops.v1.cache_service_pb2_grpc import CacheServiceStub
from dejavu.ops.v1.feed_service_pb2_grpc import FeedServiceStub
from dejavu.ops.v1.lease_service_pb2_grpc import LeaseServiceStub
from dejavu.ops.v1.notification_service_pb2_grpc import NotificationServiceStub
from dejavu.ops.v1.operations_service_pb2_grpc import OperationsServiceStub
from dejavu.v1.game_service_pb2_grpc import GameServiceStub
from dejavu.v1.model_service_pb2_grpc import ModelServiceStub
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu.v1.record_service_pb2_grpc import RecordServiceStub
from dejavu_client import config
from dejavu_client.access import Credentials, TokenSource, bearer_metadata, newest_credentials
from dejavu_client.errors import (
    ClientClosedError,
    DeadlineExceededError,
    DejavuClientError,
    UnavailableError,
    from_rpc_error,
)
from dejavu_client.transport.channel_pool import FIRST_REPLACEMENT_PAUSE, PROBE_SECONDS, ChannelPool, PooledChannel
from dejavu_client.transport.connection import (
    Attempt,
    Closed,
    Repeatable,
    StreamReader,
    send_probe,
)
from dejavu_client.transport.retry_budget import (
    MOST_FAILOVERS,
    MOST_REPEATS,
    NEVER_REPEATED,
    RetryBudget,
    failover_pause,
    repeat_pause,
)
from dejavu_client.transport.servers import (
    UNHEARD,
    DnsWatch,
    Server,
    ServerAddress,
    Servers,
    WorkerIdentity,
    failure_identity,
    parse_servers,
    worker_identity,
)
from dejavu_client.transport.statistics import CallRecorder, CallStatistics
from dejavu_client.transport.subscription import StreamState
from dejavu_common.tracing import client_span, with_trace

RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")


class _PageRequest(Protocol):
    page_token: str


class _Page(Protocol):
    next_page_token: str


PageRequestT = TypeVar("PageRequestT", bound=_PageRequest)
PageT = TypeVar("PageT", bound=_Page)


class Stubs:
    """A channel and its stubs."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.prediction = PredictionServiceStub(channel)
        self.models = ModelServiceStub(channel)
        self.record = RecordServiceStub(channel)
        self.operations = OperationsServiceStub(channel)
        self.leases = LeaseServiceStub(channel)
        self.games = GameServiceStub(channel)
        self.feed = FeedServiceStub(channel)
        self.notifications = NotificationServiceStub(channel)
        self.cache = CacheServiceStub(channel)
        check = HealthStub(channel).Check  # type: ignore[attr-defined] # its stub file lacks the method
        self.check_health: grpc.aio.UnaryUnaryMultiCallable[HealthCheckRequest, HealthCheckResponse] = check


Open: TypeAlias = "Callable[[Stubs], grpc.aio.UnaryStreamMultiCallable[RequestT, ResponseT]]"


def method_of(request: type[Any]) -> MethodDescriptor:
    """Return the RPC that a type of request is of; of two, the first in its file."""
    return _method_of(request.DESCRIPTOR)


@cache
def _method_of(request: Descriptor) -> MethodDescriptor:
    services: Iterable[Any] = request.file.services_by_name.values()  # the stubs name two types
    methods = (method for service in services for method in service.methods)
    found: MethodDescriptor = next(each for each in methods if each.input_type.full_name == request.full_name)
    return found


def dial(credentials: Credentials | None, address: ServerAddress, *, several: bool = False) -> grpc.aio.Channel:
    """Return a channel to a server, one of several or the only one, with this client's options."""
    options = config.channel_options(several=several, authority=address.authority)
    if credentials is None:
        return grpc.aio.insecure_channel(address.target, options)
    return grpc.aio.secure_channel(address.target, newest_credentials(credentials), options)


class Transport:
    """Makes the calls of AsyncDejavuClient, which lists the options, over a pool of connections."""

    def __init__(
        self,
        target: str = config.DEFAULT_TARGET,
        *,
        timeout: float = config.DEFAULT_TIMEOUT,
        channels: int = config.DEFAULT_CHANNELS,
        credentials: Credentials | None = None,
        token: TokenSource | None = None,
        allow_plaintext_token: bool = False,
        metadata: config.Metadata = (),
        silence: float = config.DEFAULT_SILENCE,
        slow: float = config.DEFAULT_SLOW,
        channel_factory: Callable[[], grpc.aio.Channel] | None = None,
    ) -> None:
        self.target = target
        self.timeout = config.seconds("timeout", timeout)
        encrypted = credentials is not None or allow_plaintext_token
        self._metadata = with_trace(bearer_metadata(target, token, tuple(metadata), encrypted=encrypted))
        self._silence = config.seconds("silence", silence)
        servers = parse_servers(target) if channel_factory is None else Servers((ServerAddress(target),))
        self._several = servers.several
        self._credentials = credentials
        self._dialed_with = None if credentials is None else newest_credentials(credentials)

        def connect(address: ServerAddress) -> Stubs:
            several = servers.several
            channel = channel_factory() if channel_factory else dial(self._dialed_with, address, several=several)
            return Stubs(channel)

        # In random order, so that not all clients begin with the same server.
        addresses = random.sample(servers.addresses, len(servers.addresses))
        self._pool = ChannelPool(connect, channels, addresses)
        self._turns = asyncio.Semaphore(config.CALLS_PER_CHANNEL * channels)
        self._dns = None if servers.name is None else DnsWatch(servers.name, self._pool.set_servers)
        if self._dns is not None:
            self._dns.start()
        self._budget = RetryBudget()
        self._calls = CallRecorder(target, slow=slow)
        self._closed = Closed()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End all calls and streams and close the connections. Closing again does nothing."""
        self._closed.set()
        if self._dns is not None:
            self._dns.stop()
        for connection in self._pool.close():
            await connection.channel.close()

    @property
    def stats(self) -> CallStatistics:
        """Statistics of the calls so far."""
        return self._calls.snapshot()

    async def call(self, request: Message, *, timeout: float | None = None) -> Any:
        """Make the call that a request message is of, and return its response message.

        For programs that pass messages on: the other methods take and return values.

        Args:
            request: request of an RPC with one response, of the contract or of the Open Inference Protocol.
            timeout: deadline of this call, in seconds; None for the client's.
        """
        method = method_of(type(request))
        path, answer = f"/{method.containing_service.full_name}/{method.name}", GetMessageClass(method.output_type)

        def stub(stubs: Stubs) -> grpc.aio.UnaryUnaryMultiCallable[Message, Message]:
            serialize = type(request).SerializeToString
            return stubs.channel.unary_unary(
                path, request_serializer=serialize, response_deserializer=answer.FromString
            )

        return await self._unary(stub, request, timeout)

    async def _unary(
        self,
        rpc: Callable[[Stubs], grpc.aio.UnaryUnaryMultiCallable[RequestT, ResponseT]],
        request: RequestT,
        timeout: float | None,
    ) -> ResponseT:
        """Make one call, by the RPC that `rpc` selects from a connection's stubs, and return its response."""
        seconds = self.timeout if timeout is None else config.seconds("timeout", timeout)
        method = method_of(type(request)).name
        call, turns = Repeatable(rpc, request, time.monotonic() + seconds), ExitStack()
        try:
            with self._closed.guard(), self._calls.call(method, seconds), client_span(method):
                await self._take_turn(seconds)
                turns.callback(self._turns.release)
                metadata = self._metadata()  # before a channel is taken, because a token function may raise
                self._budget.deposit()
                call.send(self._take(), metadata)
                repeats = (0 if method in NEVER_REPEATED else MOST_REPEATS) + (MOST_FAILOVERS if self._several else 0)
                response, identity = await self._answer(call, repeats)
        finally:
            call.cancel()
            turns.close()
            for pooled in call.channels:
                for connection in self._pool.give_back(pooled):
                    await connection.channel.close()
        self._calls.answered(identity.worker)
        return response

    async def _take_turn(self, seconds: float) -> None:
        """Wait until fewer calls of this client are in progress than its channels take.

        Raises:
            DeadlineExceededError: if that takes longer than the call may.
        """
        if not self._turns.locked():
            await self._turns.acquire()
            return
        try:
            async with asyncio.timeout(seconds):
                await self._turns.acquire()
        except TimeoutError:
            message = f"not sent within {seconds:g} s: other calls of this client were in progress"
            raise DeadlineExceededError(message, code=grpc.StatusCode.DEADLINE_EXCEEDED) from None

    async def _answer(
        self, call: Repeatable[Stubs, RequestT, ResponseT], repeats: int
    ) -> tuple[ResponseT, WorkerIdentity]:
        """Wait for the answer of a call, and send its request again if need be.

        If nothing is heard over the last channel, or after the pause that an overloaded server asks for, the request is
        sent over another one, up to `repeats` times and as far as the budget allows. The first answer counts.

        Raises:
            grpc.RpcError: the error of the attempt that failed last, or of the first one after which another attempt
                would not help.
        """
        while True:
            check = self._pool.check(call.newest.pooled, call.newest.since)
            if check.probe:
                self._probe(call.newest.pooled, PROBE_SECONDS)
            if check.silent and call.repeated < repeats and self._budget.withdraw():
                self._send_again(call)
                continue
            ended = await call.first_ended(check.wait if repeats else None)
            if ended is None:
                continue
            try:
                response, identity = ended.result()
            except grpc.RpcError as error:
                pause = self._after_failure(call, ended, error, repeats)
                if pause is None:
                    raise
                if pause:
                    await self._closed.pause(pause)
                    self._send_again(call)
            else:
                self._pool.answered(ended.pooled, identity)
                return response, identity

    def _after_failure(
        self,
        call: Repeatable[Stubs, RequestT, ResponseT],
        failed: Attempt[ResponseT],
        error: grpc.RpcError,
        repeats: int,
    ) -> float | None:
        """Return the next step after a failed attempt.

        Returns:
            0 to wait for the other attempts, seconds after which to send the request again, or None to give up.
        """
        result = from_rpc_error(error, self.target)
        if result.code not in UNHEARD:
            self._pool.answered(failed.pooled, failure_identity(error))
        elif isinstance(result, DeadlineExceededError):
            if self._pool.deadline_passed(failed.pooled, failed.since):
                self._probe(failed.pooled, PROBE_SECONDS)
        else:
            if not failure_identity(error).worker:
                self._pool.refused(failed.pooled)
            if call.pending:
                return 0.0
        left = call.deadline - time.monotonic()
        pause = repeat_pause(result, left)
        if self._several and pause is None:
            pause = failover_pause(result, left, call.repeated, other=self._pool.has_other(call.servers))
        if pause is None or call.pending or call.repeated >= repeats or not self._budget.withdraw():
            return None
        return pause

    def _send_again(self, call: Repeatable[Stubs, RequestT, ResponseT]) -> None:
        metadata = self._metadata()
        call.send(self._take(call.servers), metadata)

    def _take(self, tried: Collection[Server] = ()) -> PooledChannel[Stubs]:
        """Take a channel of the pool, and send the probes that the pool asks for."""
        if self._credentials is not None:
            newest = newest_credentials(self._credentials)
            if newest is not self._dialed_with:
                self._dialed_with = newest
                self._pool.renew()
        pooled = self._pool.take(tried)
        for fresh in self._pool.to_probe():
            self._probe(fresh, FIRST_REPLACEMENT_PAUSE)
        return pooled

    def _probe(self, pooled: PooledChannel[Stubs], seconds: float) -> None:
        """Send a probe over a channel, without waiting for its result."""

        def done(code: grpc.StatusCode, identity: WorkerIdentity) -> None:
            if code is grpc.StatusCode.DEADLINE_EXCEEDED:
                self._pool.probe_failed(pooled)
            elif code in UNHEARD:
                self._pool.connection_lost(pooled)
            else:
                self._pool.answered(pooled, identity)

        send_probe(pooled.connection.check_health, HealthCheckRequest(), seconds, self._metadata(), done)

    async def _pages(
        self,
        rpc: Callable[[Stubs], grpc.aio.UnaryUnaryMultiCallable[PageRequestT, PageT]],
        request: PageRequestT,
        timeout: float | None,
    ) -> AsyncGenerator[PageT, None]:
        """Yield the requested page and all later ones, each fetched when it is reached; advances `request`."""
        while True:
            page = await self._unary(rpc, request, timeout)
            yield page
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def _stream(
        self,
        method: str,
        open_: Open[RequestT, ResponseT],
        subscription: StreamState[RequestT, ResponseT],
        *,
        reconnect: bool = True,
    ) -> AsyncGenerator[ResponseT, None]:
        """Return the events of a subscription, reconnecting as often as needed, until the client is closed.

        Args:
            method: name of the method.
            open_: returns the method's stub.
            subscription: state of the stream.
            reconnect: False for the events of one connection, which end with the error that ended it.
        """
        if self._closed.is_set():
            raise ClientClosedError("the client is closed")
        return (self._events if reconnect else self._connection)(method, open_, subscription)

    @asynccontextmanager
    async def _pooled(self) -> AsyncIterator[PooledChannel[Stubs]]:
        """Yield a channel of the pool for one call, and give it back."""
        pooled = self._take()
        try:
            yield pooled
        finally:
            for connection in self._pool.give_back(pooled):
                await connection.channel.close()

    async def _events(
        self, method: str, open_: Open[RequestT, ResponseT], subscription: StreamState[RequestT, ResponseT]
    ) -> AsyncGenerator[ResponseT, None]:
        while True:
            try:
                async with aclosing(self._connection(method, open_, subscription)) as events:
                    async for event in events:
                        yield event
            except ClientClosedError:
                return
            except DejavuClientError as error:
                await self._closed.pause(subscription.connection_lost(error))

    async def _connection(
        self, method: str, open_: Open[RequestT, ResponseT], subscription: StreamState[RequestT, ResponseT]
    ) -> AsyncGenerator[ResponseT, None]:
        """Yield the events of one connection. Ends with an exception unless the reader stops first."""
        async with self._pooled() as pooled:
            with self._closed.guard():
                stream = open_(pooled.connection)(subscription.request(), metadata=self._metadata())
            reader, recording = StreamReader(stream, self._silence), self._calls.call(method)
            try:
                while True:
                    with self._closed.guard(), recording:
                        response = await reader.read()
                    recording = self._calls.errors()
                    if response is None:
                        raise UnavailableError("the server ended the stream")
                    # Without this, a channel that only had streams would never get another call: see `take`.
                    self._pool.answered(pooled, worker_identity(await stream.initial_metadata()))
                    if subscription.accept(response):
                        yield response
            except TimeoutError as error:
                self._pool.refused(pooled)
                raise UnavailableError(f"no message for {self._silence:g} s") from error
            except UnavailableError as error:
                if not error.reason:  # the error comes from gRPC, not from the server
                    self._pool.refused(pooled)
                raise
            finally:
                reader.close()
