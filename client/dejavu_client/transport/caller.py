"""Calls of the client, over a pool of connections."""
# ruff: noqa: ASYNC109 - timeout is a deadline sent to the server, not a local one

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, aclosing, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, Self, TypeVar

import grpc
from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1.health_pb2 import HealthCheckRequest

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
from dejavu_client.transport.retry_budget import RetryBudget, failover_pause, most_repeats, repeat_pause
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
from dejavu_common.clock import wait_until_set
from dejavu_common.tasks import retrieve
from dejavu_common.tracing import client_span, with_trace

ResponseT = TypeVar("ResponseT", bound=Message)


def method_of(request: type[Message]) -> MethodDescriptor:
    """Return the RPC that a type of request is of."""
    return _method(request.DESCRIPTOR)


@cache
def _method(request: Descriptor) -> MethodDescriptor:
    services: Iterable[Any] = request.file.services_by_name.values()  # the stubs name two types
    methods = (method for service in services for method in service.methods)
    found: MethodDescriptor = next(each for each in methods if each.input_type.full_name == request.full_name)
    return found


@cache
def _rpc(request: Descriptor) -> dict[str, Any]:
    """Return the path and the serializers of the RPC that a request is of, as a channel takes them."""
    method = _method(request)
    return {
        "method": f"/{method.containing_service.full_name}/{method.name}",
        "request_serializer": GetMessageClass(request).SerializeToString,
        "response_deserializer": GetMessageClass(method.output_type).FromString,
    }


async def _answer(pending: grpc.aio.UnaryUnaryCall[Any, ResponseT]) -> tuple[ResponseT, WorkerIdentity]:
    """Return the response of a call, and the worker that answered."""
    response = await pending
    return response, worker_identity(await pending.initial_metadata(), await pending.trailing_metadata())


@dataclass(slots=True, eq=False)
class Attempt(Generic[ResponseT]):
    """A request sent over one channel of the pool.

    Attributes:
        pooled: the channel.
        since: when it was sent, by the pool's clock.
    """

    pooled: PooledChannel[grpc.aio.Channel]
    since: float
    _call: grpc.aio.UnaryUnaryCall[Any, ResponseT]
    _task: asyncio.Task[tuple[ResponseT, WorkerIdentity]]

    def cancel(self) -> None:
        """Cancel the request; the task then ends by itself.

        `UnaryUnaryCall.cancel`, which also the cancelled task would call, cancels the read of the answer too, and then
        grpc.aio never frees it: a kilobyte a call (https://github.com/grpc/grpc/issues/43360). A call that goes through
        interceptors can't be cancelled without its task; if one of them waits for the call's status itself, as that of
        OpenTelemetry does, grpc.aio leaves the call to its deadline.
        """
        plain: Any = getattr(getattr(grpc.aio, "_call", None), "Call", ())  # private: another release may lack it
        if isinstance(self._call, plain):
            plain.cancel(self._call)
        else:
            self._task.cancel()

    def result(self) -> tuple[ResponseT, WorkerIdentity]:
        """Return the response, and the worker that answered, once the attempt has ended.

        Raises:
            grpc.RpcError: if it failed.
        """
        return self._task.result()


class Repeatable(Generic[ResponseT]):
    """A call, whose request can be sent over several channels, and the attempts to get its answer.

    Attributes:
        deadline: when the call ends, by `time.monotonic`.
        channels: the channels over which the request was sent.
        newest: the last attempt.
    """

    newest: Attempt[ResponseT]

    def __init__(self, request: Message, deadline: float) -> None:
        self.deadline = deadline
        self.channels = list[PooledChannel[grpc.aio.Channel]]()
        self._request = request
        self._pending = dict[asyncio.Task[tuple[ResponseT, WorkerIdentity]], Attempt[ResponseT]]()

    @property
    def repeated(self) -> int:
        """Number of times that the request was sent again."""
        return len(self.channels) - 1

    @property
    def servers(self) -> list[Server]:
        """The servers that the request was sent to."""
        return [each.server for each in self.channels]

    @property
    def pending(self) -> bool:
        """Whether an attempt has not ended."""
        return bool(self._pending)

    def send(self, pooled: PooledChannel[grpc.aio.Channel], metadata: config.CallMetadata) -> None:
        """Send the request over a channel."""
        self.channels.append(pooled)
        since = time.monotonic()
        rpc = pooled.connection.unary_unary(**_rpc(self._request.DESCRIPTOR))
        sent = rpc(self._request, timeout=self.deadline - since, metadata=metadata)
        task = asyncio.ensure_future(_answer(sent))
        task.add_done_callback(retrieve)
        self._pending[task] = self.newest = Attempt(pooled, since, sent, task)

    async def first_ended(self, seconds: float | None) -> Attempt[ResponseT] | None:
        """Wait until one more attempt has ended, for `seconds` at most; None: without a limit."""
        ended, _ = await asyncio.wait(self._pending, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return self._pending.pop(ended.pop()) if ended else None

    def cancel(self) -> None:
        """Cancel the attempts that have not ended."""
        for attempt in self._pending.values():
            attempt.cancel()


def send_probe(
    channel: grpc.aio.Channel,
    timeout: float,
    metadata: config.CallMetadata,
    done: Callable[[grpc.StatusCode, WorkerIdentity], None],
) -> None:
    """Send a health check without waiting. `done` gets its status, and the worker that answered."""
    request = HealthCheckRequest()
    rpc = channel.unary_unary(**_rpc(request.DESCRIPTOR))

    async def probe() -> None:
        code, identity = grpc.StatusCode.OK, WorkerIdentity()
        try:
            _, identity = await _answer(rpc(request, timeout=timeout, metadata=metadata))
        except grpc.aio.AioRpcError as error:
            code, identity = error.code(), worker_identity(error.initial_metadata(), error.trailing_metadata())
        except grpc.aio.UsageError:  # the channel was closed meanwhile
            return
        done(code, identity)

    task = asyncio.ensure_future(probe())
    _PROBES.add(task)
    task.add_done_callback(_PROBES.discard)


_PROBES = set[asyncio.Task[None]]()
"""The probes under way: the event loop itself keeps tasks by weak references only."""


class Closed(asyncio.Event):
    """Set when the client is closed, which ends all waits."""

    async def pause(self, seconds: float) -> None:
        """Wait for some seconds, or until the client is closed."""
        await wait_until_set(self, seconds)

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Raise ClientClosedError for a call ended by closing this client; let task cancellations through."""
        try:
            yield
        except (asyncio.CancelledError, grpc.aio.UsageError) as error:
            task = asyncio.current_task()
            if not self.is_set() or (task is not None and task.cancelling()):
                raise
            raise ClientClosedError("the client was closed during the call") from error


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

        def connect(address: ServerAddress) -> grpc.aio.Channel:
            return channel_factory() if channel_factory else dial(self._dialed_with, address, several=servers.several)

        # In random order, so that not all clients begin with the same server.
        addresses = random.sample(servers.addresses, len(servers.addresses))
        self._pool = ChannelPool(connect, channels, addresses)
        self._turns = asyncio.Semaphore(config.CALLS_PER_CHANNEL * channels)
        self._dns = None if servers.name is None else DnsWatch(servers.name)
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
        for channel in self._pool.close():
            await channel.close()

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
        return await self._unary(request, Message, timeout)

    async def _unary(self, request: Message, response: type[ResponseT], timeout: float | None) -> ResponseT:
        """Make the call that a request is of, and return its response; `response` tells its type to type checkers."""
        method = method_of(type(request)).name
        seconds = self.timeout if timeout is None else config.seconds("timeout", timeout)
        call, turns = Repeatable[ResponseT](request, time.monotonic() + seconds), ExitStack()
        try:
            with self._closed.guard(), self._calls.call(method, seconds), client_span(method):
                await self._take_turn(seconds)
                turns.callback(self._turns.release)
                metadata = self._metadata()  # before a channel is taken, because a token function may raise
                self._budget.deposit()
                call.send(self._take(), metadata)
                repeats = most_repeats(method, several=self._several)
                answer, identity = await self._answer(call, repeats)
        finally:
            call.cancel()
            turns.close()
            for pooled in call.channels:
                await self._give_back(pooled)
        self._calls.answered(identity.worker)
        return answer

    async def _take_turn(self, seconds: float) -> None:
        """Wait until fewer calls of this client are in progress than its channels take.

        Raises:
            DeadlineExceededError: if that takes longer than the call may.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._turns.acquire()
        except TimeoutError:
            message = f"not sent within {seconds:g} s: other calls of this client were in progress"
            raise DeadlineExceededError(message, code=grpc.StatusCode.DEADLINE_EXCEEDED) from None

    async def _answer(self, call: Repeatable[ResponseT], repeats: int) -> tuple[ResponseT, WorkerIdentity]:
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
        self, call: Repeatable[ResponseT], failed: Attempt[ResponseT], error: grpc.RpcError, repeats: int
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

    def _send_again(self, call: Repeatable[Any]) -> None:
        metadata = self._metadata()
        call.send(self._take(call.servers), metadata)

    def _take(self, tried: Collection[Server] = ()) -> PooledChannel[grpc.aio.Channel]:
        """Take a channel of the pool, and send the probes that the pool asks for."""
        if self._dns is not None and (addresses := self._dns.changed()):
            self._pool.set_servers(addresses)
        if self._credentials is not None:
            newest = newest_credentials(self._credentials)
            if newest is not self._dialed_with:
                self._dialed_with = newest
                self._pool.renew()
        pooled = self._pool.take(tried)
        for fresh in self._pool.to_probe():
            self._probe(fresh, FIRST_REPLACEMENT_PAUSE)
        return pooled

    def _probe(self, pooled: PooledChannel[grpc.aio.Channel], seconds: float) -> None:
        """Send a probe over a channel, without waiting for its result."""

        def done(code: grpc.StatusCode, identity: WorkerIdentity) -> None:
            if code is grpc.StatusCode.DEADLINE_EXCEEDED:
                self._pool.probe_failed(pooled)
            elif code in UNHEARD:
                self._pool.connection_lost(pooled)
            else:
                self._pool.answered(pooled, identity)

        send_probe(pooled.connection, seconds, self._metadata(), done)

    async def _pages(
        self, request: Message, response: type[ResponseT], timeout: float | None
    ) -> AsyncGenerator[ResponseT, None]:
        """Yield the requested page and all later ones, each fetched when it is reached; advances `request`."""
        wanted: Any = request
        while True:
            page: Any = await self._unary(request, response, timeout)
            yield page
            if not page.next_page_token:
                return
            wanted.page_token = page.next_page_token

    def _stream(self, stream: StreamState[ResponseT], *, reconnect: bool = True) -> AsyncGenerator[ResponseT, None]:
        """Return the events of a stream, reconnecting as often as needed, until the client is closed.

        Args:
            stream: state of the stream.
            reconnect: False for the events of one connection, which end with the error that ended it.
        """
        if self._closed.is_set():
            raise ClientClosedError("the client is closed")
        return (self._events if reconnect else self._connection)(stream)

    async def _events(self, stream: StreamState[ResponseT]) -> AsyncGenerator[ResponseT, None]:
        while True:
            try:
                async with aclosing(self._connection(stream)) as events:
                    async for event in events:
                        yield event
            except ClientClosedError:
                return
            except DejavuClientError as error:
                await self._closed.pause(stream.connection_lost(error))

    async def _connection(self, stream: StreamState[ResponseT]) -> AsyncGenerator[ResponseT, None]:
        """Yield the events of one connection. Ends with an exception unless the reader stops first."""
        pooled, call, request = self._take(), None, stream.request()
        try:
            with self._closed.guard():
                rpc = pooled.connection.unary_stream(**_rpc(request.DESCRIPTOR))
                call = rpc(request, metadata=self._metadata())
            recording = self._calls.call(method_of(type(request)).name)
            while True:
                with self._closed.guard(), recording:
                    async with asyncio.timeout(self._silence):
                        response: Any = await call.read()
                recording = self._calls.errors()
                if response is grpc.aio.EOF:
                    raise UnavailableError("the server ended the stream")
                # Without this, a channel that only had streams would never get another call: see `take`.
                self._pool.answered(pooled, worker_identity(await call.initial_metadata()))
                if stream.accept(response):
                    yield response
        except TimeoutError as error:
            self._pool.refused(pooled)
            raise UnavailableError(f"no message for {self._silence:g} s") from error
        except UnavailableError as error:
            if not error.reason:  # the error comes from gRPC, not from the server
                self._pool.refused(pooled)
            raise
        finally:
            if call is not None:
                call.cancel()
            await self._give_back(pooled)

    async def _give_back(self, pooled: PooledChannel[grpc.aio.Channel]) -> None:
        for channel in self._pool.give_back(pooled):
            await channel.close()
