"""What every call goes through, in one layer: request id, deadline, metrics, log, and errors to statuses.

One layer rather than one for each concern, because each costs every call some microseconds; and a handler is wrapped
when its method is called for the first time, not at every call.

Metadata: a caller's `x-request-id` is taken over if it can be sent back, else one is made. It is in every log line of
the call and in the trailing metadata of the answer, beside `dejavu-worker`, the name of the worker that answered, and
`dejavu-workers`, how many the server was started with. A stream, which may live for hours, has all three in its initial
metadata too.

Log: what is the server's fault is an error; one that is in the table of errors is logged as a trouble, however many
calls it fails. Calls that succeed, and those refused for what their caller sent, are only seen at level debug: the
metrics count them, and no caller can fill the log.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from contextvars import ContextVar
from functools import cache, partial
from typing import Any, Never, TypeAlias

import grpc
import structlog
from google.protobuf.message import DecodeError
from grpc_status import rpc_status

from dejavu_server.api.errors import INTERNAL, DeadlineExceeded, MalformedRequest, describe, status
from dejavu_server.observability.failure_log import FailureLog
from dejavu_server.observability.metrics import Metrics
from dejavu_server.streaming.errors import ServerDraining

REQUEST_ID = "x-request-id"
WORKER = "dejavu-worker"
WORKERS = "dejavu-workers"

MAX_REQUEST_ID = 128
"""Longest request id taken over from a caller, in characters."""

MAX_CALL_SECONDS = 60.0
"""Deadline of a unary call that came without one."""

LAST_WORDS_SECONDS = 0.25
"""How long a drain lets streams say their last words before it ends them."""

Context = grpc.aio.ServicerContext[Any, Any]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
# The stubs give handlers the context of the synchronous server.
Behaviour = Callable[..., Any]

_SERVER_FAULTS = {grpc.StatusCode.INTERNAL, grpc.StatusCode.DATA_LOSS, grpc.StatusCode.UNAVAILABLE}

Metadata = tuple[tuple[str, str | bytes], ...]

_sent_back: ContextVar[Metadata] = ContextVar("sent_back")
"""What the present call sends back: its id, and who answers it."""

_log = structlog.get_logger(__name__)


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps every method of a server.

    Args:
        worker: name of the worker, told to callers.
        metrics: where calls are counted.
        workers: how many workers share the port, told to callers.
        max_call_seconds: deadline of a unary call that came without one.
    """

    def __init__(
        self, worker: str, metrics: Metrics, *, workers: int = 1, max_call_seconds: float = MAX_CALL_SECONDS
    ) -> None:
        self._whence = ((WORKER, worker), (WORKERS, str(workers)))
        self._metrics = metrics
        self._max_call_seconds = max_call_seconds
        self._handlers: dict[str, Handler] = {}
        self._streams = set[asyncio.Task[Any]]()
        self._ended = set[asyncio.Task[Any]]()
        self._draining = False
        self._troubles: defaultdict[tuple[str, str], FailureLog] = defaultdict(
            partial(FailureLog, _log, failed="call_failed")
        )
        # Both looked up once rather than at every call, which costs more than the counting and the logging do.
        self._finished = cache(lambda method, code: metrics.calls.labels(method, code.name))
        self._log = _log.bind()
        boot = secrets.token_hex(4)
        self._ids = (f"{boot}-{number:x}" for number in itertools.count(1))

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """The wrapped handler of the method called; None if the server has no such method."""
        self._identify(handler_call_details)
        method = handler_call_details.method
        wrapped = self._handlers.get(method)
        if wrapped is None:
            handler = await continuation(handler_call_details)
            if handler is None:
                return None
            wrapped = self._handlers[method] = self._wrap(method, handler)
        return wrapped

    async def end_streams(self) -> None:
        """Ends the streams that do not end by themselves, with DRAINING; those to come too."""
        self._draining = True
        if self._streams:
            _, late = await asyncio.wait(self._streams, timeout=LAST_WORDS_SECONDS)
            self._ended |= late
            for task in late:
                task.cancel()

    def _wrap(self, method: str, handler: Handler) -> Handler:
        read, write = handler.request_deserializer, handler.response_serializer
        # One request is read in here rather than by gRPC, whose answer to bytes that are no message is UNKNOWN with the
        # text of an exception.
        if handler.unary_unary is not None:
            reading = _reading(read, handler.unary_unary)
            return grpc.unary_unary_rpc_method_handler(self._unary(method, reading), None, write)
        if handler.unary_stream is not None:
            reading = _reading(read, handler.unary_stream)
            return grpc.unary_stream_rpc_method_handler(self._stream(method, reading), None, write)
        if handler.stream_stream is not None:
            return grpc.stream_stream_rpc_method_handler(
                self._stream(method, handler.stream_stream), _checked(read), write
            )
        raise NotImplementedError(f"{method}: no service of this server takes a stream and answers once")

    def _unary(self, method: str, behaviour: Behaviour) -> Behaviour:
        in_flight = self._metrics.in_flight.labels(method)
        seconds = self._metrics.seconds.labels(method)

        async def call(request: Any, context: Context) -> Any:
            started = time.perf_counter()
            in_flight.inc()
            metadata = _sent_back.get()
            context.set_trailing_metadata(metadata)
            code = grpc.StatusCode.OK
            try:
                remaining = _remaining(context)
                if remaining is None:
                    return await self._bounded(behaviour(request, context))
                if remaining <= 0:
                    raise DeadlineExceeded("the deadline had passed before the call began")
                return await behaviour(request, context)
            except asyncio.CancelledError:
                code = _cancelled_code(context)
                raise
            except Exception as error:
                code = describe(error).code
                await self._fail(method, error, context, metadata)
            finally:
                in_flight.dec()
                elapsed = time.perf_counter() - started
                seconds.observe(elapsed)
                self._finish(method, code, elapsed)

        return call

    def _stream(self, method: str, behaviour: Behaviour) -> Behaviour:
        in_flight = self._metrics.in_flight.labels(method)
        messages = self._metrics.messages.labels(method)

        async def call(request: Any, context: Context) -> None:
            started = time.perf_counter()
            in_flight.inc()
            metadata = _sent_back.get()
            context.set_trailing_metadata(metadata)
            code = grpc.StatusCode.OK
            try:
                with self._endable():
                    await context.send_initial_metadata(metadata)
                    # Closed at once, not when the garbage is collected: it holds a subscription.
                    async with aclosing(behaviour(request, context)) as events:
                        async for event in events:
                            await context.write(event)
                            messages.inc()
            except asyncio.CancelledError:
                code = _cancelled_code(context)
                raise
            except grpc.aio.InternalError:  # the connection broke, and the news of it is on its way
                code = grpc.StatusCode.CANCELLED
                raise asyncio.CancelledError from None
            except Exception as error:
                code = describe(error).code
                await self._fail(method, error, context, metadata)
            finally:
                in_flight.dec()
                self._finish(method, code, time.perf_counter() - started)

        return call

    @contextmanager
    def _endable(self) -> Iterator[None]:
        """While in it, a stream is one of those that a drain ends: what it is cancelled by then becomes Draining."""
        if self._draining:
            raise ServerDraining()
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a stream runs in a task of its own")
        self._streams.add(task)
        try:
            yield
        except asyncio.CancelledError:
            if task in self._ended:
                raise ServerDraining() from None
            raise
        finally:
            self._streams.discard(task)
            self._ended.discard(task)

    async def _bounded(self, answer: Awaitable[Any]) -> Any:
        limit = asyncio.timeout(self._max_call_seconds)
        try:
            async with limit:
                return await answer
        except TimeoutError:
            if limit.expired():
                raise DeadlineExceeded(f"no answer within {self._max_call_seconds:g} s") from None
            raise

    def _identify(self, call: grpc.HandlerCallDetails) -> None:
        """Gives a call its id, in the log and in what goes back.

        Here, where the metadata lie ready: a handler that asks its context for them has them made once more. A call
        runs in one task, and so in a context of its own, from here to its end: nothing needs to be unbound.
        """
        request_id = ""
        for key, value in call.invocation_metadata or ():
            # gRPC reads values that it would refuse to send, and then fails the call.
            if key == REQUEST_ID and isinstance(value, str) and value.isascii() and value.isprintable():
                request_id = value[:MAX_REQUEST_ID]
                break
        request_id = request_id or next(self._ids)
        structlog.contextvars.bind_contextvars(request_id=request_id)
        _sent_back.set(((REQUEST_ID, request_id), *self._whence))

    async def _fail(self, method: str, error: Exception, context: Context, metadata: Metadata) -> Never:
        """Ends a call with the status that an error stands for."""
        failure = describe(error)
        if failure.reason == INTERNAL:  # each may be another
            _log.error("call_failed", method=method, code=failure.code.name, exc_info=error)
        elif failure.code in _SERVER_FAULTS and not isinstance(error, ServerDraining):
            trouble = self._troubles[method, failure.reason]
            trouble.failed(error, method=method, code=failure.code.name, reason=failure.reason)
        details = rpc_status.to_status(status(failure)).trailing_metadata
        try:
            await context.abort(failure.code, failure.message, (*metadata, *details))
        except grpc.aio.InternalError:  # nobody is there to be told
            raise asyncio.CancelledError from None

    def _finish(self, method: str, code: grpc.StatusCode, elapsed: float) -> None:
        self._finished(method, code).inc()
        self._log.debug("call", method=method, code=code.name, ms=round(elapsed * 1000, 3))


def _reading(read: Callable[[bytes], Any] | None, behaviour: Behaviour) -> Behaviour:
    """A behaviour that reads its request itself."""
    checked = _checked(read)
    if checked is None:
        return behaviour

    def reading(data: bytes, context: Context) -> Any:
        return behaviour(checked(data), context)

    return reading


def _checked(read: Callable[[bytes], Any] | None) -> Callable[[bytes], Any] | None:
    """A deserializer that names the caller's mistake; None for none."""
    if read is None:
        return None

    def checked(data: bytes) -> Any:
        try:
            return read(data)
        except DecodeError:
            raise MalformedRequest(f"the request's {len(data)} bytes are not a message of this method") from None

    return checked


def _remaining(context: Context) -> float | None:
    """Seconds until the call's deadline; None without one."""
    return context.time_remaining()


def _cancelled_code(context: Context) -> grpc.StatusCode:
    """Why the call's task was cancelled: its deadline passed, or its caller went."""
    remaining = _remaining(context)
    if remaining is not None and remaining <= 0:
        return grpc.StatusCode.DEADLINE_EXCEEDED
    return grpc.StatusCode.CANCELLED
