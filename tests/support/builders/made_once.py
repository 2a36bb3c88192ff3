"""What takes seconds to make is made once a run and shared by all its processes."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

FOLDER_VARIABLE = "DEJAVU_TEST_RUN"
"""Names the folder of a run; the process that starts the run sets and removes it, the others inherit it."""


def start_run() -> Path | None:
    """Makes the run's folder; None if another process of the run has."""
    if FOLDER_VARIABLE in os.environ:
        return None
    folder = Path(tempfile.mkdtemp(prefix="dejavu-test-run-"))
    os.environ[FOLDER_VARIABLE] = str(folder)
    return folder


def end_run(folder: Path) -> None:
    """Removes the run's folder."""
    del os.environ[FOLDER_VARIABLE]
    shutil.rmtree(folder, ignore_errors=True)


def made_once(name: str, make: Callable[[Path], object]) -> Path:
    """A folder that `make` filled in the first process of the run that asked for it.

    Copy it before changing it.

    Args:
        name: says all that the content follows from; two that differ must have different names.
        make: fills the folder whose path it gets, which does not exist yet; its parent does.
    """
    run = Path(os.environ[FOLDER_VARIABLE])
    folder = run / name
    with (run / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            unfinished = run / f"{name}.unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)  # of a process that was killed meanwhile
            make(unfinished)
            unfinished.rename(folder)
    return folder
