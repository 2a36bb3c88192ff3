"""What a poller publishes of its games, as a server accepts it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.support.builders.evenings import SIX_MINUTES, Evening, FakeOfClient, Watch, game, watching
from tests.support.harness.waiting import until

from dejavu.ops.v1.feed_service_pb2 import PublishGamesRequest
from dejavu.v1.game_service_pb2 import Game, GameStatus
from dejavu_client import errors
from dejavu_client.errors import DejavuClientError, UnavailableError
from dejavu_feed.nba.live_payloads import GameStatus as FeedStatus
from dejavu_models.errors import InvalidInput
from dejavu_poller import Poller
from dejavu_poller.inputs import GameLine
from dejavu_poller.publishing import LIVE_SECONDS, REPORT_SECONDS, GamePublisher, state_of
from dejavu_server.api.converters.games import checked_games


class Published(FakeOfClient):  # type: ignore[misc]
    """A server that accepts states as the real one does, and reports.

    Attributes:
        states, reports: what was accepted.
        errors: errors of the next publications.
        unreported: errors for the next reports.
        refused: number of publications with an invalid state.
    """

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.states = list[Game]()
        self.errors = list[DejavuClientError]()
        self.refused = 0
        self.reports = list[tuple[str, float, float | None, int]]()
        self.unreported = list[DejavuClientError]()

    def publisher(self, **options: Any) -> GamePublisher:
        return GamePublisher(self.watch.poller, self, now=self.watch.evening.clock, **options)

    async def publish_games(self, games: Iterable[Game]) -> None:
        if self.errors:
            raise self.errors.pop()
        request = PublishGamesRequest(games=games)
        try:
            checked_games(request, self.watch.evening.clock())
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


@pytest.fixture
async def watch() -> AsyncIterator[Watch]:
    """A poller of a game at 6:00 of the second quarter."""
    async with watching(Evening([game(run=2)])) as watch:
        await watch.at(SIX_MINUTES)
        yield watch


async def test_the_last_states_of_a_poller_that_ends_are_published(watch: Watch) -> None:
    """Formerly, the last game of an evening stayed in its last seconds, and the page said that the poller was gone."""
    server = Published(watch)
    async with GamePublisher(watch.poller, server):
        await until(lambda: bool(server.states))
        await watch.over()
    assert [each.status for each in server.states] == [GameStatus.GAME_STATUS_LIVE, GameStatus.GAME_STATUS_FINAL]


async def test_each_change_of_a_game_is_published_once_and_its_age_from_time_to_time() -> None:
    async with watching(Evening([game(run=2)])) as watch:
        server = Published(watch)
        publisher = server.publisher()

        async def published() -> list[Game]:
            """Return what two publications publish."""
            before = len(server.states)
            for _ in range(2):
                await publisher.publish()
            return server.states[before:]

        watch.evening.go_to(0)
        await watch.turn(after=-3600)
        [scheduled] = await published()
        assert scheduled.status == GameStatus.GAME_STATUS_SCHEDULED
        assert scheduled.HasField("tip_off_time")
        await watch.at(SIX_MINUTES)
        [live] = await published()
        assert (live.status, live.period) == (GameStatus.GAME_STATUS_LIVE, 2)
        assert (live.home_team, live.away_team) == ("BOS", "LAL")
        assert abs(live.seconds_left - 360) < 5
        await watch.turn(after=LIVE_SECONDS + 5)
        [later] = await published()
        assert later.observed_time.ToSeconds() - live.observed_time.ToSeconds() >= LIVE_SECONDS
        watch.evening.clock.step(LIVE_SECONDS + 5)  # the feed is gone: the poller still tells that it is there
        [again] = await published()
        assert again.observed_time == later.observed_time
        await watch.over()
        [final] = await published()
    assert final.status == GameStatus.GAME_STATUS_FINAL
    assert not final.HasField("seconds_left")


async def test_the_score_of_newer_plays_is_published_before_the_scoreboard_has_it(watch: Watch) -> None:
    await watch.at(2701.0)
    for elapsed in (2702.0, 2762.0):
        watch.evening.go_to(elapsed)
        watch.poller.turn(only_ends=True)
        await watch.poller.idle()
    server = Published(watch)
    await server.publisher().publish()
    [state] = server.states
    assert watch.seen.last_play is not None
    assert (state.home_score, state.away_score) == (watch.seen.last_play.home, watch.seen.last_play.away)
    assert (state.period, state.seconds_left, state.status_text) == (4, watch.seen.last_play.clock, "")


async def test_what_the_server_did_not_accept_stays_due(watch: Watch) -> None:
    server = Published(watch)
    server.errors = [UnavailableError("away")]
    publisher = server.publisher()
    with suppress(UnavailableError):
        await publisher.publish()
    await publisher.publish()
    assert len(server.states) == 1


async def test_games_of_other_teams_are_left_out_and_odd_values_of_the_feed_are_no_hindrance(watch: Watch) -> None:
    server, seen = Published(watch), watch.seen
    tip_off = watch.evening.clock() + timedelta(days=400)
    odd: dict[str, Any] = {"text": "Final\x1b[2J\u202e", "tip_off": tip_off, "status": FeedStatus.FINAL}
    for fields in ({"home": "WST"}, odd):
        assert not server.states
        watch.poller.games[watch.id] = replace(seen, state=replace(seen.state, **fields))
        await server.publisher().publish()
    [state] = server.states
    assert state.status_text.isprintable()
    assert not state.HasField("tip_off_time")


async def test_neither_a_damaged_game_nor_one_of_an_earlier_evening_holds_up_the_others() -> None:
    async with watching(Evening([game(run=2), game("DEN", "MIA"), game("CHI", "NYK")])) as watch:
        await watch.at(SIX_MINUTES)
        server = Published(watch)
        old, damaged, good = watch.poller.games.values()
        for changed in (
            replace(old, state_time=watch.evening.clock() - timedelta(hours=30), plays_time=None),
            replace(damaged, state=replace(damaged.state, home_score=400), last_play=None),
        ):
            watch.poller.games[changed.state.game_id] = changed
        publisher = server.publisher()
        for _ in range(2):
            await publisher.publish()
    assert [each.game_id for each in server.states] == [good.state.game_id]
    assert server.refused == 2, "all together, and the damaged one alone; then it waits for a change"


async def test_the_line_of_a_game_is_published(watch: Watch) -> None:
    now = watch.evening.clock()
    state = state_of(watch.seen, GameLine(5.5, None, "file", now), now)
    assert (state.pregame_margin, state.HasField("pregame_total")) == (5.5, False)
    postponed = replace(watch.seen, state=replace(watch.seen.state, text="PPD", status=FeedStatus.SCHEDULED))
    assert state_of(postponed, None, now).status == GameStatus.GAME_STATUS_POSTPONED


async def test_ages_are_those_of_the_last_read_and_of_the_games_in_play() -> None:
    async with watching() as watch:
        server = Published(watch)
        reporter = server.publisher(official=True)
        await reporter.report()  # nothing was read yet
        await watch.at(600)
        await reporter.report()
        watch.evening.clock.step(100)
        await reporter.report()
    first, (_, read, data, live), (_, later_read, later_data, _) = server.reports
    assert list(first) == ["nba", 0, None, 0]
    assert live == 1
    assert (later_read - read, (later_data or 0) - (data or 0)) == pytest.approx((100, 100))


def reported(watch: Watch, **changes: Any) -> SimpleNamespace:
    """Return what a publisher reads of a poller, with changes."""
    names = ("leads", "games", "scoreboard_time", "lines")
    return SimpleNamespace(**{name: getattr(watch.poller, name) for name in names} | changes)


@pytest.mark.parametrize("missing", [{"leads": False}, {"games": {}}], ids=["does not lead", "feed not known"])
async def test_the_first_report_comes_as_soon_as_there_is_something_to_report(
    watch: Watch, missing: dict[str, Any]
) -> None:
    """Also if another poller led when this one was started: its operators ask for it within seconds."""
    server, poller = Published(watch), reported(watch, **missing)
    async with GamePublisher(cast("Poller", poller), server, official=False, now=watch.evening.clock):
        for _ in range(20):
            await asyncio.sleep(0)
        assert not server.reports
        vars(poller).update(vars(reported(watch)))
        async with asyncio.timeout(0.8 * REPORT_SECONDS):
            await until(lambda: bool(server.reports))


async def test_a_poller_that_leads_again_publishes_anew_what_another_one_may_have_changed(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dejavu_poller.publishing.PUBLISH_SECONDS", 0.001)
    server, poller = Published(watch), reported(watch)

    async def published(times: int) -> None:
        await until(lambda: len(server.states) == times)
        await asyncio.sleep(0.1)
        assert len(server.states) == times, "and no more until a change"

    async with GamePublisher(cast("Poller", poller), server, now=watch.evening.clock):
        await published(1)
        poller.leads = False
        await asyncio.sleep(0.1)
        poller.leads = True
        await published(2)


@pytest.mark.parametrize(
    "failures",
    [[UnavailableError("away")], [errors.UnauthenticatedError("expired"), errors.PermissionDeniedError("scope")]],
    ids=["away", "token renewed"],
)
async def test_a_report_that_fails_is_made_again(watch: Watch, failures: list[DejavuClientError]) -> None:
    server = Published(watch)
    server.unreported = failures
    async with server.publisher(official=True, report_seconds=0.0):
        await until(lambda: bool(server.reports))
