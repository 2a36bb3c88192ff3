"""The token of a cache, the bounds of what it keeps, in memory and in Redis, and its errors."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Final

from dejavu_models.errors import DejavuError

MAX_REQUEST: Final = 4096
"""Longest request to keep, in bytes: a PredictRequest with all fields at their longest is shorter."""

MAX_ANSWER: Final = 32_768
"""Longest answer to keep, in bytes; an answer with explanation and 99 quantiles has about 6,000."""

_TOKEN_FILE: Final = "cache-token"  # noqa: S105 - no password
TOKEN_BYTES: Final = 8


class CacheOff(DejavuError, reason="CACHE_OFF", category="FAILED_PRECONDITION"):
    """The cache is off."""


class SharedCacheUnavailable(DejavuError, reason="SHARED_CACHE_UNAVAILABLE", category="UNAVAILABLE"):
    """The cache that servers share cannot be reached."""


class CacheToken:
    """Name of the content of a server's cache, seen by all its workers at their next call; another one clears it.

    Args:
        folder: folder of the server; None: the worker is alone.
    """

    def __init__(self, folder: Path | None = None) -> None:
        if folder is None:
            memory = mmap.mmap(-1, TOKEN_BYTES)
        else:
            with (folder / _TOKEN_FILE).open("a+b") as file:
                if file.tell() < TOKEN_BYTES:  # written, because a hole needs disk space later, when it is used
                    file.write(bytes(TOKEN_BYTES))
                    file.flush()
                memory = mmap.mmap(file.fileno(), TOKEN_BYTES)
        self._memory = memory

    @property
    def value(self) -> bytes:
        """The token, TOKEN_BYTES long; zeros until it is first set."""
        return self._memory[:]

    @value.setter
    def value(self, token: bytes) -> None:
        self._memory[:] = token
