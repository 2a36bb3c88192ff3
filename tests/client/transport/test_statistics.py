"""Call statistics: counts, bounded memory, logging."""

from __future__ import annotations

import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu_client.transport.statistics import WINDOW, CallRecorder

SECONDS = st.floats(0, 0.1)


@given(st.lists(SECONDS, min_size=1, max_size=100))
def test_figures_are_those_of_all_calls(durations: list[float]) -> None:
    recorder = CallRecorder("here")
    for seconds in durations:
        recorder.record("Predict", seconds)
    figures = recorder.snapshot().methods["Predict"]
    assert figures.count == len(durations)
    assert figures.mean == pytest.approx(sum(durations) / len(durations))
    assert (figures.min, figures.max) == (min(durations), max(durations))
    within = sum(seconds <= figures.p95 for seconds in durations)
    assert figures.p95 in durations
    assert within >= math.ceil(0.95 * len(durations))


def test_the_p95_is_of_the_newest_calls_and_memory_is_bounded() -> None:
    recorder = CallRecorder("here")
    for seconds in [0.1] * WINDOW + [0.01] * WINDOW:
        recorder.record("Predict", seconds)
    figures = recorder.snapshot().methods["Predict"]
    assert (figures.count, figures.p95, figures.max) == (2 * WINDOW, 0.01, 0.1)


@pytest.mark.parametrize("error", [TimeoutError, asyncio.CancelledError, KeyboardInterrupt, ValueError])
def test_whatever_ends_a_call_without_an_answer_is_an_error(error: type[BaseException]) -> None:
    recorder = CallRecorder("here")
    with pytest.raises(error), recorder.call("Predict"):
        raise error
    figures = recorder.snapshot().methods["Predict"]
    assert (figures.count, figures.errors) == (1, 1)


def test_slow_calls_of_a_method_are_one_line_in_ten_seconds_with_the_number_of_those_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    times = iter((0.0, 0.1, 9.9, 10.0, 20.0, 20.0))
    recorder = CallRecorder("here", now=lambda: next(times))
    for method in ["Predict"] * 5 + ["AssessRisk"]:
        recorder.record(method, 0.3)
    fields = [vars(record)["fields"] for record in caplog.records]
    assert [(each["method"], each.get("left_out")) for each in fields] == [
        ("Predict", None),
        ("Predict", 2),
        ("Predict", None),
        ("AssessRisk", None),
    ]
    assert recorder.snapshot().methods["Predict"].count == 5
