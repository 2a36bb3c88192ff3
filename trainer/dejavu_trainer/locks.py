"""Lets one process use a folder at a time."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

FETCH_LOCK: Final = ".lock"
"""File in a folder of received plays that its user has locked."""

RETRAIN_LOCK: Final = ".retrain.lock"
"""The same in a work folder of a retrain: no other folder has it, so its presence shows what may be removed."""


@contextmanager
def locked(folder: Path, name: str, refusal: Exception) -> Iterator[None]:
    """Make a folder if it does not exist, and lock it.

    The kernel releases the lock when the process that has it ends, however it ends.

    Args:
        folder: the folder.
        name: name of the file that is locked.
        refusal: raised if another process has it.

    Raises:
        OSError: if it cannot be made or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise refusal from None
        yield
