"""Counts the calls that gRPC's core ends before the worker sees them.

The core keeps calls in a queue until they are accepted. It cancels those that the queue has no room for, and forgets
those whose callers leave while they wait. It tells nobody of either, but it counts each call that it starts.
"""

from __future__ import annotations

from collections import deque
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

    While a queue stays full, the calls in it count too; they are not counted again when they are refused or forgotten.

    Args:
        server: the server.
        metrics: the metrics to update.
    """

    def __init__(self, server: CountedCalls, metrics: Metrics) -> None:
        super().__init__("unseen-calls", CHECK_SECONDS, self.check)
        self._server = server
        self._counter = metrics.refused.labels(UNKNOWN_METHOD, NOT_ACCEPTED)
        self._missing = deque[int](maxlen=LOOKS)
        self._counted = 0

    async def check(self) -> None:
        """Compares the counts once."""
        started = self._server.started()  # first: a call that is accepted meanwhile must not seem to be missing
        self._missing.append(started - self._server.accepted)
        if len(self._missing) == LOOKS and (missing := min(self._missing)) > self._counted:
            self._counter.inc(missing - self._counted)
            self._counted = missing
