"""Counts the calls that gRPC's core ends before the worker sees them.

The core keeps calls in a queue until they are accepted. It cancels those that the queue has no room for, and forgets
those whose callers leave while they wait. It tells nobody of either, but it counts each call that it starts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from dejavu_server.observability.metrics import UNKNOWN_METHOD, Metrics
from dejavu_server.observability.periodic import PeriodicTask

CHECK_SECONDS = 0.25
"""Interval between two looks at the counts."""

LOOKS = 8
"""Number of looks in which a call must be missing: those that wait in the queue are accepted meanwhile."""

NOT_ACCEPTED = "NOT_ACCEPTED"
"""Reason of these calls among the refused ones."""


class CountedCalls(Protocol):
    """A server that counts its calls."""

    @property
    def accepted(self) -> int:
        """Number of calls that were accepted."""

    def started(self) -> int:
        """Returns the number of calls that the core has started."""


class UnseenCalls(PeriodicTask):
    """Counts them every CHECK_SECONDS, as refused calls of unknown methods.

    Of the calls that were started and not accepted, some may still wait. While the worker is busy as many as the queue
    holds are left out, and counted once it is not.

    Args:
        server: the server.
        waiting: most calls that wait in the queue of a method.
        is_busy: returns whether the worker has calls in progress.
        metrics: the metrics to update.
    """

    def __init__(self, server: CountedCalls, waiting: int, is_busy: Callable[[], bool], metrics: Metrics) -> None:
        super().__init__("unseen-calls", CHECK_SECONDS, self.check)
        self._server = server
        self._waiting = waiting
        self._is_busy = is_busy
        self._counter = metrics.refused.labels(UNKNOWN_METHOD, NOT_ACCEPTED)
        self._missing = deque[int](maxlen=LOOKS)
        self._counted = 0

    async def check(self) -> None:
        """Compares the counts once."""
        started = self._server.started()  # first: a call that is accepted meanwhile must not seem to be missing
        missing = started - self._server.accepted
        self._missing.append(missing - self._waiting if self._is_busy() else missing)
        if len(self._missing) == LOOKS and (unseen := min(self._missing)) > self._counted:
            self._counter.inc(unseen - self._counted)
            self._counted = unseen
