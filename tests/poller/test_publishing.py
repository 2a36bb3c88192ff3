"""What a poller publishes of its games, as a server accepts it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.support.builders.evenings import Evening, game
from tests.support.fakes.client import FakeOfClient
from tests.support.harness.poller import END, SIX_MINUTES, Watch, watching
from tests.support.harness.waiting import until

from dejavu.ops.v1.feed_service_pb2 import PublishGamesRequest
from dejavu.v1.game_service_pb2 import Game, GameStatus
from dejavu_client import errors
from dejavu_client.errors import DejavuClientError, UnavailableError
from dejavu_feed.nba.live_payloads import GameState, Scoreboard
from dejavu_feed.nba.live_payloads import GameStatus as FeedStatus
from dejavu_models.errors import InvalidInput
from dejavu_poller import Poller
from dejavu_poller.inputs import GameLine
from dejavu_poller.publishing import LIVE_SECONDS, REPORT_SECONDS, GamePublisher, publishing, state_of
from dejavu_server.api.converters.games import checked_games


class Published(FakeOfClient):  # type: ignore[misc]
    """A server that accepts states as the real one does, and reports.

    Attributes:
        states, reports: what was accepted.
        error: error of every publication while it is set.
        unreported: errors for the next reports.
        refused: number of publications with an invalid state.
    """

    def __init__(self, evening: Evening) -> None:
        self.evening = evening
        self.states = list[Game]()
        self.error: DejavuClientError | None = None
        self.refused = 0
        self.reports = list[tuple[str, float, float | None, int]]()
        self.unreported = list[DejavuClientError]()

    async def publish_games(self, games: Iterable[Game]) -> None:
        if self.error is not None:
            raise self.error
        request = PublishGamesRequest(games=games)
        try:
            checked_games(request, self.evening.clock())
        except InvalidInput as error:
            self.refused += 1
            raise errors.InvalidArgumentError(str(error)) from None
        self.states += request.games

    async def report_feed(
        self, feed: str, read_age_seconds: float, *, data_age_seconds: float | None = None, live_games: int = 0
    ) -> None:
        if self.unreported:
            raise self.unreported.pop(0)
        self.reports.append((feed, read_age_seconds, data_age_seconds, live_games))


async def test_the_last_states_of_a_poller_that_ends_are_published() -> None:
    """Formerly, the last game of an evening stayed in its last seconds, and the page said that the poller was gone."""
    evening = Evening([game(run=2)])
    server = Published(evening)
    async with watching(evening) as watch:
        await watch.at(SIX_MINUTES)
        async with publishing(watch.poller, server):
            await until(lambda: bool(server.states))
            evening.clock.now = evening.replay.end
            await watch.turn()
    assert [each.status for each in server.states] == [GameStatus.GAME_STATUS_LIVE, GameStatus.GAME_STATUS_FINAL]


async def test_each_change_of_a_game_is_published_once_and_its_age_from_time_to_time() -> None:
    evening = Evening([game(run=2)])
    server = Published(evening)
    async with watching(evening) as watch:
        publisher = GamePublisher(watch.poller, server, now=evening.clock)
        evening.go_to(0)
        evening.clock.step(-3600)
        await watch.turn()
        for _ in range(2):
            await publisher.publish()
        assert [each.status for each in server.states] == [GameStatus.GAME_STATUS_SCHEDULED]
        assert server.states[0].HasField("tip_off_time")
        await watch.at(SIX_MINUTES)
        for _ in range(2):
            await publisher.publish()
        [_, live] = server.states
        assert (live.status, live.period) == (GameStatus.GAME_STATUS_LIVE, 2)
        assert (live.home_team, live.away_team) == (
            watch.poller.games[live.game_id].state.home,
            watch.poller.games[live.game_id].state.away,
        )
        assert abs(live.seconds_left - 360) < 5
        evening.clock.step(LIVE_SECONDS + 5)
        await watch.turn()
        await publisher.publish()
        assert server.states[-1].observed_time.ToSeconds() - live.observed_time.ToSeconds() >= LIVE_SECONDS
        count = len(server.states)
        evening.clock.step(LIVE_SECONDS + 5)  # the feed is gone: the poller still tells that it is there
        for _ in range(2):
            await publisher.publish()
        assert [each.observed_time for each in server.states[count:]] == [server.states[count - 1].observed_time]
        evening.go_to(END)
        evening.clock.step(600)
        await watch.turn()
        await publisher.publish()
    final = server.states[-1]
    assert final.status == GameStatus.GAME_STATUS_FINAL
    assert not final.HasField("seconds_left")


async def test_the_score_of_newer_plays_is_published_before_the_scoreboard_has_it() -> None:
    class Old(Evening):
        board: Scoreboard | None = None

        def scoreboard(self) -> Scoreboard:
            self.board = self.board or super().scoreboard()
            return self.board

    evening = Old([game(run=2)])
    server = Published(evening)
    async with watching(evening) as watch:
        evening.go_to(2701.0)
        evening.board = None
        await watch.turn()
        for elapsed in (2702.0, 2762.0):
            evening.go_to(elapsed)
            watch.poller.turn(only_ends=True)
            await watch.poller.idle()
        await GamePublisher(watch.poller, server, now=evening.clock).publish()
        [state] = server.states
        [watched] = watch.poller.games.values()
        assert watched.last_play is not None
        assert (state.home_score, state.away_score) == (watched.last_play.home, watched.last_play.away)
        assert (state.period, state.seconds_left, state.status_text) == (4, watched.last_play.clock, "")


async def live_game() -> tuple[Watch, Evening]:
    evening = Evening([game(run=2)])
    async with watching(evening) as watch:
        await watch.at(SIX_MINUTES)
        return watch, evening


async def test_what_the_server_did_not_accept_stays_due() -> None:
    watch, evening = await live_game()
    server = Published(evening)
    server.error = UnavailableError("away")
    publisher = GamePublisher(watch.poller, server, now=evening.clock)
    try:
        await publisher.publish()
    except UnavailableError:
        server.error = None
    await publisher.publish()
    assert len(server.states) == 1


async def test_games_of_other_teams_are_left_out_and_odd_values_of_the_feed_are_no_hindrance() -> None:
    watch, evening = await live_game()
    [watched] = watch.poller.games.values()

    def with_state(**fields: object) -> None:
        state: GameState = replace(watched.state, **fields)  # type: ignore[arg-type]
        watch.poller.games[state.game_id] = replace(watched, state=state)

    server = Published(evening)
    with_state(home="WST")
    await GamePublisher(watch.poller, server, now=evening.clock).publish()
    assert not server.states
    with_state(text="Final\x1b[2J\u202e", tip_off=evening.clock() + timedelta(days=400), status=FeedStatus.FINAL)
    await GamePublisher(watch.poller, server, now=evening.clock).publish()
    [state] = server.states
    assert state.status_text.isprintable()
    assert not state.HasField("tip_off_time")


async def test_neither_a_damaged_game_nor_one_of_an_earlier_evening_holds_up_the_others() -> None:
    evening = Evening([game(run=2), game("DEN", "MIA"), game("CHI", "NYK")])
    server = Published(evening)
    async with watching(evening) as watch:
        await watch.at(SIX_MINUTES)
        old, damaged, good = watch.poller.games.values()
        yesterday = evening.clock() - timedelta(hours=30)
        for changed in (
            replace(old, state_time=yesterday, plays_time=None),
            replace(damaged, state=replace(damaged.state, home_score=400), last_play=None),
        ):
            watch.poller.games[changed.state.game_id] = changed
        publisher = GamePublisher(watch.poller, server, now=evening.clock)
        for _ in range(2):
            await publisher.publish()
    assert [each.game_id for each in server.states] == [good.state.game_id]
    assert server.refused == 2, "all together, and the damaged one alone; then it waits for a change"


async def test_the_line_of_a_game_is_published() -> None:
    watch, evening = await live_game()
    [watched] = watch.poller.games.values()
    now: datetime = evening.clock()
    state = state_of(watched, GameLine(5.5, None, "file", now), now)
    assert (state.pregame_margin, state.HasField("pregame_total")) == (5.5, False)
    postponed = replace(watched, state=replace(watched.state, text="PPD", status=FeedStatus.SCHEDULED))
    assert state_of(postponed, None, now).status == GameStatus.GAME_STATUS_POSTPONED


async def test_ages_are_those_of_the_last_read_and_of_the_games_in_play() -> None:
    evening = Evening([game()])
    server = Published(evening)
    async with watching(evening) as watch:
        reporter = GamePublisher(watch.poller, server, official=True, now=evening.clock)
        await reporter.report()  # nothing was read yet
        await watch.at(600)
        await reporter.report()
        before = evening.clock()
        evening.go_to(700)
        passed = (evening.clock() - before).total_seconds()
        await reporter.report()
    assert passed > 0
    (feed, *first), (_, read, data, live), (_, later_read, later_data, _) = server.reports
    assert feed == "nba"
    assert first == [0, None, 0]
    assert live == 1
    assert later_read - read == pytest.approx(passed)
    assert (later_data or 0) - (data or 0) == pytest.approx(passed)


@pytest.mark.parametrize("missing", [{"leads": False}, {"games": {}}], ids=["does not lead", "feed not known"])
async def test_the_first_report_comes_as_soon_as_there_is_something_to_report(missing: dict[str, Any]) -> None:
    """Also if another poller led when this one was started: its operators ask for it within seconds."""
    evening = Evening([game()])
    server = Published(evening)
    async with watching(evening) as watch:
        await watch.at(60)
        ready = {name: getattr(watch.poller, name) for name in ("leads", "games", "scoreboard_time", "line_of")}
        poller = SimpleNamespace(**ready | {"recovers_line": watch.poller.recovers_line} | missing)
        reporter = GamePublisher(cast("Poller", poller), server, official=False, now=evening.clock)
        reporter.start()
        for _ in range(20):
            await asyncio.sleep(0)
        assert not server.reports
        vars(poller).update(ready)
        async with asyncio.timeout(0.8 * REPORT_SECONDS):
            await until(lambda: bool(server.reports))
        await reporter.close()


@pytest.mark.parametrize(
    "failures",
    [[UnavailableError("away")], [errors.UnauthenticatedError("expired"), errors.PermissionDeniedError("scope")]],
    ids=["away", "token renewed"],
)
async def test_a_report_that_fails_is_made_again(failures: list[DejavuClientError]) -> None:
    evening = Evening([game()])
    server = Published(evening)
    server.unreported = failures
    async with watching(evening) as watch:
        reporter = GamePublisher(watch.poller, server, official=True, report_seconds=0.0, now=evening.clock)
        reporter.start()
        await until(lambda: bool(server.reports))
        await reporter.close()
