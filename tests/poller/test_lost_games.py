"""The poller with games that the scoreboard drops, or whose end it does not show."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.support.builders.evenings import Evening, game
from tests.support.harness.poller import END, HALF, ONCE, SIX_MINUTES, watching

from dejavu_client.errors import UnavailableError
from dejavu_feed.errors import FeedUnavailable, MalformedFeed
from dejavu_feed.nba.live_payloads import MAX_GAMES, GameStatus, Scoreboard
from dejavu_poller.events import Fault, GameChanged, HorizonResult, Prediction


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


@pytest.mark.parametrize(
    ("elapsed", "unreported", "stays"),
    [
        (None, False, False),  # before its tip-off
        (SIX_MINUTES, False, False),
        (END, False, False),
        (END, True, True),  # until the server takes its outcome
    ],
)
async def test_a_game_that_is_not_shown_for_days_is_forgotten(
    elapsed: float | None, unreported: bool, stays: bool
) -> None:
    async with watching(**ONCE) as watch:
        await watch.turn(after=-300)
        if unreported:
            watch.predictor.untaken += [UnavailableError("away")] * 9
        if elapsed is not None:
            await watch.at(60)
            watch.evening.go_to(elapsed)
        await (watch.over(3) if elapsed == END else watch.turn(3))
        watch.evening.hidden.add(watch.id)
        gone = FeedUnavailable("status 404")
        watch.evening.fault |= {watch.id: gone, f"box score of {watch.id}": gone}
        await watch.turn(after=timedelta(days=2).total_seconds())
        assert watch.id in watch.poller.games
        await watch.turn(after=1)
        assert (watch.id in watch.poller.games) is stays


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
        for elapsed in (600, SIX_MINUTES + 1, HALF):
            await watch.at(elapsed)
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
