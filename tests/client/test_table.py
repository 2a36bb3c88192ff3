"""The table of an evening, and the lines and records that tell the same elsewhere."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from dejavu.v1.forecast_pb2 import Forecast
from dejavu_client.figures import percentile
from dejavu_client.numerals import chance, percent, signed
from dejavu_client.poll_events import Event, Fault, FaultKind, GameChanged, Missed, Outcome, Prediction
from dejavu_client.poll_state import Summary, WatchedGame, summarize
from dejavu_client.poll_text import event_line, event_record, summary_line, summary_record
from dejavu_client.table import evening
from dejavu_feed.live import GameState, GameStatus

NOW = datetime(2026, 1, 15, 1, 0, tzinfo=UTC)
PATTERN = (*(0,) * 17, 4)


def state(status: GameStatus = GameStatus.LIVE, text: str = "Q2 05:44") -> GameState:
    return GameState("9900000001", "BOS", "LAL", status, 2, 344.0, home_score=52, away_score=48, text=text)


def forecast(point: float = 6.3, revision: int = 0) -> Forecast:
    return Forecast(
        game_id="9900000001",
        elapsed_minutes=18,
        point_forecast=point,
        interval_lower=point - 11.5,
        interval_upper=point + 11.6,
        coverage_probability=0.95,
        home_lead_probability=0.781,
        sequence=12,
        revision=revision,
    )


def outcome(differential: int) -> Outcome:
    return Outcome(state(), differential, forecast(), persistence=4)


def drawn(*games: WatchedGame, width: int = 80, trouble: str = "", scoreboard_time: datetime | None = NOW) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(
        evening(
            games,
            summarize(games, [0.2, 0.4]),
            scoreboard_time=scoreboard_time,
            scoreboard_trouble=trouble,
            now=NOW + timedelta(seconds=3),
        )
    )
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines() if line.strip()]


def test_a_game_under_way_shows_its_forecast_and_how_old_its_data_is() -> None:
    game = WatchedGame(state(), NOW, plays_time=NOW - timedelta(seconds=4), pattern=PATTERN, forecast=forecast())

    row = drawn(game)[2]
    assert row.split() == ["LAL", "@", "BOS", "Q2", "05:44", "48–52", "+6.3", "−5.2", "…", "+17.9", "78", "%", "7", "s"]
    assert "95 % interval" in drawn(game)[0]


@pytest.mark.parametrize(
    ("differential", "verdict"), [(-6, "−6 missed"), (-5, "−5 held"), (17, "+17 held"), (0, "0 held")]
)
def test_at_the_half_the_outcome_and_whether_the_interval_held_stand_in_the_row(
    differential: int, verdict: str
) -> None:
    game = WatchedGame(
        state(text="Half"), NOW, pattern=PATTERN, forecast=forecast(), outcome=outcome(differential), half_over=True
    )

    assert verdict in drawn(game)[2]


def test_a_game_without_a_forecast_says_why() -> None:
    assert "polled too late" in drawn(WatchedGame(state(), NOW, note="polled too late"))[2]


def test_a_scheduled_game_shows_when_it_begins_and_no_score() -> None:
    (row,) = [line for line in drawn(WatchedGame(state(GameStatus.SCHEDULED, "7:30 pm ET"), NOW)) if "LAL" in line]

    assert row.split() == ["LAL", "@", "BOS", "7:30", "pm", "ET"]


def test_what_goes_wrong_is_shown() -> None:
    lines = drawn(WatchedGame(state(), NOW, trouble="feed: status 500"), trouble="status 403")

    assert " LAL @ BOS: feed: status 500" in lines
    assert " scoreboard (3 s old): status 403" in lines


def test_before_the_first_scoreboard_and_without_games_it_says_so() -> None:
    assert drawn(scoreboard_time=None, trouble="status 403") == [
        "Waiting for the scoreboard …",
        "scoreboard: status 403",
    ]
    assert drawn() == ["No games today."]


def test_fifteen_games_fit_into_eighty_columns() -> None:
    games = [
        WatchedGame(state(), NOW, pattern=PATTERN, forecast=forecast(-16.4), outcome=outcome(-28)) for _ in range(15)
    ]

    rows = [line for line in drawn(*games) if "LAL @ BOS" in line]
    assert len(rows) == 15
    assert all("−28 missed" in row and "…" in row and row.endswith("s") for row in rows)


@pytest.mark.parametrize("width", [80, 72, 60, 50, 40, 30])
def test_however_narrow_the_terminal_games_and_ages_stay_whole(width: int) -> None:
    games = [
        WatchedGame(state(), NOW, pattern=PATTERN, forecast=forecast(-16.4), outcome=outcome(-28)),
        WatchedGame(
            state(), NOW - timedelta(minutes=5), note="no forecast before the half", trouble="feed: status 403"
        ),
    ]

    lines = drawn(*games, width=width)
    rows = [line for line in lines if line.startswith(" LAL @ BOS ")]
    assert [row.split()[-2:] for row in rows[:2]] == [["3", "s"], ["5", "min"]]
    assert "−16.4" in rows[0]
    assert all(len(line) <= width for line in lines)
    assert all(cut == "…" for line in lines[:3] for cut in line.split() if "…" in cut), "nothing is cut off"


def test_the_summary_compares_with_persistence_on_the_same_games() -> None:
    games = [
        WatchedGame(state(), NOW, forecast=forecast(), outcome=outcome(8)),
        WatchedGame(state(), NOW, forecast=forecast(), outcome=outcome(-10)),
        WatchedGame(state(), NOW, forecast=forecast()),
        WatchedGame(state(), NOW),
    ]

    summary = summarize(games, [0.4, 0.2, 0.3])

    assert summary.error == pytest.approx((1.7 + 16.3) / 2)
    assert replace(summary, error=None) == Summary(4, 3, 2, 1, 0.95, None, (4 + 14) / 2, (0.2, 0.3, 0.4))
    assert summary_line(summary) == (
        "4 games · 3 forecasts · 1 of 2 intervals held (nominal 95 %) · mean absolute error 9.00 (persistence 9.00)"
        " · feed to forecast 0.30 s (p50), 0.40 s (p95)"
    )
    assert summary_record(summary, NOW)["persistenceMeanAbsoluteError"] == 9.0


def test_the_summary_of_an_empty_evening_divides_by_nothing() -> None:
    summary = summarize([], [])

    assert summary_line(summary) == "0 games · 0 forecasts"
    assert summary_record(summary, NOW)["meanAbsoluteError"] is None


EVENTS: list[tuple[Event, str, str]] = [
    (GameChanged(state()), "game", "LAL @ BOS  Q2 05:44  48–52"),
    (
        Prediction(state(), PATTERN, forecast(revision=1), 0.25),
        "forecast",
        "LAL @ BOS  Q2 05:44  48–52  +4 after 18 minutes, half +6.3 [−5.2 … +17.9] at 95 %, BOS leads 78 %, revision 1",
    ),
    (
        outcome(-8),
        "outcome",
        "LAL @ BOS  Q2 05:44  48–52  half −8, forecast +6.3: interval missed, error 14.3, persistence 12",
    ),
    (
        Missed(state(), "polled too late"),
        "missed",
        "LAL @ BOS  Q2 05:44  48–52  not forecast: polled too late",
    ),
    (
        Fault("scoreboard", "status 500", 3, kind=FaultKind.UNAVAILABLE),
        "fault",
        "scoreboard: status 500 (failure 3 in a row)",
    ),
]


@pytest.mark.parametrize(("event", "name", "line"), EVENTS)
def test_every_event_has_a_line_and_a_record(event: Event, name: str, line: str) -> None:
    assert event_line(event) == line
    record = event_record(event, NOW)
    assert record["event"] == name
    assert record["time"] == "2026-01-15T01:00:00.000+00:00"
    assert json.loads(json.dumps(record)) == record


def test_a_record_says_whether_its_game_was_replayed_and_what_was_forecast() -> None:
    record = event_record(Prediction(state(), PATTERN, forecast(), None), NOW)

    assert record["game"]["replay"] is True
    assert record["pattern"] == list(PATTERN)
    assert record["latencySeconds"] is None
    assert (record["forecast"]["pointForecast"], record["forecast"]["sequence"]) == (6.3, "12")


@pytest.mark.parametrize(
    ("points", "digits", "text"), [(6.25, 1, "+6.2"), (-4, 1, "−4.0"), (-0.04, 1, "0.0"), (0, 0, "0"), (12, 0, "+12")]
)
def test_points_carry_their_sign(points: float, digits: int, text: str) -> None:
    assert signed(points, digits) == text


def test_a_percentile_is_one_of_the_values() -> None:
    assert [percentile([1.0, 2.0, 3.0, 4.0], share) for share in (0.0, 0.5, 0.51, 0.95, 1.0)] == [
        1.0,
        2.0,
        3.0,
        4.0,
        4.0,
    ]
    with pytest.raises(ValueError):
        percentile([], 0.5)


@pytest.mark.parametrize(
    ("probability", "read"),
    [
        (0, "0 %"),
        (1e-6, "<1 %"),
        (0.0099, "<1 %"),
        (0.01, "1 %"),
        (0.832, "83 %"),
        (0.99, "99 %"),
        (0.991, ">99 %"),
        (1, "100 %"),
    ],
)
def test_only_a_certainty_reads_as_one(probability: float, read: str) -> None:
    assert chance(probability) == read


def test_a_share_is_as_precise_as_it_needs_to_be() -> None:
    assert [percent(share) for share in (0.95, 0.625, 0.8, 0.999)] == ["95 %", "62.5 %", "80 %", "99.9 %"]
