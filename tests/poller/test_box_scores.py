"""Line-ups from the box scores of an evening, in forecasts and in reports of finals."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from tests.support.builders.evenings import Watch, game, watching

from dejavu.v1.prediction_service_pb2 import PredictRequest
from dejavu.v1.record_service_pb2 import PlayerLine as Line
from dejavu_client import FINAL
from dejavu_client.errors import FieldViolation, InvalidArgumentError
from dejavu_feed.box_score import PlayerLine, lineups
from dejavu_feed.errors import FeedUnavailable
from dejavu_feed.nba.live_payloads import BoxScore
from dejavu_poller.box_scores import TRIES, BoxScores

HOME, AWAY = (1, 2, 3, 4, 5), (11, 12, 13, 14, 15)
HALF, END = 1440.0, 2880.0
FINAL_SCORE = game().scores[-1]
LEAD = FINAL_SCORE.home - FINAL_SCORE.away
LINES = tuple(
    PlayerLine(player, home, 2880, LEAD if home else -LEAD, True)
    for home, five in ((True, HOME), (False, AWAY))
    for player in five
)


@dataclass
class Court:
    """Box scores that name one more home player with every read.

    Attributes:
        reads: ids of the games whose box score was read.
        fault: error of the next reads.
        lines: lines of the box scores.
    """

    reads: list[str] = field(default_factory=list)
    fault: Exception | None = None
    lines: tuple[PlayerLine, ...] = LINES

    def read(self, game_id: str) -> BoxScore:
        self.reads.append(game_id)
        if self.fault is not None:
            raise self.fault
        return BoxScore(lineups(HOME, AWAY, range(6, 6 + len(self.reads)), ()), self.lines)


def seen(request: PredictRequest) -> int | None:
    """Return the number of home players seen according to a request; None if it has no line-ups."""
    return len(request.lineups.home_seen) if request.HasField("lineups") else None


async def to_the_end(watch: Watch) -> None:
    """Play a game from the end of its first half."""
    await watch.at(HALF, HALF + 61, END - 59)
    await watch.over(3)


@pytest.mark.parametrize(
    ("minutes", "failing", "known", "reads"),
    [
        ((1, 2, 5, 6, 7, 12, 24, 25, 47), (), {1: 6, 2: 6, 5: 6, 6: 7, 7: 7, 12: 8, 24: 9, 25: 9, 47: 9}, 4),
        # One that cannot be read costs no forecast, and is asked for once a mark.
        ((1, 2, 3, 6), (1, 2, 3), {1: None, 2: None, 3: None, 6: 7}, 2),
    ],
)
async def test_who_plays_is_read_at_tip_off_and_after_minutes_6_12_and_24(
    minutes: tuple[int, ...], failing: tuple[int, ...], known: dict[int, int | None], reads: int
) -> None:
    court = Court()
    async with watching(box_scores=BoxScores(court.read), horizons=[FINAL], from_minute=1) as watch:
        for minute in minutes:
            court.fault = FeedUnavailable("status 403") if minute in failing else None
            await watch.minutes(minute)
    assert {asked.minute: seen(asked.request) for asked in watch.predictor.asked} == known
    assert len(court.reads) == reads


async def test_line_ups_of_an_earlier_mark_say_that_they_are_of_it() -> None:
    court = Court()
    box_scores = BoxScores(court.read)
    assert [each.minute for each in (await box_scores.lineups("0022600001", [7])).values()] == [6]
    court.fault = FeedUnavailable("status 403")
    assert [each.minute for each in (await box_scores.lineups("0022600001", [24])).values()] == [6]


async def test_a_minute_that_was_over_before_the_first_read_knows_nobody() -> None:
    court = Court()
    box_scores = BoxScores(court.read)
    assert await box_scores.lineups("0022600001", [3, 4]) == {4: lineups(HOME, AWAY, [6], [])}
    assert list(await box_scores.lineups("0022600001", [5])) == [5]
    assert len(court.reads) == 1


async def test_the_report_of_a_final_has_the_box_score() -> None:
    async with watching(box_scores=BoxScores(Court().read)) as watch:
        await to_the_end(watch)
    assert [bool(each.players) for each in watch.predictor.reports] == [False, True], "the half has none"
    assert watch.predictor.reports[1].players[0] == Line(
        player_id=1, home=True, seconds=2880, plus_minus=LEAD, started=True
    )


OF_ANOTHER_FINAL = tuple(line._replace(plus_minus=-line.plus_minus) for line in LINES)


@pytest.mark.parametrize(
    ("answers", "reported"),
    [
        ([OF_ANOTHER_FINAL, LINES], LINES),  # it lags behind the final
        ([LINES[1:]] * TRIES, ()),
        ([()], ()),  # a game that names no players, as of a replay
    ],
)
async def test_the_box_score_of_a_final_is_read_until_it_fits(
    answers: list[tuple[PlayerLine, ...]], reported: tuple[PlayerLine, ...]
) -> None:
    left = iter(answers)
    assert await BoxScores(lambda _: BoxScore(None, next(left)), pause=0.0).final("0022600001", LEAD) == reported
    assert list(left) == []


@pytest.mark.parametrize("lines", [(), OF_ANOTHER_FINAL])
async def test_a_box_score_that_is_not_one_is_not_reported(lines: tuple[PlayerLine, ...]) -> None:
    async with watching(box_scores=BoxScores(Court(lines=lines).read, pause=0.0)) as watch:
        await to_the_end(watch)
    assert watch.predictor.reports
    assert not [each for each in watch.predictor.reports if each.players]


async def test_a_final_is_reported_without_a_box_score_that_the_server_refuses() -> None:
    async with watching(box_scores=BoxScores(Court().read)) as watch:
        await watch.at(HALF)
        reported = len(watch.predictor.reports)
        wrong = InvalidArgumentError("players", field_violations=(FieldViolation("players[3].seconds", "0"),))
        watch.predictor.untaken.append(wrong)
        await to_the_end(watch)
    assert [bool(each.players) for each in watch.predictor.reports[reported:]] == [True, False]
