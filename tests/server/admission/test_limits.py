"""Laws of the limits of a worker: calls in progress by kind, quotas of callers, streams that last."""

from __future__ import annotations

from asyncio import CancelledError
from contextlib import ExitStack, nullcontext, suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu_ledger.ledger import MODEL_CHANGE
from dejavu_models.errors import DejavuError
from dejavu_server import limits
from dejavu_server.access.caller import Principal
from dejavu_server.access.policy import CallKind
from dejavu_server.limits import BURST_SECONDS, DAY_SECONDS, Caller, CallerLimit, Limits, Overloaded, WatchLimit
from dejavu_server.settings import Settings

MEBIBYTE = 1024 * 1024
OF_CALLERS = [CallKind.PREDICT, CallKind.BATCH, CallKind.RECORD, CallKind.REPORT, CallKind.STREAM]
UNLIMITED = {"caller_calls": 0, "caller_rate": 0, "caller_streams": 0, "caller_games": 0, "caller_ledger_mib": 0}


class Worker:
    """The limits of a worker with the given settings, and no others of callers."""

    def __init__(self, most_callers: int = 10, **settings: Any) -> None:
        self.now = 20_000.0 * DAY_SECONDS
        self.limits = Limits(
            Settings(**(UNLIMITED | settings)),
            clock=lambda: self.now,
            today=lambda: self.now,
            most_callers=most_callers,
        )
        self.ended: list[DejavuError] = []

    def take(self, kind: CallKind, caller: Caller | None = None) -> ExitStack:
        return self.limits.take(kind, caller or of(), self.ended.append)

    def taken(self, kind: CallKind, calls: int, *names: str) -> list[ExitStack]:
        """Make calls of callers in turn; return those that were admitted."""
        places = []
        for number in range(calls):
            try:
                places.append(self.take(kind, of(names[number % len(names)])))
            except (Overloaded, CallerLimit):
                continue
        return places

    def record(self, *entries: tuple[str, int]) -> None:
        caller = of()
        with self.take(CallKind.REPORT, caller), caller.reserved(entries):
            pass


def of(identity: str = "", address: str = "10.0.0.1") -> Caller:
    return Caller(Principal(identity, frozenset()), address)


def test_each_kind_has_places_of_its_own() -> None:
    """So health is answered, and watched, when all places of other kinds are taken."""
    worker = Worker(max_in_flight=4, max_streams=3)
    held = {kind: worker.taken(kind, 50, "busy") for kind in OF_CALLERS}
    assert [len(places) for places in held.values()] == [12, 1, 12, 3, 3]
    for kind in (CallKind.WATCH, CallKind.CONTROL):
        assert len(worker.taken(kind, 1000, "busy")) == 1000
    for kind, places in held.items():
        for place in (*places, *places):  # the second time is nothing
            place.close()
        assert not worker.limits.in_progress(kind)


@given(st.integers(1, 3), st.lists(st.tuples(st.booleans(), st.floats(0, 0.3)), max_size=200))
def test_no_more_than_the_burst_and_then_the_limit_are_let_in(limit: int, steps: list[tuple[bool, float]]) -> None:
    worker, held, above_since = Worker(max_in_flight=limit), list[ExitStack](), float("-inf")
    for ends, later in steps:
        worker.now += later
        if ends and held:
            held.pop().close()
        before = len(held)
        held += worker.taken(CallKind.PREDICT, 1, "a")
        if before < limit:
            assert len(held) > before, "there was room"
        elif len(held) > before:
            assert len(held) <= 3 * limit
            above_since = worker.now if worker.now - above_since > limits.CALM_SECONDS else above_since
            assert worker.now - above_since < BURST_SECONDS + 1e-6, "the queue stands"


def test_callers_with_few_calls_have_places_that_busy_ones_cannot_take() -> None:
    for kind, of_busy, of_idle in (
        (CallKind.PREDICT, 64, 5),  # the reserve comes on top
        (CallKind.BATCH, 12, 1),
        (CallKind.RECORD, 192, 16),
        (CallKind.REPORT, 48, 4),
    ):
        worker = Worker(max_in_flight=64)
        for place in worker.taken(kind, 1000, "a", "b", "c"):  # a burst
            place.close()
        worker.now += 5 * BURST_SECONDS
        assert len(worker.taken(kind, 1000, "a", "b", "c")) == of_busy
        assert [len(worker.taken(kind, 1000, name)) for name in ("idle", "other")] == [of_idle] * 2


def test_beyond_all_watches_the_oldest_of_the_caller_with_most_ends() -> None:
    worker = Worker(max_rss=1)
    places = worker.taken(CallKind.WATCH, 1000, "many")
    assert worker.ended == []
    with pytest.raises(WatchLimit):
        worker.take(CallKind.WATCH, of("many"))
    places.append(worker.take(CallKind.WATCH, of("few")))
    assert [type(error) for error in worker.ended] == [WatchLimit]
    places[0].close()  # the one that has ended
    with pytest.raises(WatchLimit):
        worker.take(CallKind.WATCH, of("many"))


def test_a_caller_s_calls_are_limited_and_an_ended_one_makes_room() -> None:
    rows: Any = (
        ([CallKind.PREDICT, CallKind.RECORD, CallKind.REPORT], "calls", 64),
        ([CallKind.BATCH], "batches", 8),  # half of the places
        ([CallKind.STREAM], "streams", 100),
        ([CallKind.WATCH], "streams", 1000),
    )
    for kinds, limit, most in rows:
        worker = Worker(caller_calls=64, caller_streams=100)
        held = [worker.take(kinds[number % len(kinds)]) for number in range(most)]
        with pytest.raises(CallerLimit) as caught:
            worker.take(kinds[0])
        assert caught.value.limit == limit
        worker.take(kinds[0], of("another")).close()
        held.pop().close()
        worker.take(kinds[0])


@given(st.floats(0.5, 50), st.sampled_from([None, 100.0, 1000.0]), st.lists(st.floats(0, 2), min_size=1, max_size=100))
def test_a_caller_gets_its_rate_and_one_burst(rate: float, of_caller: float | None, pauses: list[float]) -> None:
    worker = Worker(caller_rate=of_caller or rate)
    start, made = worker.now, 0

    def wait() -> float | None:
        """Make a call; return after how many seconds it may be made if it was refused."""
        caller = of()
        try:
            with worker.take(CallKind.REPORT, caller):
                if of_caller:
                    caller.take_of_rate(rate, "publications")
        except CallerLimit as error:
            return error.retry_seconds
        return None

    for pause in pauses:
        worker.now += pause
        for _ in range(2):  # a method that costs more is told its own wait once the call itself may be made
            if (retry := wait()) is None:
                break
            worker.now += retry + 3 / (of_caller or 3e3)
        else:
            assert wait() is None, "it waited as it was told"
        made += 1
    assert made <= max(1.0, rate * limits.RATE_BURST_SECONDS) + rate * (worker.now - start) + 1


def test_callers_are_addresses_and_local_ones_are_limited_only_if_told() -> None:
    for peer, address, local in (
        ("ipv4:10.0.0.1:50000", "10.0.0.1", False),
        ("ipv6:%5B2001:db8:1:2:ffff::9%5D:1", "2001:db8:1:2::/64", False),
        ("ipv6:[::ffff:10.0.0.1]:5", "10.0.0.1", False),
        ("ipv6:[fe80::1%25eth0]:5", "fe80::/64", False),
        ("ipv4:127.9.9.9:4", "127.9.9.9", True),
        ("ipv6:%5B::1%5D:5", "::1", True),
        ("unix:/run/dejavu", "unix:/run/dejavu", True),
    ):
        assert (limits.address_of(peer), limits.is_loopback(address)) == (address, local)
        for loopback, refused in (("off", not local), ("on", True)):
            worker = Worker(caller_calls=1, caller_loopback=loopback)
            place = worker.take(CallKind.RECORD, of(address=address))
            with pytest.raises(CallerLimit) if refused else nullcontext():
                worker.take(CallKind.RECORD, of(address=address))
            place.close()


@given(st.lists(st.integers(0, 40), max_size=100))
def test_callers_without_calls_are_forgotten_first(numbers: list[int]) -> None:
    """Any number of addresses takes a bounded amount of memory."""
    worker = Worker(most_callers=2, caller_calls=1)
    with worker.take(CallKind.PREDICT, of("busy")):
        for number in numbers:
            worker.take(CallKind.PREDICT, of(str(number))).close()
        with pytest.raises(CallerLimit):
            worker.take(CallKind.PREDICT, of("busy"))


def test_what_is_recorded_is_limited_by_day() -> None:
    rows: Any = (
        ("games", [("a", 1), ("b", 1)], ("c", 1), ("a", 1)),
        ("game_forecasts", [("a", 1)] * limits.GAME_FORECASTS, ("a", 1), ("b", 1)),
        ("ledger_bytes", [("a", MEBIBYTE)], ("a", 1), ("a", 0)),
        ("model_changes", [MODEL_CHANGE] * limits.MODEL_CHANGES, MODEL_CHANGE, ("a", 1)),
    )
    for limit, recorded, beyond, still in rows:
        worker = Worker(caller_games=2, caller_ledger_mib=1, max_game_forecasts=100)
        worker.record(*recorded)
        with pytest.raises(CallerLimit) as caught:
            worker.record(beyond)
        assert (caught.value.limit, 0 < caught.value.retry_seconds <= DAY_SECONDS) == (limit, True)
        worker.record(still)
        worker.now += DAY_SECONDS
        worker.record(beyond)


def test_unrecorded_entries_do_not_count() -> None:
    rows: Any = (
        ([], None, True),
        ([("a", 1)], None, False),  # it was recorded before
        ([], OSError("a full disk"), False),
        ([], CancelledError(), True),  # it may still be recorded
    )
    for unused, error, counts in rows:
        worker, caller = Worker(caller_games=1), of()
        place = worker.take(CallKind.REPORT, caller)
        with suppress(OSError, CancelledError), place, caller.reserved([("a", 1)]) as not_recorded:
            with pytest.raises(CallerLimit):
                worker.record(("b", 1))
            not_recorded.extend(unused)
            if error is not None:
                raise error
        with pytest.raises(CallerLimit) if counts else nullcontext():
            worker.record(("b", 1))
