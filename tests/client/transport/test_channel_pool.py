"""Channel pool: order of use, replacement and closing of connections."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu_client.transport.channel_pool import FIRST_PAUSE, LONGEST_PAUSE, ChannelPool, PooledChannel
from dejavu_client.transport.servers import ServerAddress, WorkerIdentity, worker_identity


class Service:
    """Workers behind one port, as seen by a pool: each new connection is assigned to one worker and stays there.

    Attributes:
        workers: the living workers.
        told: number of workers reported in the answers.
        lines: the worker of each connection ever dialed.
        hung_up: the closed connections, in order.
        now: time of the pool's clock, in seconds.
    """

    def __init__(self, workers: int, size: int, choose: Callable[[list[str]], str], *, told: int | None = None) -> None:
        self.workers = [str(number) for number in range(workers)]
        self.told = workers if told is None else told
        self.lines = list[str]()
        self.hung_up = list[int]()
        self.now = 0.0
        self._choose = choose
        self.pool = ChannelPool(self._dial, size, now=lambda: self.now)

    def _dial(self, _: ServerAddress) -> int:
        self.lines.append(self._choose(self.workers))
        return len(self.lines) - 1

    def answer(self, place: PooledChannel[int]) -> str:
        """End a call with an answer and return its worker. A connection to a dead worker moves to a living one."""
        if self.lines[place.connection] not in self.workers:
            self.lines[place.connection] = self._choose(self.workers)
        worker = self.lines[place.connection]
        self.pool.answered(place, WorkerIdentity(worker, self.told))
        self.give_back(place)
        return worker

    def give_back(self, place: PooledChannel[int]) -> None:
        self.hung_up += self.pool.give_back(place)

    def call(self, seconds: float = 1.0) -> str:
        place = self.pool.take()
        self.now += seconds
        return self.answer(place)

    def calls_until_all_are_reached(self) -> int:
        """Return the number of calls until the last N calls reached all N workers."""
        newest = list[str]()
        for count in range(1, 10_000):
            newest = [*newest, self.call()][-len(self.workers) :]
            if set(newest) == set(self.workers):
                return count
        raise AssertionError(f"not all are reached: {Counter(newest)}")


def first(workers: list[str]) -> str:
    return workers[0]


@given(
    seed=st.integers(0, 2**32), workers=st.integers(1, 8), size=st.integers(1, 8), deaths=st.lists(st.integers(0, 7))
)
def test_every_worker_is_reached_and_so_is_every_successor(
    seed: int, workers: int, size: int, deaths: list[int]
) -> None:
    service = Service(min(workers, size), size, random.Random(seed).choice)
    service.calls_until_all_are_reached()
    for number, death in enumerate(deaths):
        service.workers[death % len(service.workers)] = f"successor {number}"
        service.calls_until_all_are_reached()
    assert len(service.pool.close()) <= size


@given(
    seed=st.integers(0, 2**32),
    workers=st.integers(1, 5),
    size=st.integers(1, 5),
    steps=st.lists(st.sampled_from(["take", "answer", "fail", "die", "wait"]), max_size=120),
)
def test_no_call_loses_its_line_and_no_line_is_left_open(seed: int, workers: int, size: int, steps: list[str]) -> None:
    draw = random.Random(seed)
    service = Service(workers, size, draw.choice)
    under_way = list[PooledChannel[int]]()
    for number, step in enumerate(steps):
        if step == "take":
            under_way.append(service.pool.take())
        elif step == "die":
            service.workers[draw.randrange(workers)] = f"successor {number}"
        elif step == "wait":
            service.now += 10.0
        elif under_way:
            place = under_way.pop(draw.randrange(len(under_way)))
            assert place.connection not in service.hung_up
            (service.answer if step == "answer" else service.give_back)(place)
        busy = {place.connection for place in under_way}
        assert not busy & set(service.hung_up)
        assert len(service.lines) - len(service.hung_up) <= size + len(under_way) + 1
    assert sorted(service.hung_up + service.pool.close()) == list(range(len(service.lines)))


def test_redials_in_vain_become_rare_and_a_successor_is_looked_for_at_once() -> None:
    service = Service(1, 2, first, told=2)
    dials = list[float]()
    while service.now < 1200:
        known = len(service.lines)
        service.call(FIRST_PAUSE / 2)
        if len(service.lines) > known:
            dials.append(service.now)
    pauses = [after - before for before, after in itertools.pairwise(dials[2:])]
    assert pauses[0] == pytest.approx(FIRST_PAUSE, abs=FIRST_PAUSE)
    assert all(after >= before - FIRST_PAUSE for before, after in itertools.pairwise(pauses))
    assert pauses[-1] == pytest.approx(LONGEST_PAUSE, abs=2 * FIRST_PAUSE)

    service.workers = ["successor"]
    known = len(service.lines)
    for _ in range(10):
        service.call(LONGEST_PAUSE)
    assert len(service.lines) > known


@pytest.mark.parametrize("told", [0, 1])
def test_nothing_is_redialled_where_nobody_tells_of_more_workers(told: int) -> None:
    service = Service(1, 4, first, told=told)
    for _ in range(100):
        service.call(60.0)
    assert len(service.lines) == 4


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ((None, None), WorkerIdentity("", 0)),
        (([("x", "y")], []), WorkerIdentity("", 0)),
        (([("dejavu-worker", "0-7")], None), WorkerIdentity("0-7", 0)),
        ((None, [("other", "x"), ("dejavu-worker", "1-8"), ("dejavu-workers", "4")]), WorkerIdentity("1-8", 4)),
        (([("dejavu-worker", "0-7"), ("dejavu-workers", "many")],), WorkerIdentity("0-7", 0)),
        (([("dejavu-worker", "0-7"), ("dejavu-workers", "-2")],), WorkerIdentity("0-7", 0)),
        (([("dejavu-worker", "0-7"), ("dejavu-workers", "²")],), WorkerIdentity("0-7", 0)),
    ],
)
def test_the_origin_is_found_in_either_metadata_or_in_none(
    metadata: tuple[list[tuple[str, str | bytes]] | None, ...], expected: WorkerIdentity
) -> None:
    assert worker_identity(*metadata) == expected
