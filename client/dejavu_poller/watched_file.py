"""A file that somebody else writes, read again whenever it changes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, TypeVar

from dejavu_feed.errors import DataError, FeedUnavailable
from dejavu_poller.reads import THREADS, in_time

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
    """A file that is read when it has changed since it was last read or refused, and stays refused until then.

    Args:
        path: the file.
        read: reads it; raises `DataError` if it can't be read, or is invalid.
    """

    def __init__(self, path: Path, read: Callable[[Path], T]) -> None:
        self.path = path
        self._read = read
        self._stamp: tuple[int, int] | None = None
        self._refused: DataError | None = None
        self._reading: Future[tuple[tuple[int, int], FileContent[T] | DataError] | None] | None = None

    async def changed(self) -> FileContent[T] | None:
        """Return the content of the file; None if it is valid and has not changed.

        Raises:
            DataError: if the file can't be read, or is invalid: its content is read only once.
            FeedUnavailable: if it was not read in time, or the last read, which was given up, has not ended yet.
        """
        if self._reading is not None and not self._reading.done():
            raise FeedUnavailable(f"{self.path}: the last read of it has not ended yet")
        self._reading = THREADS.submit(self._read_changed, self._stamp)
        changed = await in_time(self._reading)
        self._stamp, content = changed or (self._stamp, self._refused)
        self._refused = content if isinstance(content, DataError) else None
        if isinstance(content, DataError):
            raise content.with_traceback(None)
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
