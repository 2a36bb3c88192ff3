"""Server interceptor of every call: request id, deadline, metrics, logging and error statuses in one layer.

One interceptor handles all concerns, because each layer adds some microseconds to every call. It wraps a handler on the
first call of its method, not on every call.

Metadata: the `x-request-id` of the caller is reused if it can be sent back; otherwise one is generated. Every log line
of the call has it. The trailing metadata of the response have it too, with the worker that answered (`dejavu-worker`)
and the number of workers that the server was started with (`dejavu-workers`). A stream also sends all three in its
initial metadata.

Traces: if tracing is on, every call has a span: method, request id, caller and how the call ended.

Log: faults of the server are logged as errors. Those in the error table are rate-limited by a FailureLog, however many
calls fail, and have a traceback only if they are INTERNAL. Calls that succeed, and calls rejected because of their
input, are logged only at level debug: the metrics count them, and no caller can fill the log.
"""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections import Counter as Counts
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from functools import cache, partial
from typing import Any, Never

import grpc
import structlog

from dejavu_common import tracing
from dejavu_common.failure_log import FailureLog
from dejavu_server.access.caller import Unauthenticated
from dejavu_server.api.admissions import (
    REQUEST_ID,
    STATUS_SECONDS,
    Admissions,
    Arrival,
    generate_ids,
    remaining_seconds,
    requested_id,
)
from dejavu_server.api.errors import INTERNAL, Failure, Trailers, describe, trailers
from dejavu_server.api.handlers import MAKERS, Context, Handler
from dejavu_server.limits import Caller, DeadlineExceeded
from dejavu_server.observability.metrics import UNKNOWN_METHOD, Metrics
from dejavu_server.observability.refusal_log import RefusalLog
from dejavu_server.streaming.stream_errors import ServerDraining


def clear_frames(error: BaseException) -> None:
    """Clear the variables of all frames in the tracebacks of an error and of those that led to it.

    Frames that are executed at the moment are left as they are. Coroutines that only wait are ended (up to Python
    3.12), so a coroutine that is to go on must not hand out an error that it has caught itself.
    """
    each: BaseException | None = error
    while each is not None:
        traceback.clear_frames(each.__traceback__)
        each = each.__context__


WORKER = "dejavu-worker"
WORKERS = "dejavu-workers"

MAX_CALL_SECONDS = 60.0
"""Deadline of a unary call that has none of its own."""

DRAIN_STREAM_SECONDS = 1.0
"""Time for which a drain waits for streams to send their final messages before it ends them; they take a round trip."""

_DEADLINE_ROUNDING = 0.01
"""Greatest delay of a call's deadline on the server after the deadline of its client, as a share of the whole time."""

_DEADLINE_JITTER = 0.01
"""Seconds by which the cancellation of a call whose deadline passed can travel faster than its request did."""

Behaviour = Callable[..., Any]

_MAY_NOT = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)

_SERVER_FAULTS = {grpc.StatusCode.INTERNAL, grpc.StatusCode.DATA_LOSS, grpc.StatusCode.UNAVAILABLE}

_log = structlog.get_logger(__name__)


class CallInterceptor:
    """Wraps every method of a server.

    Args:
        metrics: the metrics to update.
        admissions: admits the calls, and knows which tokens are valid.
        max_call_seconds: deadline of a unary call that has none of its own.
    """

    def __init__(self, metrics: Metrics, admissions: Admissions, *, max_call_seconds: float = MAX_CALL_SECONDS) -> None:
        self._metrics = metrics
        self._admissions = admissions
        self._max_call_seconds = max_call_seconds
        self._streams: dict[asyncio.Task[Any], Arrival] = {}
        self._in_flight = Counts[str]()  # by method
        self._draining = False
        self._failure_logs: defaultdict[tuple[str, str], FailureLog] = defaultdict(
            partial(FailureLog, _log, failed="call_failed")
        )
        self._refusal_log = RefusalLog(_log)
        self._log = _log.bind()
        self._ids = generate_ids()

    def begin(self, arrival: Arrival, call: grpc.HandlerCallDetails, handler: Handler | None) -> Handler | None:
        """Begin a call, in its own task; return the handler for it alone."""
        self._identify(arrival.caller, call)
        if handler is None:  # gRPC answers it; the path is not kept, because callers can invent any number
            self._metrics.calls.labels(UNKNOWN_METHOD, grpc.StatusCode.UNIMPLEMENTED.name).inc()
            arrival.request_received()  # gRPC's answer needs no request
            arrival.place.close()
            return None
        behaviour: Any = handler.unary_unary or handler.unary_stream or handler.stream_stream
        return MAKERS[handler.request_streaming, handler.response_streaming](
            partial(behaviour, arrival), handler.request_deserializer, handler.response_serializer
        )

    def sample(self) -> None:
        """Set the metric of the calls in progress; setting it at every call would cost too much."""
        for method, number in self._in_flight.items():
            self._metrics.in_flight.labels(method).set(number)

    async def end_streams(self) -> None:
        """End streams that do not end on their own, with DRAINING; reject later streams the same way."""
        self._draining = True
        if self._streams:
            await asyncio.wait(self._streams, timeout=DRAIN_STREAM_SECONDS)
            for arrival in list(self._streams.values()):
                arrival.end(ServerDraining())

    def end_unauthorized(self) -> None:
        """End the streams whose token is no longer valid."""
        authenticator = self._admissions.authenticator
        for arrival in list(self._streams.values()):
            caller = arrival.caller.principal
            if authenticator is not None and caller.credential and not authenticator.is_valid(caller):
                arrival.end(Unauthenticated("the token has expired, or was revoked or changed"))

    def wrap(self, method: str, handler: Handler) -> Handler:
        """Return the handler of a method, whose behaviour first takes the `Arrival`; that of the service its `Caller`.

        Args:
            method: path of the method.
            handler: its handler; the behaviour takes the request and the caller.
        """
        deserialize, write = handler.request_deserializer or bytes, handler.response_serializer
        # Decode single requests here: gRPC itself answers malformed bytes with UNKNOWN and the text of an exception.
        if handler.unary_unary is not None:
            decoding = _decode_request(deserialize, handler.unary_unary)
            return grpc.unary_unary_rpc_method_handler(self._unary(method, decoding, write), None, None)
        if handler.unary_stream is not None:
            decoding = _decode_request(deserialize, handler.unary_stream)
            return grpc.unary_stream_rpc_method_handler(self._stream(method, decoding), None, write)
        if handler.stream_stream is not None:
            streaming = self._stream(method, handler.stream_stream)
            return grpc.stream_stream_rpc_method_handler(streaming, deserialize, write)
        raise NotImplementedError(f"{method}: client-streaming methods are not supported")

    def _unary(self, method: str, behaviour: Behaviour, write: Callable[[Any], bytes] | None) -> Behaviour:
        def answer(request: Any, arrival: Arrival, context: Context, _: Trailers) -> Awaitable[Any]:
            remaining = remaining_seconds(context)
            if remaining is None:
                return self._bounded(behaviour(request, arrival.caller))
            if remaining <= 0:
                raise DeadlineExceeded("the deadline passed before the call started")
            answered: Awaitable[Any] = behaviour(request, arrival.caller)
            return answered

        return self._observed(method, answer, timed=True, write=write)

    def _stream(self, method: str, behaviour: Behaviour) -> Behaviour:
        messages = self._metrics.messages.labels(method)

        async def answer(request: Any, arrival: Arrival, context: Context, metadata: Trailers) -> None:
            try:
                with self._ended_from_outside(arrival):
                    await context.send_initial_metadata(metadata)
                    # Close the generator now, not at garbage collection: it holds a subscription.
                    async with aclosing(behaviour(request, arrival.caller)) as events:
                        async for event in events:
                            await context.write(event)
                            messages.inc()
            except grpc.aio.InternalError:  # the connection broke; gRPC is about to cancel this task
                raise asyncio.CancelledError from None

        return self._observed(method, answer)

    def _observed(
        self,
        method: str,
        answer: Callable[[Any, Arrival, Context, Trailers], Awaitable[Any]],
        *,
        timed: bool = False,
        write: Callable[[Any], bytes] | None = None,
    ) -> Behaviour:
        """Wrap the behaviour of a method with metrics, log and error statuses."""
        in_flight = self._in_flight
        # Cached: looking these up on every call would cost more than counting does.
        counter = cache(lambda code: self._metrics.calls.labels(method, code.name))
        seconds = cache(lambda code: self._metrics.seconds.labels(method, code.name))

        async def call(arrival: Arrival, request: Any, context: Context) -> Any:
            started = time.perf_counter()
            arrival.request_received()
            in_flight[method] += 1
            caller = arrival.caller
            metadata = ((REQUEST_ID, caller.request_id), *self._admissions.metadata)
            context.set_trailing_metadata(metadata)
            code = grpc.StatusCode.OK
            try:
                if arrival.denial is not None:
                    raise arrival.denial
                response = await answer(request, arrival, context, metadata)
                return response if write is None else write(response)
            except asyncio.CancelledError:
                code = _cancelled_code(context, time.perf_counter() - started)
                raise
            except Exception as error:
                failure = self._failure(method, error, caller)
                code = failure.code
                clear_frames(error)
            finally:
                arrival.place.close()  # the answer is made, whether or not its caller reads it
                in_flight[method] -= 1
                elapsed = time.perf_counter() - started
                counter(code).inc()
                if timed:
                    seconds(code).observe(elapsed)
                self._admissions.count_caller(caller, code.name)
                if self._log.is_enabled_for(logging.DEBUG):
                    self._log.debug("call", method=method, code=code.name, ms=round(elapsed * 1000, 3))
            return await _abort(context, failure, metadata)

        return _freeing_aborted(_traced(method, call))

    @contextmanager
    def _ended_from_outside(self, arrival: Arrival) -> Iterator[None]:
        """Let `Arrival.end` cancel the current stream; turn that cancellation into the error that it gives."""
        if self._draining:
            raise ServerDraining()
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a stream must run in its own task")
        if arrival.ended is not None:
            raise arrival.ended
        arrival.stream = task
        self._streams[task] = arrival
        try:
            yield
        except asyncio.CancelledError:
            if arrival.ended is not None:
                raise arrival.ended from None
            raise
        finally:
            arrival.stream = None
            del self._streams[task]

    async def _bounded(self, answer: Awaitable[Any]) -> Any:
        limit = asyncio.timeout(self._max_call_seconds)
        try:
            async with limit:
                return await answer
        except TimeoutError:
            if limit.expired():
                raise DeadlineExceeded(f"no answer within {self._max_call_seconds:g} s") from None
            raise

    def _identify(self, caller: Caller, call: grpc.HandlerCallDetails) -> None:
        """Set the request id of a call, also in its log context.

        The metadata are already decoded here; a handler that reads them from its context decodes them again. A call
        runs in one task, and so in its own context, from here to its end: nothing needs to be unbound.
        """
        caller.request_id = requested_id(call.invocation_metadata) or next(self._ids)
        structlog.contextvars.bind_contextvars(request_id=caller.request_id)

    def _failure(self, method: str, error: Exception, caller: Caller) -> Failure:
        """Return the description of an error that ends a call, after logging it."""
        failure = describe(error)
        if failure.reason == INTERNAL:  # not rate-limited: each may have another cause
            _log.error("call_failed", method=method, code=failure.code.name, exc_info=error)
        elif failure.code in _MAY_NOT:
            self._refusal_log.refused(
                method=method, reason=failure.message, caller=caller.identity, address=caller.address
            )
        elif failure.code in _SERVER_FAULTS and not isinstance(error, ServerDraining):
            failure_log = self._failure_logs[method, failure.reason]
            # A full disk is no fault of the program: the reason says what to repair, and a traceback would hide it.
            cause = error.__cause__
            failure_log.failed(
                error,
                traceback=failure.code is grpc.StatusCode.INTERNAL,
                method=method,
                code=failure.code.name,
                reason=failure.reason,
                cause=None if cause is None else str(getattr(cause, "orig", cause)),
            )
        return failure


class Resolver:
    """Gives gRPC the handler of one call.

    Args:
        calls: wraps the methods.
        arrival: the call.
        handler: the handler of its method, from `CallInterceptor.wrap`; None if the server has no such method.
    """

    __slots__ = ("_arrival", "_calls", "_handler")

    def __init__(self, calls: CallInterceptor, arrival: Arrival, handler: Handler | None) -> None:
        self._calls, self._arrival, self._handler = calls, arrival, handler

    def resolve_handler(self, call: grpc.HandlerCallDetails) -> Handler | None:
        """Return the handler; None if the server has no such method. gRPC calls it in the task of the call."""
        return self._calls.begin(self._arrival, call, self._handler)


def worker_metadata(worker: str, workers: int) -> tuple[tuple[str, str], ...]:
    """Return the metadata that name the worker and the number of workers."""
    return ((WORKER, worker), (WORKERS, str(workers)))


async def _abort(context: Context, failure: Failure, metadata: Trailers) -> Never:
    """End a call with a status."""
    try:
        async with asyncio.timeout(STATUS_SECONDS):
            await context.abort(failure.code, failure.message, (*metadata, *trailers(failure)))
    except (grpc.aio.InternalError, TimeoutError):  # the caller has disconnected, or does not read
        raise asyncio.CancelledError from None


def _decode_request(deserialize: Callable[[bytes], Any], behaviour: Behaviour) -> Behaviour:
    """Wrap a behaviour so that it decodes its request."""

    def decoding(data: bytes, caller: Caller) -> Any:
        return behaviour(deserialize(data), caller)

    return decoding


def _freeing_aborted(behaviour: Behaviour) -> Behaviour:
    """Wrap a behaviour so that nothing of an aborted call is kept once it has ended: gRPC keeps its error."""

    async def call(arrival: Arrival, request: Any, context: Context) -> Any:
        try:
            return await behaviour(arrival, request, context)
        except grpc.aio.AbortError as aborted:
            clear_frames(aborted)
            del arrival, request, context  # also in this frame, which still runs
            raise

    return call


def _cancelled_code(context: Context, elapsed: float) -> grpc.StatusCode:
    """Return why the task of a call was cancelled: its deadline passed, or its caller disconnected.

    A caller whose deadline passes cancels its call. The cancellation can arrive before the deadline has passed here:
    gRPC sends the remaining time in up to three digits, rounded up (by up to 1 %), and counts it from the arrival.

    Args:
        context: the context of the call.
        elapsed: seconds since the call arrived.
    """
    remaining = remaining_seconds(context)
    if remaining is not None and remaining <= _DEADLINE_JITTER + _DEADLINE_ROUNDING * (elapsed + remaining):
        return grpc.StatusCode.DEADLINE_EXCEEDED
    return grpc.StatusCode.CANCELLED


def _traced(method: str, behaviour: Behaviour) -> Behaviour:
    """Wrap the behaviour of a method in a span below that of its caller; return it unchanged if tracing is off.

    The span and every log line of the call have the same request id and trace id.
    """
    if not tracing.active():
        return behaviour

    async def call(arrival: Arrival, request: Any, context: Context) -> Any:
        with tracing.server_span(method, context.invocation_metadata() or ()) as span:
            span.set_attribute("dejavu.request_id", arrival.caller.request_id)
            structlog.contextvars.bind_contextvars(trace_id=tracing.trace_id())
            try:
                return await behaviour(arrival, request, context)
            finally:
                if caller := arrival.caller.identity:
                    span.set_attribute("enduser.id", caller)
                span.set_attribute("rpc.grpc.status_code", _number(context.code()))

    return call


def _number(code: Any) -> int:
    """Return the number of a status code; 0, OK, if none was set."""
    value = code.value[0] if isinstance(code, grpc.StatusCode) else code
    return int(value or 0)
