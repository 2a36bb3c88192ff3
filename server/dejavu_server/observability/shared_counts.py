"""Numbers in memory that all workers of a server share: what their caches count, and how often they were cleared.

The supervisor creates the memory, a file without a name (memfd), and every worker inherits it: there is nothing on disk
that could be left behind, and a worker sees at its next call that another one cleared the cache. Each worker writes to
a row of its own. The counts of workers that ended are added to one row when their rows are needed again.

A worker that starts without a supervisor has such memory of its own.
"""

from __future__ import annotations

import enum
import fcntl
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

ROWS: Final = 256
"""Rows; a server has at most 64 workers, each of which has a successor while it drains."""

_COLUMNS: Final = 8
_NUMBER: Final = 8
SIZE: Final = (ROWS + 2) * _COLUMNS * _NUMBER
"""Size of the memory, in bytes."""

_GENERATION: Final = 0
_ENDED: Final = 1
_FIRST: Final = 2
_PID: Final = 0
_SET_AT: Final = 7
"""Column of the generation of the numbers that were set."""


class CacheCount(enum.IntEnum):
    """A number that each worker shares; its column."""

    HITS = 1
    MISSES = 2
    EVICTIONS = 3
    ENTRIES = 4
    BYTES = 5


_LASTING: Final = (CacheCount.HITS, CacheCount.MISSES, CacheCount.EVICTIONS)
"""Numbers that count on after their worker has ended."""


def create() -> int:
    """Returns the descriptor of new memory, which this process's children do not inherit by themselves."""
    descriptor = os.memfd_create("dejavu-counts", os.MFD_CLOEXEC)
    os.ftruncate(descriptor, SIZE)
    return descriptor


class SharedCounts:
    """The numbers of this worker and of those that share its memory; must be used by one thread.

    Args:
        descriptor: of memory made by `create`, which is not closed; None for memory of its own.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        own = create() if descriptor is None else -1
        self._descriptor = os.dup(descriptor) if descriptor is not None else own
        self._memory = mmap.mmap(self._descriptor, SIZE)
        self._numbers = memoryview(self._memory).cast("q")
        with self._locked():
            self._row = self._claim() * _COLUMNS
            self._numbers[self._row + _PID] = os.getpid()

    @property
    def generation(self) -> int:
        """How often the cache was cleared, by any worker."""
        return self._numbers[_GENERATION]

    def clear(self) -> None:
        """Tells all workers to drop what their caches have."""
        with self._locked():
            self._numbers[_GENERATION] += 1

    def add(self, count: CacheCount, number: int = 1) -> None:
        """Adds to a number of this worker."""
        self._numbers[self._row + count] += number

    def set(self, count: CacheCount, number: int) -> None:
        """Sets a number of this worker, for the present generation."""
        self._numbers[self._row + count] = number
        self._numbers[self._row + _SET_AT] = self.generation

    def total(self, count: CacheCount) -> int:
        """Returns the sum of a number over the workers; counts include the workers that ended.

        What was set before the cache was cleared does not count: a worker without calls drops its answers at its next.
        """
        numbers = self._numbers
        if count in _LASTING:
            rows = [_ENDED, *self._used()]
        else:
            rows = [
                row
                for row in self._used()
                if numbers[row * _COLUMNS + _SET_AT] == self.generation and _lives(numbers[row * _COLUMNS + _PID])
            ]
        return sum(self._numbers[row * _COLUMNS + count] for row in rows)

    def workers(self) -> int:
        """Returns the number of workers that share the memory and run."""
        return sum(_lives(self._numbers[row * _COLUMNS + _PID]) for row in self._used())

    def close(self) -> None:
        """Gives the memory back; the counts of this worker stay in it. Safe to call more than once."""
        if self._descriptor >= 0:
            self._numbers[self._row + CacheCount.ENTRIES] = self._numbers[self._row + CacheCount.BYTES] = 0
            self._numbers.release()
            self._memory.close()
            os.close(self._descriptor)
            self._descriptor = -1

    def _claim(self) -> int:
        """Returns a row that no worker uses; adds the counts of the worker that had it to those of the ended."""
        numbers = self._numbers
        for row in range(_FIRST, _FIRST + ROWS):
            start = row * _COLUMNS
            pid = numbers[start + _PID]
            if pid == 0:
                return row
            if pid != os.getpid() and not _lives(pid):
                for count in CacheCount:
                    if count in _LASTING:
                        numbers[_ENDED * _COLUMNS + count] += numbers[start + count]
                    numbers[start + count] = 0
                return row
        raise RuntimeError(f"more than {ROWS} workers share their counts")

    def _used(self) -> list[int]:
        return [row for row in range(_FIRST, _FIRST + ROWS) if self._numbers[row * _COLUMNS + _PID]]

    @contextmanager
    def _locked(self) -> Iterator[None]:
        # A lock of the process: those of flock belong to the open file, which all workers inherit.
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN)


def _lives(pid: int) -> bool:
    """Returns whether a process runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
