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
from tests.support.builders.evenings import Evening, StoringPredictor, game
from tests.support.harness.poller import Watch, watching

from dejavu.v1.forecast_pb2 import (
    MARGIN_SOURCE_FEED,
    MARGIN_SOURCE_FILE,
    MARGIN_SOURCE_UNSPECIFIED,
)
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
from dejavu_poller.watched_file import WatchedFile


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


async def before_tip_off(watch: Watch, seconds: float) -> None:
    """Poll twice, some seconds before tip-off: lines that a turn reads count from the next turn on."""
    watch.evening.clock.now = watch.evening.start - timedelta(seconds=seconds)
    await watch.turn()
    await watch.turn()


async def until_minute_six(watch: Watch) -> None:
    """Poll after minutes 1, 5 and 6."""
    for elapsed in (61, 301, 361):
        await watch.at(elapsed)


async def test_the_line_of_the_feed_is_taken_until_tip_off_and_frozen_then() -> None:
    evening, odds, predictor = Evening([game()]), Odds(), StoringPredictor()
    [game_id] = evening.ids
    lines = GameLines(evening.clock, odds=odds)
    async with watching(evening, predictor, lines=lines) as watch:
        odds.lines = {game_id: Line(3.5)}
        await before_tip_off(watch, 300)
        odds.lines = {game_id: Line(4.5)}
        await before_tip_off(watch, 299 - FEED_SECONDS)
        odds.lines = {game_id: Line(-9.5)}  # odds during a game follow its score
        await until_minute_six(watch)
        [taken] = watch.told(LineTaken)
    assert margins(predictor) == [(4.5, MARGIN_SOURCE_FEED)] * 2
    taken_at = predictor.asked[0].request.margin_time.ToDatetime(tzinfo=UTC)
    assert taken_at == evening.start - timedelta(seconds=299 - FEED_SECONDS)
    assert event_line(taken).endswith("line BOS by 4.5, of the NBA's odds feed")
    assert event_record(taken, evening.clock())["line"]["pregameMargin"] == 4.5
    assert odds.reads == 3, "politely, and not at all once no game waits for its tip-off"


async def test_a_file_comes_before_the_feed_and_may_change_until_tip_off(tmp_path: Path) -> None:
    evening, odds, predictor = Evening([game()]), Odds(), StoringPredictor()
    file = tmp_path / "lines.csv"
    file.write_text(f"game_id,spread,total\n{evening.ids[0]},-6½,221.5\n")
    odds.lines = {evening.ids[0]: Line(3.5)}
    async with watching(evening, predictor, lines=GameLines(evening.clock, file=file, odds=odds)) as watch:
        await before_tip_off(watch, 60)
        file.write_text(f"game_id,spread,total\n{evening.ids[0]},-7½,222\n")
        await before_tip_off(watch, 30)
        file.write_text(
            f"game_id,spread,total\n{evening.ids[0]},10,100\n"
        )  # written, but the game begins before the next read
        watch.evening.go_to(61)
        await until_minute_six(watch)
        [taken] = watch.told(LineTaken)
    assert margins(predictor) == [(7.5, MARGIN_SOURCE_FILE)] * 2
    assert {each.request.pregame_total for each in predictor.asked} == {222.0}
    assert event_line(taken).endswith("line BOS by 7.5, total 222, of the file of lines")


@pytest.mark.parametrize(
    ("error", "faults", "rated", "said"),
    [
        (FeedUnavailable("status 403"), 0, 3.5, "no line: the ratings are used"),
        (MalformedFeed("games is missing"), 1, 3.5, "no line: the ratings are used"),
        (
            FeedUnavailable("status 403"),
            0,
            None,
            "no line and no usable ratings: forecasts use only the score",
        ),
    ],
    ids=["absent", "malformed", "ratings too old"],
)
async def test_without_odds_what_is_used_is_said_once(
    error: Exception, faults: int, rated: float | None, said: str
) -> None:
    evening, odds, predictor = Evening([game()]), Odds(), StoringPredictor()
    predictor.rated = rated
    odds.error = error
    async with watching(evening, predictor, lines=GameLines(evening.clock, odds=odds)) as watch:
        for seconds in (200, 100):
            await before_tip_off(watch, seconds)
        await until_minute_six(watch)
        [taken] = watch.told(LineTaken)
        assert len(watch.told(Fault)) == faults
    assert margins(predictor) == [NO_LINE] * 2
    assert event_line(taken).endswith(said)


async def test_a_file_that_breaks_or_goes_leaves_its_last_lines_in_force(tmp_path: Path) -> None:
    evening, predictor = Evening([game()]), StoringPredictor()
    file = tmp_path / "lines.csv"
    async with watching(evening, predictor, lines=GameLines(evening.clock, file=file)) as watch:
        await before_tip_off(watch, 90)  # it comes late
        file.write_text(f"game_id,spread\n{evening.ids[0]},-6.5\n")
        await before_tip_off(watch, 60)
        file.write_text(f"game_id,spread\n{evening.ids[0]},-650\n")
        await before_tip_off(watch, 40)
        await before_tip_off(watch, 30)
        file.unlink()
        await until_minute_six(watch)
        faults = [event_line(each) for each in watch.told(Fault)]
    assert margins(predictor) == [(6.5, MARGIN_SOURCE_FILE)] * 2
    missing, absurd, gone = faults
    assert "there is no such file" in missing
    assert "line 2: a margin of 650; expected at most 35 points" in absurd
    assert gone == missing


async def test_a_refused_file_is_read_again_when_it_changes_and_skipped_rows_are_named(tmp_path: Path) -> None:
    evening = Evening([game()])
    state = scheduled(evening)
    file = tmp_path / "lines.csv"
    lines = GameLines(evening.clock, file=file)

    async def faults() -> frozenset[str]:
        await lines.read()
        return lines.faults

    def write(spread: str, modified: int) -> None:
        file.write_text(f"game_id,date,home,away,spread\n{state.game_id},,,,{spread}\n,2026-01-13,Madrid,UTA,1.5\n")
        os.utime(file, (modified, modified))

    write("-99.5", 1)
    assert ["a margin of 99.5" in fault for fault in await faults()] == [True]
    write("-09.5", 1)  # same size and time: it is not read again
    assert ["a margin of 99.5" in fault for fault in await faults()] == [True]
    write("-09.5", 2)
    for _ in range(2):
        assert ["line 3 is skipped: 'Madrid' against 'UTA'" in fault for fault in await faults()] == [True]
    await lines.follow([state])
    await lines.follow([replace(state, status=GameStatus.LIVE)])
    found = lines.of(state.game_id)
    assert found is not None
    assert found.margin == 9.5


async def test_odds_that_fail_after_they_were_read_are_a_fault_until_the_game_is_on() -> None:
    """Otherwise a line would look newer than it is."""
    evening, odds = Evening([game()]), Odds()
    state, lines = scheduled(evening), GameLines(evening.clock, odds=odds)
    odds.lines = {state.game_id: Line(4.5)}
    assert await turn(evening, lines, state, -300) is None
    await lines.read()
    assert lines.faults == frozenset()
    odds.error = FeedUnavailable("status 403")
    await turn(evening, lines, state, -120)
    [fault] = lines.faults
    assert fault.startswith("the odds of ")
    assert fault.endswith(" are the last ones: status 403; lines read before stay in force")
    assert await turn(evening, lines, replace(state, status=GameStatus.LIVE), 60) is not None
    await lines.read()
    assert lines.faults == frozenset()


@pytest.mark.parametrize(
    ("rows", "odds_after", "line"),
    [
        ("0022500999,-3,220\n", {}, (6.5, 221.5, "file")),  # the row is removed, as bookmakers do at a game's start
        ("{id},-7,222\n", {}, (7.0, 222.0, "file")),
        ("{id},,222\n", {}, (4.5, 222.0, "feed")),
        ("{id},,\n", {}, (4.5, None, "feed")),
        ("{id},,\n", {"{id}": Line(5.0)}, (5.0, None, "feed")),
    ],
    ids=["row goes", "changes", "total alone", "no line", "no line, new odds"],
)
async def test_the_last_line_of_each_source_stays_until_tip_off(
    rows: str, odds_after: dict[str, Line], line: tuple[float, float | None, str], tmp_path: Path
) -> None:
    evening, odds, file = Evening([game()]), Odds(), tmp_path / "lines.csv"
    state = scheduled(evening)
    lines = GameLines(evening.clock, file=file, odds=odds)
    file.write_text(f"game_id,spread,total\n{state.game_id},-6.5,221.5\n")
    odds.lines = {state.game_id: Line(4.5)}
    for at in (-300, -240):
        await turn(evening, lines, state, at)
    file.write_text("game_id,spread,total\n" + rows.format(id=state.game_id))
    odds.lines = {game_id.format(id=state.game_id): each for game_id, each in odds_after.items()}
    for at in (-120, -60):
        await turn(evening, lines, state, at)
    frozen = await turn(evening, lines, replace(state, status=GameStatus.LIVE), 60)
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
    evening, odds, predictor = Evening([game("BOS", "LAL")]), Odds(), StoringPredictor()
    odds.lines = {evening.ids[0]: SidedLine(Line(5.5), *odds_of)}
    async with watching(evening, predictor, lines=GameLines(evening.clock, odds=odds)) as watch:
        for seconds in (200, 100):
            await before_tip_off(watch, seconds)
        await until_minute_six(watch)
        faults = [event_line(each) for each in watch.told(Fault)]
    assert margins(predictor) == [NO_LINE if margin is None else (margin, MARGIN_SOURCE_FEED)] * 2
    if margin is not None:
        assert faults == []
    else:
        [fault] = faults
        home, away = odds_of
        assert f"are of {away} @ {home}, not LAL @ BOS; they are not used" in fault


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
EXCHANGED = {"home_team": "LAL", "away_team": "BOS", "pregame_margin": 5.5}


@pytest.mark.parametrize(
    ("status", "fields", "leads_before", "expected"),
    [
        (
            "LIVE",
            {"pregame_margin": 5.5, "pregame_total": 221.5},
            False,
            {"pregame_margin": 5.5, "pregame_total": 221.5},
        ),
        ("FINAL", {"pregame_margin": 5.5}, False, {"pregame_margin": 5.5}),
        ("LIVE", {}, False, {}),
        ("LIVE", {"pregame_total": 221.5}, False, {"pregame_total": 221.5}),
        ("LIVE", EXCHANGED, False, {"pregame_margin": -5.5}),
        ("LIVE", {**EXCHANGED, "home_team": "UTA"}, False, {}),
        ("LIVE", {"pregame_margin": 5.5, "pregame_total": 120.0}, False, {}),  # no poller would take it
        ("SCHEDULED", {"pregame_margin": 5.5}, False, OWN),
        ("LIVE", {"game_id": "0022500999", "pregame_margin": 5.5}, False, OWN),
        ("LIVE", {"pregame_margin": 5.5}, True, OWN),  # the leader at tip-off knows its line
    ],
)
async def test_the_line_of_a_game_that_another_poller_began_is_the_published_one(
    status: str, fields: dict[str, Any], leads_before: bool, expected: dict[str, float] | float, tmp_path: Path
) -> None:
    evening, file = Evening([game()]), tmp_path / "lines.csv"
    file.write_text(f"game_id,spread\n{evening.ids[0]},-{OWN}\n")

    async def games() -> list[Game]:
        return [published(evening, status, **fields)]

    lines = GameLines(evening.clock, file=file, published=games)
    await lines.read()
    await lines.follow([scheduled(evening)], leads=leads_before)
    await lines.follow([scheduled(evening, status=GameStatus.LIVE)], leads=leads_before)
    await lines.follow([scheduled(evening, status=GameStatus.LIVE)], leads=True)
    line = lines.of(evening.ids[0])
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
    told = list[str]()
    for begin, later in ((None, -12.0), (5, 8.0)):
        lines = GameLines(evening.clock, odds=odds, published=predictor.list_games)
        async with watching(evening, predictor, lines=lines) as watch:
            if begin is None:
                await before_tip_off(watch, 60)
            for minute in range(begin or 1, (begin or 1) + 6):
                await watch.at(60 * minute + 1)
                await GamePublisher(watch.poller, predictor, now=evening.clock).publish()
            told += map(event_line, watch.told(LineTaken))
        odds.lines = {evening.ids[0]: Line(later)}
    assert {asked.request.pregame_total for asked in predictor.asked} == {220.0}
    assert [line.partition("line ")[2] for line in told] == [
        "BOS by 4.5, of the NBA's odds feed; total 220, of the file of lines",
        "BOS by 4.5, of the NBA's odds feed; total 220, of the file of lines",
    ]
    assert set(margins(predictor)) == {(4.5, MARGIN_SOURCE_FEED)}
    assert len({asked.request.margin_time.ToMilliseconds() for asked in predictor.asked}) == 1


def scheduled(evening: Evening, **changes: Any) -> GameState:
    """Return the evening's game before its tip-off."""
    [state] = evening.scoreboard().games
    return replace(state, **{"status": GameStatus.SCHEDULED, "tip_off": evening.start, **changes})


async def turn(evening: Evening, lines: GameLines, state: GameState, at: float) -> GameLine | None:
    """Read the lines and then a scoreboard, `at` seconds after the scheduled start of the first game."""
    evening.clock.now = evening.start + timedelta(seconds=at)
    await lines.read()
    await lines.follow([state])
    return lines.of(state.game_id)


async def test_odds_count_from_hours_before_the_scheduled_start_until_then() -> None:
    evening, odds = Evening([game()]), Odds()
    state, lines = scheduled(evening), GameLines(evening.clock, odds=odds)
    odds.lines = {state.game_id: Line(1.5)}
    assert await turn(evening, lines, state, -7 * 3600) is None
    assert odds.reads == 1, "before any scoreboard"
    await turn(evening, lines, state, -6.5 * 3600)
    assert odds.reads == 1, "nobody needs them yet"
    await turn(evening, lines, state, -5 * 3600)
    odds.lines = {state.game_id: Line(4.5)}
    await turn(evening, lines, state, -3600)
    odds.lines = {state.game_id: Line(-9.5)}  # the scoreboard may be older than the odds
    assert await turn(evening, lines, state, 120) is None
    assert margin(await turn(evening, lines, replace(state, status=GameStatus.LIVE), 240)) == 4.5


async def test_a_game_that_begins_again_later_takes_a_new_line() -> None:
    evening, odds = Evening([game()]), Odds()
    state, lines = scheduled(evening), GameLines(evening.clock, odds=odds)
    on = replace(state, status=GameStatus.LIVE)
    odds.lines = {state.game_id: Line(4.5)}
    await turn(evening, lines, state, -300)
    await turn(evening, lines, state, -200)
    assert await turn(evening, lines, on, 100) is not None
    assert await turn(evening, lines, state, 110) is not None, "a glitch of the feed"
    put_off = replace(state, tip_off=evening.start + timedelta(hours=2))
    odds.lines = {state.game_id: Line(-2.0)}
    await turn(evening, lines, put_off, 3600)
    await turn(evening, lines, put_off, 3700)
    assert margin(await turn(evening, lines, replace(put_off, status=GameStatus.LIVE), 7300)) == -2.0


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
