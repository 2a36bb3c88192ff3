"""Detection of threads that have work and make no progress."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu_common.activity import Activity, ThreadUsage, own_seconds, waiting_outside

INTERVAL = 1.0
"""Length of an interval as told to `check`; no time passes."""


@contextmanager
def task_of(activity: Activity, work: Callable[[], object]) -> Iterator[None]:
    """Run a task that has begun when the block begins."""
    begun = threading.Event()

    def task() -> None:
        begun.set()
        work()

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(activity.run, task)
        assert begun.wait(60)
        yield
        running.result(60)


def states(monkeypatch: pytest.MonkeyPatch, *usages: ThreadUsage | None) -> None:
    """Replace the kernel's answers at successive checks."""
    told = iter(usages)
    monkeypatch.setattr(ThreadUsage, "of", lambda *_: next(told))


def test_a_blocked_task_stalls_by_the_intervals_after_it_was_first_seen() -> None:
    activity, release = Activity("compute"), threading.Event()
    with task_of(activity, release.wait):
        until_blocked()
        assert [activity.check(INTERVAL) for _ in range(4)] == [0, 1, 2, 3]
        release.set()
    assert activity.check(INTERVAL) == 0


def test_a_task_that_waits_for_another_machine_does_not_stall_until_it_goes_on() -> None:
    activity, answered, release = Activity("compute"), threading.Event(), threading.Event()

    def work() -> None:
        with waiting_outside():
            answered.wait()
        release.wait()

    with task_of(activity, work):
        until_blocked()
        assert [activity.check(INTERVAL) for _ in range(4)] == [0, 0, 0, 0]
        answered.set()
        until_blocked()
        assert [activity.check(INTERVAL) for _ in range(2)] == [1, 2]
        release.set()
    assert activity.check(INTERVAL) == 0
    with waiting_outside():  # without a task it is nothing
        assert activity.check(INTERVAL) == 0


def until_blocked() -> None:
    """Wait until the other threads of this process sleep, so that none is seen between its start and its wait."""
    deadline = time.monotonic() + 60
    others = [thread.native_id for thread in threading.enumerate() if thread is not threading.current_thread()]
    while time.monotonic() < deadline:
        usages = [ThreadUsage.of(each) for each in others if each]
        if all(usage is None or usage.state == "S" for usage in usages):
            return


@pytest.mark.parametrize(
    ("state", "used_each_time", "stalled", "of_long_tasks"),
    [
        ("S", 0.0, 3.0, 3.0),  # blocked
        ("R", 1.0, 3.0, 0.0),  # runs on a core of its own
        ("R", 0.1, 0.3, 0.0),  # runs on a tenth of a core
        ("R", 0.0, 0.0, 0.0),  # waits for a core
        ("D", 0.0, 0.0, 0.0),  # waits for a disk
        ("S", 0.01, 3.0, 0.0),  # wakes for nothing, or reads a page now and then
    ],
)
def test_a_task_stalls_by_the_time_that_its_thread_had_and_not_by_that_of_others(
    monkeypatch: pytest.MonkeyPatch, state: str, used_each_time: float, stalled: float, of_long_tasks: float
) -> None:
    for activity, expected in ((Activity("writer"), stalled), (Activity("reader", may_run_long=True), of_long_tasks)):
        release = threading.Event()
        with task_of(activity, release.wait):
            states(monkeypatch, *(ThreadUsage(state, used_each_time * number) for number in range(4)))
            found = [activity.check(INTERVAL) for _ in range(4)]
            release.set()
        assert found[-1] == pytest.approx(expected)


def test_one_hung_thread_is_found_beside_those_that_finish_tasks() -> None:
    activity, release = Activity("ledger-reader", may_run_long=True), threading.Event()
    with task_of(activity, release.wait):
        until_blocked()
        ages = []
        for _ in range(4):
            with task_of(activity, int):
                pass
            ages.append(activity.check(INTERVAL))
        assert ages == [0, 1, 2, 3]
        release.set()


def test_tasks_that_no_thread_begins_stall_their_part_until_one_does() -> None:
    waiting = 3
    activity = Activity("ledger-writer", waiting=lambda: waiting)
    assert [activity.check(INTERVAL) for _ in range(3)] == [1, 2, 3]
    activity.run(int)
    assert activity.check(INTERVAL) == 0
    assert activity.check(INTERVAL) == 1
    waiting = 0
    with pytest.raises(ZeroDivisionError):
        activity.run(lambda: 1 / 0)
    assert [activity.check(INTERVAL) for _ in range(3)] == [0] * 3


USAGES = st.builds(ThreadUsage, st.sampled_from("RSDTZ"), st.floats(0, 1e6))


@given(USAGES, USAGES, st.floats(0.001, 10))
def test_own_time_is_within_the_interval_and_all_of_it_if_nothing_is_known(
    before: ThreadUsage, now: ThreadUsage, elapsed: float
) -> None:
    now = now._replace(cpu_seconds=before.cpu_seconds + now.cpu_seconds)
    assert 0 <= own_seconds(before, now, elapsed) <= elapsed
    assert own_seconds(None, now, elapsed) == own_seconds(before, None, elapsed) == elapsed
