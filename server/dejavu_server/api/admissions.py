"""Admits calls when they arrive, before their requests are received: asks who calls and the limits, refuses the others.

Under overload most of the CPU goes into refusals, so their details are encoded once. A temporary refusal says when to
try again, in google.rpc.RetryInfo and in `grpc-retry-pushback-ms`, which gRPC obeys. The delays of an overloaded worker
differ from one refusal to the next, so that refused callers do not come back together.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Final, NamedTuple

import structlog

from dejavu_models.errors import DejavuError
from dejavu_server.access.authenticator import Authenticator
from dejavu_server.access.caller import ANYBODY, NOBODY, CallerLabels, Principal, ScopeMissing, Unauthenticated
from dejavu_server.access.policy import CallKind, kind_of
from dejavu_server.api.errors import Failure, Trailers, describe, status_number, trailers
from dejavu_server.api.handlers import Context
from dejavu_server.limits import Caller, DeadlineExceeded, Limits, Overloaded, address_of
from dejavu_server.observability.metrics import UNKNOWN_METHOD, Metrics
from dejavu_server.observability.refusal_log import RefusalLog

_log = structlog.get_logger(__name__)

AUTHORIZATION = "authorization"

NO_REQUEST = "NO_REQUEST"
"""Reason of a call that ended before its request was received: the request was too large, or the caller went away."""

REQUEST_SECONDS: Final = 2.0
"""Seconds for which a call keeps its place before its request has been received.

Clients send headers and request together. Without this bound, a client that sends only headers could hold a place.
"""

STATUS_SECONDS: Final = 2.0
"""Time for which a status is kept for a peer that does not read it; the call then ends without one."""

_MAX_METHOD: Final = 100
"""Characters of a method that are logged: a caller may name any."""

_DELAYS: Final = 16
"""Number of different delays."""

REQUEST_ID = "x-request-id"

MAX_REQUEST_ID = 128
"""Maximum length of a caller's request id, in characters; longer ones are truncated."""


def requested_id(metadata: Iterable[tuple[str, str | bytes]] | None) -> str:
    """Return the first `x-request-id` in the metadata of a call that can be sent back; empty if there is none.

    gRPC accepts metadata with values that it refuses to send; sending them back would fail the call.
    """
    for key, value in metadata or ():
        if key == REQUEST_ID and isinstance(value, str) and value and value.isascii() and value.isprintable():
            return value[:MAX_REQUEST_ID]
    return ""


def generate_ids(mark: str = "") -> Iterator[str]:
    """Return an endless iterator of request ids, which begin with its random number.

    Args:
        mark: stands before the number in each id.
    """
    prefix = f"{secrets.token_hex(4)}-{mark}"
    return (f"{prefix}{number:x}" for number in itertools.count(1))


class Refusal(NamedTuple):
    """The status of a refused call.

    Attributes:
        code: its google.rpc.Code.
        message: its message.
        metadata: its trailing metadata, details included.
    """

    code: int
    message: str
    metadata: Trailers


@dataclass(slots=True, eq=False)
class Arrival:
    """A call that has arrived and has a place.

    Attributes:
        caller: its caller.
        denial: why the caller may not make it; None if it may.
        place: counts the call against the limits; closed once its answer is made.
        timer: ends the call if its request is not received in time; None once it was received, or the call has ended.
        answered: whether the call was ended, with a status, because its request was not received.
        ended: error that ends the call from outside; None: it goes on.
        stream: the task of the call, if it is a stream that has begun.
    """

    caller: Caller
    denial: DejavuError | None = None
    place: ExitStack = field(default_factory=ExitStack)
    timer: asyncio.TimerHandle | None = None
    answered: bool = False
    ended: DejavuError | None = None
    stream: asyncio.Task[object] | None = None

    def request_received(self) -> None:
        """Take note that its request was received.

        Raises:
            asyncio.CancelledError: if the call was answered just before, because its request had not come. gRPC's core
                would refuse a second answer, and never free it.
        """
        self.stop_timer()
        if self.answered:
            raise asyncio.CancelledError

    def stop_timer(self) -> bool:
        """Wait no longer for its request; return whether it was awaited."""
        timer, self.timer = self.timer, None
        if timer is not None:
            timer.cancel()
        return timer is not None

    def end(self, error: DejavuError) -> None:
        """End a stream with an error; one that has not begun ends when it begins."""
        self.ended = error
        if self.stream is not None:
            self.stream.cancel()


class Admissions:
    """Authorizes and limits each call, and counts the refusals and the calls of each caller.

    Args:
        limits: the limits of the worker.
        metrics: the metrics to update.
        metadata: trailing metadata of every answer and refusal.

    Attributes:
        authenticator: authorizes calls by their tokens; None: everybody may call everything.
        metadata: see above.
    """

    def __init__(self, limits: Limits, metrics: Metrics, metadata: tuple[tuple[str, str], ...]) -> None:
        self._limits = limits
        self.metadata = metadata
        self._metrics = metrics
        # Cached: looking these up for every call would cost more than counting does, and most refusals are alike.
        self._counters = lru_cache(1024)(
            lambda method, code, reason: (metrics.calls.labels(method, code), metrics.refused.labels(method, reason))
        )
        self._trailers = lru_cache(1024)(_trailers)
        self._caller_counter = cache(metrics.callers.labels)
        self._caller_labels = CallerLabels()
        self._ids = generate_ids(mark="r")
        # Consecutive refusals get mixed delays of 0.5 to 1.5 times the given one.
        self._spread = itertools.cycle([0.5 + (number * 7 % _DELAYS) / _DELAYS for number in range(_DELAYS)])
        self._refusal_log = RefusalLog(_log)
        self.authenticator: Authenticator | None = None

    def admit(self, method: str, context: Context) -> Arrival | Refusal:
        """Return a call with its caller and its place, or its refusal.

        A call without a valid token is refused at once: a flood of them costs little. A call whose token lacks a scope
        gets that answer later, and until then takes a place of control calls, not one of forecasts.

        Args:
            method: path of its method.
            context: its context.
        """
        principal, denial = self._authorized(method, context)
        caller = Caller(principal, address_of(context.peer()))
        if isinstance(denial, Unauthenticated):
            return self._unauthenticated(method, denial, context, caller)
        remaining = remaining_seconds(context)
        if remaining is not None and remaining <= 0:
            late = DeadlineExceeded("the deadline passed before the call was accepted")
            return self._refusal(method, late, context, caller)
        arrival = Arrival(caller, denial)
        try:
            kind = kind_of(method) if denial is None else CallKind.CONTROL
            arrival.place = self._limits.take(kind, caller, arrival.end)
        except DejavuError as error:
            return self._refusal(method, error, context, caller)
        return arrival

    def no_request(self, method: str, context: Context, arrival: Arrival) -> Refusal:
        """Return the refusal of an admitted call whose request was not received in time."""
        late = DeadlineExceeded(f"the request was not received within {REQUEST_SECONDS:g} s")
        return self._refusal(method, late, context, arrival.caller)

    def count_no_request(self, method: str) -> None:
        """Count a call that was admitted and ended before its request was received."""
        self._metrics.refused.labels(method or UNKNOWN_METHOD, NO_REQUEST).inc()

    def count_caller(self, caller: Caller, code: str) -> None:
        """Count a call that ended with a status code, if calls need tokens."""
        if self.authenticator is not None:
            self._caller_counter(self._caller_labels.of(caller.identity), code).inc()

    def _authorized(self, method: str, context: Context) -> tuple[Principal, DejavuError | None]:
        """Return the caller of a call, and the reason why it may not make the call; None if it may."""
        if self.authenticator is None or not method:  # without a method, gRPC answers the call
            return ANYBODY, None
        metadata = dict(context.invocation_metadata() or ())
        try:
            return self.authenticator.authorize(method, metadata.get(AUTHORIZATION)), None
        except ScopeMissing as error:  # counted and logged by its name
            return Principal(error.caller, frozenset()), error.with_traceback(None)
        except DejavuError as error:
            return NOBODY, error.with_traceback(None)

    def _unauthenticated(self, method: str, denial: Unauthenticated, context: Context, caller: Caller) -> Refusal:
        refusal = self._refusal(method, denial, context, caller)
        self._refusal_log.refused(
            method=method[:_MAX_METHOD],
            reason=str(denial),
            address=caller.address,
            request_id=dict(refusal.metadata)[REQUEST_ID],
            **({"caller": denial.expired} if denial.expired else {}),
        )
        return refusal

    def _refusal(self, method: str, error: DejavuError, context: Context, caller: Caller) -> Refusal:
        """Return the refusal of a call, and count it."""
        failure = describe(error)
        for counter in self._counters(method or UNKNOWN_METHOD, failure.code.name, failure.reason):
            counter.inc()
        self.count_caller(caller, failure.code.name)
        request_id = requested_id(context.invocation_metadata()) or next(self._ids)
        spread = next(self._spread) if isinstance(error, Overloaded) else 1.0
        metadata = ((REQUEST_ID, request_id), *self.metadata, *self._trailers(failure, spread))
        return Refusal(status_number(failure.code), failure.message, metadata)


def _trailers(failure: Failure, spread: float) -> Trailers:
    """Return the trailing metadata of a failure whose delay, if it has one, is multiplied by a factor."""
    delay = failure.retry_seconds
    return trailers(failure if delay is None else failure._replace(retry_seconds=round(delay * spread, 3)))


def remaining_seconds(context: Context) -> float | None:
    """Return the seconds until the deadline of a call; None if it has none, which the type stubs do not say."""
    return context.time_remaining()
