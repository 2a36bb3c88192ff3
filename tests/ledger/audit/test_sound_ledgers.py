"""Whatever a server records, in any order, passes verification, at once and against a kept checkpoint."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.builders import full_ledger
from tests.support.builders.issued_forecasts import game, issued, recorded
from tests.support.builders.outcomes import outcome
from tests.support.fakes.clock import SteppedClock
from tests.support.harness.laws import examples
from tests.support.processes.empty_ledger import put_empty_ledger

from dejavu_ledger import Ledger, LedgerCorrupt, verify
from dejavu_ledger.audit.checkpoints import Signer
from dejavu_ledger.audit.entry_times import CLOCK_TOLERANCE, SignedTimes
from dejavu_ledger.copies.backup import back_up, restore
from dejavu_ledger.records import Checkpoint, IssuedForecast, ReportedOutcome
from dejavu_models.types import Horizon

pytestmark = pytest.mark.sqlite

FORECASTS = st.builds(
    full_ledger.recordable,
    st.integers(1, 2),
    slots=st.integers(1, 6),
    horizon=st.sampled_from(list(Horizon)),
    last=st.integers(-1, 1).map(float),
    market=st.booleans(),
)
OUTCOMES = st.builds(
    outcome,
    st.integers(1, 3),
    st.sampled_from([game(1), game(2)]),
    horizon=st.sampled_from(list(Horizon)),
)
STEPS = st.lists(st.lists(FORECASTS, min_size=1, max_size=4) | OUTCOMES | st.none(), max_size=14)


@settings(max_examples=examples(12), deadline=None)
@given(steps=STEPS, without_teams=st.booleans())
def test_what_a_ledger_takes_is_sound(
    steps: list[list[IssuedForecast] | ReportedOutcome | None], without_teams: bool
) -> None:
    async def run(path: Path) -> list[Checkpoint]:
        ledger = await Ledger.open(f"sqlite:///{path}")
        signer = Signer(ledger, path.with_name("key.pem"), seconds=1.0, clock=full_ledger.Clock())
        kept = [await signer.checkpoint()]
        for step in steps:
            if isinstance(step, list):
                now = datetime.now(UTC)
                await ledger.commit([replace(each, generated_time=now) for each in step])
            elif step is None:
                await signer.write_checkpoint()
                kept.append(await signer.checkpoint())
            else:
                reported = replace(step, home_team="", away_team="") if without_teams else step
                await ledger.record_outcome(reported)
        await ledger.close()
        return kept

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "ledger.db")
        put_empty_ledger(path)
        for kept in asyncio.run(run(path)):
            verify(f"sqlite:///{path}", kept)


async def test_a_forecast_that_waited_for_as_long_as_a_call_may_take_is_sound_and_one_that_is_older_is_not(
    ledger: Ledger, url: str, tmp_path: Path
) -> None:
    clock = SteppedClock(datetime.now(UTC))
    signer = Signer(ledger, tmp_path / "key.pem", seconds=60.0, clock=clock)
    await recorded(ledger, issued(game(1), generated_time=clock.now + timedelta(seconds=100)))
    await signer.write_checkpoint()
    await recorded(ledger, issued(game(2), generated_time=clock.now - timedelta(seconds=60)))
    assert verify(url).entries == 2
    await recorded(ledger, issued(game(3), generated_time=clock.now - timedelta(seconds=121)))
    with pytest.raises(LedgerCorrupt, match=r"entry 3: its time is .* recorded after a checkpoint that was signed at"):
        verify(url)
    assert verify(url, clock_tolerance=timedelta(seconds=130)).entries == 3
    with pytest.raises(LedgerCorrupt, match=r"entry 1: its time is .* is in a checkpoint that was signed at"):
        verify(url, clock_tolerance=timedelta(seconds=90))


async def test_a_clock_that_was_set_back_leaves_a_ledger_that_a_larger_tolerance_verifies_and_keeps(
    ledger: Ledger, url: str, tmp_path: Path
) -> None:
    clock = SteppedClock(datetime.now(UTC))
    signer = Signer(ledger, tmp_path / "key.pem", seconds=60.0, clock=clock)
    for number in (1, 2):
        await recorded(ledger, issued(game(number), generated_time=clock.now))
        await signer.write_checkpoint()
        clock.step(-3600)
    with pytest.raises(LedgerCorrupt, match="or the clock was set back"):
        verify(url)
    tolerance = timedelta(hours=2)
    assert verify(url, clock_tolerance=tolerance).checkpoints == 2
    kept = tmp_path / "backup.db"
    with pytest.raises(LedgerCorrupt, match="--clock-tolerance"):
        back_up(url, kept)
    assert back_up(url, kept, clock_tolerance=tolerance).entries == 2
    restored = f"sqlite:///{tmp_path}/restored.db"
    with pytest.raises(LedgerCorrupt, match="--clock-tolerance"):
        restore(kept, restored)
    assert restore(kept, restored, clock_tolerance=tolerance).entries == 2


@given(
    checkpoints=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 900)), max_size=6),
    sequence=st.integers(1, 10),
    at=st.integers(-300, 1200),
)
def test_an_entry_is_dated_after_every_checkpoint_before_it_and_before_every_one_that_contains_it(
    checkpoints: list[tuple[int, int]], sequence: int, at: int
) -> None:
    start = datetime(2026, 1, 15, tzinfo=UTC)
    signed = [
        Checkpoint("", "", number, b"", start + timedelta(seconds=second), b"", b"") for number, second in checkpoints
    ]
    tolerance = CLOCK_TOLERANCE.total_seconds()
    sound = all(
        (at <= second + tolerance if number >= sequence else at >= second - tolerance) for number, second in checkpoints
    )
    try:
        SignedTimes(signed).check(sequence, start + timedelta(seconds=at))
    except LedgerCorrupt:
        assert not sound
    else:
        assert sound
