"""Lets one process use a folder at a time."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

LOCK: Final = ".lock"
"""Name of the file in a folder that its user has locked."""


@contextmanager
def locked(folder: Path, refusal: Exception) -> Iterator[None]:
    """Make a folder if it does not exist, and lock it.

    The kernel releases the lock when the process that has it ends, however it ends.

    Args:
        folder: the folder.
        refusal: raised if another process has it.

    Raises:
        OSError: if it cannot be made or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise refusal from None
        yield
