from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from dejavu_server.observability import shared_counts
from dejavu_server.observability.shared_counts import CacheCount, SharedCounts

PROGRAM = """
import sys
from dejavu_server.observability.shared_counts import CacheCount, SharedCounts
counts = SharedCounts(int(sys.argv[1]))
counts.add(CacheCount.HITS, 5)
counts.set(CacheCount.ENTRIES, 100)
counts.clear()
counts.set(CacheCount.ENTRIES, 7)
print("counted", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def memory() -> Iterator[int]:
    descriptor = shared_counts.create()
    yield descriptor
    os.close(descriptor)


def test_workers_see_the_counts_of_each_other_and_that_one_cleared_the_cache(memory: int) -> None:
    mine = SharedCounts(memory)
    mine.add(CacheCount.HITS)
    command = [sys.executable, "-c", PROGRAM, str(memory)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[memory]) as other:
        assert other.stdout
        assert other.stdout.readline() == b"counted\n"
        assert (mine.workers(), mine.generation) == (2, 1)
        assert (mine.total(CacheCount.HITS), mine.total(CacheCount.ENTRIES)) == (6, 7)
        other.kill()
    assert (mine.workers(), mine.total(CacheCount.HITS)) == (1, 6), "what it counted stays"
    assert mine.total(CacheCount.ENTRIES) == 0, "its memory is gone"
    mine.close()
    mine.close()


def test_the_rows_of_workers_that_ended_are_used_again_and_their_counts_stay(memory: int) -> None:
    mine = SharedCounts(memory)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for row in range(2, 2 + shared_counts.ROWS):
        if mine._numbers[8 * row] == 0:
            mine._numbers[8 * row] = gone.pid
            mine._numbers[8 * row + CacheCount.HITS] = 1
    next_one = SharedCounts(memory)
    next_one.add(CacheCount.HITS)
    assert mine.total(CacheCount.HITS) == shared_counts.ROWS
    next_one.close()
    mine.close()
