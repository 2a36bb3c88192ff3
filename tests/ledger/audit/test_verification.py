"""Verification of a ledger: what is sound, when an entry may be dated, and what is named that is not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.support.builders.evening_events import FINAL, GAME, HALF
from tests.support.builders.issued_forecasts import game, issued, recorded
from tests.support.builders.record_book import forecast, new_book
from tests.support.fakes.clock import SteppedClock

from dejavu_feed.moment import Moment
from dejavu_ledger import Ledger, LedgerCorrupt, verify
from dejavu_ledger.audit.checkpoints import SignedTimes
from dejavu_ledger.copies import back_up, restore
from dejavu_ledger.records import Checkpoint
from dejavu_models.types import Horizon
from dejavu_server.worker.signer import Signer

pytestmark = pytest.mark.sqlite


@pytest.mark.parametrize(
    ("moment", "minute", "horizon", "fault"),
    [
        (Moment(4, 42.5, 3), 47, FINAL, None),
        (Moment(4, 42.5, 3), 46, FINAL, "pattern is 46 slots; expected 47"),
        (Moment(5, 0.0, 3), 47, FINAL, "the end of the game"),
        (Moment(3, 600.0, 3), 23, HALF, "a moment of the first half"),  # it would be one with hindsight
        (Moment(4, 42.5, 3, 5), 47, FINAL, "moment.free_throws is 5"),
    ],
)
def test_an_impossible_moment_is_no_sound_record(
    tmp_path: Path, moment: Moment, minute: int, horizon: Horizon, fault: str | None
) -> None:
    with new_book(tmp_path) as book:
        made = forecast(GAME, minute=minute, horizon=horizon)  # the minute need not be that of the moment
        book.predict(replace(made, forecast=replace(made.forecast, moment=moment)))
    if fault is None:
        assert verify(f"sqlite:///{tmp_path / 'ledger.db'}").forecasts == 1
        return
    with pytest.raises(LedgerCorrupt, match=fault):
        verify(f"sqlite:///{tmp_path / 'ledger.db'}")


async def test_a_clock_that_was_set_back_leaves_a_ledger_that_a_larger_tolerance_verifies_and_keeps(
    ledger: Ledger, url: str, tmp_path: Path
) -> None:
    clock = SteppedClock(datetime.now(UTC))
    signer = Signer(lambda: ledger, tmp_path / "key.pem", seconds=60.0, clock=clock)
    for number in (1, 2):
        await recorded(ledger, issued(game(number), generated_time=clock.now))
        await signer.write_checkpoint()
        clock.step(-3600)
    kept, restored, tolerance = tmp_path / "backup.db", f"sqlite:///{tmp_path}/restored.db", timedelta(hours=2)
    for does in (lambda **given: back_up(url, kept, **given), lambda **given: restore(kept, restored, **given)):
        with pytest.raises(LedgerCorrupt, match=r"or the clock was set back.*--clock-tolerance"):
            does()
        assert does(clock_tolerance=tolerance).sequence == 2
    assert verify(url, clock_tolerance=tolerance).checkpoints == 2


@given(
    checkpoints=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 900)), max_size=6),
    sequence=st.integers(1, 10),
    at=st.integers(-300, 1200),
)
@example(checkpoints=[(1, 500), (3, 100)], sequence=4, at=200)  # after one that was signed later
@example(checkpoints=[(1, 500), (2, 500), (3, 100)], sequence=1, at=300)  # in one that was signed earlier
@example(checkpoints=[(3, 120)], sequence=3, at=240)
@example(checkpoints=[(3, 120)], sequence=4, at=0)
def test_an_entry_is_dated_after_every_checkpoint_before_it_and_before_every_one_that_contains_it(
    checkpoints: list[tuple[int, int]], sequence: int, at: int
) -> None:
    start = datetime(2026, 1, 15, tzinfo=UTC)
    signed = [
        Checkpoint("", "", number, b"", start + timedelta(seconds=second), b"", b"") for number, second in checkpoints
    ]
    tolerance = 120  # as long as a call may take, and a server's clock may be wrong
    sound = all(
        (at <= second + tolerance if number >= sequence else at >= second - tolerance) for number, second in checkpoints
    )
    try:
        SignedTimes(signed).check(sequence, start + timedelta(seconds=at))
    except LedgerCorrupt:
        assert not sound
    else:
        assert sound
