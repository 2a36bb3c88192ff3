"""Forecasts on board and shared image: a late one only if there is no other, and none where none was made."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.gateway.conftest import Site
from tests.support.builders.issued_forecasts import game
from tests.support.processes.gateway import running_gateway
from tests.support.processes.servers import running_worker

from dejavu.v1.forecast_pb2 import HORIZON_FINAL, LATE_REASON_TIME, Forecast, Moment
from dejavu.v1.record_pb2 import Outcome, RecordedPrediction
from dejavu_client import FINAL, DejavuClient
from dejavu_common.clock import utc_now
from dejavu_gateway.api.games import summary
from dejavu_gateway.api.share import drawn, prediction_at
from dejavu_server.access import token_file
from dejavu_server.access.caller import AccessScope


def recorded(sequence: int, minute: int, probability: float, *, late: bool = False) -> RecordedPrediction:
    forecast = Forecast(
        game_id="0022500001",
        sequence=sequence,
        horizon=HORIZON_FINAL,
        elapsed_minutes=minute,
        home_lead_probability=probability,
    )
    if late:
        forecast.late = LATE_REASON_TIME
    forecast.generated_time.FromDatetime(datetime(2026, 1, 1, 23, tzinfo=UTC))
    return RecordedPrediction(forecast=forecast, pattern=[float(minute)] * minute)


@pytest.mark.parametrize("minute", [24, 25])
def test_a_late_forecast_is_not_the_newest(minute: int) -> None:
    history = [recorded(1, 23, 0.5), recorded(2, 24, 0.6), recorded(3, minute, 0.99, late=True)]
    shown = prediction_at(history, 48)
    assert shown is not None
    assert shown.forecast.home_lead_probability == 0.6
    newest = summary("0022500001", history[::-1])["newest"]
    assert newest["final"]["forecast"]["homeLeadProbability"] == 0.6


def test_a_correction_of_an_earlier_minute_is_not_the_newest() -> None:
    moment = recorded(2, 47, 0.01)
    moment.forecast.moment.period, moment.forecast.moment.seconds_left = 4, 2.0
    history = [recorded(1, 47, 0.5), moment, recorded(3, 47, 0.78)]
    shown = prediction_at(history, 48)
    assert shown is moment
    assert summary("0022500001", history[::-1])["newest"]["final"]["forecast"]["sequence"] == "2"


def test_where_all_are_late_the_newest_of_them_is_shown() -> None:
    history = [recorded(1, 23, 0.5, late=True), recorded(2, 24, 0.6, late=True)]
    shown = prediction_at(history, 48)
    assert shown is not None
    assert shown.forecast.home_lead_probability == 0.6
    newest = summary("0022500001", history[::-1])["newest"]
    assert newest["final"]["forecast"]["homeLeadProbability"] == 0.6
    assert newest["half"] is None


def test_a_game_that_is_over_says_how_many_intervals_of_minutes_held() -> None:
    """Formerly, a tick judged the newest forecast alone, often of seconds before the end."""
    history = [recorded(1, 46, 0.5), recorded(2, 47, 0.6), recorded(3, 47, 0.7), recorded(4, 45, 0.7, late=True)]
    history[2].forecast.moment.period = 4
    history[0].settlement.covered = False
    for each in history[1:]:
        each.settlement.covered = True
    assert summary("0022500001", history[::-1])["held"] == {"half": None, "final": {"held": 1, "of": 2}}
    assert summary("0022500001", [recorded(1, 46, 0.5)])["held"] == {"half": None, "final": None}


def test_what_another_caller_records_of_a_game_is_not_shown(tmp_path: Path, build: Path) -> None:
    """Formerly, board, page and picture of a game had the newest forecast of any caller with the scope record."""
    file, game_id = tmp_path / "tokens.json", game(1)
    scopes = (AccessScope.READ, AccessScope.PREDICT, AccessScope.RECORD)
    poller, other = (token_file.create(file, name, scopes, utc_now()) for name in ("poller", "other"))
    tmp_path.joinpath("poller").write_text(poller)
    with running_worker(tmp_path, shipped=True, tokens=str(file)) as server:
        for token, margins in ((poller, [6.0] * 18), (other, [-27.0] * 19)):
            with DejavuClient(server, token=token, timeout=60.0) as client:
                client.predict(margins, game_id=game_id, horizon=FINAL, home_team="BOS", away_team="LAL")
        with DejavuClient(server, token=poller, timeout=60.0) as client:
            assert [each.of_others for each in client.list_predictions(game_id=game_id)] == [True, False]
        with running_gateway(server, "--web", str(build), "--token-file", str(tmp_path / "poller")) as gateway:
            site = Site(server, gateway.address)
            [shown] = site.get("/api/games").json()["games"]
            history = site.get(f"/api/games/{game_id}").json()["predictions"]
            drawing = site.get(f"/share/game/{game_id}.svg").text
    assert (shown["forecasts"], [each["lead"] for each in shown["course"]]) == (1, [6.0])
    assert [each["recordedBy"] for each in history] == ["token:poller"]
    assert "after 18 minutes" in drawing


@pytest.mark.parametrize("now", [None, datetime(2026, 1, 2, tzinfo=UTC)])
def test_an_image_of_a_late_forecast_says_so(now: datetime | None) -> None:
    late = recorded(1, 24, 0.99, late=True)
    assert "late, does not count" in drawn(late, now)
    late.outcome.differential = 3
    assert "late" in drawn(late, now)
    assert "late" not in drawn(recorded(1, 24, 0.99), now)


MADE = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


def newest(
    minute: int, probability: float = 0.67, coverage: float = 0.95, outcome: Outcome | None = None
) -> RecordedPrediction:
    forecast = Forecast(
        home_team="DET",
        away_team="NYK",
        horizon=HORIZON_FINAL,
        elapsed_minutes=minute,
        home_lead_probability=probability,
        coverage_probability=coverage,
    )
    forecast.generated_time.FromDatetime(MADE)
    forecast.expires_time.FromDatetime(MADE + timedelta(minutes=5))
    return RecordedPrediction(forecast=forecast, pattern=[1.0] * minute, outcome=outcome)


@pytest.mark.parametrize(
    ("prediction", "minutes_later", "said"),
    [
        (newest(47), 1, "DET wins 67 %"),
        (newest(47), 6, "no forecast"),
        (newest(47), 180, "no outcome reported"),
        (newest(46), 6, "DET wins 67 %"),
        (newest(30), 180, "no outcome reported"),
        (newest(18, 0.998), 1, "DET wins &gt;99 %"),
        (newest(47, outcome=Outcome(differential=3, overtimes=1)), 30, "final/OT DET +3"),
        (newest(47, outcome=Outcome(differential=3, overtimes=0)), 30, "final DET +3<"),
    ],
)
def test_an_image_says_nothing_of_a_moment_that_has_no_forecast(
    prediction: RecordedPrediction, minutes_later: int | None, said: str
) -> None:
    now = None if minutes_later is None else MADE + timedelta(minutes=minutes_later)
    image = drawn(prediction, now)
    assert said in image
    assert ("wins" in image) is ("wins" in said)


def at_moment(sequence: int, period: int, left: float, lead: int) -> RecordedPrediction:
    prediction = newest(47)
    prediction.forecast.sequence = sequence
    prediction.forecast.moment.CopyFrom(Moment(period=period, seconds_left=left, differential=lead))
    return prediction


def test_a_moment_stands_beside_its_minute_with_its_own_lead() -> None:
    history = [newest(47), at_moment(2, 4, 42.5, 3), at_moment(3, 5, 130.5, -2)]
    course = summary("0022500001", history[::-1])["course"]
    assert [(each["elapsedMinutes"], each["lead"]) for each in course] == [(47, 1.0), (47.2917, 3.0), (50.825, -2.0)]
    for minute, place in ((47, 0), (47.2917, 1), (48, 1), (50.825, 2), (148, 2)):
        assert prediction_at(history, minute) is history[place]


def test_an_image_of_overtime_ends_with_it_and_goes_through_the_moments_before() -> None:
    history = [at_moment(2, 4, 42.5, 3), at_moment(3, 5, 130.5, -2)]
    image = drawn(history[1], MADE + timedelta(minutes=6), history)
    assert "at OT 2:10.5: NYK +2" in image
    assert "DET wins 67 %" in image
    assert ">OT<" in image
    [line] = re.findall(r'<polyline points="([^"]+)"', image)
    assert len(line.split()) == 1 + 47 + 2
    assert ">OT<" not in drawn(history[0], None, history)
    assert len(re.findall(r'<polyline points="([^"]+)"', drawn(history[0], None, history))[0].split()) == 1 + 47 + 1
    history[0].outcome.overtimes = 2
    assert ">OT2<" in drawn(history[0], MADE, history)


@pytest.mark.parametrize(
    ("coverage", "said"), [(0.95, "95 %"), (0.999, "99.9 %"), (0.9999, "99.99 %"), (0.005, "0.5 %")]
)
def test_an_image_prints_the_coverage_of_an_interval_as_it_is(coverage: float, said: str) -> None:
    assert f", {said} in " in drawn(newest(30, coverage=coverage))
