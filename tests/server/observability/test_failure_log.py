from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from dejavu_common.failure_log import REMINDER_SECONDS, SETTLED_SECONDS, FailureLog

DISK_FULL = OSError("disk full")


class Failing(FailureLog):
    """A failure log whose clock advances only when a test sets it."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        super().__init__(structlog.get_logger(), failed="failing", recovered="fine_again", clock=lambda: self.now)


@pytest.fixture
def trouble() -> Failing:
    return Failing()


@pytest.fixture
def log() -> Iterator[list[MutableMapping[str, Any]]]:
    with capture_logs() as entries:
        yield entries


def test_the_first_failure_is_told_in_full_and_its_end_once(trouble: Failing, log: list[Any]) -> None:
    trouble.succeeded()
    assert not log
    trouble.failed(DISK_FULL, method="/x")
    trouble.failed(DISK_FULL)
    trouble.now += SETTLED_SECONDS
    trouble.succeeded()
    trouble.succeeded()
    assert log == [
        {"event": "failing", "log_level": "error", "error": "disk full", "exc_info": DISK_FULL, "method": "/x"},
        {"event": "fine_again", "log_level": "info", "failures": 2, "seconds": SETTLED_SECONDS},
    ]


def test_those_that_follow_are_counted_in_a_line_now_and_then(trouble: Failing, log: list[Any]) -> None:
    for _ in range(2 * 1000 + 1):
        trouble.failed(DISK_FULL)
        trouble.now += REMINDER_SECONDS / 1000
    _, *reminders = log
    assert [entry["failures"] for entry in reminders] == pytest.approx([1001, 2001], abs=1)
    assert all(entry["error"] == "disk full" and "exc_info" not in entry for entry in reminders)
    assert reminders[0]["seconds"] == pytest.approx(REMINDER_SECONDS, abs=0.1)


def test_failures_between_successes_are_one_trouble_and_one_that_was_away_for_long_is_a_new_one(
    trouble: Failing, log: list[Any]
) -> None:
    for _ in range(100):
        trouble.failed(DISK_FULL)
        trouble.now += SETTLED_SECONDS / 10
        trouble.succeeded()
    assert len(log) == 1
    trouble.now += REMINDER_SECONDS
    trouble.failed(DISK_FULL)
    assert log[-1]["exc_info"] == DISK_FULL
