from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from dejavu_common.failure_log import REMINDER_SECONDS, SETTLED_SECONDS, FailureLog

DISK_FULL = OSError("disk full")


class Clock:
    """Clock that advances only when a test sets it."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def trouble(clock: Clock) -> FailureLog:
    return FailureLog(structlog.get_logger(), failed="failing", recovered="fine_again", clock=clock)


@pytest.fixture
def log() -> Iterator[list[MutableMapping[str, Any]]]:
    with capture_logs() as entries:
        yield entries


def test_the_first_failure_is_told_in_full(trouble: FailureLog, log: list[MutableMapping[str, Any]]) -> None:
    trouble.failed(DISK_FULL, method="/x")
    [entry] = log
    assert (entry["event"], entry["log_level"]) == ("failing", "error")
    assert (entry["error"], entry["exc_info"], entry["method"]) == ("disk full", DISK_FULL, "/x")


def test_those_that_follow_are_counted_in_a_line_now_and_then(
    trouble: FailureLog, clock: Clock, log: list[MutableMapping[str, Any]]
) -> None:
    for _ in range(2 * 1000 + 1):
        trouble.failed(DISK_FULL)
        clock.now += REMINDER_SECONDS / 1000
    _, *reminders = log
    assert [entry["failures"] for entry in reminders] == pytest.approx([1001, 2001], abs=1)
    assert all(entry["error"] == "disk full" and "exc_info" not in entry for entry in reminders)
    assert reminders[0]["seconds"] == pytest.approx(REMINDER_SECONDS, abs=0.1)


def test_its_end_is_told_once(trouble: FailureLog, clock: Clock, log: list[MutableMapping[str, Any]]) -> None:
    trouble.succeeded()
    assert not log
    trouble.failed(DISK_FULL)
    trouble.failed(DISK_FULL)
    clock.now += SETTLED_SECONDS
    trouble.succeeded()
    trouble.succeeded()
    assert log[1:] == [{"event": "fine_again", "log_level": "info", "failures": 2, "seconds": SETTLED_SECONDS}]


def test_failures_between_successes_are_one_trouble(
    trouble: FailureLog, clock: Clock, log: list[MutableMapping[str, Any]]
) -> None:
    for _ in range(100):
        trouble.failed(DISK_FULL)
        clock.now += SETTLED_SECONDS / 10
        trouble.succeeded()
    assert len(log) == 1


def test_one_that_was_away_for_long_is_a_new_one(
    trouble: FailureLog, clock: Clock, log: list[MutableMapping[str, Any]]
) -> None:
    for _ in range(2):
        trouble.failed(DISK_FULL)
        clock.now += REMINDER_SECONDS
    assert [entry["exc_info"] for entry in log] == [DISK_FULL, DISK_FULL]
