"""Lines of an evening's games: which one a forecast has, whatever happens before and after tip-off."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, timedelta
from pathlib import Path

import pytest
from tests.support.builders.evenings import Evening, StoringPredictor, game
from tests.support.harness.poller import Watch, watching

from dejavu.v1.forecast_pb2 import MARGIN_SOURCE_FEED, MARGIN_SOURCE_FILE, MARGIN_SOURCE_UNSPECIFIED, Forecast
from dejavu_client.output.poll_events import event_line, event_record
from dejavu_client.poller.events import Fault, LineTaken
from dejavu_client.poller.lines import FEED_SECONDS, GameLines
from dejavu_feed.errors import FeedUnavailable, MalformedFeed
from dejavu_feed.lines import Line


def margins(predictor: StoringPredictor) -> list[tuple[float | None, int]]:
    """Returns margin and source of each request."""
    return [asked.margin for asked in predictor.asked]


class Odds:
    """Odds of a feed, by game id, or the error that reading them raises."""

    def __init__(self) -> None:
        self.lines: Mapping[str, Line] = {}
        self.error: Exception | None = None
        self.reads = 0

    def __call__(self) -> Mapping[str, Line]:
        self.reads += 1
        if self.error is not None:
            raise self.error
        return self.lines


NO_LINE = (None, MARGIN_SOURCE_UNSPECIFIED)


async def before_tip_off(watch: Watch, seconds: float) -> None:
    """Polls seconds before tip-off, twice: what a turn reads counts from the next one on."""
    watch.evening.clock.now = watch.evening.start - timedelta(seconds=seconds)
    await watch.turn()
    await watch.turn()


async def until_minute_six(watch: Watch) -> None:
    """Polls after minutes 1, 5 and 6."""
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
        odds.lines = {game_id: Line(-9.5)}  # the odds of a game that is on follow its score
        await until_minute_six(watch)
        [taken] = watch.told(LineTaken)
    assert margins(predictor) == [(4.5, MARGIN_SOURCE_FEED)] * 2
    taken_at = predictor.asked[0].request.margin_time.ToDatetime(tzinfo=UTC)
    assert taken_at == evening.start - timedelta(seconds=299 - FEED_SECONDS)
    assert event_line(taken).endswith("line BOS −4.5, of the NBA's odds feed")
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
        )  # written, but before the next read the game is on
        watch.evening.go_to(61)
        await until_minute_six(watch)
        [taken] = watch.told(LineTaken)
    assert margins(predictor) == [(7.5, MARGIN_SOURCE_FILE)] * 2
    assert {each.request.pregame_total for each in predictor.asked} == {222.0}
    assert event_line(taken).endswith("line BOS −7.5, total 222, of the file of lines")


@pytest.mark.parametrize(
    ("error", "faults"),
    [(FeedUnavailable("status 403"), 0), (MalformedFeed("games is missing"), 1)],
    ids=["absent", "malformed"],
)
async def test_without_odds_the_ratings_are_used_and_that_is_said_once(error: Exception, faults: int) -> None:
    evening, odds, predictor = Evening([game()]), Odds(), StoringPredictor()
    odds.error = error
    async with watching(evening, predictor, lines=GameLines(evening.clock, odds=odds)) as watch:
        for seconds in (200, 100):
            await before_tip_off(watch, seconds)
        await until_minute_six(watch)
        [taken] = watch.told(LineTaken)
        assert len(watch.told(Fault)) == faults
    assert margins(predictor) == [NO_LINE] * 2
    assert event_line(taken).endswith("no line: the ratings are used")


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
    assert "line 2: a margin of 650; expected at most 60 points" in absurd
    assert gone == missing


async def test_a_restart_keeps_the_line_that_was_frozen(tmp_path: Path) -> None:
    evening, odds = Evening([game()]), Odds()
    odds.lines = {evening.ids[0]: Line(4.5, 220.0)}
    kept = tmp_path / "state" / "poll-lines.json"
    async with watching(evening, lines=GameLines(evening.clock, odds=odds, kept=kept)) as watch:
        await before_tip_off(watch, 60)
        await watch.at(61)
    odds.lines = {evening.ids[0]: Line(-12.0)}
    predictor = StoringPredictor()
    async with watching(evening, predictor, lines=GameLines(evening.clock, odds=odds, kept=kept)) as watch:
        await until_minute_six(watch)
    assert margins(predictor) == [(4.5, MARGIN_SOURCE_FEED)] * 2
    evening.clock.step(3 * 86_400)
    assert GameLines(evening.clock, kept=kept).of(evening.ids[0]) is None, "old lines are forgotten"
    kept.write_text("[")
    assert GameLines(evening.clock, kept=kept).of(evening.ids[0]) is None


async def test_a_poller_elsewhere_takes_over_the_line_of_the_recorded_forecasts(tmp_path: Path) -> None:
    evening, odds, predictor = Evening([game()]), Odds(), StoringPredictor()
    odds.lines = {evening.ids[0]: Line(4.5)}
    async with watching(evening, predictor, lines=GameLines(evening.clock, odds=odds)) as watch:
        await before_tip_off(watch, 60)
        await until_minute_six(watch)
    file = tmp_path / "lines.csv"
    file.write_text(f"game_id,spread\n{evening.ids[0]},-1\n")
    async with watching(evening, predictor, lines=GameLines(evening.clock, file=file)) as watch:
        await watch.at(421)
    assert margins(predictor) == [(4.5, MARGIN_SOURCE_FEED)] * 4
    assert len({each.request.margin_time.ToNanoseconds() for each in predictor.asked}) == 1


async def test_a_game_that_was_on_before_has_no_line_of_the_feed() -> None:
    evening, odds, predictor = Evening([game()]), Odds(), StoringPredictor()
    odds.lines = {evening.ids[0]: Line(4.5)}
    async with watching(evening, predictor, lines=GameLines(evening.clock, odds=odds)) as watch:
        await until_minute_six(watch)
    assert margins(predictor) == [NO_LINE] * 2


def test_forecasts_without_a_line_restore_none() -> None:
    evening = Evening([game()])
    lines = GameLines(evening.clock)
    lines.restore("0022500001", [Forecast(expected_margin=3.0)])
    assert lines.of("0022500001") is None
