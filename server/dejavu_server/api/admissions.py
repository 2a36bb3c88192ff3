"""Admits calls, and prepares the refusals of the others, so that sending one costs little.

Under overload most of the CPU goes into refusals, so their texts and details are encoded once. A temporary refusal says
when to try again, in google.rpc.RetryInfo and in `grpc-retry-pushback-ms`, which gRPC obeys.
The delays differ from one refusal to the next, so that refused callers do not come back together.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import structlog
from grpc_status import rpc_status
from prometheus_client import Counter

from dejavu_models.errors import DejavuError
from dejavu_server.access.authenticator import Authenticator
from dejavu_server.access.caller import (
    ANYBODY,
    NO_CALLER,
    NOBODY,
    Principal,
    ScopeMissing,
    Unauthenticated,
)
from dejavu_server.access.policy import kind_of
from dejavu_server.admission.callers import Caller, address_of
from dejavu_server.admission.controller import AdmissionController, MakeRoom, Permit
from dejavu_server.api.errors import describe, pushback, status, status_number
from dejavu_server.api.handlers import Context
from dejavu_server.api.request_ids import REQUEST_ID, generate_ids, requested_id
from dejavu_server.observability.metrics import UNKNOWN_METHOD, Metrics
from dejavu_server.observability.refusal_log import RefusalLog

_log = structlog.get_logger(__name__)

AUTHORIZATION = "authorization"

NO_REQUEST = "NO_REQUEST"
"""Reason of a call that ended before its request was received: the request was too large, or the caller went away."""

STATUS_SECONDS: Final = 2.0
"""Time for which a status is kept for a peer that does not read it; the call then ends without one."""

_MAX_METHOD: Final = 100
"""Characters of a method that are logged: a caller may name any."""

DELAYS = 16
"""Number of different delays."""

Trailers = tuple[tuple[str, str | bytes], ...]


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
    """A call that has arrived.

    Attributes:
        caller: its caller.
        permit: counts the call against a limit.
        denial: why the caller may not make it; None if it may.
    """

    caller: Caller
    permit: Permit
    denial: DejavuError | None = None

    def request_received(self) -> None:
        """Take note that its request was received.

        Raises:
            asyncio.CancelledError: if the call was ended just before, because its request had not come. gRPC's core
                would refuse a second answer, and never free it.
        """
        if self.permit.is_released:
            raise asyncio.CancelledError
        self.permit.request_received()


class _Prepared(NamedTuple):
    """The refusals of one method for one reason, to be sent in turn, and the counters of these."""

    counters: tuple[Counter, ...]
    refusals: Iterator[Refusal]


class Admissions:
    """Asks the controller about each call, and counts the refusals.

    Args:
        controller: decides.
        metrics: the metrics to update.
        metadata: trailing metadata of every refusal.

    Attributes:
        authenticator: authorizes calls by their tokens; None: everybody may call everything.
    """

    def __init__(self, controller: AdmissionController, metrics: Metrics, metadata: Trailers) -> None:
        self._controller = controller
        self._metadata = metadata
        self._prepared: dict[tuple[str, str], _Prepared] = {}
        self._metrics = metrics
        self._ids = generate_ids(mark="r")
        self._refusal_log = RefusalLog(_log)
        self.authenticator: Authenticator | None = None

    def admit(self, method: str, context: Context, make_room: MakeRoom) -> Arrival | Refusal:
        """Return a call with its caller and its permit, or its refusal.

        A call without a valid token is refused at once: a flood of them costs little. A call whose token lacks a scope
        gets that answer later, and until then takes a place of control calls, not one of forecasts.

        Args:
            method: path of its method.
            context: its context.
            make_room: see `AdmissionController.admit`.
        """
        principal, denial = self._authorized(method, context)
        if isinstance(denial, Unauthenticated):
            return self._unauthenticated(method, denial, context)
        place = method if denial is None else UNKNOWN_METHOD
        caller = Caller(principal, address_of(context.peer()))
        answer = self._controller.admit(place, context.time_remaining(), make_room, caller.name)
        if isinstance(answer, Permit):
            return Arrival(caller, answer, denial)
        return self._refusal(method, answer, context)

    def no_request(self, method: str, context: Context) -> Refusal:
        """Return the refusal of an admitted call whose request was not received in time."""
        return self._refusal(method, self._controller.no_request, context)

    def no_room(self, method: str, context: Context) -> Refusal:
        """Return the refusal of an admitted call whose place was given to another one before its request came."""
        return self._refusal(method, self._controller.overloaded(kind_of(method)), context)

    def count_no_request(self, method: str) -> None:
        """Count a call that was admitted and ended before its request was received."""
        self._metrics.refused.labels(method or UNKNOWN_METHOD, NO_REQUEST).inc()

    @property
    def now(self) -> float:
        """The current time, on the clock by which permits expire."""
        return self._controller.clock()

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

    def _unauthenticated(self, method: str, denial: Unauthenticated, context: Context) -> Refusal:
        refusal = self._refusal(method, denial, context)
        self._refusal_log.refused(
            method=method[:_MAX_METHOD],
            reason=str(denial),
            address=address_of(context.peer()),
            request_id=dict(refusal.metadata)[REQUEST_ID],
            **({"caller": denial.expired} if denial.expired else {}),
        )
        return refusal

    def _refusal(self, method: str, error: DejavuError, context: Context) -> Refusal:
        prepared = self._prepared.get(key := (method, str(error)))
        if prepared is None:
            prepared = self._prepared[key] = self._prepare(method, error)
        for counter in prepared.counters:
            counter.inc()
        refusal = next(prepared.refusals)
        request_id = requested_id(context.invocation_metadata()) or next(self._ids)
        return refusal._replace(metadata=((REQUEST_ID, request_id), *refusal.metadata))

    def _prepare(self, method: str, error: DejavuError) -> _Prepared:
        failure = describe(error)
        delay = failure.retry_seconds
        refusals = []
        for number in range(DELAYS if delay else 1):
            retry = _spread(delay, number) if delay else None
            details = rpc_status.to_status(status(failure, retry)).trailing_metadata
            metadata = (*self._metadata, *pushback(failure.code, retry), *details)
            refusals.append(Refusal(status_number(failure.code), failure.message, metadata))
        label = method or UNKNOWN_METHOD
        counters = [
            self._metrics.calls.labels(label, failure.code.name),
            self._metrics.refused.labels(label, failure.reason),
        ]
        if isinstance(error, Unauthenticated):
            counters.append(self._metrics.callers.labels(NO_CALLER, failure.code.name))
        return _Prepared(tuple(counters), itertools.cycle(refusals))


def _spread(delay: float, number: int) -> float:
    """Return one of DELAYS delays between 0.5 and 1.5 times the given one; consecutive numbers give mixed lengths."""
    return round(delay * (0.5 + (number * 7 % DELAYS) / DELAYS), 3)
