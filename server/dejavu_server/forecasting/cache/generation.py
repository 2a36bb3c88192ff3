"""Generation of a server's cache: number of times that any worker cleared it, in memory that all of them map."""

from __future__ import annotations

import fcntl
import mmap
from pathlib import Path
from typing import Final

_FILE: Final = "cache-generation"
_SIZE: Final = 8


class CacheGeneration:
    """Generation of the cache, seen by all workers at their next call. Use it on one thread.

    Args:
        folder: folder of the server; None: the worker is alone.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._lock = None if folder is None else (folder / _FILE).open("a+b")
        if self._lock is None:
            self._memory = mmap.mmap(-1, _SIZE)
        else:
            if self._lock.tell() < _SIZE:  # written, because a hole needs disk space later, when it is used
                self._lock.write(bytes(_SIZE))
                self._lock.flush()
            self._memory = mmap.mmap(self._lock.fileno(), _SIZE)
        self._number = memoryview(self._memory).cast("q")

    @property
    def value(self) -> int:
        """Number of times that the cache was cleared."""
        return self._number[0]

    def advance(self) -> None:
        """Make all workers drop their cached answers."""
        if self._lock is not None:  # a lock of the process, not inherited by forked workers
            fcntl.lockf(self._lock, fcntl.LOCK_EX)
        try:
            self._number[0] += 1
        finally:
            if self._lock is not None:
                fcntl.lockf(self._lock, fcntl.LOCK_UN)

    def close(self) -> None:
        """Release the memory. Safe to call more than once."""
        self._number.release()
        self._memory.close()
        if self._lock is not None:
            self._lock.close()
