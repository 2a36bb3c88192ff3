"""Decides about every call when it arrives, before its request is received.

Each kind of call has a limit of its own: forecasts can't crowd out health checks, and scorecards, which take long and
wait for a thread, can't crowd out forecasts.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Final

from dejavu_models.errors import DejavuError
from dejavu_server.access.policy import CallKind, kind_of
from dejavu_server.admission.concurrency import ConcurrencyLimit
from dejavu_server.admission.refusals import DeadlineExceeded, Overloaded

REQUEST_SECONDS: Final = 2.0
"""Seconds for which a call may count before its request has been received.

Clients send headers and request together. Without this bound, a client that sends only headers could hold a place.
"""

PATIENCE_SECONDS: Final = 0.2
"""Seconds for which a call whose request has not arrived keeps its place if another call of its kind needs the place.

After that time it is refused, like a call for which there is no room, if its caller has at least as many calls in
progress as the other caller. With REQUEST_SECONDS alone, anybody could hold the places of all forecasts by sending some
thirty headers a second.
"""


class Permit:
    """The permit of an admitted call; counts against a limit until the answer is made, whether or not it is read.

    Args:
        kind: kind of the call.
        caller: its token or address.
        limit: the limit, in which the call is counted.
        clock: the clock of the controller.
        request_seconds: time for which it may count before its request has been received.

    Attributes:
        kind, caller: see above.
        keeps_place_until: time until which no other call gets its place; infinite before its request is awaited.
        expires: time by which its request must have been received.
        on_request: called when the request was received.
        is_released: whether it was released: its answer was sent, its caller has gone, or it ended without a request.
    """

    __slots__ = (
        "_clock",
        "_limit",
        "caller",
        "expires",
        "is_released",
        "keeps_place_until",
        "kind",
        "on_request",
    )

    def __init__(
        self,
        kind: CallKind,
        caller: str,
        limit: ConcurrencyLimit,
        clock: Callable[[], float],
        request_seconds: float,
    ) -> None:
        self._limit: ConcurrencyLimit | None = limit
        self.is_released = False
        self.kind = kind
        self.caller = caller
        self._clock = clock
        self.keeps_place_until = math.inf
        self.expires = clock() + request_seconds
        self.on_request: Callable[[Permit], object] = _do_nothing

    def await_request(self) -> None:
        """Start the PATIENCE_SECONDS. They do not start on admission, because a busy worker may start to read late."""
        self.keeps_place_until = self._clock() + PATIENCE_SECONDS

    def request_received(self) -> None:
        """Report that the request was received."""
        self.on_request(self)

    def answered(self) -> None:
        """Give the place back, because the answer was made and is about to be sent."""
        limit, self._limit = self._limit, None
        if limit is not None:
            limit.release(self.caller)

    def release(self) -> None:
        """Release the permit; further calls do nothing."""
        self.answered()
        self.is_released = True


MakeRoom = Callable[[CallKind, Callable[[Permit], bool]], bool]


def _do_nothing(*_: object) -> None:
    pass


class AdmissionController:
    """Admits calls up to the limit of their kind.

    Args:
        limits: the limit of every kind.
        request_seconds: time for which a call may count before its request has been received.
        clock: returns the time in seconds; must not go back.
    """

    def __init__(
        self,
        limits: Mapping[CallKind, ConcurrencyLimit],
        *,
        request_seconds: float = REQUEST_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = {kind: limits[kind] for kind in CallKind}
        # Made once: under overload most of the CPU goes into refusals.
        self._overloaded = {
            kind: Overloaded(f"the worker has too many {kind.value} calls in progress; try again later")
            for kind in CallKind
        }
        self._expired = DeadlineExceeded("the deadline passed before the call was accepted")
        self._request_seconds = request_seconds
        self.clock = clock

    def admit(
        self,
        method: str,
        remaining: float | None,
        make_room: MakeRoom = lambda *_: False,
        caller: str = "",
    ) -> Permit | DejavuError:
        """Decide about a call.

        Args:
            method: path of its method.
            remaining: seconds until its deadline; None if it has none.
            caller: its token or address.
            make_room: ends a call of a kind that has not sent its request for PATIENCE_SECONDS, if a predicate allows
                it; returns whether it ended one.

        Returns:
            Its permit, or the reason why it is refused.
        """
        if remaining is not None and remaining <= 0:
            return self._expired
        kind, now = kind_of(method), self.clock()
        limit = self._limits[kind]
        if not limit.acquire(now, caller):
            few = limit.count(caller)
            if not (make_room(kind, lambda permit: limit.count(permit.caller) >= few) and limit.acquire(now, caller)):
                return self._overloaded[kind]
        return Permit(kind, caller, limit, self.clock, self._request_seconds)

    def overloaded(self, kind: CallKind) -> Overloaded:
        """Return the error of a call for which there is no room."""
        return self._overloaded[kind]

    @property
    def no_request(self) -> DeadlineExceeded:
        """The error of a call whose request was not received in time."""
        return DeadlineExceeded(f"the request was not received within {self._request_seconds:g} s")

    @property
    def one_forecast(self) -> bool:
        """Whether exactly one single forecast is in progress, and no batch: no other query is about to come."""
        return self._limits[CallKind.PREDICT].in_progress == 1 and not self._limits[CallKind.BATCH].in_progress

    def in_progress(self, kind: CallKind) -> int:
        """Return the number of calls in progress of a kind."""
        return self._limits[kind].in_progress


def batch_limit(max_in_flight: int) -> int:
    """Return the limit of batches, at least 1, for a limit of single forecasts; a batch takes up to 10 MiB."""
    return max(1, max_in_flight // 4)


def call_limits(max_in_flight: int, max_streams: int) -> dict[CallKind, ConcurrencyLimit]:
    """Return the limits of a worker.

    Args:
        max_in_flight: single forecasts in progress, at least 1; the limits of other kinds follow from it.
        max_streams: streams in progress, at least 1.
    """

    def fixed(limit: int) -> ConcurrencyLimit:
        return ConcurrencyLimit(limit, limit)

    def shared(limit: int) -> ConcurrencyLimit:
        """Return a limit whose last quarter is for callers with few calls, so that a few callers cannot take all."""
        return ConcurrencyLimit(limit, limit, reserved=limit // 4)

    few = max_in_flight // 4
    return {
        CallKind.CONTROL: fixed(1024),
        # The reserve comes on top, so that a caller alone has all of max_in_flight.
        CallKind.PREDICT: ConcurrencyLimit(max_in_flight + few, 3 * max_in_flight, reserved=few),
        CallKind.BATCH: shared(batch_limit(max_in_flight)),
        CallKind.RECORD: shared(4 * max_in_flight),
        CallKind.REPORT: shared(max_in_flight),
        CallKind.STREAM: fixed(max_streams),
        CallKind.WATCH: fixed(16_384),
        CallKind.REFLECTION: fixed(16_384),
    }
