"""Pieces of work for tests of executions; workers import this module, so it imports little."""

from __future__ import annotations

import os
import signal
import time
import warnings
from pathlib import Path

from dejavu_models.arrays import Floats


def square(piece: int) -> int:
    return piece**2


def product(piece: int, left: Floats, right: Floats) -> Floats:
    result: Floats = left @ (right + piece)
    return result


def invert(piece: int) -> int:
    return 1 // piece


def warn(piece: int) -> int:
    if piece == 1:
        warnings.warn("piece 1 has few games", stacklevel=1)
    return piece


def process(piece: int) -> int:
    time.sleep(0.2)
    return os.getpid()


def kill_once(piece: int, marks: Path, *, always: bool = False) -> int:
    """Kill this process in the first attempt at piece 1."""
    mark = marks / f"{piece}"
    if piece == 1 and (always or not mark.exists()):
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return piece


def sleep(piece: int, marks: Path) -> None:
    (marks / f"{os.getpid()}").touch()
    time.sleep(60)
