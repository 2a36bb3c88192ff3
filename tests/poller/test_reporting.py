"""Reports of a poller: content, time and frequency, and its behavior if the outcome is already recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, Final

import grpc
import pytest
from tests.support.builders.evenings import Evening, StoringPredictor, game
from tests.support.harness.poller import END, HALF, Watch, correct, watching

from dejavu_client import FINAL, HALFTIME
from dejavu_client.errors import (
    DejavuClientError,
    FailedPreconditionError,
    FieldViolation,
    InvalidArgumentError,
    UnauthenticatedError,
    UnavailableError,
    UnimplementedError,
)
from dejavu_feed.nba.plays import Play
from dejavu_poller.events import (
    Fault,
    FaultKind,
    ForecastMissed,
    HorizonClosed,
    HorizonResult,
    OutcomeReported,
    Prediction,
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
    for elapsed in (60.0 * 22 + 1, 60.0 * 23 + 1, HALF, HALF + 61, END - 59):
        await watch.at(elapsed)
    watch.evening.clock.now = watch.evening.replay.end
    for _ in range(3):
        await watch.turn()


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


async def test_the_half_and_the_end_of_a_game_are_reported_once_each() -> None:
    async with watching(Evening([game(lead=3, run=2)]), **LATE) as watch:
        await to_the_end(watch)

    (game_id,) = watch.evening.ids
    half, end = watch.predictor.reports
    assert said(watch) == [(HALFTIME, 5), (FINAL, 5)]
    assert {(report.game_id, report.home_team, report.away_team) for report in (half, end)} == {(game_id, "BOS", "LAL")}
    told = watch.told(OutcomeReported)
    assert [(event.horizon, event.differential, event.settled) for event in told] == [(HALFTIME, 5, 2), (FINAL, 5, 5)]
    assert [event.game.text for event in told] == ["Half", "Final"]
    assert watch.predictor.overtimes == [None, 0]
    plays = watch.evening.plays(game_id).plays
    ends = [play.actual for play in plays if (play.action, play.detail) == ("period", "end") and play.period in (2, 4)]
    assert [half.observed_time, end.observed_time] == ends, "when the feed says that the period ended"
    assert not watch.told(Fault)
    assert not watch.told(HorizonClosed)


async def test_the_points_of_both_teams_are_reported_too_unless_the_server_refuses_them() -> None:
    async with watching(Evening([game()]), **LATE) as watch:
        violation = FieldViolation("total_points", "fewer than at the half")
        watch.predictor.untaken = [InvalidArgumentError("contradiction", field_violations=(violation,))]
        await to_the_end(watch)

    plays = watch.evening.plays(watch.evening.ids[0]).plays
    half = next(play for play in plays if (play.action, play.detail, play.period) == ("period", "end", 2))
    totals = [play.home + play.away for play in (half, plays[-1])]
    assert watch.predictor.totals == [totals[0], None, totals[1]]
    assert [horizon for horizon, _ in said(watch)] == [HALFTIME, HALFTIME, FINAL]
    assert not watch.told(Fault)


async def test_a_period_did_not_end_before_the_plays_before_its_end() -> None:
    """Otherwise a mistyped time would make all forecasts of a game look later than its outcome."""
    evening = Evening([game()])

    def mistyped(plays: tuple[Play, ...]) -> tuple[Play, ...]:
        return tuple(
            replace(play, actual=play.actual - timedelta(hours=5)) if play.actual and play.detail == "end" else play
            for play in plays
        )

    evening.edit[evening.ids[0]] = mistyped
    async with watching(evening, **LATE) as watch:
        await to_the_end(watch)

    plays = evening.plays(evening.ids[0]).plays
    ends = [play.actual for play in plays if (play.action, play.detail) == ("period", "end") and play.period in (2, 4)]
    for report, end in zip(watch.predictor.reports, ends, strict=True):
        assert report.observed_time is not None
        assert end is not None
        assert timedelta(0) <= end + timedelta(hours=5) - report.observed_time < timedelta(minutes=2)


@pytest.mark.parametrize("off", [timedelta(days=-3), timedelta(days=3)])
async def test_a_moment_that_cannot_be_is_not_told(off: timedelta) -> None:
    evening = Evening([game()])

    def misdated(plays: tuple[Play, ...]) -> tuple[Play, ...]:
        return tuple(replace(play, actual=play.actual and play.actual + off, edited=None) for play in plays)

    evening.clock.now = evening.replay.end
    evening.edit[evening.ids[0]] = misdated
    async with watching(evening, **LATE) as watch:
        await watch.turn()

    assert [report.observed_time for report in watch.predictor.reports] == [None, None]


async def test_a_poller_that_forecasts_halves_alone_reports_finals_as_well() -> None:
    async with watching(Evening([game()]), horizons=(HALFTIME,), **LATE) as watch:
        await to_the_end(watch)

    assert said(watch) == [(HALFTIME, 3), (FINAL, 3)]


async def test_a_poller_that_is_told_to_reports_nothing_and_reads_no_game_for_it() -> None:
    evening = Evening([game()])
    evening.clock.now = evening.replay.end
    async with watching(evening, report=False) as watch:
        await watch.turn()
        await watch.turn()

    assert not watch.predictor.reports
    assert evening.reads[evening.ids[0]] == 1, "for what was forecast before it began"


async def test_a_final_that_is_corrected_after_the_buzzer_is_read_again_and_reported_again() -> None:
    class Corrected(Evening):
        by = 0

        def scoreboard(self):  # type: ignore[no-untyped-def]
            board = super().scoreboard()
            return replace(board, games=tuple(replace(g, home_score=g.home_score + self.by) for g in board.games))

    evening = Corrected([game()])
    evening.clock.now = evening.replay.end
    async with watching(evening) as watch:
        await watch.turn()
        evening.by = 1
        evening.edit[evening.ids[0]] = lambda plays: tuple(
            replace(play, home=play.home + 1) if play.elapsed > HALF else play for play in plays
        )
        for _ in range(12):
            await watch.turn()

    assert said(watch) == [(HALFTIME, 3), (FINAL, 3), (FINAL, 4)]


async def test_the_end_of_a_half_that_the_plays_alone_show_too_early_is_not_reported() -> None:
    evening = Evening([game(run=2)])
    (game_id,) = evening.ids

    def ended(plays: tuple[Play, ...]) -> tuple[Play, ...]:
        return (*plays, replace(plays[-1], order=plays[-1].order + 1, clock=0.0, action="period", detail="end"))

    async with watching(evening, **LATE) as watch:
        await watch.at(60.0 * 22 + 1)
        evening.edit[game_id] = ended
        await watch.turn()
        del evening.edit[game_id]
        await watch.at(60.0 * 23 + 1)
        assert not watch.predictor.reports
        await watch.at(HALF)

    assert said(watch) == [(HALFTIME, 5)]
    assert watch.predictor.minutes(HALFTIME) == [22, 23]


async def test_the_half_waits_for_a_forecast_that_it_would_close() -> None:
    async with watching(Evening([game()]), **SKIPPING) as watch:
        await watch.at(60.0 * 22 + 1)
        watch.predictor.failures = [UnavailableError("away")]
        await watch.at(HALF)  # the final is forecast from minute 23 until the next minute is complete
        assert not watch.predictor.reports
        await watch.turn()

    assert watch.predictor.minutes(FINAL) == [23, 23]
    assert said(watch) == [(HALFTIME, 3)]
    assert not watch.told(HorizonClosed)


async def test_a_report_without_an_answer_is_tried_until_it_is_through_and_the_evening_ends_no_sooner() -> None:
    errors = UnavailableError("away"), UnauthenticatedError("the token has expired"), UnavailableError("away")
    watch = await run_to_the_end(Evening([game()]), *errors)

    assert said(watch) == [(HALFTIME, 3)] * 4 + [(FINAL, 3)]
    assert [(event.horizon, event.differential) for event in watch.told(OutcomeReported)] == [(HALFTIME, 3), (FINAL, 3)]
    faults = watch.told(Fault)
    assert [(fault.kind, fault.failures) for fault in faults] == [(FaultKind.SERVER, n) for n in (1, 2, 3)]
    assert faults[0].reason == "the outcome of the half was not reported, will retry: away"


@pytest.mark.parametrize(
    "error",
    [
        InvalidArgumentError("odd", code=grpc.StatusCode.INVALID_ARGUMENT),
        FailedPreconditionError("not here", code=grpc.StatusCode.FAILED_PRECONDITION),
    ],
)
async def test_a_report_that_is_refused_is_not_repeated_but_another_value_is_told(error: DejavuClientError) -> None:
    async with watching(Evening([game()]), **LATE) as watch:
        watch.predictor.untaken = [error]
        await watch.at(HALF)
        await watch.at(HALF + 61)
        assert said(watch) == [(HALFTIME, 3)]
        (fault,) = watch.told(Fault)
        assert (fault.kind, fault.reason) == (
            FaultKind.REFUSED,
            f"the server refused the outcome of the half: {error}",
        )
        watch.evening.edit[watch.evening.ids[0]] = lambda plays: correct(plays, until=END, by=-1)
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


async def test_a_server_without_a_record_is_told_of_once_and_asked_no_more() -> None:
    unknown = [UnimplementedError("what?")] * 2
    watch = await run_to_the_end(Evening([game(), game("MIA", "NYK")]), *unknown, unrecalled=unknown)

    (fault,) = watch.told(Fault)
    assert fault.reason == "the server keeps no track record, outcomes are not reported: what?"
    assert not watch.told(OutcomeReported)


async def test_an_outcome_that_somebody_else_reported_closes_the_horizon_without_a_fault() -> None:
    evening, predictor = Evening([game()]), StoringPredictor()
    (game_id,) = evening.ids
    async with watching(evening, predictor, from_minute=20) as watch:
        await watch.at(60.0 * 20 + 1)
        await predictor.report_outcome(game_id, 7, horizon=HALFTIME)
        for minute in (21, 22, 23, 24):
            await watch.at(60.0 * minute + 1)

    assert not watch.told(Fault)
    assert predictor.minutes(HALFTIME) == [20, 21]
    assert predictor.minutes(FINAL) == [20, 21, 24], "until the half nothing is taken of the end either"
    assert [(event.horizon, event.minute) for event in watch.told(HorizonClosed)] == [(HALFTIME, 24), (FINAL, 24)]
    reason = "its outcome is in the server's record"
    assert [(each.horizon, each.minutes, each.reason) for each in watch.told(ForecastMissed)] == [
        (HALFTIME, (21, 22, 23), reason),
        (FINAL, (21, 22, 23), reason),
    ]
    assert [len(event.pattern) for event in watch.told(Prediction)] == [20, 20, 24]
    assert len(watch.told(HorizonResult)) == 1
    (reported,) = watch.told(OutcomeReported)
    assert (reported.differential, reported.outcome.revision) == (3, 1), "it has seen otherwise, and corrects it"


async def test_a_revision_that_comes_after_the_outcome_is_let_be() -> None:
    async with watching(Evening([game()]), **SKIPPING) as watch:
        await watch.at(60.0 * 23 + 1)
        await watch.at(HALF)
        for by in (-1, -2):
            watch.evening.edit[watch.evening.ids[0]] = partial(correct, until=END, by=by)
            await watch.turn()

    assert len([asked for asked in watch.predictor.asked if asked.minute == 23]) == 3, "it asks once more, and no more"
    assert [(event.horizon, event.minute) for event in watch.told(HorizonClosed)] == [(FINAL, 24)]
    assert not watch.told(ForecastMissed)
    assert said(watch) == [(HALFTIME, 3), (HALFTIME, 2), (HALFTIME, 1)]


async def test_a_final_of_which_plays_and_scoreboard_never_agree_is_left_unreported() -> None:
    evening = Evening([game()])
    (game_id,) = evening.ids
    evening.edit[game_id] = lambda plays: tuple(
        replace(play, home=play.home + 1) if play.elapsed > HALF else play for play in plays
    )
    watch = await run_to_the_end(evening)

    assert not watch.predictor.reports
    assert {fault.kind for fault in watch.told(Fault)} == {FaultKind.STALE}
