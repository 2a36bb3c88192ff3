"""Laws of the limits of each caller, on plain data."""

from __future__ import annotations

from asyncio import CancelledError
from contextlib import AbstractContextManager, ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu_server.access.caller import Principal
from dejavu_server.admission.callers import (
    BURST_SECONDS,
    DAY_SECONDS,
    Caller,
    CallerLimits,
    Callers,
    address_of,
    is_loopback,
)
from dejavu_server.admission.refusals import CallerLimit

ENDS = ["goes on", "is recorded", "was known", "fails", "is cancelled"]


class Clock:
    def __init__(self) -> None:
        self.now = 20_000.0 * DAY_SECONDS

    def __call__(self) -> float:
        return self.now


def of(peer: str = "ipv4:10.0.0.1:1", identity: str = "") -> Caller:
    return Caller(Principal(identity, frozenset()), address_of(peer))


def call(callers: Callers, peer: str = "ipv4:10.0.0.1:1", *, stream: bool = False) -> AbstractContextManager[None]:
    return callers.counted(of(peer), stream=stream)


def refused(callers: Callers, rate: float | None = None) -> float | None:
    """Make a call; return after how many seconds it may be made if it was refused for its rate or its method's."""
    try:
        caller = of()
        with callers.counted(caller, stream=False):
            if rate is not None:
                caller.take_of_rate(rate, "publications")
            return None
    except CallerLimit as error:
        return error.retry_seconds


@given(
    st.integers(1, 5),
    st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.sampled_from(["call", "end", "fail"])), max_size=100),
)
def test_no_caller_has_more_in_progress_than_its_limit_and_every_end_gives_its_place_back(
    most: int, steps: list[tuple[str, bool, str]]
) -> None:
    callers = Callers(CallerLimits(calls=most, streams=most), Clock())
    open_calls: dict[tuple[str, bool], list[ExitStack]] = {}
    for name, stream, step in steps:
        mine = open_calls.setdefault((name, stream), [])
        if step == "call":
            stack = ExitStack()
            if len(mine) < most:
                stack.enter_context(callers.counted(of(identity=name), stream=stream))
                mine.append(stack)
            else:
                with pytest.raises(CallerLimit) as caught:
                    stack.enter_context(callers.counted(of(identity=name), stream=stream))
                assert caught.value.limit == ("streams" if stream else "calls")
        elif mine and step == "end":
            mine.pop().close()
        elif mine:
            with pytest.raises(ZeroDivisionError), mine.pop():
                raise ZeroDivisionError
    for mine in open_calls.values():
        for stack in mine:
            stack.close()


@given(st.floats(0.5, 50), st.sampled_from([None, 100.0, 1000.0]), st.lists(st.floats(0, 2), min_size=1, max_size=100))
def test_a_caller_gets_its_rate_or_that_of_a_method_and_one_burst_and_no_more(
    rate: float, of_caller: float | None, pauses: list[float]
) -> None:
    clock = Clock()
    callers = Callers(CallerLimits(rate=of_caller or rate), clock)
    of_method = rate if of_caller else None
    start, made = clock.now, 0
    for pause in pauses:
        clock.now += pause
        for _ in range(2):  # a method that costs more is told its own wait once the call itself may be made
            if (retry := refused(callers, of_method)) is None:
                break
            clock.now += retry + 3 / (of_caller or 3e3)
        else:
            assert refused(callers, of_method) is None, "it waited as it was told"
        made += 1
    assert made <= max(1.0, rate * BURST_SECONDS) + rate * (clock.now - start) + 1


def test_callers_of_this_machine_are_limited_only_if_told_so() -> None:
    for peer in ("ipv4:127.0.0.1:4", "ipv6:[::1]:4", "ipv6:%5B::1%5D:4", "ipv4:127.9.9.9:4", "unix:/run/x"):
        with ExitStack() as stack:
            callers = Callers(CallerLimits(calls=1), Clock())
            for _ in range(3):
                stack.enter_context(call(callers, peer))
            assert len(callers) == 0
        limited = Callers(CallerLimits(calls=1, loopback=True), Clock())
        with call(limited, peer), pytest.raises(CallerLimit), call(limited, peer):
            pass


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:10.0.0.1:50000", "10.0.0.1"),
        ("ipv6:[2001:db8:1:2:3::4]:50000", "2001:db8:1:2::/64"),
        ("ipv6:%5B2001:db8:1:2:ffff::9%5D:1", "2001:db8:1:2::/64"),
        ("ipv6:[::ffff:10.0.0.1]:5", "10.0.0.1"),
        ("ipv6:[fe80::1%25eth0]:5", "fe80::/64"),
        ("ipv6:[::1]:5", "::1"),
        ("unix:/run/dejavu", "unix:/run/dejavu"),
    ],
)
def test_the_address_of_a_peer(peer: str, address: str) -> None:
    assert address_of(peer) == address
    assert is_loopback(address) == (address in {"::1", "unix:/run/dejavu"})


@given(st.lists(st.integers(0, 400), max_size=300))
def test_any_number_of_addresses_takes_a_bounded_amount_of_memory(numbers: list[int]) -> None:
    callers = Callers(CallerLimits(calls=1), Clock(), most=10)
    with call(callers, "ipv4:10.9.9.9:1"):
        for number in numbers:
            with call(callers, f"ipv4:10.0.{number // 256}.{number % 256}:1"):
                pass
            assert len(callers) <= 10
        with pytest.raises(CallerLimit), call(callers, "ipv4:10.9.9.9:2"):
            pass  # one that has a call in progress is not forgotten


def test_what_is_recorded_is_limited_by_day() -> None:
    clock = Clock()
    callers = Callers(CallerLimits(games=2, game_forecasts=2, ledger_bytes=100), clock)

    def record(games: set[str], size: int) -> None:
        caller = of()
        entries = [(game, size // len(games)) for game in games]
        with callers.counted(caller, stream=False), caller.reserved(entries):
            pass

    record({"a", "b"}, 50)
    record({"a"}, 50)
    for games, size, limit in (({"c"}, 0, "games"), ({"a"}, 0, "game_forecasts"), ({"b"}, 1, "ledger_bytes")):
        with pytest.raises(CallerLimit) as caught:
            record(games, size)
        assert caught.value.limit == limit
        assert 0 < caught.value.retry_seconds <= DAY_SECONDS
    clock.now += DAY_SECONDS
    record({"c", "d"}, 100)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 60), st.sampled_from(ENDS)), max_size=20))
def test_calls_in_progress_count_and_those_that_recorded_nothing_do_not(calls: list[tuple[str, int, str]]) -> None:
    callers, caller = Callers(CallerLimits(games=2, ledger_bytes=100), Clock()), of()
    counted: list[tuple[str, int]] = []
    with callers.counted(caller, stream=False), ExitStack() as goes_on:
        for entry in calls:
            game, size, end = entry
            fits = len({game, *(game for game, _ in counted)}) <= 2 and size + sum(size for _, size in counted) <= 100
            block = ExitStack()
            try:
                unused = block.enter_context(caller.reserved([(game, size)]))
            except CallerLimit:
                assert not fits
                continue
            assert fits
            if end == "goes on":
                goes_on.push(block)
            elif end == "fails":
                with pytest.raises(OSError, match="a disk"), block:
                    raise OSError("a disk")
            elif end == "is cancelled":
                with pytest.raises(CancelledError), block:
                    raise CancelledError
            else:
                if end == "was known":
                    unused.append((game, size))
                block.close()
            if end not in {"fails", "was known"}:
                counted.append((game, size))
