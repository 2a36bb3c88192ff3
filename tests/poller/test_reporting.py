"""Reports of a poller: content, time and frequency, and its behavior if the outcome is already recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import grpc
import pytest
from tests.support.builders.evenings import END, HALF, Evening, StoringPredictor, Watch, game, moved, watching

from dejavu_client import FINAL, HALFTIME
from dejavu_client.errors import (
    DejavuClientError,
    FieldViolation,
    InvalidArgumentError,
    UnauthenticatedError,
    UnavailableError,
)
from dejavu_feed.nba.plays import Play
from dejavu_poller.events import (
    Fault,
    FaultKind,
    ForecastMissed,
    HorizonClosed,
    OutcomeReported,
)

LATE: Final[dict[str, Any]] = {"from_minute": 22}
"""Few forecasts: these tests are about outcomes."""

SKIPPING: Final[dict[str, Any]] = {"from_minute": 23, "every": 2}
"""The forecast of the end from minute 23 is the newest one until the third quarter is under way."""


def said(watch: Watch) -> list[tuple[int, int]]:
    """Return the reported horizons and differentials."""
    return [(report.horizon, report.differential) for report in watch.predictor.reports]


async def to_the_end(watch: Watch) -> None:
    """Play a game from the last minutes of its first half to the end."""
    await watch.minutes(22, 23)
    await watch.at(HALF, HALF + 61, END - 59)
    await watch.over(3)


async def run_to_the_end(
    evening: Evening, *untaken: DejavuClientError, unrecalled: Sequence[DejavuClientError] = ()
) -> Watch:
    """Run a poller beside an evening that is over until it ends.

    Args:
        evening: the evening.
        untaken: what the server answers to the first reports.
        unrecalled: what it answers when it is first asked for recorded forecasts.
    """
    evening.clock.now = evening.replay.end
    predictor = StoringPredictor()
    predictor.untaken, predictor.unrecalled = list(untaken), list(unrecalled)
    async with watching(evening, predictor, interval=0.001) as watch:
        await watch.poller.run(until_final=True)
    return watch


def ends(plays: Sequence[Play]) -> list[Play]:
    """Return the ends of the half and of the game."""
    return [play for play in plays if (play.action, play.detail) == ("period", "end") and play.period in (2, 4)]


async def test_the_half_and_the_end_of_a_game_are_reported_once_each() -> None:
    async with watching(Evening([game(lead=3, run=2)]), **LATE) as watch:
        await to_the_end(watch)

    half, end = ends(watch.evening.plays(watch.id).plays)
    assert said(watch) == [(HALFTIME, 5), (FINAL, 5)]
    assert {(each.game_id, each.home_team, each.away_team) for each in watch.predictor.reports} == {
        (watch.id, "BOS", "LAL")
    }
    told = watch.told(OutcomeReported)
    assert [(event.horizon, event.differential, event.settled) for event in told] == [(HALFTIME, 5, 2), (FINAL, 5, 5)]

    assert [(each.overtimes, each.total_points, each.observed_time) for each in watch.predictor.reports] == [
        (None, half.home + half.away, half.actual),
        (0, end.home + end.away, end.actual),
    ], "when the feed says that the period ended"
    assert not watch.told(Fault)


async def test_points_that_the_server_refuses_do_not_cost_the_report() -> None:
    async with watching(**LATE) as watch:
        violation = FieldViolation("total_points", "fewer than at the half")
        watch.predictor.untaken = [InvalidArgumentError("contradiction", field_violations=(violation,))]
        await to_the_end(watch)

    assert [each.total_points is None for each in watch.predictor.reports] == [False, True, False]
    assert [horizon for horizon, _ in said(watch)] == [HALFTIME, HALFTIME, FINAL]
    assert not watch.told(Fault)


async def test_a_period_did_not_end_before_the_plays_before_its_end() -> None:
    """Otherwise a mistyped time would make all forecasts of a game look later than its outcome."""
    async with watching(**LATE) as watch:
        watch.edit(
            lambda plays: tuple(
                replace(play, actual=play.actual - timedelta(hours=5)) if play.actual and play.detail == "end" else play
                for play in plays
            )
        )
        await to_the_end(watch)
        watch.edit(None)
        true = [play.actual for play in ends(watch.evening.plays(watch.id).plays)]

    for report, end in zip(watch.predictor.reports, true, strict=True):
        assert report.observed_time is not None
        assert end is not None
        assert timedelta(0) <= end - report.observed_time < timedelta(minutes=2)


@pytest.mark.parametrize("off", [timedelta(days=-3), timedelta(days=3)])
async def test_a_moment_that_cannot_be_is_not_told(off: timedelta) -> None:
    async with watching(**LATE) as watch:
        watch.edit(
            lambda plays: tuple(replace(play, actual=play.actual and play.actual + off, edited=None) for play in plays)
        )
        await watch.over()

    assert [report.observed_time for report in watch.predictor.reports] == [None, None]


async def test_a_poller_that_forecasts_halves_alone_reports_finals_as_well() -> None:
    async with watching(horizons=(HALFTIME,), **LATE) as watch:
        await to_the_end(watch)

    assert said(watch) == [(HALFTIME, 3), (FINAL, 3)]


async def test_a_poller_that_is_told_to_reports_nothing_and_reads_no_game_for_it() -> None:
    async with watching(report=False) as watch:
        await watch.over(2)

    assert not watch.predictor.reports
    assert watch.evening.reads[watch.id] == 1, "for what was forecast before it began"


async def test_a_final_that_is_corrected_after_the_buzzer_is_read_again_and_reported_again() -> None:
    async with watching() as watch:
        await watch.over()
        watch.evening.show(lambda state: replace(state, home_score=state.home_score + 1))
        watch.edit(moved(1, HALF + 1))
        await watch.turn(12)

    assert said(watch) == [(HALFTIME, 3), (FINAL, 3), (FINAL, 4)]


async def test_a_final_that_the_scoreboard_corrects_before_the_server_has_it_is_not_reported_again_as_it_was() -> None:
    async with watching() as watch:
        await watch.at(HALF, HALF + 61)
        watch.predictor.untaken = [UnavailableError("away")]
        await watch.over()
        watch.evening.show(lambda state: replace(state, home_score=state.home_score + 1))
        await watch.turn(12)
        assert said(watch) == [(HALFTIME, 3), (FINAL, 3)]
        watch.edit(moved(1, HALF + 1))
        await watch.turn(12)

    assert said(watch) == [(HALFTIME, 3), (FINAL, 3), (FINAL, 4)]


async def test_a_final_of_which_plays_and_scoreboard_never_agree_is_left_unreported() -> None:
    evening = Evening([game()])
    evening.edit[evening.ids[0]] = moved(1, HALF + 1)
    watch = await run_to_the_end(evening)

    assert not watch.predictor.reports
    assert {fault.kind for fault in watch.told(Fault)} == {FaultKind.STALE}


async def test_the_end_of_a_half_that_the_plays_alone_show_too_early_is_not_reported() -> None:
    async with watching(Evening([game(run=2)]), **LATE) as watch:
        await watch.minutes(22)
        watch.edit(
            lambda plays: (
                *plays,
                replace(plays[-1], order=plays[-1].order + 1, clock=0.0, action="period", detail="end"),
            )
        )
        await watch.turn()
        watch.edit(None)
        await watch.minutes(23)
        assert not watch.predictor.reports
        await watch.at(HALF)

    assert said(watch) == [(HALFTIME, 5)]
    assert watch.predictor.minutes(HALFTIME) == [22, 23]


async def test_the_half_waits_for_a_forecast_that_it_would_close() -> None:
    async with watching(from_minute=23, every=2) as watch:
        await watch.minutes(22)
        watch.predictor.failures = [UnavailableError("away")]
        await watch.at(HALF)  # the final is forecast from minute 23 until the next minute is complete
        assert not watch.predictor.reports
        await watch.turn()

    assert watch.predictor.minutes(FINAL) == [23, 23]
    assert said(watch) == [(HALFTIME, 3)]


async def test_a_report_without_an_answer_is_tried_until_it_is_through_and_the_evening_ends_no_sooner() -> None:
    errors = UnavailableError("away"), UnauthenticatedError("the token has expired"), UnavailableError("away")
    watch = await run_to_the_end(Evening([game()]), *errors)

    assert said(watch) == [(HALFTIME, 3)] * 4 + [(FINAL, 3)]
    assert [(event.horizon, event.differential) for event in watch.told(OutcomeReported)] == [(HALFTIME, 3), (FINAL, 3)]
    assert [(fault.kind, fault.failures) for fault in watch.told(Fault)] == [(FaultKind.SERVER, n) for n in (1, 2, 3)]


async def test_a_report_that_is_refused_is_not_repeated_but_another_value_is_told() -> None:
    async with watching(**LATE) as watch:
        watch.predictor.untaken = [InvalidArgumentError("odd", code=grpc.StatusCode.INVALID_ARGUMENT)]
        await watch.at(HALF, HALF + 61)
        assert said(watch) == [(HALFTIME, 3)]
        assert [fault.kind for fault in watch.told(Fault)] == [FaultKind.REFUSED]
        watch.edit(moved(-1))
        await watch.at(HALF + 121)

    assert said(watch) == [(HALFTIME, 3), (HALFTIME, 2)]


async def test_a_report_refused_for_the_season_of_its_id_is_not_tried_for_ever_and_the_evening_ends() -> None:
    refusals = [
        InvalidArgumentError("another season", field_violations=(FieldViolation(field, "another season"),))
        for field in ("observed_time", "game_id")
    ]
    watch = await run_to_the_end(Evening([game()]), *refusals, *refusals)

    assert said(watch) == [(HALFTIME, 3)] * 2 + [(FINAL, 3)] * 2, "each once more, with the time of the server"
    assert [fault.kind for fault in watch.told(Fault)] == [FaultKind.REFUSED] * 2


async def test_an_outcome_that_somebody_else_reported_closes_the_horizon_without_a_fault() -> None:
    async with watching(from_minute=20) as watch:
        await watch.minutes(20)
        await watch.predictor.report_outcome(watch.id, 7, horizon=HALFTIME)
        await watch.minutes(21, 22, 23, 24)

    assert not watch.told(Fault)
    assert watch.predictor.minutes(HALFTIME) == [20, 21]
    assert watch.predictor.minutes(FINAL) == [20, 21, 24], "until the half nothing is taken of the end either"
    assert [(event.horizon, event.minute) for event in watch.told(HorizonClosed)] == [(HALFTIME, 24), (FINAL, 24)]
    assert [(each.horizon, each.minutes, each.reason) for each in watch.told(ForecastMissed)] == [
        (horizon, (21, 22, 23), "its outcome is in the server's record") for horizon in (HALFTIME, FINAL)
    ]
    [reported] = watch.told(OutcomeReported)
    assert (reported.differential, reported.outcome.revision) == (3, 1), "it has seen otherwise, and corrects it"


async def test_a_revision_that_comes_after_the_outcome_is_let_be() -> None:
    async with watching(**SKIPPING) as watch:
        await watch.minutes(23)
        await watch.at(HALF)
        for by in (-1, -2):
            watch.edit(moved(by))
            await watch.turn()

    assert watch.predictor.minutes(FINAL).count(23) == 2, "it asks once more, and no more"
    assert [(event.horizon, event.minute) for event in watch.told(HorizonClosed)] == [(FINAL, 24)]
    assert not watch.told(ForecastMissed)
    assert said(watch) == [(HALFTIME, 3), (HALFTIME, 2), (HALFTIME, 1)]
