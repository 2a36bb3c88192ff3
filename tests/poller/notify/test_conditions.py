"""When each rule holds, and its words; what is old, late, of other teams or on the edge tells nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from pydantic import TypeAdapter
from tests.support.builders.evenings import close_game

from dejavu.ops.v1.operations_service_pb2 import FeedStatus
from dejavu.v1.forecast_pb2 import HORIZON_FINAL, HORIZON_HALFTIME, LATE_REASON_TIME, Forecast, Moment
from dejavu.v1.game_service_pb2 import Game, GameStatus
from dejavu.v1.record_pb2 import Outcome
from dejavu_poller.notify.conditions import GameView, Judged, Told, correction, holds, silence, values_of
from dejavu_poller.notify.rules import GameRule, Rule

NOW: Final = datetime(2026, 11, 28, 3, 0, tzinfo=UTC)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def rule(kind: str, **fields: Any) -> Any:
    return TypeAdapter(Rule).validate_python({"kind": kind, **fields})


def state(**fields: Any) -> Game:
    return close_game("0022600001", **({"observed_time": ago(5)} | fields))


def forecast(minute: int, home: float = 0.6, age: float = 5.0, **fields: Any) -> Forecast:
    values: dict[str, Any] = {
        "game_id": "0022600001",
        "home_team": "BOS",
        "away_team": "NYK",
        "horizon": HORIZON_FINAL,
        "elapsed_minutes": minute,
        "sequence": minute,
        "generated_time": ago(age),
        "home_lead_probability": home,
        "point_forecast": 3.2,
        "interval_lower": -6.0,
        "interval_upper": 12.0,
        "coverage_probability": 0.95,
    }
    return Forecast(**(values | fields))


def game(*forecasts: Forecast, **fields: Any) -> GameView:
    view = GameView("0022600001", published=state(**fields))
    for each in forecasts:
        view.add(each)
    return view


def words(told: GameRule, view: GameView) -> str:
    """Return the words of a rule; empty if it does not hold."""
    found = holds(told, view, NOW)
    return "" if found is None else f"{found.title}. {found.text}"


def outcome(**fields: Any) -> Outcome:
    values: dict[str, Any] = {"horizon": HORIZON_FINAL, "differential": -8, "recorded_time": ago(5)}
    return Outcome(**(values | {"total_points": 216} | fields))


def ended(judged: Judged | None = None, **fields: Any) -> GameView:
    """Return a game with this outcome."""
    view = game(status=GameStatus.GAME_STATUS_FINAL)
    view.outcome, view.judged = outcome(**fields), judged
    return view


LATE: Final = Moment(period=4, seconds_left=200.0, differential=3)
SCORE: Final = "Close: NYK @ BOS. NYK 99, BOS 101, Q4 4:12 left."
RESULT: Final = "Final: NYK @ BOS. NYK by 8 (NYK 112, BOS 104)."
OF_HALF: Final[dict[str, Any]] = {"horizon": HORIZON_HALFTIME}
HELD: Final = Judged(42, 40, forecast(24), reference_covered=False)


@pytest.mark.parametrize(
    ("kind", "view", "expected"),
    [
        ("close_late", game(), SCORE),
        ("close_late", game(home_score=104), "NYK 99, BOS 104, Q4 4:12 left."),
        ("close_late", game(forecast(43)), f"{SCORE} BOS to win: 60 %"),
        ("close_late", game(home_score=105), ""),
        ("close_late", game(away_score=107), ""),
        ("close_late", game(period=5, seconds_left=60.0), "NYK 99, BOS 101, OT 1:00 left."),
        ("close_late", game(forecast(41, age=121)), SCORE),
        ("close_late", game(period=3), ""),
        ("close_late", game(seconds_left=300.1), ""),
        ("close_late", game(seconds_left=None), ""),
        ("close_late", game(status=GameStatus.GAME_STATUS_FINAL), ""),
        ("close_late", game(observed_time=ago(121)), ""),
        ("swing", game(forecast(20, 0.4), forecast(24, 0.75)), "BOS to win: 40 % → 75 % in 4 minutes"),
        ("swing", game(forecast(20, 0.75), forecast(24, 0.4)), "NYK to win: 25 % → 60 % in 4 minutes"),
        ("swing", game(forecast(20, 0.4), forecast(24, 0.69)), ""),
        ("swing", game(forecast(17, 0.4), forecast(24, 0.75)), ""),
        ("swing", game(forecast(20, 0.4), forecast(24, 0.75, age=121)), ""),
        ("swing", game(forecast(20, 0.4, late=LATE_REASON_TIME), forecast(24, 0.75)), ""),
        ("upset", game(forecast(30, 0.4, expected_margin=6.5)), "NYK to win: 60 %; BOS by 6.5 was expected"),
        ("upset", game(forecast(30, 0.6, expected_margin=6.5)), ""),
        ("upset", game(forecast(30, 0.4, age=121, expected_margin=6.5)), ""),
        ("swing", game(forecast(42, 0.4), forecast(44, 0.8, moment=LATE)), "BOS to win: 40 % → 80 % in 3 minutes"),
        ("upset", game(forecast(30, 0.7, expected_margin=-6.5)), "BOS to win: 70 %; NYK by 6.5 was expected"),
        ("upset", game(forecast(30, 0.4, expected_margin=4.9)), ""),
        ("upset", game(forecast(23, 0.4, expected_margin=6.5)), ""),
        ("upset", game(forecast(30, 0.4)), ""),
        ("half_ready", game(forecast(17, **OF_HALF)), ""),
        ("half_ready", game(forecast(18)), ""),
        ("half_ready", game(forecast(18, **OF_HALF)), "BOS by 3.2 at the half"),
        ("half_ready", game(forecast(18, age=121, **OF_HALF)), ""),
        ("final", ended(), RESULT),
        ("final", ended(HELD), "95 % interval from minute 24: BOS −6…+12, did not hold; held in 40 of 42 minutes."),
        ("final", ended(overtimes=2), "NYK by 8 (NYK 112, BOS 104) after 2 overtimes."),
        ("final", ended(withdrawn=True), ""),
        ("final", ended(recorded_time=ago(3601)), ""),
    ],
)  # fmt: skip
def test_a_rule_holds_with_its_words(kind: str, view: GameView, expected: str) -> None:
    told = words(rule(kind), view)
    assert expected in told
    assert bool(told) is bool(expected)
    assert ("to win" in told) is ("to win" in expected), "an old forecast is not told"


EXCHANGED: Final[dict[str, Any]] = {"home_team": "NYK", "away_team": "BOS"}


def later(minute: int, home: float = 0.6, age: float = 5.0, **fields: Any) -> Forecast:
    """Return a forecast that is recorded after those that were told."""
    return forecast(minute, home, age, sequence=30, **fields)


@pytest.mark.parametrize(
    ("kind", "then", "changes", "expected"),
    [
        ("half_ready", later(18, **OF_HALF, point_forecast=-1.0), {}, "NYK by 1 at the half, not BOS by 3.2."),
        ("half_ready", later(18, **OF_HALF), {}, ""),  # the same numbers
        ("half_ready", later(19, **OF_HALF, point_forecast=-1.0), {}, ""),  # the next minute
        ("half_ready", later(19, **OF_HALF, point_forecast=1.0), {"home_score": 98}, "BOS by 1 at the half, not BOS"),
        ("half_ready", later(18, **OF_HALF, **EXCHANGED), EXCHANGED, "NYK by 3.2 at the half, not BOS by 3.2."),
        ("swing", later(24, 0.5), {}, "NYK 99, BOS 101, Q4 4:12. BOS to win: 50 %."),
        ("swing", later(24, 0.62), {}, ""),  # more than half of it is left
        ("swing", later(25, 0.4), {}, ""),  # the game goes on
        ("swing", later(25, 0.4), {"home_score": 98}, "NYK 99, BOS 98, Q4 4:12. BOS to win: 40 %."),
        ("swing", later(25, 0.4, 10.0), {"home_score": 98}, ""),  # of before the points were taken back
        ("swing", later(25, 0.4), {"home_score": 104}, ""),
        ("swing", later(24, 0.3, **EXCHANGED), EXCHANGED, "BOS to win: 70 %."),
        ("close_late", later(24, 0.4), {"home_score": 98}, ""),
    ],
)
def test_a_swing_or_half_that_was_told_and_then_corrected_is_told_as_such(
    kind: str, then: Forecast, changes: dict[str, Any], expected: str
) -> None:
    told_rule, view = rule(kind), game(forecast(20, 0.4), forecast(24, 0.8), forecast(18, **OF_HALF))
    found = holds(told_rule, view, NOW)
    assert found is not None
    told = Told(found, view.teams, view.score)
    assert correction(told_rule, told, view, NOW) is None
    view.published = state(**changes)
    view.add(then)
    corrected = correction(told_rule, told, view, NOW)
    assert expected in (corrected.text if corrected else "")
    assert (corrected is not None) is bool(expected)


def test_a_feed_that_exchanges_home_and_away_turns_no_probability_around() -> None:
    """Formerly, the state's teams named the probabilities of forecasts of the other side."""
    view = game(forecast(44, home=0.9), **EXCHANGED)
    assert view.teams == ("BOS", "NYK")
    assert not words(rule("close_late"), view), "its score is of other sides"
    view.add(forecast(45, home=0.2, **EXCHANGED))
    assert view.teams == ("NYK", "BOS")
    assert not words(rule("swing", change=0.1), view), "nothing swung"
    view.add(forecast(44, home=0.9))  # an earlier one, read from the record
    assert "NYK to win: 20 %" in words(rule("close_late"), view)


def test_only_games_of_the_teams_are_told() -> None:
    assert words(rule("close_late", teams=["Knicks"]), game())
    assert not words(rule("close_late", teams=["LAL"]), game())


def feed(reported: float, read: float, by: str = "") -> FeedStatus:
    return FeedStatus(feed="nba", report_age_seconds=reported, read_age_seconds=read, reported_by=by)


def tipped(**fields: Any) -> Game:
    """Return a game that is to begin, read half an hour ago; its tip-off was then in 13 minutes."""
    usual = {"observed_time": ago(1800), "tip_off_time": ago(1000)}
    return state(status=GameStatus.GAME_STATUS_SCHEDULED, **(usual | fields))


def live(seconds: float, by: str = "") -> Game:
    """Return a game in play that was read some seconds ago."""
    return state(observed_time=ago(seconds), published_by=by)


@pytest.mark.parametrize(
    ("kind", "games", "feeds", "expected"),
    [
        ("poller_silent", [live(130)], [], "1 game in play; the newest state is"),
        ("poller_silent", [live(110)], [], ""),
        ("poller_silent", [live(130)], [feed(10, 140)], ""),
        ("poller_silent", [live(130), live(10)], [], ""),
        ("poller_silent", [live(7300)], [], ""),
        ("poller_silent", [tipped()], [feed(200, 210)], "1 game past tip-off; the newest"),
        ("poller_silent", [tipped()], [], ""),  # the poller may report to another server
        ("poller_silent", [tipped(), tipped(observed_time=ago(5), tip_off_time=None)], [feed(200, 210)], ""),
        ("poller_silent", [tipped()], [feed(10, 12)], ""),
        ("poller_silent", [tipped(tip_off_time=ago(600))], [], ""),
        ("poller_silent", [state(status=GameStatus.GAME_STATUS_FINAL, observed_time=ago(900))], [], ""),
        ("poller_silent", [], [], ""),
        ("poller_silent", [live(130, "a")], [feed(10, 20, "b")], "1 game in play"),
        ("poller_silent", [live(130, "a"), live(10, "b")], [feed(10, 20, "b")], "1 game in play"),
        ("feed_silent", [live(130, "a")], [feed(10, 140, "a"), feed(1, 2, "b")], "runs"),
        ("feed_silent", [live(130)], [feed(10, 140)], "The poller runs."),
        ("feed_silent", [live(130)], [feed(10, 20)], ""),
    ],
)
def test_a_silence_is_told_with_the_same_begin_by_every_notifier(
    kind: str, games: list[Game], feeds: list[FeedStatus], expected: str
) -> None:
    found = silence(rule(kind), games, feeds, NOW)
    assert (found is not None) is bool(expected)
    if found is not None:
        begun, texts = found
        is_due = games[0].status == GameStatus.GAME_STATUS_SCHEDULED
        assert begun == f"{(games[0].tip_off_time if is_due else games[0].observed_time).seconds}"
        assert expected in texts.text, "the same begin for every notifier"


TEAMS: Final = {"home_team": "BOS", "away_team": "NYK"}
POINTS: Final = TEAMS | {"home_score": 101, "away_score": 99}
NUMBERS: Final = {
    "horizon": "final",
    "home_win_probability": 0.6,
    "point_forecast": 3.2,
    "interval_lower": -6.0,
    "interval_upper": 12.0,
}


@pytest.mark.parametrize(
    ("kind", "made", "result", "expected"),
    [
        ("close_late", forecast(43), None, POINTS | NUMBERS),
        ("close_late", forecast(43, age=121), None, POINTS),
        ("half_ready", forecast(18, **OF_HALF), None, POINTS | NUMBERS | {"horizon": "half"}),
        ("half_ready", forecast(18), None, POINTS),
        ("final", forecast(47), outcome(), TEAMS | {"home_score": 104, "away_score": 112}),
        ("final", forecast(47), outcome(total_points=None), TEAMS),
    ],
)
def test_the_numbers_for_programs_are_as_current_as_the_words(
    kind: str, made: Forecast, result: Outcome | None, expected: dict[str, Any]
) -> None:
    view = game(made)
    view.outcome = result
    assert values_of(rule(kind), view, NOW) == expected
