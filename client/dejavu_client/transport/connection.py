"""Parts of a call: its attempts, probes, the reads of a stream, and the end of the client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

import grpc

from dejavu_client import config
from dejavu_client.errors import ClientClosedError
from dejavu_client.transport.channel_pool import PooledChannel
from dejavu_client.transport.servers import Server, WorkerIdentity, worker_identity
from dejavu_common.clock import wait_until_set
from dejavu_common.tasks import retrieve

ConnectionT = TypeVar("ConnectionT")
RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")


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

    pooled: PooledChannel[Any]
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


class Repeatable(Generic[ConnectionT, RequestT, ResponseT]):
    """A call, whose request can be sent over several channels, and the attempts to get its answer.

    Attributes:
        deadline: when the call ends, by `time.monotonic`.
        channels: the channels over which the request was sent.
        newest: the last attempt.
    """

    newest: Attempt[ResponseT]

    def __init__(
        self,
        rpc: Callable[[ConnectionT], grpc.aio.UnaryUnaryMultiCallable[RequestT, ResponseT]],
        request: RequestT,
        deadline: float,
    ) -> None:
        self.deadline = deadline
        self.channels = list[PooledChannel[ConnectionT]]()
        self._rpc = rpc
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

    def send(self, pooled: PooledChannel[ConnectionT], metadata: config.CallMetadata) -> None:
        """Send the request over a channel."""
        self.channels.append(pooled)
        since = time.monotonic()
        rpc = self._rpc(pooled.connection)
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
    rpc: grpc.aio.UnaryUnaryMultiCallable[RequestT, ResponseT],
    request: RequestT,
    timeout: float,
    metadata: config.CallMetadata,
    done: Callable[[grpc.StatusCode, WorkerIdentity], None],
) -> None:
    """Send a request without waiting. `done` gets its status, and the worker that answered."""

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


class StreamReader(Generic[RequestT, ResponseT]):
    """Reads the responses of a stream.

    Args:
        stream: the call.
        silence: seconds to wait for a response.
    """

    def __init__(self, stream: grpc.aio.UnaryStreamCall[RequestT, ResponseT], silence: float) -> None:
        self._stream = stream
        self._silence = silence

    async def read(self) -> ResponseT | None:
        """Return the next response; None at the end of the stream.

        Raises:
            TimeoutError: if no response arrives in time.
        """
        async with asyncio.timeout(self._silence):
            response: Any = await self._stream.read()
        return None if response is grpc.aio.EOF else cast("ResponseT", response)

    def close(self) -> None:
        """Cancel the call."""
        self._stream.cancel()
