"""Work that a worker repeats at intervals while it serves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog

from dejavu_common.tasks import BackgroundTask, repeat

_log = structlog.get_logger(__name__)


class PeriodicTask:
    """Repeats work in a task. Work that raises is logged and repeated as usual.

    Args:
        name: name of the task.
        seconds: pause before each repetition.
        work: the work.
        at_once: whether to do it first without a pause.
    """

    def __init__(
        self, name: str, seconds: float, work: Callable[[], Awaitable[None]], *, at_once: bool = False
    ) -> None:
        self._name = name
        self._seconds = seconds
        self._work = work
        self._at_once = at_once
        self._task = BackgroundTask()

    def start(self) -> None:
        """Start the task."""
        self._task.start(repeat(self._seconds, self._work, self._log_failure, at_once=self._at_once), self._name)

    async def close(self) -> None:
        """End the task. Safe to call more than once."""
        await self._task.end()

    def _log_failure(self) -> None:
        _log.exception("periodic_work_failed", task=self._name)
