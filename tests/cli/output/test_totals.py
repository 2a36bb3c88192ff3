"""Total points in the output: beside the differential if there are any, and nowhere otherwise."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest
from tests.cli.output.test_live_table import poller

from dejavu.v1.forecast_pb2 import HORIZON_FINAL, Forecast, TotalForecast
from dejavu.v1.record_pb2 import Outcome, RecordedPrediction, Settlement, TotalSettlement
from dejavu.v1.record_service_pb2 import GetPredictionResponse, ReportOutcomeResponse
from dejavu_cli.output.forecast import print_forecast
from dejavu_cli.output.live_table import live_table
from dejavu_cli.output.poll_events import event_line
from dejavu_cli.output.record import print_prediction, print_report
from dejavu_client import FINAL
from dejavu_common.rich_console import Console
from dejavu_feed.nba.live_payloads import GameState, GameStatus
from dejavu_poller.events import Prediction
from dejavu_poller.watched_game import WatchedGame, watched_horizons

NOW = datetime(2026, 1, 15, 1, 0, tzinfo=UTC)
PATTERN = (*(0,) * 29, 5)
STATE = GameState("9900000001", "BOS", "LAL", GameStatus.LIVE, 3, 344.0, home_score=72, away_score=67, text="Q3 05:44")
FORECAST = Forecast(
    horizon=HORIZON_FINAL,
    elapsed_minutes=30,
    point_forecast=6.3,
    interval_lower=-9,
    interval_upper=21,
    coverage_probability=0.95,
    total_points=139,
)
TOTAL = TotalForecast(point_forecast=223.4, interval_lower=206, interval_upper=242, expected_total=231.2)
SCORES = TotalSettlement(error=-7.6, absolute_error=7.6, pace_absolute_error=8.6, covered=True, crps=4.2)
PARTS = (
    "223.4, 206 to 242 with 95 %",
    "231.2 expected at the end",
    "7.6 points, pace × time 8.6",
    "206…242 held",
    "231 points of both teams",
    "223.4 points of both 206…242",
    "points: of both teams together",
)


def recorded(*, total: bool) -> RecordedPrediction:
    made = RecordedPrediction(
        forecast=FORECAST, pattern=PATTERN, outcome=Outcome(horizon=HORIZON_FINAL), settlement=Settlement(covered=True)
    )
    if total:
        made.forecast.total.CopyFrom(TOTAL)
        made.settlement.total.CopyFrom(SCORES)
        made.outcome.total_points = 231
    return made


@pytest.mark.parametrize("total", [True, False])
def test_they_are_shown_everywhere_or_nowhere(total: bool, capsys: pytest.CaptureFixture[str]) -> None:
    one = recorded(total=total)
    print_forecast(one.forecast, pattern=PATTERN)
    print_prediction(GetPredictionResponse(prediction=one))
    print_report(ReportOutcomeResponse(outcome=one.outcome, settled_forecasts=2))
    wanted = {FINAL: range(6, 48)}
    horizons = watched_horizons(wanted)
    horizons[FINAL] = horizons[FINAL].accept(PATTERN, one.forecast)
    game, screen = WatchedGame(STATE, NOW, horizons=horizons), io.StringIO()
    table = live_table(poller([game]), (), NOW)
    Console(file=screen, width=170, height=40).print(table)
    shown = capsys.readouterr().out + screen.getvalue() + event_line(Prediction(STATE, PATTERN, one.forecast))
    assert [part for part in PARTS if part in shown] == (list(PARTS) if total else [])
