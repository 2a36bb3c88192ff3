"""No forecast is recorded with hindsight, in whatever order workers forecast and report outcomes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.builders.issued_forecasts import GAME, game, issued, recorded
from tests.support.builders.outcomes import outcome
from tests.support.harness.laws import examples
from tests.support.processes.empty_ledger import empty_ledger

from dejavu_models.types import Horizon
from dejavu_server.ledger import Ledger, OutcomeAlreadyRecorded, verify
from dejavu_server.records import IssuedForecast, ReportedOutcome
from dejavu_server.results import Failed

HALF, FINAL = Horizon.HALFTIME, Horizon.FINAL


def minutes(count: int, horizon: Horizon = HALF, *, last: float = 0.0, game_id: str = GAME) -> IssuedForecast:
    return issued(game_id, (*[0.0] * (count - 1), last), horizon=horizon)


async def refused(ledger: Ledger, *forecasts: IssuedForecast) -> list[bool]:
    return [isinstance(answer, Failed) for answer in await ledger.commit(forecasts)]


async def test_after_the_half_nothing_new_is_recorded_of_the_first_half(ledger: Ledger) -> None:
    await ledger.record_outcome(outcome(3))
    asked = [minutes(18), minutes(23), minutes(18, FINAL), minutes(23, FINAL), minutes(24, FINAL), minutes(47, FINAL)]
    assert await refused(ledger, *asked) == [True, True, True, True, False, False]
    assert await ledger.head() == 3


async def test_after_the_end_nothing_new_is_recorded_of_the_game(ledger: Ledger) -> None:
    await ledger.record_outcome(outcome(3, horizon=FINAL))
    asked = [minutes(18), minutes(18, FINAL), minutes(47, FINAL), minutes(18, game_id=game(2))]
    assert await refused(ledger, *asked) == [True, True, True, False]


async def test_why_is_told(ledger: Ledger) -> None:
    await ledger.record_outcome(outcome(3, game(2)))
    await ledger.record_outcome(outcome(4, game(2)))
    [answer] = await ledger.commit([minutes(18, game_id=game(2))])
    assert isinstance(answer, Failed)
    assert isinstance(answer.error, OutcomeAlreadyRecorded)
    assert answer.error.reason == "OUTCOME_KNOWN"
    assert str(answer.error).startswith(
        f"the outcome of game {game(2)} at halftime is known: it stands in the ledger at 2"
    )


async def test_a_stored_forecast_is_still_answered_and_a_revision_refused(ledger: Ledger) -> None:
    [stored] = await recorded(ledger, minutes(18))
    await ledger.record_outcome(outcome(3))
    assert await ledger.commit([minutes(18)]) == [stored]
    assert await refused(ledger, minutes(18, last=2.0), minutes(18)) == [True, False]
    assert await ledger.head() == 2


async def test_a_refused_forecast_keeps_no_other_of_its_call_out(ledger: Ledger) -> None:
    await ledger.record_outcome(outcome(3, game(2)))
    answers = await ledger.commit([issued(game(n)) for n in (1, 2, 3)])
    assert [getattr(answer, "sequence", None) for answer in answers] == [2, None, 3]


class Step:
    """Action of one of two workers."""

    def __init__(self, worker: int, what: Sequence[IssuedForecast] | ReportedOutcome) -> None:
        self.worker = worker
        self.what = what

    def __repr__(self) -> str:
        return f"{self.worker}: {self.what}"


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
    lambda number, horizon, differential: outcome(differential, game(number), horizon=horizon),
    st.integers(1, 2),
    st.sampled_from(Horizon),
    st.sampled_from((-2, 5)),
)
steps = st.builds(Step, st.integers(0, 1), st.lists(forecasts, min_size=1, max_size=4) | reports)


@settings(deadline=None, max_examples=examples(10))
@given(st.lists(st.lists(steps, min_size=1, max_size=4), max_size=6))
def test_no_forecast_follows_its_outcome_whatever_two_workers_do(turns: list[list[Step]]) -> None:
    with empty_ledger() as url:
        asyncio.run(_live(url, turns))
        verify(url)


async def _live(url: str, turns: list[list[Step]]) -> None:
    workers = [await Ledger.open(url) for _ in range(2)]

    async def do(step: Step) -> None:
        if isinstance(step.what, ReportedOutcome):
            stored, _ = await workers[step.worker].record_outcome(step.what)
            assert (stored.differential, stored.horizon) == (step.what.differential, step.what.horizon)
            return
        for asked, answer in zip(step.what, await workers[step.worker].commit(step.what), strict=True):
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


@pytest.mark.parametrize("first", ["forecast", "outcome"])
async def test_of_two_workers_at_once_the_one_that_commits_first_decides(ledger: Ledger, url: str, first: str) -> None:
    other = await Ledger.open(url)
    if first == "forecast":
        assert await refused(ledger, minutes(18)) == [False]
        assert (await other.record_outcome(outcome(3)))[1] == 1
    else:
        await other.record_outcome(outcome(3))
        assert await refused(ledger, minutes(18)) == [True]
    await other.close()
