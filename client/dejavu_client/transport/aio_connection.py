"""Parts of the asynchronous caller that work otherwise than the synchronous ones in `connection`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import grpc

from dejavu.v1.prediction_service_pb2 import StreamPredictionsRequest, StreamPredictionsResponse
from dejavu_client.errors import ClientClosedError
from dejavu_client.transport.channel_pool import WorkerIdentity, worker_identity
from dejavu_common.clock import wait_until_set

RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")


async def call(
    rpc: grpc.aio.UnaryUnaryMultiCallable[RequestT, ResponseT],
    request: RequestT,
    timeout: float,  # noqa: ASYNC109 - a deadline sent to the server, not a local timeout
    metadata: tuple[tuple[str, str | bytes], ...],
) -> tuple[ResponseT, WorkerIdentity]:
    """Makes one call. Returns its response, and the worker that answered."""
    pending = rpc(request, timeout=timeout, metadata=metadata)
    response = await pending
    return response, worker_identity(await pending.initial_metadata(), await pending.trailing_metadata())


class AsyncClosed(asyncio.Event):
    """Set when the client is closed, which ends all waits."""

    async def pause(self, seconds: float) -> None:
        """Waits this long, or until the client is closed."""
        await wait_until_set(self, seconds)

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Raises ClientClosedError for a call ended by closing this client; lets task cancellations through."""
        try:
            yield
        except (asyncio.CancelledError, grpc.aio.UsageError) as error:
            task = asyncio.current_task()
            if not self.is_set() or (task is not None and task.cancelling()):
                raise
            raise ClientClosedError("the client was closed during the call") from error


class AsyncStreamReader:
    """Reads the responses of a stream.

    Args:
        stream: the call.
        silence: seconds to wait for a response.
    """

    def __init__(
        self, stream: grpc.aio.UnaryStreamCall[StreamPredictionsRequest, StreamPredictionsResponse], silence: float
    ) -> None:
        self._stream = stream
        self._silence = silence

    async def read(self) -> StreamPredictionsResponse | None:
        """Returns the next response; None at the end of the stream.

        Raises:
            TimeoutError: if none arrives in time.
        """
        async with asyncio.timeout(self._silence):
            response = await self._stream.read()
        return response if isinstance(response, StreamPredictionsResponse) else None

    def close(self) -> None:
        """Cancels the call."""
        self._stream.cancel()
