"""Builds expensive test data once per run and shares it between all processes of the run."""

from __future__ import annotations

import fcntl
import os
import pickle
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

FOLDER_VARIABLE = "DEJAVU_TEST_RUN"
"""Environment variable with the folder of a run. The process that starts the run sets it; others inherit it."""


def start_run() -> Path | None:
    """Create the run's folder; return None if another process of the run has created it."""
    if FOLDER_VARIABLE in os.environ:
        return None
    folder = Path(tempfile.mkdtemp(prefix="dejavu-test-run-"))
    os.environ[FOLDER_VARIABLE] = str(folder)
    return folder


def end_run(folder: Path) -> None:
    """Remove the run's folder."""
    del os.environ[FOLDER_VARIABLE]
    shutil.rmtree(folder, ignore_errors=True)


def made_once(name: str, make: Callable[[Path], object]) -> Path:
    """Return a folder that `make` fills in the first process of the run that requests it.

    Copy it before changing it.

    Args:
        name: unique for the content: different content needs a different name.
        make: creates and fills the folder at the given path; only its parent exists.
    """
    run = Path(os.environ[FOLDER_VARIABLE])
    folder = run / name
    with (run / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            unfinished = run / f"{name}.unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)  # left by a killed process
            make(unfinished)
            unfinished.rename(folder)
    return folder


def computed_once(name: str, compute: Callable[[], T]) -> T:
    """Return a copy of a value that `compute` returns in the first process of the run that requests it.

    Args:
        name: unique for the value, as in `made_once`.
        compute: computes the value, which must be picklable.
    """

    def write(folder: Path) -> None:
        folder.mkdir()
        (folder / "value").write_bytes(pickle.dumps(compute()))

    value: T = pickle.loads((made_once(name, write) / "value").read_bytes())
    return value
