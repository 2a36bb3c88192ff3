"""Watches the threads of a worker while its event loop runs: a part that makes no progress makes the worker unready.

A worker with a hung event loop sends no heartbeats, which its supervisor notices. A worker with a hung thread would
continue its heartbeats, accept calls and never answer some of them. So it becomes unready after half of the time after
which it counts as hung; after the full time, it names the hung part to the supervisor, which replaces it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import structlog

from dejavu_common.activity import Activity
from dejavu_server.observability.metrics import Metrics
from dejavu_server.observability.periodic import PeriodicTask

CHECK_SECONDS = 1.0
"""Interval between two checks."""

UNREADY_SHARE = 0.5
"""Share of `hang_seconds` without progress after which the worker reports that it isn't ready."""

_log = structlog.get_logger(__name__)


class ProgressMonitor(PeriodicTask):
    """Checks the parts of a worker every CHECK_SECONDS.

    Counts intervals rather than clock time: however long a worker is suspended, the pause counts as one interval.

    Args:
        activities: returns the parts as they are now.
        hang_seconds: seconds without progress after which a part counts as hung.
        metrics: metrics of the worker.
        set_ready: called with whether all parts make progress, when that changes.
    """

    def __init__(
        self,
        activities: Callable[[], Iterable[Activity]],
        hang_seconds: float,
        metrics: Metrics,
        set_ready: Callable[[bool], None],
    ) -> None:
        super().__init__("progress", CHECK_SECONDS, self._check_interval)
        self._activities = activities
        self._hang_seconds = hang_seconds
        self._metrics = metrics
        self._set_ready = set_ready
        self._stalled: dict[str, float] = {}

    @property
    def hung_part(self) -> str:
        """Name of the part that hangs; empty if none does."""
        return next((part for part, seconds in self._stalled.items() if seconds >= self._hang_seconds), "")

    def check(self, elapsed: float) -> None:
        """Check all parts; set the metrics, and log each part that stalls or continues.

        Args:
            elapsed: seconds since the last check.
        """
        stalled = {}
        for activity in self._activities():
            seconds = activity.check(elapsed)
            self._metrics.stalled.labels(activity.part).set(seconds)
            if seconds >= UNREADY_SHARE * self._hang_seconds:
                stalled[activity.part] = seconds
        for part in stalled.keys() - self._stalled:
            _log.warning(
                "part_stalled",
                part=part,
                seconds=round(stalled[part], 3),
                effect="health is NOT_SERVING",
                hung_after=self._hang_seconds,
            )
        for part in self._stalled.keys() - stalled:
            _log.info("part_goes_on", part=part)
        changed, self._stalled = bool(stalled) != bool(self._stalled), stalled
        if changed:
            self._set_ready(not stalled)

    async def _check_interval(self) -> None:
        self.check(CHECK_SECONDS)
