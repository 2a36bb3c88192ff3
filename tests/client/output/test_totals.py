"""Total points in what is printed: beside the differential where there are any, and nowhere else."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest

from dejavu.v1.forecast_pb2 import HORIZON_FINAL, Forecast, TotalForecast
from dejavu.v1.record_pb2 import Outcome, RecordedPrediction, Settlement, TotalSettlement
from dejavu.v1.record_service_pb2 import GetPredictionResponse, ReportOutcomeResponse
from dejavu_client import FINAL
from dejavu_client.export import PREDICTION_COLUMNS
from dejavu_client.formatting import total_text
from dejavu_client.output.forecast import print_forecast
from dejavu_client.output.live_table import live_table
from dejavu_client.output.poll_events import event_line
from dejavu_client.output.record import print_prediction, print_report
from dejavu_client.poller.events import Prediction
from dejavu_client.poller.summary import summarize
from dejavu_client.poller.watched_game import WatchedGame, watched_horizons
from dejavu_common.rich_console import Console
from dejavu_feed.nba.live_payloads import GameState, GameStatus

NOW = datetime(2026, 1, 15, 1, 0, tzinfo=UTC)
PATTERN = (*(0,) * 29, 5)
STATE = GameState("9900000001", "BOS", "LAL", GameStatus.LIVE, 3, 344.0, home_score=72, away_score=67, text="Q3 05:44")
TOTAL = TotalForecast(point_forecast=223.4, interval_lower=206, interval_upper=242, expected_total=231.2)


def forecast(*, total: bool = True) -> Forecast:
    return Forecast(
        game_id="9900000001",
        home_team="BOS",
        away_team="LAL",
        horizon=HORIZON_FINAL,
        elapsed_minutes=30,
        point_forecast=6.3,
        interval_lower=-9,
        interval_upper=21,
        coverage_probability=0.95,
        home_lead_probability=0.78,
        sequence=12,
        total_points=139,
        total=TOTAL if total else None,
    )


def recorded(*, total: bool = True) -> RecordedPrediction:
    outcome = Outcome(game_id="9900000001", horizon=HORIZON_FINAL, differential=4, total_points=231 if total else None)
    scores = TotalSettlement(error=-7.6, absolute_error=7.6, pace_absolute_error=8.6, covered=True, crps=4.2)
    settlement = Settlement(error=2.3, absolute_error=2.3, covered=True, total=scores if total else None)
    return RecordedPrediction(forecast=forecast(total=total), pattern=PATTERN, outcome=outcome, settlement=settlement)


def table(*, total: bool) -> str:
    wanted = {FINAL: range(6, 48)}
    horizons = watched_horizons(wanted)
    horizons[FINAL] = horizons[FINAL].accept(PATTERN, forecast(total=total))
    game = WatchedGame(STATE, NOW, horizons=horizons)
    screen = io.StringIO()
    shown = live_table([game], summarize([game], wanted), scoreboard_time=NOW, scoreboard_trouble="", now=NOW)
    Console(file=screen, width=170, height=40).print(shown)
    return screen.getvalue()


@pytest.mark.parametrize("total", [True, False])
def test_a_forecast_is_printed_with_its_total(total: bool, capsys: pytest.CaptureFixture[str]) -> None:
    print_forecast(forecast(total=total), pattern=PATTERN)
    shown = capsys.readouterr().out
    assert ("223.4, 206 to 242 with 95 %" in shown) is total
    assert ("231.2 expected at the end" in shown) is total


@pytest.mark.parametrize("total", [True, False])
def test_the_poller_s_lines_and_table_have_it(total: bool) -> None:
    line = event_line(Prediction(STATE, PATTERN, forecast(total=total)))
    assert ("223.4 points of both 206…242" in line) is total
    assert total_text(forecast(total=total)) == (", 223.4 points of both 206…242" if total else "")
    assert ("206…242" in table(total=total)) is total
    assert ("points: of both teams together" in table(total=total)) is total


@pytest.mark.parametrize("total", [True, False])
def test_the_record_shows_how_far_off_it_was_beside_pace(total: bool, capsys: pytest.CaptureFixture[str]) -> None:
    print_prediction(GetPredictionResponse(prediction=recorded(total=total)))
    shown = capsys.readouterr().out
    assert ("7.6 points, pace × time 8.6" in shown) is total
    assert ("206…242 held" in shown) is total


def test_a_report_says_the_points(capsys: pytest.CaptureFixture[str]) -> None:
    print_report(ReportOutcomeResponse(outcome=recorded().outcome, settled_forecasts=2))
    assert "231 points of both teams" in capsys.readouterr().out


def test_an_export_has_them_as_columns() -> None:
    columns = {column.name: column.pick for column in PREDICTION_COLUMNS if "total" in column.name}
    assert {name: pick(recorded()) for name, pick in columns.items()} == {
        "total_points": 139,
        "total_forecast": 223.4,
        "total_lower": 206.0,
        "total_upper": 242.0,
        "expected_total": 231.2,
        "total_outcome": 231,
        "total_error": -7.6,
        "total_pace_absolute_error": 8.6,
        "total_covered": True,
        "total_crps": 4.2,
    }
    empty = {name: pick(recorded(total=False)) for name, pick in columns.items() if name != "total_points"}
    assert set(empty.values()) == {None}
