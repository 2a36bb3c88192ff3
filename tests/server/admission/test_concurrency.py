"""Laws of the limit on calls in progress, on plain data."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dejavu_server.admission.concurrency import BURST_SECONDS, CALM_SECONDS, ConcurrencyLimit

LIMITS = st.tuples(st.integers(1, 20), st.integers(0, 40)).map(lambda pair: (pair[0], pair[0] + pair[1]))
STEPS = st.lists(st.tuples(st.sampled_from(["acquire", "acquire", "release"]), st.floats(0, 0.3)), max_size=200)


@given(LIMITS, STEPS)
def test_never_more_than_the_burst_nor_after_it_more_than_the_limit_are_let_in(
    limits: tuple[int, int], steps: list[tuple[str, float]]
) -> None:
    limit, burst = limits
    concurrency = ConcurrencyLimit(limit, burst)
    now, counted, above_since = 0.0, 0, None
    for step, later in steps:
        now += later
        if step == "release":
            if counted:
                concurrency.release()
                counted -= 1
            continue
        let_in = concurrency.acquire(now)
        if counted < limit:
            assert let_in, "there was room"
        if let_in and counted >= limit:
            assert counted < burst
            above_since = now if above_since is None or now - above_since > CALM_SECONDS else above_since
            assert now - above_since < BURST_SECONDS, "the queue stands"
        counted += let_in
        assert concurrency.in_progress == counted <= burst


def test_a_burst_is_let_in_again_only_after_a_calm() -> None:
    concurrency = ConcurrencyLimit(1, 3)
    assert [concurrency.acquire(0.0) for _ in range(4)] == [True, True, True, False]
    concurrency.release()
    assert not concurrency.acquire(BURST_SECONDS)
    for _ in range(2):
        concurrency.release()
    assert [concurrency.acquire(BURST_SECONDS + CALM_SECONDS / 2) for _ in range(2)] == [True, False]
    later = BURST_SECONDS + 2 * CALM_SECONDS
    assert [concurrency.acquire(later) for _ in range(3)] == [True, True, False]
