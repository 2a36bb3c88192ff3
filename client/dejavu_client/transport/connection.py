"""Parts of the synchronous caller that work otherwise than the asynchronous ones in `aio_connection`."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

import grpc

from dejavu.v1.prediction_service_pb2 import StreamPredictionsResponse
from dejavu_client.errors import CallCancelledError, ClientClosedError
from dejavu_client.transport.channel_pool import WorkerIdentity, worker_identity

RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")


def call(
    rpc: grpc.UnaryUnaryMultiCallable[RequestT, ResponseT],
    request: RequestT,
    timeout: float,
    metadata: tuple[tuple[str, str | bytes], ...],
) -> tuple[ResponseT, WorkerIdentity]:
    """Makes one call. Returns its response, and the worker that answered."""
    response, done = rpc.with_call(request, timeout=timeout, metadata=metadata)
    return response, worker_identity(done.initial_metadata(), done.trailing_metadata())


class Closed(threading.Event):
    """Set when the client is closed, which ends all waits."""

    def pause(self, seconds: float) -> None:
        """Waits this long, or until the client is closed."""
        self.wait(seconds)

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Raises ClientClosedError for a call that failed because this client was closed."""
        try:
            yield
        except (CallCancelledError, ValueError) as error:  # gRPC raises ValueError for a call on a closed channel
            if not self.is_set():
                raise
            raise ClientClosedError("the client was closed during the call") from error


class Stream(Protocol):
    """A stream of gRPC; each response is waited for without a limit."""

    def __next__(self) -> StreamPredictionsResponse:
        """Waits for the next response."""
        ...

    def cancel(self) -> object:
        """Ends the stream, also for a thread that waits."""
        ...


class StreamReader:
    """Reads the responses of a stream, and cancels it if one does not arrive in time.

    gRPC's synchronous streams have no timeout between messages, so a thread watches. Only time inside `read` counts: a
    reader that processes a message slowly is not a silent server. Waits are checked periodically, so one may last up to
    twice the limit.

    Args:
        stream: the call.
        silence: seconds to wait for a response.
    """

    def __init__(self, stream: Stream, silence: float) -> None:
        self._stream = stream
        self._silence = silence
        self._since: float | None = None
        self._done = threading.Event()
        self._silent = False
        threading.Thread(target=self._watch, name="dejavu-stream-watchdog", daemon=True).start()

    def read(self) -> StreamPredictionsResponse | None:
        """Returns the next response; None at the end of the stream.

        Raises:
            TimeoutError: if none arrives in time.
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
        """Cancels the call and ends the watch."""
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
