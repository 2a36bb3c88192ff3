"""Watchdog of the waits of a synchronous stream."""

from __future__ import annotations

import threading

from dejavu_client.transport.watchdog import Watchdog


def test_a_wait_that_lasts_too_long_is_cancelled() -> None:
    cancelled = threading.Event()
    watchdog = Watchdog(0.02, cancelled.set)
    with watchdog.waiting():
        assert cancelled.wait(10)
    assert watchdog.fired


def test_time_between_waits_does_not_count() -> None:
    cancelled = threading.Event()
    watchdog = Watchdog(0.02, cancelled.set)
    with watchdog.waiting():
        pass
    assert not cancelled.wait(0.1)
    watchdog.stop()
    assert not watchdog.fired


def test_a_stopped_watch_cancels_nothing() -> None:
    cancelled = threading.Event()
    watchdog = Watchdog(0.02, cancelled.set)
    watchdog.stop()
    with watchdog.waiting():
        assert not cancelled.wait(0.1)
