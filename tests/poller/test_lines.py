"""Lines of an evening's games: the one that a forecast uses, whatever happens before and after tip-off."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.builders.evenings import Evening, StoringPredictor, Watch, game, watching

from dejavu.v1.forecast_pb2 import MARGIN_SOURCE_FEED, MARGIN_SOURCE_FILE, MARGIN_SOURCE_UNSPECIFIED
from dejavu.v1.game_service_pb2 import Game
from dejavu_cli.output.poll_events import event_line, event_record
from dejavu_client.errors import UnavailableError, UnimplementedError
from dejavu_feed.errors import FeedUnavailable, MalformedFeed
from dejavu_feed.lines import Line, SidedLine
from dejavu_feed.nba.live_payloads import GameState, GameStatus
from dejavu_poller.events import Fault, LineTaken
from dejavu_poller.inputs import GameLine
from dejavu_poller.lines import FEED_SECONDS, GameLines
from dejavu_poller.publishing import GamePublisher
from dejavu_poller.reads import WatchedFile


def margins(predictor: StoringPredictor) -> list[tuple[float | None, int]]:
    """Return margin and source of each request."""
    return [asked.margin for asked in predictor.asked]


class Odds:
    """Odds of a feed, by game id, or the error that reading them raises."""

    def __init__(self) -> None:
        self.lines: Mapping[str, Line | SidedLine] = {}
        self.error: Exception | None = None
        self.reads = 0

    def __call__(self) -> Mapping[str, SidedLine]:
        self.reads += 1
        if self.error is not None:
            raise self.error
        return {game: SidedLine(each) if isinstance(each, Line) else each for game, each in self.lines.items()}


NO_LINE = (None, MARGIN_SOURCE_UNSPECIFIED)


async def before_tip_off(watch: Watch, *seconds: float) -> None:
    """Poll twice, some seconds before tip-off: lines that a turn reads count from the next turn on."""
    for each in seconds:
        watch.evening.clock.now = watch.evening.start - timedelta(seconds=each)
        await watch.turn(2)


async def until_minute_six(watch: Watch) -> None:
    await watch.minutes(1, 5, 6)


class Lines:
    """Lines of an evening, of a feed's odds and of a file, without a poller."""

    def __init__(self, folder: Path | None = None, published: Any = None) -> None:
        self.evening, self.odds = Evening([game()]), Odds()
        self.id = self.evening.ids[0]
        self.file = None if folder is None else folder / "lines.csv"
        self.lines = GameLines(self.evening.clock, file=self.file, odds=self.odds, published=published)

    def write(self, *rows: str, modified: int | None = None) -> None:
        """Write rows of the file; in them, {id} is that of the game."""
        assert self.file is not None
        self.file.write_text("\n".join(["game_id,spread,total", *rows]).format(id=self.id) + "\n")
        if modified is not None:
            os.utime(self.file, (modified, modified))

    def state(self, **changes: Any) -> GameState:
        """Return the game before its tip-off, with changes."""
        [state] = self.evening.scoreboard().games
        return replace(state, **{"status": GameStatus.SCHEDULED, "tip_off": self.evening.start, **changes})

    async def turn(self, *at: float, **changes: Any) -> GameLine | None:
        """Read the lines and then a scoreboard, some seconds after the scheduled start of the game."""
        for each in at:
            self.evening.clock.now = self.evening.start + timedelta(seconds=each)
            await self.lines.read()
            await self.lines.follow([self.state(**changes)])
        return self.lines.of(self.id)

    async def begin(self, at: float = 60, **changes: Any) -> GameLine | None:
        """Read the scoreboard once the game is on; return its line."""
        return await self.turn(at, status=GameStatus.LIVE, **changes)


async def test_the_line_of_the_feed_is_taken_until_tip_off_and_frozen_then() -> None:
    of = Lines()
    async with watching(of.evening, lines=of.lines) as watch:
        of.odds.lines = {of.id: Line(3.5)}
        await before_tip_off(watch, 300)
        of.odds.lines = {of.id: Line(4.5)}
        await before_tip_off(watch, 299 - FEED_SECONDS)
        of.odds.lines = {of.id: Line(-9.5)}  # odds during a game follow its score
        await until_minute_six(watch)
        [taken] = watch.told(LineTaken)
    assert margins(watch.predictor) == [(4.5, MARGIN_SOURCE_FEED)] * 2
    taken_at = watch.predictor.asked[0].margin_time.ToDatetime(tzinfo=UTC)
    assert taken_at == of.evening.start - timedelta(seconds=299 - FEED_SECONDS)
    assert event_record(taken, of.evening.clock())["line"]["pregameMargin"] == 4.5
    assert of.odds.reads == 3, "politely, and not at all once no game waits for its tip-off"


@pytest.mark.parametrize(
    ("error", "faults", "rated"),
    [
        (FeedUnavailable("status 403"), 0, 3.5),
        (MalformedFeed("games is missing"), 1, 3.5),
        (FeedUnavailable("status 403"), 0, None),
    ],
)
async def test_without_odds_what_is_used_is_said_once(error: Exception, faults: int, rated: float | None) -> None:
    of = Lines()
    of.odds.error = error
    async with watching(of.evening, lines=of.lines) as watch:
        watch.predictor.rated = rated
        await before_tip_off(watch, 200, 100)
        await until_minute_six(watch)
        [taken] = watch.told(LineTaken)
        assert len(watch.told(Fault)) == faults
    assert margins(watch.predictor) == [NO_LINE] * 2
    assert ("no usable ratings" in event_line(taken)) is (rated is None)


async def test_a_file_that_breaks_or_goes_leaves_its_last_lines_in_force(tmp_path: Path) -> None:
    of = Lines(tmp_path)
    assert of.file is not None
    async with watching(of.evening, lines=of.lines) as watch:
        await before_tip_off(watch, 90)  # it comes late
        of.write("{id},-6.5,")
        await before_tip_off(watch, 60)
        of.write("{id},-650,")
        await before_tip_off(watch, 40, 30)
        of.file.unlink()
        await until_minute_six(watch)
        faults = [event_line(each) for each in watch.told(Fault)]
    assert margins(watch.predictor) == [(6.5, MARGIN_SOURCE_FILE)] * 2
    missing, absurd, gone = faults
    assert "line 2: a margin of 650" in absurd
    assert gone == missing


async def test_a_refused_file_is_read_again_when_it_changes_and_skipped_rows_are_named(tmp_path: Path) -> None:
    of = Lines(tmp_path)
    assert of.file is not None
    header = "game_id,date,home,away,spread"
    for spread, modified, fault in (
        ("-99.5", 1, "a margin of 99.5"),
        ("-09.5", 1, "a margin of 99.5"),  # same size and time: it is not read again
        ("-09.5", 2, "line 3 is skipped: 'Madrid' against 'UTA'"),
    ):
        of.file.write_text(f"{header}\n{of.id},,,,{spread}\n,2026-01-13,Madrid,UTA,1.5\n")
        os.utime(of.file, (modified, modified))
        for _ in range(2):
            await of.lines.read()
            assert [fault in each for each in of.lines.faults] == [True]
    await of.turn(-60)
    assert margin(await of.begin()) == 9.5


async def test_odds_that_fail_after_they_were_read_are_a_fault_until_the_game_is_on() -> None:
    """Otherwise a line would look newer than it is."""
    of = Lines()
    of.odds.lines = {of.id: Line(4.5)}
    assert await of.turn(-300) is None
    await of.lines.read()
    assert of.lines.faults == frozenset()
    of.odds.error = FeedUnavailable("status 403")
    await of.turn(-120)
    [fault] = of.lines.faults
    assert fault.startswith("the odds of ")
    assert fault.endswith(" are the last ones: status 403; lines read before stay in force")
    assert await of.begin() is not None
    await of.lines.read()
    assert of.lines.faults == frozenset()


@pytest.mark.parametrize(
    ("row", "odds_after", "line"),
    [
        ("0022500999,-3,220", 4.5, (6.5, 221.5, "file")),  # the row is removed, as bookmakers do at a game's start
        ("{id},-7,222", 4.5, (7.0, 222.0, "file")),
        ("{id},,222", 4.5, (4.5, 222.0, "feed")),
        ("{id},,", 5.0, (5.0, None, "feed")),
        ("0022500999,-3,220", None, (6.5, 221.5, "file")),
        ("{id},,", None, (4.5, None, "feed")),
    ],
)
async def test_the_last_line_of_each_source_stays_until_tip_off(
    row: str, odds_after: float | None, line: tuple[float, float | None, str], tmp_path: Path
) -> None:
    of = Lines(tmp_path)
    of.write("{id},-6.5,221.5")
    of.odds.lines = {of.id: Line(4.5)}
    await of.turn(-300, -240)
    of.write(row)
    of.odds.lines = {} if odds_after is None else {of.id: Line(odds_after)}
    await of.turn(-120, -60)
    frozen = await of.begin()
    assert frozen is not None
    assert (frozen.margin, frozen.total, frozen.source) == line


@pytest.mark.parametrize(
    ("odds_of", "margin"),
    [
        (("BOS", "LAL"), 5.5),
        (("LAL", "BOS"), -5.5),  # as sources swap the sides at neutral sites
        (("BOS", ""), 5.5),
        (("", "BOS"), -5.5),
        (("", ""), 5.5),
        (("BOS", "UTA"), None),
        (("1610616833", "LAL"), None),
    ],
)
async def test_odds_count_for_the_teams_that_they_name(odds_of: tuple[str, str], margin: float | None) -> None:
    of = Lines()
    of.odds.lines = {of.id: SidedLine(Line(5.5), *odds_of)}
    async with watching(of.evening, lines=of.lines) as watch:
        await before_tip_off(watch, 200, 100)
        await until_minute_six(watch)
        faults = [event_line(each) for each in watch.told(Fault)]
    assert margins(watch.predictor) == [NO_LINE if margin is None else (margin, MARGIN_SOURCE_FEED)] * 2
    assert len(faults) == (margin is None)


def margin(line: GameLine | None) -> float | None:
    """Return the margin of a line, None without one."""
    return None if line is None else line.margin


def published(evening: Evening, status: str = "LIVE", **fields: Any) -> Game:
    """Return the published state of the evening's game."""
    [state] = evening.scoreboard().games
    teams = {"home_team": state.home, "away_team": state.away}
    game = Game(**{"game_id": state.game_id, "status": f"GAME_STATUS_{status}", **teams, **fields})
    game.observed_time.FromDatetime(evening.clock())
    return game


OWN = 6.0
BOTH = {"pregame_margin": 5.5, "pregame_total": 221.5}
LINE = {"pregame_margin": 5.5}
EXCHANGED = {"home_team": "LAL", "away_team": "BOS", **LINE}


@pytest.mark.parametrize(
    ("status", "fields", "leads_before", "expected"),
    [
        ("LIVE", BOTH, False, BOTH),
        ("FINAL", LINE, False, LINE),
        ("LIVE", {}, False, {}),
        ("LIVE", {"pregame_total": 221.5}, False, {"pregame_total": 221.5}),
        ("LIVE", EXCHANGED, False, {"pregame_margin": -5.5}),
        ("LIVE", {**EXCHANGED, "home_team": "UTA"}, False, {}),
        ("LIVE", {**LINE, "pregame_total": 120.0}, False, {}),  # no poller would take it
        ("SCHEDULED", LINE, False, OWN),
        ("LIVE", {"game_id": "0022500999", **LINE}, False, OWN),
        ("LIVE", LINE, True, OWN),  # the leader at tip-off knows its line
    ],
)
async def test_the_line_of_a_game_that_another_poller_began_is_the_published_one(
    status: str, fields: dict[str, Any], leads_before: bool, expected: dict[str, float] | float, tmp_path: Path
) -> None:
    async def games() -> list[Game]:
        return [published(of.evening, status, **fields)]

    of = Lines(tmp_path, games)
    of.write(f"{of.id},-{OWN},")
    await of.lines.read()
    await of.lines.follow([of.state()], leads=leads_before)
    for leads in (leads_before, True):
        await of.lines.follow([of.state(status=GameStatus.LIVE)], leads=leads)
    line = of.lines.of(of.id)
    assert (margin(line) if expected == OWN else {} if line is None else line.options()) == expected


@pytest.mark.parametrize("error", [UnavailableError("away"), UnimplementedError("what?")])
async def test_without_published_games_the_own_line_counts_once_the_server_answers(error: Exception) -> None:
    """Meanwhile the published state of the game must stay, which has its line."""
    evening, predictor = Evening([game()]), StoringPredictor()
    predictor.unpublished = [error]
    predictor.published = {evening.ids[0]: published(evening, pregame_margin=5.5)}
    lines = GameLines(evening.clock, published=predictor.list_games)
    async with watching(evening, predictor, lines=lines) as watch:
        publisher = GamePublisher(watch.poller, predictor, now=evening.clock)
        await watch.at(61)
        await publisher.publish()
        away = isinstance(error, UnavailableError)
        assert lines.is_open(evening.ids[0]) is away
        assert predictor.published[evening.ids[0]].HasField("pregame_margin") is away
        await watch.at(121)
        await publisher.publish()
    assert margin(lines.of(evening.ids[0])) == (5.5 if away else None)
    assert predictor.published[evening.ids[0]].HasField("pregame_margin") is away


async def test_a_restarted_poller_keeps_the_line_of_the_game() -> None:
    evening, odds, predictor = Evening([game()]), Odds(), StoringPredictor()
    odds.lines = {evening.ids[0]: Line(4.5, 220.0)}
    for begin, later in ((None, -12.0), (5, 8.0)):
        lines = GameLines(evening.clock, odds=odds, published=predictor.list_games)
        async with watching(evening, predictor, lines=lines) as watch:
            if begin is None:
                await before_tip_off(watch, 60)
            for minute in range(begin or 1, (begin or 1) + 6):
                await watch.at(60 * minute + 1)
                await GamePublisher(watch.poller, predictor, now=evening.clock).publish()
        odds.lines = {evening.ids[0]: Line(later)}
    assert {asked.request.pregame_total for asked in predictor.asked} == {220.0}
    assert set(margins(predictor)) == {(4.5, MARGIN_SOURCE_FEED)}
    assert len({asked.request.margin_time.ToMilliseconds() for asked in predictor.asked}) == 1


async def test_odds_count_from_hours_before_the_scheduled_start_until_then() -> None:
    of = Lines()
    of.odds.lines = {of.id: Line(1.5)}
    assert await of.turn(-7 * 3600) is None
    assert of.odds.reads == 1, "before any scoreboard"
    await of.turn(-6.5 * 3600)
    assert of.odds.reads == 1, "nobody needs them yet"
    await of.turn(-5 * 3600)
    of.odds.lines = {of.id: Line(4.5)}
    await of.turn(-3600)
    of.odds.lines = {of.id: Line(-9.5)}  # the scoreboard may be older than the odds
    assert await of.turn(120) is None
    assert margin(await of.begin(240)) == 4.5


async def test_a_game_that_begins_again_later_takes_a_new_line() -> None:
    of = Lines()
    of.odds.lines = {of.id: Line(4.5)}
    await of.turn(-300, -200)
    assert await of.begin(100) is not None
    assert await of.turn(110) is not None, "a glitch of the feed"
    later = of.evening.start + timedelta(hours=2)
    of.odds.lines = {of.id: Line(-2.0)}
    await of.turn(3600, 3700, tip_off=later)
    assert margin(await of.begin(7300, tip_off=later)) == -2.0


async def test_a_file_is_not_read_again_while_its_last_read_has_not_ended(tmp_path: Path) -> None:
    """A hanging read of a network share is given up after some time, but its thread remains."""
    started, release, reads = threading.Event(), threading.Event(), list[Path]()

    def hanging(path: Path) -> str:
        reads.append(path)
        started.set()
        release.wait(10)
        return "content"

    path = tmp_path / "lines.csv"
    path.touch()
    file = WatchedFile(path, hanging)
    given_up = asyncio.create_task(file.changed())
    await asyncio.to_thread(started.wait)
    given_up.cancel()
    for _ in range(2):
        with pytest.raises(FeedUnavailable, match="the last read of it has not ended yet"):
            await file.changed()
    assert reads == [path]
    release.set()
