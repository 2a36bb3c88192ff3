"""The log of events: a position and its token denote the same place."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dejavu.v1.forecast_pb2 import HORIZON_FINAL, HORIZON_HALFTIME, LATE_REASON_TIME, Forecast, Horizon
from dejavu.v1.prediction_service_pb2 import Heartbeat, StreamPredictionsResponse
from dejavu.v1.record_pb2 import Outcome
from dejavu_common.clock import utc_now
from dejavu_gateway.live.event_log import CURRENT_AGE, EventLog

ALL = frozenset[str]()


def heartbeat(sequence: int) -> StreamPredictionsResponse:
    return StreamPredictionsResponse(heartbeat=Heartbeat(), resume_token=f"t{sequence}")


def forecast(
    sequence: int, game: str = "1", horizon: Horizon.ValueType = HORIZON_FINAL, *, hours: float = 0, late: bool = False
) -> StreamPredictionsResponse:
    made = Forecast(sequence=sequence, game_id=game, horizon=horizon)
    made.generated_time.FromDatetime(utc_now() - timedelta(hours=hours))
    if late:
        made.late = LATE_REASON_TIME
    return StreamPredictionsResponse(forecast=made, resume_token=f"t{sequence}")


def outcome(sequence: int, game: str = "1") -> StreamPredictionsResponse:
    return StreamPredictionsResponse(outcome=Outcome(sequence=sequence, game_id=game), resume_token=f"t{sequence}")


def log_of(*responses: StreamPredictionsResponse, events: int = 100, size: int = 10**6) -> EventLog:
    log = EventLog(events, size)
    for response in responses:
        log.accept(response)
    return log


def rest(log: EventLog, token: str) -> list[int]:
    """Return the sequences after a token."""
    position = log.position(token)
    assert position is not None
    return [event.sequence for event in log.read(position, 1000)]


def test_events_before_the_first_heartbeat_are_current_and_cannot_be_resumed_from() -> None:
    """Other events between them were left out: a browser that resumed from one of them would miss those."""
    log = log_of(forecast(3), forecast(7, "2"), heartbeat(9), forecast(10))
    assert log.position("t3") is None
    assert log.position("t7") is None
    assert rest(log, "t9") == [10]
    assert [event.sequence for event in log.current(ALL)] == [7, 10]


def test_a_token_is_a_position_until_the_event_after_it_is_dropped() -> None:
    log = log_of(heartbeat(0), *(forecast(sequence) for sequence in range(1, 11)), events=4)
    assert [log.position(f"t{sequence}") for sequence in range(6)] == [None] * 6
    assert rest(log, "t6") == [7, 8, 9, 10]
    assert rest(log, "t10") == []
    assert log.position("unknown") is None
    with pytest.raises(LookupError):
        log.read(log.first - 1, 10)


def test_the_newest_explained_forecasts_stay_known_beside_moments() -> None:
    responses = [forecast(1), forecast(2), forecast(3, horizon=HORIZON_HALFTIME), forecast(4, "2"), forecast(5)]
    responses.append(forecast(6, "3", hours=CURRENT_AGE.total_seconds() / 3600 + 1))
    for response in (*responses[:4], responses[-1]):
        response.forecast.explanation.baseline_prediction = 3.0
    log = log_of(*responses)
    assert [each.sequence for each in log.explained("1")] == [2, 3]
    assert log.explained("3") == []


def test_the_log_is_bounded_in_bytes() -> None:
    log = log_of(heartbeat(0), size=20_000)
    for sequence in range(1, 2001):
        log.accept(forecast(sequence))
        log.accept(heartbeat(sequence))
    assert log.size <= 20_000
    assert rest(log, f"t{2000 - len(log)}")[-1] == 2000


def test_current_are_the_newest_forecasts_in_time_of_each_game_and_horizon_of_a_day() -> None:
    log = log_of(
        forecast(1, "1", HORIZON_HALFTIME),
        heartbeat(1),
        forecast(2, "1", HORIZON_FINAL),
        forecast(3, "1", HORIZON_FINAL),
        forecast(4, "1", HORIZON_FINAL, late=True),
        forecast(5, "2", hours=CURRENT_AGE / timedelta(hours=1) + 1),
        outcome(6),
        forecast(7, "3"),
    )
    assert [event.sequence for event in log.current(ALL)] == [1, 3, 7]
    assert [event.sequence for event in log.current(frozenset({"3", "9"}))] == [7]
    assert rest(log, "t1") == [2, 3, 4, 5, 6, 7]
