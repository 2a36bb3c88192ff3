"""A file that somebody else writes, read again whenever it changes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, TypeVar

from dejavu_feed.errors import DataError, FeedUnavailable
from dejavu_poller.reads import read_in_thread

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FileContent(Generic[T]):
    """Content of a file.

    Attributes:
        value: what was read.
        written: time of the file's last modification before it was read, aware.
    """

    value: T
    written: datetime


class WatchedFile(Generic[T]):
    """A file that is read when it has changed since it was last read or refused.

    Args:
        path: the file.
        read: reads it; raises `DataError` if it can't be read, or is invalid.
    """

    def __init__(self, path: Path, read: Callable[[Path], T]) -> None:
        self.path = path
        self._read = read
        self._stamp: tuple[int, int] | None = None
        # Held until the thread that reads the file ends, even if its read was given up.
        self._reading = threading.Lock()

    async def changed(self) -> FileContent[T] | None:
        """Return the content of the file; None if it has not changed. Invalid content is read and refused once.

        Raises:
            DataError: if the file can't be read, or is invalid.
            FeedUnavailable: if it was not read in time, or the last read has not ended yet.
        """
        # Acquired here, since the thread may begin only after its read was given up.
        if not self._reading.acquire(blocking=False):
            raise FeedUnavailable(f"{self.path}: the last read of it has not ended yet")
        stamp, began = self._stamp, False

        def read() -> tuple[tuple[int, int], FileContent[T] | DataError] | None:
            nonlocal began
            began = True
            try:
                return self._read_changed(stamp)
            finally:
                self._reading.release()

        try:
            changed = await read_in_thread(read)
        except RuntimeError:
            if not began:  # no thread could be started, so none will release it
                self._reading.release()
            raise
        if changed is None:
            return None
        self._stamp, content = changed
        if isinstance(content, DataError):
            raise content
        return content

    def _read_changed(self, stamp: tuple[int, int] | None) -> tuple[tuple[int, int], FileContent[T] | DataError] | None:
        """Return the file's stamp (time and size), and its content or what is wrong with it; None if it equals `stamp`.

        Raises:
            DataError: if the file can't be read now.
        """
        try:
            found = self.path.stat()
        except FileNotFoundError:
            raise DataError(f"{self.path}: there is no such file") from None
        except OSError as error:
            raise DataError(f"{self.path}: can't be read: {error.strerror or error}") from error
        now = found.st_mtime_ns, found.st_size
        if now == stamp:
            return None
        try:
            return now, FileContent(self._read(self.path), datetime.fromtimestamp(found.st_mtime, UTC))
        except DataError as error:
            if isinstance(error.__cause__, OSError):
                raise
            return now, error
