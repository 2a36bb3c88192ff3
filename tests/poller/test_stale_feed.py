"""The poller with a feed that serves stale data or withdraws data."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.support.builders.evenings import Evening, game
from tests.support.harness.poller import END, HALF, ONCE, SIX_MINUTES, correct, watching

from dejavu_client.requests import FINAL, HALFTIME
from dejavu_feed.nba.live_payloads import GameState, GameStatus, Scoreboard
from dejavu_feed.nba.plays import Play
from dejavu_poller.events import Fault, FaultKind, ForecastMissed, GameChanged, Prediction


class Showing(Evening):
    """An evening whose scoreboard shows what the test sets."""

    shown: GameState | None = None
    clock_shown: tuple[int, float] | None = None
    """Period, and seconds left in it, that the scoreboard shows in place of the true ones."""

    def scoreboard(self) -> Scoreboard:
        board = super().scoreboard()
        if self.clock_shown is not None:
            period, clock = self.clock_shown
            board = replace(board, games=tuple(replace(each, period=period, clock=clock) for each in board.games))
        return board if self.shown is None else replace(board, games=(self.shown,))


@pytest.mark.parametrize(("lag", "wrong"), [(60.0, 0), (180.0, 0), (300.0, 0), (180.0, 29)])
async def test_beside_an_old_scoreboard_plays_are_forecast_after_some_reads_but_none_far_ahead(
    lag: float, wrong: int
) -> None:
    """Otherwise all true forecasts after it would be late."""
    evening = Showing([game(run=2)])
    (game_id,) = evening.ids
    async with watching(evening) as watch:
        for minute in range(20, 48):
            elapsed = 60.0 * minute - lag
            period = int(elapsed // 720) + 1
            evening.clock_shown = period, 720.0 * period - elapsed
            if minute == wrong:
                evening.edit[game_id] = lambda plays: (
                    *plays[:-1],
                    replace(plays[-1], period=4, clock=300.0, elapsed=2580.0),
                )
            await watch.at(60.0 * minute + (minute % 12 > 0))
            evening.edit.pop(game_id, None)
        made = watch.predictor.minutes(FINAL)
    assert (len(made) >= 20, made[-1]) == (True, 47)
    assert made == sorted(made)


async def test_a_final_without_period_and_clock_is_reported_at_once() -> None:
    evening = Showing([game(run=2)])
    async with watching(evening) as watch:
        await watch.at(END - 60.0)
        evening.go_to(END)
        evening.clock.step(60.0)
        [last] = evening.scoreboard().games
        evening.shown = replace(last, status=GameStatus.FINAL, period=0, clock=None, text="Final")
        await watch.turn()
        await watch.turn()
        assert FINAL in {report.horizon for report in watch.predictor.reports}
        assert not [fault for fault in watch.told(Fault) if fault.kind is FaultKind.STALE]


@pytest.mark.parametrize("field", [None, "actual", "edited"])
async def test_plays_of_the_past_do_not_bring_back_what_was_corrected(field: str | None) -> None:
    """Also if a play is dated into the future."""
    evening = Evening([game()])
    (game_id,) = evening.ids
    tomorrow = evening.clock() + timedelta(days=1)

    def misdated(plays: tuple[Play, ...]) -> tuple[Play, ...]:
        return (replace(plays[0], **({} if field is None else {field: tomorrow})), *plays[1:])  # type: ignore[arg-type]

    evening.edit[game_id] = misdated
    async with watching(evening, **ONCE) as watch:
        await watch.at(SIX_MINUTES + 1)
        old = evening.plays(game_id).plays
        evening.edit[game_id] = lambda plays: misdated(correct(plays, until=SIX_MINUTES + 1, by=-1))
        await watch.at(SIX_MINUTES + 61)
        evening.edit[game_id] = lambda plays: old
        await watch.at(SIX_MINUTES + 121)

    assert [prediction.pattern[-1] for prediction in watch.told(Prediction)] == [3, 2]
    assert {fault.kind for fault in watch.told(Fault)} == {FaultKind.STALE}


@pytest.mark.parametrize("early", [{"period": 3}, {"period": 4, "status": GameStatus.FINAL}])
async def test_a_scoreboard_that_runs_ahead_by_a_period_and_comes_back_costs_no_forecast(
    early: dict[str, object],
) -> None:
    evening = Showing([game()])
    async with watching(evening, **ONCE) as watch:
        await watch.at(SIX_MINUTES - 119)
        evening.shown = replace(evening.scoreboard().games[0], **early)  # type: ignore[arg-type]
        await watch.turn()
        assert len(watch.told(ForecastMissed)) == 1
        evening.shown = None
        evening.clock.step(1)
        for _ in range(70):  # for five minutes it might be a stale cache
            evening.clock.step(10)
            await watch.turn()

    assert len(watch.told(Prediction)) == 1
    (asked,) = watch.predictor.asked
    assert asked.pattern[-1] == 3


async def test_a_scoreboard_of_the_past_is_told_once_and_not_taken_over() -> None:
    evening = Showing([game()])
    (game_id,) = evening.ids
    async with watching(evening, **ONCE) as watch:
        await watch.at(300)
        old = evening.scoreboard().games[0]
        await watch.at(600)
        evening.shown = old
        for _ in range(3):
            evening.clock.step(30)
            await watch.turn()

        seen = watch.poller.games[game_id]
        assert seen.state.clock != old.clock
        assert seen.age(evening.clock()) == 90.0
        assert [fault.kind for fault in watch.told(Fault)] == [FaultKind.STALE]
        assert len(watch.told(GameChanged)) == 1


@pytest.mark.parametrize("before_the_end", [200, 60, 0])
async def test_a_scoreboard_of_the_past_opens_no_game_that_is_over(before_the_end: float) -> None:
    """Otherwise a missed half would be reported and counted again each time an old copy is served."""
    evening = Showing([game()])
    (game_id,) = evening.ids
    async with watching(evening, **ONCE) as watch:
        await watch.at(2 * HALF - before_the_end)
        old = evening.scoreboard().games[0]
        evening.clock.now = evening.replay.end
        await watch.turn()
        for shown in (old, None, old):
            evening.shown = shown
            evening.clock.step(10)
            await watch.turn()

        assert watch.poller.games[game_id].over
        assert [changed.game.status for changed in watch.told(GameChanged)] == [GameStatus.LIVE, GameStatus.FINAL]
        assert len(watch.told(ForecastMissed)) == 1


async def test_a_scoreboard_that_stands_still_while_plays_go_on_grows_old() -> None:
    evening = Showing([game()])
    (game_id,) = evening.ids
    async with watching(evening, **ONCE) as watch:
        await watch.at(300)
        evening.shown = evening.scoreboard().games[0]
        await watch.at(361)
        await watch.at(421)
        seen = evening.clock()  # until here it might only lag behind the plays, as scoreboards do
        await watch.at(481)

        assert watch.poller.games[game_id].age(evening.clock()) == (evening.clock() - seen).total_seconds() > 0


async def test_a_half_that_may_be_over_keeps_nobody_from_forecasting_the_end() -> None:
    evening = Evening([game()])
    evening.edit[evening.ids[0]] = lambda plays: tuple(play for play in plays if play.elapsed <= 60 * 23 + 1)
    async with watching(evening, from_minute=23) as watch:
        await watch.at(60.0 * 23 + 1)
        assert watch.predictor.minutes(HALFTIME) == [23]
    evening.clock.step(59 + 121)
    async with watching(evening, from_minute=23) as late:
        await late.turn()

    assert late.predictor.minutes(HALFTIME) == []
    assert late.predictor.minutes(FINAL) == [23]
    (fault,) = late.told(Fault)
    assert fault.kind is FaultKind.STALE
    assert "the half may be over" in fault.reason


async def test_a_clock_that_is_set_back_makes_no_plays_stale() -> None:
    evening = Showing([game()])
    (game_id,) = evening.ids
    async with watching(evening, **ONCE) as watch:
        await watch.at(SIX_MINUTES - 59)
        evening.go_to(SIX_MINUTES + 1)
        evening.shown, played = evening.scoreboard().games[0], evening.plays(game_id).plays
        evening.edit[game_id] = lambda plays: played
        evening.clock.step(-20 * 60)  # plays from then on are of the future by this clock
        await watch.turn()

    assert [prediction.pattern[-1] for prediction in watch.told(Prediction)] == [3]
    assert not watch.told(Fault)
