"""Independent pieces of work on several cores, with results that do not depend on how many."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from threadpoolctl import threadpool_limits

T = TypeVar("T")
R = TypeVar("R")


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0))


def map_threads(work: Callable[[T], R], pieces: Iterable[T], workers: int, advance: Callable[[int], object]) -> list[R]:
    """The results of `work` on each piece, in order.

    Threads do: hnswlib and numpy's matrix products let others run meanwhile, and nothing has to be copied between
    processes.

    Args:
        work: must not depend on what it was called with before.
        pieces: what it is called with.
        workers: how many threads, at least 1.
        advance: called with 1 after each piece.
    """

    def told(piece: T) -> R:
        result = work(piece)
        advance(1)
        return result

    # A product that is summed by several threads rounds otherwise than one that is not.
    with threadpool_limits(1), ThreadPoolExecutor(max_workers=workers) as pool:
        return list(pool.map(told, pieces))
