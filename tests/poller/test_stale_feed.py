"""The poller with a feed that serves stale data, withdraws data, drops games, or does not show their end."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.support.builders.evenings import (
    END,
    HALF,
    ONCE,
    SIX_MINUTES,
    Evening,
    Watch,
    cut_at,
    game,
    moved,
    newest,
    watching,
)

from dejavu_client.errors import UnavailableError
from dejavu_client.requests import FINAL, HALFTIME
from dejavu_feed.errors import FeedUnavailable, MalformedFeed
from dejavu_feed.nba.live_payloads import MAX_GAMES, GameState, GameStatus, Scoreboard
from dejavu_feed.nba.plays import Play
from dejavu_poller.events import Fault, FaultKind, ForecastMissed, GameChanged, HorizonResult, Prediction


def state(watch: Watch) -> GameState:
    """Return what the scoreboard shows of the game."""
    [shown] = watch.evening.scoreboard().games
    return shown


@pytest.mark.parametrize(("lag", "wrong"), [(60.0, 0), (180.0, 0), (300.0, 0), (180.0, 29)])
async def test_beside_an_old_scoreboard_plays_are_forecast_after_some_reads_but_none_far_ahead(
    lag: float, wrong: int
) -> None:
    """Otherwise all true forecasts after it would be late."""
    async with watching(Evening([game(run=2)])) as watch:
        for minute in range(20, 48):
            period, played = divmod(60.0 * minute - lag, 720)
            watch.evening.show(lambda each, period=period, left=720 - played: replace(  # type: ignore[misc]
                each, period=int(period) + 1, clock=left
            ))  # fmt: skip
            watch.edit(newest(period=4, clock=300.0, elapsed=2580.0) if minute == wrong else None)
            await watch.at(60.0 * minute + (minute % 12 > 0))
        made = watch.predictor.minutes(FINAL)
    assert (len(made) >= 20, made[-1]) == (True, 47)
    assert made == sorted(made)


async def test_a_final_without_period_and_clock_is_reported_at_once() -> None:
    async with watching(Evening([game(run=2)])) as watch:
        await watch.at(END - 60.0)
        watch.evening.go_to(END)
        watch.evening.clock.step(60.0)
        watch.evening.show(lambda each: replace(each, status=GameStatus.FINAL, period=0, clock=None, text="Final"))
        await watch.turn(2)
        assert FINAL in {report.horizon for report in watch.predictor.reports}
        assert not [fault for fault in watch.told(Fault) if fault.kind is FaultKind.STALE]


@pytest.mark.parametrize("field", [None, "actual", "edited"])
async def test_plays_of_the_past_do_not_bring_back_what_was_corrected(field: str | None) -> None:
    """Also if a play is dated into the future."""
    async with watching(**ONCE) as watch:
        dates: dict[str, Any] = {field: watch.evening.clock() + timedelta(days=1)} if field else {}

        def misdated(plays: tuple[Play, ...]) -> tuple[Play, ...]:
            return (replace(plays[0], **dates), *plays[1:])

        watch.edit(misdated)
        await watch.minutes(18)
        old = watch.evening.plays(watch.id).plays
        watch.edit(lambda plays: misdated(moved(-1, until=SIX_MINUTES + 1)(plays)))
        await watch.minutes(19)
        watch.edit(lambda _: old)
        await watch.minutes(20)

    assert [prediction.pattern[-1] for prediction in watch.told(Prediction)] == [3, 2]
    assert {fault.kind for fault in watch.told(Fault)} == {FaultKind.STALE}


@pytest.mark.parametrize("early", [{"period": 3}, {"period": 4, "status": GameStatus.FINAL}])
async def test_a_scoreboard_that_runs_ahead_by_a_period_and_comes_back_costs_no_forecast(early: dict[str, Any]) -> None:
    async with watching(**ONCE) as watch:
        await watch.minutes(16)
        watch.evening.show(lambda each: replace(each, **early))
        await watch.turn()
        assert len(watch.told(ForecastMissed)) == 1
        watch.evening.show(lambda each: each)
        await watch.turn(70, after=10)  # for five minutes it might be a stale cache

    assert len(watch.told(Prediction)) == 1
    [asked] = watch.predictor.asked
    assert asked.pattern[-1] == 3


async def test_a_scoreboard_of_the_past_is_told_once_and_not_taken_over() -> None:
    async with watching(**ONCE) as watch:
        await watch.at(300)
        old = state(watch)
        await watch.at(600)
        watch.evening.show(lambda _: old)
        await watch.turn(3, after=30)

        assert watch.seen.state.clock != old.clock
        assert watch.seen.age(watch.evening.clock()) == 90.0
        assert [fault.kind for fault in watch.told(Fault)] == [FaultKind.STALE]
        assert len(watch.told(GameChanged)) == 1


@pytest.mark.parametrize("before_the_end", [200, 60, 0])
async def test_a_scoreboard_of_the_past_opens_no_game_that_is_over(before_the_end: float) -> None:
    """Otherwise a missed half would be reported and counted again each time an old copy is served."""
    async with watching(**ONCE) as watch:
        await watch.at(2 * HALF - before_the_end)
        old = state(watch)
        await watch.over()
        for is_old in (True, False, True):
            watch.evening.show(lambda each, is_old=is_old: old if is_old else each)  # type: ignore[misc]
            await watch.turn(after=10)

        assert watch.seen.over
        assert [changed.game.status for changed in watch.told(GameChanged)] == [GameStatus.LIVE, GameStatus.FINAL]
        assert len(watch.told(ForecastMissed)) == 1


async def test_a_scoreboard_that_stands_still_while_plays_go_on_grows_old() -> None:
    async with watching(**ONCE) as watch:
        await watch.at(300)
        old = state(watch)
        watch.evening.show(lambda _: old)
        await watch.minutes(6, 7)
        seen = watch.evening.clock()  # until here it might only lag behind the plays, as scoreboards do
        await watch.minutes(8)

        assert watch.seen.age(watch.evening.clock()) == (watch.evening.clock() - seen).total_seconds() > 0


async def test_a_half_that_may_be_over_keeps_nobody_from_forecasting_the_end() -> None:
    evening = Evening([game()])
    evening.edit[evening.ids[0]] = cut_at(60 * 23 + 1)
    async with watching(evening, from_minute=23) as watch:
        await watch.minutes(23)
        assert watch.predictor.minutes(HALFTIME) == [23]
    evening.clock.step(59 + 121)
    async with watching(evening, from_minute=23) as late:
        await late.turn()

    assert late.predictor.minutes(HALFTIME) == []
    assert late.predictor.minutes(FINAL) == [23]
    [fault] = late.told(Fault)
    assert fault.kind is FaultKind.STALE
    assert "the half may be over" in fault.reason


async def test_a_clock_that_is_set_back_makes_no_plays_stale() -> None:
    async with watching(**ONCE) as watch:
        await watch.minutes(17)
        watch.evening.go_to(SIX_MINUTES + 1)
        shown, played = state(watch), watch.evening.plays(watch.id).plays
        watch.evening.show(lambda _: shown)
        watch.edit(lambda _: played)
        await watch.turn(after=-20 * 60)  # plays from then on are of the future by this clock

    assert [prediction.pattern[-1] for prediction in watch.told(Prediction)] == [3]
    assert not watch.told(Fault)


async def test_a_game_that_was_to_begin_when_the_scoreboard_dropped_it_is_followed_all_the_same() -> None:
    async with watching(**ONCE) as watch:
        await watch.turn(after=-300)
        watch.evening.hidden.add(watch.id)
        await watch.turn()
        assert watch.evening.reads[f"box score of {watch.id}"] == 0, "before its time there is nothing to look up"
        for elapsed in (60, SIX_MINUTES + 1, HALF):
            await watch.at(elapsed)
            await watch.turn()

    assert [changed.game.status for changed in watch.told(GameChanged)] == [GameStatus.SCHEDULED, GameStatus.LIVE]
    assert len(watch.told(Prediction)) == 1
    assert len(watch.told(HorizonResult)) == 1


async def test_without_a_scoreboard_games_are_looked_up_until_they_are_final() -> None:
    async with watching(**ONCE) as watch:
        await watch.at(60)
        watch.evening.fault["scoreboard"] = FeedUnavailable("status 403")
        await watch.minutes(18)
        assert watch.evening.reads[f"box score of {watch.id}"] == 0, "one failure is soon forgotten"
        await watch.turn(8)
        assert watch.evening.reads[f"box score of {watch.id}"] > 0
        await watch.over()
        assert watch.seen.state.status is GameStatus.FINAL


@pytest.mark.parametrize("unreported", [False, True])
async def test_a_game_that_is_not_shown_for_days_is_forgotten_once_the_server_has_its_outcome(unreported: bool) -> None:
    async with watching(**ONCE) as watch:
        if unreported:
            watch.predictor.untaken += [UnavailableError("away")] * 9
        await watch.at(60)
        await watch.over(3)
        watch.evening.hidden.add(watch.id)
        gone = FeedUnavailable("status 404")
        watch.evening.fault |= {watch.id: gone, f"box score of {watch.id}": gone}
        await watch.turn(after=timedelta(days=2).total_seconds())
        assert watch.id in watch.poller.games
        await watch.turn(after=1)
        assert (watch.id in watch.poller.games) is unreported


class Flooding(Evening):
    """While hostile, shows the maximum number of live games, different ones at each read."""

    boards = 0
    hostile = True

    def scoreboard(self) -> Scoreboard:
        board = super().scoreboard()
        if not self.hostile:
            return board
        self.boards += 1
        ids = [f"99{self.boards:04}{number:04}" for number in range(MAX_GAMES)]
        return replace(board, games=tuple(replace(board.games[0], game_id=each) for each in ids))

    def arrive(self, source: str) -> None:
        is_made_up = source[-10:] not in {*self.ids, "scoreboard"}
        super().arrive("made up" if is_made_up else source)
        if is_made_up:
            raise FeedUnavailable("status 404")


@pytest.mark.parametrize("slow", [False, True])
async def test_of_ever_new_games_no_more_are_followed_than_a_scoreboard_may_have(slow: bool) -> None:
    evening = Flooding([game()])
    async with watching(evening, **ONCE) as watch:
        if slow:
            evening.stalled.add("made up")
        evening.go_to(60)
        for _ in range(6):
            evening.clock.step(10)
            watch.poller.turn()
            while watch.poller.scoreboard_time != evening.clock.now:  # noqa: ASYNC110 - slow reads go on
                await asyncio.sleep(0.01)
            assert 0 < len(watch.poller.games) <= MAX_GAMES
        evening.release.set()
        await watch.poller.idle()
        reasons = {fault.reason for fault in watch.told(Fault) if fault.source == "scoreboard"}
        assert reasons == {"more than 100 games; the rest is followed once others are forgotten"}

        evening.hostile = False
        await watch.at(600, SIX_MINUTES + 1, HALF)
        assert len(watch.told(HorizonResult)) == 1


class Turning(Evening):
    """A scoreboard that switches to the next day during the second game and shows only tomorrow's game."""

    def scoreboard(self) -> Scoreboard:
        self.clock.step(60)
        board = super().scoreboard()
        if self.clock.now < self.start + timedelta(minutes=40):
            return replace(board, date="2026-01-14")
        tomorrow = replace(board.games[0], game_id="9900000000", status=GameStatus.SCHEDULED, period=0, clock=None)
        return Scoreboard("2026-01-15", (tomorrow,))


async def test_run_waits_for_the_games_of_the_first_day_and_not_for_tomorrows() -> None:
    async with watching(Turning([game(), game("MIA", "NYK")], stagger=600), interval=0.0, **ONCE) as watch:
        async with asyncio.timeout(60):
            await watch.poller.run(until_final=True)

        assert len(watch.told(HorizonResult)) == 2
        assert [seen.state.status for seen in watch.poller.games.values()].count(GameStatus.FINAL) == 2
        assert watch.poller.games["9900000000"].state.status is GameStatus.SCHEDULED


async def test_a_final_game_whose_plays_stay_unreadable_does_not_keep_an_evening_open() -> None:
    async with watching(interval=0.0, **ONCE) as watch, asyncio.timeout(60):
        await watch.minutes(18)
        read = watch.evening.reads[watch.id]
        watch.evening.clock.now = watch.evening.replay.end
        watch.evening.fault[watch.id] = MalformedFeed("play 7.clock is missing")
        await watch.poller.run(until_final=True)

        assert watch.evening.reads[watch.id] - read == 12
        assert watch.seen.failure == "feed: play 7.clock is missing"
