"""Progress of the threads that work for a part of a worker: running tasks, and their time without progress.

Only time in which a thread could run counts as time without progress. Waiting for a core (a busy machine) or for a disk
does not count, so neither a load of 20 nor a slow disk makes a worker look hung.
Decision: docs/decisions/0036-hangs.md.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, ParamSpec, TypeVar

from dejavu_common.processes import state_and_cpu_seconds

_P = ParamSpec("_P")
_T = TypeVar("_T")

_RUNNING_SHARE = 0.05
"""Minimum share of an interval for which a thread must have run to count as running rather than blocked."""

RUNNABLE = "R"
DISK_SLEEP = "D"


class ThreadUsage(NamedTuple):
    """Kernel state of a thread (`man 5 proc`, /proc/PID/stat).

    Attributes:
        state: R running or waiting for a core, S sleeping, D waiting for a disk, T stopped.
        cpu_seconds: CPU time so far.
    """

    state: str
    cpu_seconds: float

    @classmethod
    def of(cls, thread: int, process: int | str = "self") -> ThreadUsage | None:
        """Return the usage of a thread by its native id; None if it has ended."""
        try:
            return cls(*state_and_cpu_seconds(Path(f"/proc/{process}/task/{thread}/stat")))
        except OSError:
            return None


def own_seconds(before: ThreadUsage | None, now: ThreadUsage | None, elapsed: float) -> float:
    """Return the part of an interval that a thread could have used.

    A blocked thread could have used all of it. A thread that runs, or waits for a core, could only use the CPU time
    that it got.

    Args:
        before: usage of the thread at the start of the interval; None if unknown.
        now: its usage at the end; None if unknown.
        elapsed: length of the interval, in seconds.
    """
    if before is None or now is None:
        return elapsed
    used = now.cpu_seconds - before.cpu_seconds
    if now.state == RUNNABLE or used >= _RUNNING_SHARE * elapsed:
        return min(used, elapsed)
    return elapsed


@dataclass(slots=True, eq=False)
class _Task:
    """A task that runs on the thread that makes it.

    Attributes:
        thread: native id of the thread.
        usage: usage of the thread at the last check; None before the first one.
        stalled: seconds without progress.
        is_outside: whether it waits for another machine, see `waiting_outside`.
    """

    thread: int = field(default_factory=threading.get_native_id)
    usage: ThreadUsage | None = None
    stalled: float = 0.0
    is_outside: bool = False


_running: dict[int, _Task] = {}
"""The task of each thread that runs one."""


@contextmanager
def waiting_outside() -> Iterator[None]:
    """Do not count the time of the block as lack of progress of this thread's task.

    Use it for waits that the server cannot shorten, such as the wait for a name server: another worker would wait as
    long.
    """
    task = _running.get(threading.get_native_id())
    if task is None:
        yield
        return
    task.is_outside = True
    try:
        yield
    finally:
        task.is_outside = False


class Activity:
    """Tasks of one part of a worker, which run on its threads.

    Args:
        part: name of the part.
        may_run_long: whether a task may use CPU for any length of time. If so, any use of CPU is progress, so only a
            blocked thread makes none; otherwise only finished tasks are progress.
        waiting: returns the number of tasks that no thread has begun yet.
    """

    def __init__(self, part: str, *, may_run_long: bool = False, waiting: Callable[[], int] = lambda: 0) -> None:
        self.part = part
        self._may_run_long = may_run_long
        self._waiting = waiting
        self._tasks: dict[int, _Task] = {}
        self._finished = 0
        self._finished_before = 0
        self._unattended = 0.0

    @contextmanager
    def task(self) -> Iterator[None]:
        """Count the block as a task on the calling thread."""
        task = _Task()
        self._tasks[task.thread] = _running[task.thread] = task
        try:
            yield
        finally:
            del self._tasks[task.thread]
            _running.pop(task.thread, None)
            self._finished += 1

    def run(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run a task on the calling thread and return its result."""
        with self.task():
            return work(*args, **kwargs)

    def check(self, elapsed: float) -> float:
        """Return the seconds for which the part has had work and made no progress. Call it once an interval.

        Args:
            elapsed: length of the interval, in seconds.
        """
        tasks = list(self._tasks.values())
        for task in tasks:
            self._check(task, elapsed)
        finished, self._finished_before = self._finished - self._finished_before, self._finished
        idle = not tasks and not finished
        self._unattended = self._unattended + elapsed if idle and self._waiting() else 0.0
        return max((task.stalled for task in tasks), default=self._unattended)

    def _check(self, task: _Task, elapsed: float) -> None:
        before, task.usage = task.usage, ThreadUsage.of(task.thread)
        if before is None or task.usage is None:  # begun since the last check, or just ended
            return
        if task.is_outside:
            task.stalled = 0.0
            return
        used = task.usage.cpu_seconds - before.cpu_seconds
        if self._may_run_long and (used > 0 or task.usage.state in {RUNNABLE, DISK_SLEEP}):
            task.stalled = 0.0
        elif task.usage.state == DISK_SLEEP:
            task.stalled += used
        else:
            task.stalled += own_seconds(before, task.usage, elapsed)
