"""Runs independent work items on several threads, and reports progress independently of how it is displayed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from threadpoolctl import threadpool_limits

T = TypeVar("T")
R = TypeVar("R")

Advance = Callable[[int], object]
"""Called with the number of units that were just completed."""


def ignore(_: int) -> None:
    """Show no progress."""


class Progress:
    """Reports the progress of consecutive steps of a run; this class shows nothing."""

    @contextmanager
    def step(self, name: str, total: int) -> Iterator[Advance]:
        """Begin a step of `total` units; yield a function to call with the number of units just completed."""
        yield ignore


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


def map_threads(work: Callable[[T], R], pieces: Iterable[T], workers: int, advance: Advance) -> list[R]:
    """Return the results of `work` on each piece, in order; they do not depend on the number of threads.

    Threads suffice: hnswlib and numpy's matrix products release the GIL, and no data is copied between processes.

    Args:
        work: function of one piece; must not depend on earlier calls.
        pieces: inputs of `work`.
        workers: number of threads, at least 1.
        advance: called with 1 after each piece.
    """

    def run_piece(piece: T) -> R:
        result = work(piece)
        advance(1)
        return result

    # A matrix product rounds differently when BLAS splits it over several threads.
    with threadpool_limits(1), ThreadPoolExecutor(max_workers=workers) as pool:
        return list(pool.map(run_piece, pieces))
