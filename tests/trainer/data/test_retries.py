"""Rate limit and retries of requests to the NBA's statistics: spacing, backoff and giving up."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.harness.fetch import Notes

from dejavu_feed.errors import FeedError, FeedUnavailable, IncompleteGame, MalformedFeed
from dejavu_trainer.data.retries import FetchStopped, RetriesExhausted, RetryingClient


class Time:
    """Fake clock that advances during sleeps and requests."""

    def __init__(self, chance: float = 1.0) -> None:
        self.now = 1000.0
        self.slept: list[float] = []
        self.notes = Notes()
        self.chance = chance

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def asker(self, **options: Any) -> RetryingClient:
        clock: dict[str, Any] = {"clock": lambda: self.now, "sleep": self.sleep, "chance": lambda: self.chance}
        return RetryingClient(self.notes.waiting, **clock, **options)


def failing(*errors: FeedError) -> Callable[[], str]:
    """Return a request that raises these errors, one per call, and then succeeds."""
    left = list(errors)

    def question() -> str:
        if left:
            raise left.pop(0)
        return "answer"

    return question


OUTCOMES = (None, MalformedFeed("garbage"), FeedUnavailable("403"), FeedUnavailable("429", retry_after=1.0))


@given(
    requests=st.lists(st.tuples(st.floats(0, 40), st.sampled_from(OUTCOMES)), max_size=30),
    chance=st.floats(0, 1),
    first_wait=st.floats(0, 3),
)
def test_between_any_two_requests_there_is_the_spacing(
    requests: list[tuple[float, FeedError | None]], chance: float, first_wait: float
) -> None:
    """Holds for any durations and failures, and before the first request, since a fetch may just have been killed."""
    time = Time(chance)
    asker = time.asker(spacing=0.6, max_attempts=3, first_wait=first_wait)
    asked = [(time.now, time.now)]

    def question() -> None:
        took, error = requests.pop(0) if requests else (0.0, None)
        time.now += took
        asked.append((time.now - took, time.now))
        if error is not None:
            raise error

    while requests:
        try:
            asker.call(question)
        except RetriesExhausted:
            time.now += 0.1
    assert all(then - ended >= 0.6 - 1e-9 for (_, ended), (then, _) in pairwise(asked))


@given(chance=st.floats(0, 1))
def test_another_try_waits_twice_as_long_up_to_a_minute_and_chance_takes_at_most_half(chance: float) -> None:
    time = Time(chance)
    errors = [FeedUnavailable(f"status {code}") for code in (403, 429, 500, 503, 403, 500, 500)]
    assert time.asker(spacing=0.0, max_attempts=8).call(failing(*errors)) == "answer"
    longest = [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    assert all(most / 2 <= slept <= most for slept, most in zip(time.slept, longest, strict=True))
    assert time.notes.waits[0] == (time.slept[0], "status 403")


def test_what_the_service_says_is_waited_for() -> None:
    time = Time()
    told = [FeedUnavailable("status 429", retry_after=45.0), FeedUnavailable("status 429", retry_after=0.0)]
    time.asker(spacing=0.0).call(failing(*told))
    assert time.slept == [45.0, 4.0]


STOPPED = "status 429: the service asks to retry in 60 min"


@pytest.mark.parametrize(
    ("error", "raised", "text", "waits"),
    [
        (FeedUnavailable("status 500"), RetriesExhausted, "status 500, after 5 attempts", 4),
        (FeedUnavailable("status 404", transient=False), RetriesExhausted, "status 404, after 1 attempt", 0),
        (IncompleteGame("no plays"), IncompleteGame, "no plays", 0),
        (FeedUnavailable("status 429", retry_after=3600.0), FetchStopped, STOPPED, 0),
    ],
)
def test_it_gives_up_after_so_many_tries_or_at_once(
    error: FeedError, raised: type[FeedError], text: str, waits: int
) -> None:
    time = Time()
    with pytest.raises(raised, match=f"^{text}$"):
        time.asker().call(failing(*[error] * 9))
    assert len(time.notes.waits) == waits
