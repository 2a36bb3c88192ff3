"""No forecast is recorded with hindsight, in whatever order workers forecast and report outcomes."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.builders.issued_forecasts import GAME, game, issued, recorded
from tests.support.builders.outcomes import outcome
from tests.support.harness.laws import examples
from tests.support.processes.empty_ledger import empty_ledger

from dejavu_ledger import Ledger, OutcomeAlreadyRecorded, verify
from dejavu_ledger.records import IssuedForecast, ReportedOutcome
from dejavu_models.results import Failed
from dejavu_models.types import Horizon

HALF, FINAL = Horizon.HALFTIME, Horizon.FINAL


def minutes(count: int, horizon: Horizon = HALF, *, last: float = 0.0, game_id: str = GAME) -> IssuedForecast:
    return issued(game_id, (*[0.0] * (count - 1), last), horizon=horizon)


async def refused(ledger: Ledger, *forecasts: IssuedForecast) -> list[bool]:
    return [isinstance(answer, Failed) for answer in await ledger.commit(forecasts)]


@pytest.mark.parametrize(
    ("known", "asked"),
    [
        (
            HALF,
            {
                minutes(18): True,
                minutes(23): True,
                minutes(18, FINAL): True,
                minutes(23, FINAL): True,
                minutes(24, FINAL): False,
                minutes(47, FINAL): False,
            },
        ),
        (FINAL, {minutes(18): True, minutes(18, FINAL): True, minutes(47, FINAL): True}),
    ],
    ids=["half", "final"],
)
async def test_nothing_new_is_recorded_of_what_is_known_and_no_other_is_kept_out(
    ledger: Ledger, known: Horizon, asked: dict[IssuedForecast, bool]
) -> None:
    await ledger.record_outcome(outcome(3, horizon=known))
    other = minutes(18, game_id=game(2))
    assert await refused(ledger, *asked, other) == [*asked.values(), False]


async def test_why_is_told(ledger: Ledger) -> None:
    await ledger.record_outcome(outcome(3, game(2)))
    await ledger.record_outcome(outcome(4, game(2)))
    [answer] = await ledger.commit([minutes(18, game_id=game(2))])
    assert isinstance(answer, Failed)
    assert isinstance(answer.error, OutcomeAlreadyRecorded)
    assert answer.error.reason == "OUTCOME_KNOWN"
    assert str(answer.error).startswith(f"the outcome of game {game(2)} at halftime is recorded (ledger entry 2)")


async def test_a_stored_forecast_is_still_answered_and_a_revision_refused(ledger: Ledger) -> None:
    [stored] = await recorded(ledger, minutes(18))
    await ledger.record_outcome(outcome(3))
    assert await ledger.commit([minutes(18)]) == [stored]
    assert await refused(ledger, minutes(18, last=2.0), minutes(18)) == [True, False]
    assert await ledger.head() == 2


forecasts = st.builds(
    lambda number, count, horizon, last: minutes(
        min(count, horizon.last_slot), horizon, last=last, game_id=game(number)
    ),
    st.integers(1, 2),
    st.sampled_from((1, 23, 24, 40)),
    st.sampled_from(Horizon),
    st.sampled_from((0.0, 1.0)),
)
reports = st.builds(
    lambda number, horizon, differential: outcome(
        differential, game(number), horizon=horizon, observed_time=datetime.now(UTC) + timedelta(days=1)
    ),  # after the game, of which two workers make all forecasts within a second
    st.integers(1, 2),
    st.sampled_from(Horizon),
    st.sampled_from((-2, 5)),
)
Step: TypeAlias = tuple[int, list[IssuedForecast] | ReportedOutcome]
"""The forecasts or the outcome that one of two workers records."""

steps = st.tuples(st.integers(0, 1), st.lists(forecasts, min_size=1, max_size=4) | reports)


@settings(deadline=None, max_examples=examples(6))
@given(st.lists(st.lists(steps, min_size=1, max_size=4), max_size=6))
def test_no_forecast_follows_its_outcome_whatever_two_workers_do(turns: list[list[Step]]) -> None:
    with empty_ledger() as url:
        asyncio.run(_live(url, turns))
        verify(url)


async def _live(url: str, turns: list[list[Step]]) -> None:
    workers = [await Ledger.open(url) for _ in range(2)]

    async def do(step: Step) -> None:
        worker, what = workers[step[0]], step[1]
        if isinstance(what, ReportedOutcome):
            stored, _ = await worker.record_outcome(what)
            assert (stored.differential, stored.horizon) == (what.differential, what.horizon)
            return
        for asked, answer in zip(what, await worker.commit(what), strict=True):
            if isinstance(answer, IssuedForecast):
                assert (answer.game_id, answer.pattern) == (asked.game_id, asked.pattern)

    for turn in turns:
        await asyncio.gather(*(do(step) for step in turn))
    entries = await workers[0].read_after(0, 1000)
    known: dict[str, list[Horizon]] = {}
    for entry in entries:
        if isinstance(entry, ReportedOutcome):
            known.setdefault(entry.game_id, []).append(entry.horizon)
        else:
            assert all(entry.forecast.elapsed_minutes > horizon.last_slot for horizon in known.get(entry.game_id, ()))
    for worker in workers:
        await worker.close()
