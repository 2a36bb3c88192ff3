"""The live table of an evening, and its events as lines and records."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from dejavu.v1.forecast_pb2 import WARNING_REASON_RATINGS_OUTDATED, Forecast, Horizon, Moment, TotalForecast
from dejavu.v1.record_pb2 import Outcome
from dejavu_cli.output.poll_display import Printer, live_table
from dejavu_cli.output.poll_events import event_line, event_record, summary_lines, summary_record
from dejavu_client import FINAL, HALFTIME
from dejavu_common.rich_console import Console
from dejavu_feed.nba.live_payloads import GameState, GameStatus
from dejavu_poller.events import (
    Event,
    Fault,
    FaultKind,
    ForecastMissed,
    GameChanged,
    HorizonResult,
    MinuteForecast,
    OutcomeReported,
    Prediction,
)
from dejavu_poller.inputs import GameLine
from dejavu_poller.summary import summarize
from dejavu_poller.watched_game import WatchedGame, watched_horizons

NOW = datetime(2026, 1, 15, 1, 0, tzinfo=UTC)
PATTERN = (*(0,) * 17, 4)
WANTED = {HALFTIME: range(6, 24), FINAL: range(6, 48)}


def state(status: GameStatus = GameStatus.LIVE, text: str = "Q2 05:44") -> GameState:
    return GameState("9900000001", "BOS", "LAL", status, 2, 344.0, home_score=52, away_score=48, text=text)


def forecast(point: float = 6.3, revision: int = 0, horizon: Horizon.ValueType = HALFTIME) -> Forecast:
    spread = 0.0 if horizon == HALFTIME else 16.0
    return Forecast(
        game_id="9900000001",
        horizon=horizon,
        elapsed_minutes=18,
        point_forecast=point,
        interval_lower=point - 11.5 - spread,
        interval_upper=point + 11.6 + spread,
        coverage_probability=0.95,
        home_lead_probability=0.781,
        sequence=12,
        revision=revision,
    )


def outcome(differential: int, horizon: Horizon.ValueType = HALFTIME, point: float = 6.3) -> HorizonResult:
    return HorizonResult(state(), horizon, differential, (MinuteForecast(PATTERN, forecast(point, horizon=horizon)),))


def watched(
    shown: GameState | None = None,
    *,
    both: bool = False,
    half: Forecast | None = None,
    end: Forecast | None = None,
    half_came: HorizonResult | None = None,
    end_came: HorizonResult | None = None,
    note: str = "",
    age: float = 0.0,
    trouble: str = "",
) -> WatchedGame:
    """Return a game with the given forecasts after minute 18; `both` uses the default ones."""
    half, end = (forecast(), forecast(8.1, horizon=FINAL)) if both else (half, end)
    horizons = watched_horizons(WANTED)
    for horizon, made, came in ((HALFTIME, half, half_came), (FINAL, end, end_came)):
        of = horizons[horizon] if made is None else horizons[horizon].accept(PATTERN, made)
        horizons[horizon] = replace(of, outcome=came, result_known=came is not None, note=note)
    return WatchedGame(shown or state(), NOW - timedelta(seconds=age), horizons=horizons, failure=trouble)


def read(*faults: str, **taken: GameLine | None) -> SimpleNamespace:
    """Return lines of games that were read, and what could not be."""
    return SimpleNamespace(faults=faults, taken=taken)


def poller(games: Sequence[WatchedGame], **told: Any) -> Any:
    """Return what a poller shows of games, whatever their ids."""
    nothing = dict.fromkeys(("scoreboard_failure", "server_failure", "limits", "outdated_ratings"), "")
    view = {**nothing, "scoreboard_time": NOW, "leadership": None, "lines": read(), **told}
    return SimpleNamespace(games=dict(enumerate(games)), summary=lambda: summarize(games, WANTED), **view)


def drawn(
    *games: WatchedGame, width: int = 80, height: int | None = None, messages: Sequence[str] = (), **told: Any
) -> list[str]:
    """Return the lines of the table of a poller; with a height, as on a terminal without colors."""
    terminal = height is not None
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=terminal, color_system=None)
    shown = [replace(game, latencies=() if index else (0.2, 0.4)) for index, game in enumerate(games)]
    console.print(live_table(poller(shown, **told), messages, NOW + timedelta(seconds=3)))
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines() if line.strip()]


ENDED = "+5 1/1 BOS led"
HALF_CAME: Any = {"half_came": outcome(5)}
OVERTIME = replace(state(text="OT 00:36"), period=5, clock=36.0)
THIRD = replace(state(text="Q3 11:30"), period=3, clock=690.0)


def at_the_end(home_score: int) -> GameState:
    return replace(state(text="END Q4"), period=4, clock=0.0, home_score=home_score, away_score=99)


def at_moment(game: WatchedGame, period: int, horizon: Horizon.ValueType = FINAL) -> WatchedGame:
    """Return a game with a forecast of a moment in a period."""
    made = forecast(4.2, horizon=horizon)
    made.moment.CopyFrom(Moment(period=period, seconds_left=2.0, differential=4))
    return replace(game, at_moment=made)


def over(differential: int) -> WatchedGame:
    """Return a game that is final."""
    final = state(GameStatus.FINAL, "Final/OT")
    return watched(final, both=True, half_came=outcome(differential), end_came=outcome(-3, FINAL, 8.1))


@pytest.mark.parametrize(
    ("game", "row"),
    [
        (watched(both=True, age=4), "Q2 05:44 48–52 18 +6.3 −5…+17 BOS 78 % +8.1 −19…+35 BOS 78 % 7 s"),
        (watched(both=True, half_came=outcome(-6)), "18 −6 0/1 LAL led +8.1 −19…+35 BOS 78 % 3 s"),
        (over(-5), "Final/OT 48–52 −5 1/1 LAL led −3 1/1 LAL won"),
        # In overtime, the forecast of before is not shown as the current one; the scoreboard may be ahead of the plays.
        (watched(OVERTIME, both=True, **HALF_CAME), f"OT 00:36 48–52 {ENDED} OT not known 3 s"),
        (watched(at_the_end(99), both=True, **HALF_CAME), f"END Q4 99–99 {ENDED} OT not known 3 s"),
        (at_moment(watched(OVERTIME, both=True, **HALF_CAME), 5), f"OT {ENDED} +4.2 −23…+31 BOS 78 % 3 s"),
        # A forecast of a moment is not shown after its period.
        (at_moment(watched(THIRD, both=True), 2, HALFTIME), "18 – +8.1 −19…+35 BOS 78 % 3 s"),
        (at_moment(watched(at_the_end(101), both=True, **HALF_CAME), 4), f"{ENDED} – 3 s"),
    ],
)
def test_a_game_is_a_row(game: WatchedGame, row: str) -> None:
    lines = drawn(game, width=88)
    assert " ".join(lines[2].split()).endswith(row)


def test_what_goes_wrong_or_is_warned_of_is_shown_once() -> None:
    warned = forecast()
    warned.warnings.add(reason=WARNING_REASON_RATINGS_OUTDATED, text="the teams' ratings end too long ago")
    games = [watched(half=warned, trouble="feed: status 500"), watched(half=warned, trouble="server: cannot reach it")]
    lines = drawn(
        *games, scoreboard_failure="status 403", limits="model x forecasts nothing", server_failure="cannot reach it"
    )
    for line in (" LAL @ BOS: feed: status 500", " scoreboard (3 s old): status 403", " model x forecasts nothing"):
        assert line in lines
    assert "".join(lines).count("cannot reach it") == "".join(lines).count("the teams' ratings end too long ago") == 1
    assert event_line(Prediction(state(), PATTERN, warned, None)).endswith(", ratings outdated")


@pytest.mark.parametrize("width", [80, 160])
@pytest.mark.parametrize(
    ("line", "shown", "below"),
    [
        (GameLine(12.5, 231.5, "file", NOW), "BOS by 12.5", "lines: BOS by 12.5"),
        (GameLine(-4.0, None, "feed", NOW), "LAL by 4", "lines: LAL by 4"),
        (GameLine(0.0, None, "feed", NOW), "level", "lines: level"),
        (GameLine(None, 221.5, "file", NOW), "total 221.5", "lines: total 221.5"),
        (None, "no line", "no line: LAL @ BOS"),
    ],
)
def test_the_line_of_each_game_is_shown_in_the_table_or_below_a_narrow_one(
    line: GameLine | None, shown: str, below: str, width: int
) -> None:
    lines = drawn(watched(both=True), width=width, lines=read(**{"9900000001": line}))
    assert all(len(each) <= width for each in lines)
    if width == 160:
        assert f"48–52 {shown} 18" in " ".join(lines[2].split())
    assert (f" {below}" in lines) is (width == 80)


def widest() -> list[WatchedGame]:
    """Return games whose cells have their maximum width."""
    late = replace(state(GameStatus.LIVE, "Q4 01:12"), home_score=131, away_score=128)
    over = replace(late, status=GameStatus.FINAL, text="Final/OT2")
    return [
        watched(state(GameStatus.SCHEDULED, "10:30 pm ET")),
        watched(half=forecast(-16.4), end=forecast(-17.8, horizon=FINAL), age=20),
        watched(late, half=forecast(-16.4), end=forecast(-17.8, horizon=FINAL), half_came=outcome(-28), age=60),
        watched(over, both=True, half_came=outcome(-28), end_came=outcome(-13, FINAL)),
    ]


WITH_TOTAL = forecast(8.1, horizon=FINAL)
WITH_TOTAL.total.MergeFrom(TotalForecast(point_forecast=223.4, interval_lower=206, interval_upper=242))
BAD: Any = {"limits": "model x forecasts nothing", "scoreboard_failure": "status 403"}


def test_fifteen_games_fit_into_eighty_columns_and_twenty_four_lines() -> None:
    games = [*widest() * 3, *widest()[:3]]
    games[0] = replace(games[0], failure="feed: " + "no answer " * 20)
    lines = drawn(*games, height=24, **BAD)

    rows = [" ".join(line.split()) for line in lines if line.startswith(" LAL @ BOS ")]
    assert len(rows) == 15
    assert all(len(line) <= 80 for line in lines)
    assert len(lines) <= 23
    assert any(line.startswith(" 15 games · ") for line in lines), "the tally stays"


def test_the_summary_compares_with_persistence_on_the_same_forecasts() -> None:
    games = [
        watched(both=True, half_came=outcome(8), end_came=outcome(-10, FINAL, 8.1)),
        watched(both=True, half_came=outcome(-10)),
        replace(watched(half=forecast()), latencies=(0.4, 0.2)),
        replace(watched(), latencies=(0.3,)),
    ]

    summary = summarize(games, WANTED)

    half, end = summary.horizons
    assert half.error == pytest.approx(9.0)
    assert half.brier == pytest.approx((0.219**2 + 0.781**2) / 2)
    assert (half.games, half.settled_games, half.leader_brier) == (3, 2, 0.5)
    assert (end.games, end.settled_games, end.leader_brier) == (2, 1, 1.0)
    assert summary.latencies == (0.2, 0.3, 0.4)
    assert summary_lines(summary) == [
        "4 games · 5 forecasts · from the feed in 0.30 s (p50), 0.40 s (p95)",
        "half, 2 games: 1 of 2 intervals at 95 % held · MAE 9.00 (persistence 9.00)",
        "end, 1 game: 1 of 1 interval at 95 % held · Brier 0.610 (leader 1.000)",
    ]
    record = summary_record(summary, NOW)
    assert record["forecasts"] == 5
    assert record["horizons"][0]["persistenceMeanAbsoluteError"] == 9.0
    assert [each["horizon"] for each in record["horizons"]] == ["HORIZON_HALFTIME", "HORIZON_FINAL"]


GAME = "LAL @ BOS  Q2 05:44  48–52  "
AFTER = f"{GAME}+4 after 18 minutes, "
HALF_MADE, END_MADE = forecast(revision=1), forecast(8.1, horizon=FINAL)
HALF_SAID = "half +6.3 [−5.2 … +17.9] at 95 %, BOS leads 78 %, revision 1"
END_SAID = "end +8.1 [−19.4 … +35.7] at 95 %, BOS wins 78 %"
TOTAL_SAID = "223.4 points of both 206…242"
RESULT_SAID = "half −8: 0 of 1 interval held, mean absolute error 14.3 (persistence 12.0)"
REPORTED = OutcomeReported(state(), HALFTIME, 2, Outcome(revision=1), 1)
EVENTS: list[tuple[Event, str, str]] = [
    (GameChanged(state()), "game", GAME.strip()),
    (Prediction(state(), PATTERN, HALF_MADE, 0.25), "forecast", f"{AFTER}{HALF_SAID}"),
    (Prediction(state(), PATTERN, WITH_TOTAL, 0.25), "forecast", f"{AFTER}{END_SAID}, {TOTAL_SAID}"),
    (outcome(-8), "outcome", f"{GAME}{RESULT_SAID}"),
    (REPORTED, "reported", f"{GAME}half +2 is in the record, settles 1 forecast, correction 1"),
    (ForecastMissed(state(), FINAL, (6, 7, 9), "late"), "missed", f"{GAME}end, minutes 6–7, 9 missed: late"),
    (Fault("scoreboard", "503", 3, kind=FaultKind.UNAVAILABLE), "fault", "scoreboard: 503 (failure 3 in a row)"),
]


@pytest.mark.parametrize(("event", "name", "line"), EVENTS)
def test_every_event_has_a_line_and_a_record(event: Event, name: str, line: str) -> None:
    assert event_line(event) == line
    record = event_record(event, NOW)
    assert record["event"] == name
    assert record["time"] == "2026-01-15T01:00:00.000+00:00"
    assert json.loads(json.dumps(record)) == record


def test_a_log_of_an_evening_has_a_line_a_quarter(capsys: pytest.CaptureFixture[str]) -> None:
    printer = Printer(stop=lambda: None, as_json=False, by_quarter=True)
    for minutes, horizon in ((11, FINAL), (12, HALFTIME), (12, FINAL), (13, FINAL), (36, FINAL)):
        printer(Prediction(state(), (0,) * minutes, forecast(minutes, horizon=horizon), 0.25))
    printer(GameChanged(state()))
    assert [line.split("end ")[1][:5] for line in capsys.readouterr().out.splitlines()] == ["+12.0", "+36.0"]
