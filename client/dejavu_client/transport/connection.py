"""Parts of the synchronous caller that work differently from their asynchronous counterparts in `aio_connection`."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import grpc

from dejavu_client import config
from dejavu_client.errors import CallCancelledError, ClientClosedError
from dejavu_client.transport.channel_pool import PooledChannel, SentOverChannels
from dejavu_client.transport.servers import WorkerIdentity, worker_identity

ConnectionT = TypeVar("ConnectionT")
RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")
ResponseT_co = TypeVar("ResponseT_co", covariant=True)


@dataclass(slots=True, eq=False)
class Attempt(Generic[ResponseT]):
    """A request sent over one channel of the pool.

    Attributes:
        pooled: the channel.
        since: when it was sent, by the pool's clock.
        future: the call.
    """

    pooled: PooledChannel[Any]
    since: float
    future: Any

    def result(self) -> tuple[ResponseT, WorkerIdentity]:
        """Return the response, and the worker that answered, once the attempt has ended.

        Raises:
            grpc.RpcError: if it failed.
        """
        response = self.future.result()
        return response, worker_identity(self.future.initial_metadata(), self.future.trailing_metadata())


class Repeatable(SentOverChannels[ConnectionT], Generic[ConnectionT, RequestT, ResponseT]):
    """A call, and the attempts to get its answer.

    Attributes:
        newest: the last attempt.
    """

    newest: Attempt[ResponseT]

    def __init__(
        self,
        rpc: Callable[[ConnectionT], grpc.UnaryUnaryMultiCallable[RequestT, ResponseT]],
        request: RequestT,
        deadline: float,
    ) -> None:
        super().__init__(deadline)
        self._rpc = rpc
        self._request = request
        self._pending = list[Attempt[ResponseT]]()
        self._ended = queue.SimpleQueue[Attempt[ResponseT]]()

    @property
    def pending(self) -> bool:
        """Whether an attempt has not ended."""
        return bool(self._pending)

    def send(self, pooled: PooledChannel[ConnectionT], metadata: config.CallMetadata) -> None:
        """Send the request over a channel."""
        self.channels.append(pooled)
        since = time.monotonic()
        rpc = self._rpc(pooled.connection)
        future = rpc.future(self._request, timeout=self.deadline - since, metadata=metadata)
        attempt = self.newest = Attempt(pooled, since, future)
        self._pending.append(attempt)
        future.add_done_callback(lambda _: self._ended.put(attempt))

    def first_ended(self, seconds: float | None) -> Attempt[ResponseT] | None:
        """Wait until one more attempt has ended, for `seconds` at most; None: without a limit."""
        try:
            attempt = self._ended.get(timeout=seconds)
        except queue.Empty:
            return None
        self._pending.remove(attempt)
        return attempt

    def cancel(self) -> None:
        """Cancel the attempts that have not ended."""
        for attempt in self._pending:
            attempt.future.cancel()


def send_probe(
    rpc: grpc.UnaryUnaryMultiCallable[RequestT, ResponseT],
    request: RequestT,
    timeout: float,
    metadata: config.CallMetadata,
    done: Callable[[grpc.StatusCode, WorkerIdentity], None],
) -> None:
    """Send a request without waiting. `done` gets its status, and the worker that answered."""

    def ended(_: object) -> None:
        done(future.code(), worker_identity(future.initial_metadata(), future.trailing_metadata()))

    with suppress(ValueError):  # the channel was closed meanwhile
        future = rpc.future(request, timeout=timeout, metadata=metadata)
        future.add_done_callback(ended)


class Closed(threading.Event):
    """Set when the client is closed, which ends all waits."""

    def pause(self, seconds: float) -> None:
        """Wait for some seconds, or until the client is closed."""
        self.wait(seconds)

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Raise ClientClosedError for a call that failed because this client was closed."""
        try:
            yield
        except (CallCancelledError, ValueError) as error:  # gRPC raises ValueError for a call on a closed channel
            if not self.is_set():
                raise
            raise ClientClosedError("the client was closed during the call") from error


class Stream(Protocol[ResponseT_co]):
    """A gRPC stream; it waits for each response without a limit."""

    def __next__(self) -> ResponseT_co:
        """Wait for the next response."""
        ...

    def cancel(self) -> object:
        """End the stream, even while a thread waits for a response."""
        ...


class StreamReader(Generic[ResponseT]):
    """Reads the responses of a stream, and cancels it if one does not arrive in time.

    gRPC's synchronous streams have no timeout between messages, so a thread watches. Only time inside `read` counts: a
    reader that processes a message slowly is not a silent server. Waits are checked periodically, so a wait may last up
    to twice the limit.

    Args:
        stream: the call.
        silence: seconds to wait for a response.
    """

    def __init__(self, stream: Stream[ResponseT], silence: float) -> None:
        self._stream = stream
        self._silence = silence
        self._since: float | None = None
        self._done = threading.Event()
        self._silent = False
        threading.Thread(target=self._watch, name="dejavu-stream-watchdog", daemon=True).start()

    def read(self) -> ResponseT | None:
        """Return the next response; None at the end of the stream.

        Raises:
            TimeoutError: if no response arrives in time.
        """
        self._since = time.monotonic()
        try:
            return next(self._stream, None)
        except grpc.RpcError as error:
            if self._silent:
                raise TimeoutError from error
            raise
        finally:
            self._since = None

    def close(self) -> None:
        """Cancel the call and end the watch."""
        self._done.set()
        self._stream.cancel()

    def _watch(self) -> None:
        pause = self._silence
        while not self._done.wait(pause):
            since = self._since
            waited = 0.0 if since is None else time.monotonic() - since
            if waited >= self._silence:
                self._silent = True
                self._stream.cancel()
                return
            pause = self._silence - waited
