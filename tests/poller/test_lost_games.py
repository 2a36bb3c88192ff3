"""The poller with games that the scoreboard drops, or whose end it does not show."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.support.builders.evenings import Evening, StoringPredictor, game
from tests.support.harness.poller import END, HALF, ONCE, SIX_MINUTES, watching

from dejavu_client.errors import UnavailableError
from dejavu_feed.errors import FeedUnavailable, MalformedFeed
from dejavu_feed.nba.live_payloads import MAX_GAMES, GameState, GameStatus, PlayByPlay, Scoreboard
from dejavu_poller import Poller
from dejavu_poller.events import Event, Fault, GameChanged, HorizonResult, Prediction


async def test_a_game_that_was_to_begin_when_the_scoreboard_dropped_it_is_followed_all_the_same() -> None:
    evening = Evening([game()])
    (game_id,) = evening.ids
    async with watching(evening, **ONCE) as watch:
        evening.clock.step(-300)
        await watch.turn()
        evening.hidden.add(game_id)
        await watch.turn()
        assert evening.reads[f"box score of {game_id}"] == 0, "before its time there is nothing to look up"
        for elapsed in (60, SIX_MINUTES + 1, HALF):
            await watch.at(elapsed)
            await watch.turn()

    assert [changed.game.status for changed in watch.told(GameChanged)] == [GameStatus.SCHEDULED, GameStatus.LIVE]
    assert len(watch.told(Prediction)) == 1
    assert len(watch.told(HorizonResult)) == 1


async def test_without_a_scoreboard_games_are_looked_up_until_they_are_final() -> None:
    evening = Evening([game()])
    (game_id,) = evening.ids
    async with watching(evening, **ONCE) as watch:
        await watch.at(60)
        evening.fault["scoreboard"] = FeedUnavailable("status 403")
        await watch.at(SIX_MINUTES + 1)
        assert evening.reads[f"box score of {game_id}"] == 0, "one failure is soon forgotten"
        for _ in range(8):
            await watch.turn()
        assert evening.reads[f"box score of {game_id}"] > 0
        evening.clock.now = evening.replay.end
        await watch.turn()
        assert watch.poller.games[game_id].state.status is GameStatus.FINAL


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
    evening = Evening([game()])
    (game_id,) = evening.ids
    async with watching(evening, **ONCE) as watch:
        evening.clock.step(-300)
        await watch.turn()
        if elapsed is not None:
            await watch.at(60)
            evening.go_to(elapsed)
        if elapsed == END:
            evening.clock.now = evening.replay.end
        if unreported:
            watch.predictor.untaken += [UnavailableError("away")] * 9
        for _ in range(3):
            await watch.turn()
        evening.hidden.add(game_id)
        evening.fault |= {source: FeedUnavailable("status 404") for source in (game_id, f"box score of {game_id}")}
        evening.clock.step(timedelta(days=2).total_seconds())
        await watch.turn()
        assert game_id in watch.poller.games
        evening.clock.step(1)
        await watch.turn()
        assert (game_id in watch.poller.games) is stays


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

    def plays(self, game_id: str) -> PlayByPlay:
        if game_id in self.ids:
            return super().plays(game_id)
        self._arrive("made up")
        raise FeedUnavailable("status 404")

    def game(self, game_id: str) -> GameState:
        self._arrive("made up")
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
    evening = Turning([game(), game("MIA", "NYK")], stagger=600)
    events: list[Event] = []
    async with Poller(
        evening, StoringPredictor(), interval=0.0, on_event=[events.append], now=evening.clock, **ONCE
    ) as poller:
        async with asyncio.timeout(60):
            await poller.run(until_final=True)

        assert len([event for event in events if isinstance(event, HorizonResult)]) == 2
        assert [seen.state.status for seen in poller.games.values()].count(GameStatus.FINAL) == 2
        assert poller.games["9900000000"].state.status is GameStatus.SCHEDULED


async def test_a_final_game_whose_plays_stay_unreadable_does_not_keep_an_evening_open() -> None:
    evening = Evening([game()])
    (game_id,) = evening.ids
    evening.go_to(SIX_MINUTES + 1)
    async with (
        Poller(evening, StoringPredictor(), interval=0.0, now=evening.clock, **ONCE) as poller,
        asyncio.timeout(60),
    ):
        poller.turn()
        await poller.idle()
        read = evening.reads[game_id]
        evening.clock.now = evening.replay.end
        evening.fault[game_id] = MalformedFeed("play 7.clock is missing")
        await poller.run(until_final=True)

        assert evening.reads[game_id] - read == 12
        assert poller.games[game_id].failure == "feed: play 7.clock is missing"
