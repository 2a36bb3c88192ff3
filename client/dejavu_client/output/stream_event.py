"""Prints the events of a stream for people, one per line."""

from __future__ import annotations

import sys
from datetime import UTC

from google.protobuf.timestamp_pb2 import Timestamp

from dejavu.v1.forecast_pb2 import Forecast
from dejavu.v1.prediction_service_pb2 import StreamPredictionsResponse
from dejavu.v1.record_pb2 import Outcome
from dejavu_client.formatting import chance, horizon_label, outcome_verb, percent, signed
from dejavu_client.output.forecast import title


def print_event(event: StreamPredictionsResponse) -> None:
    """Prints an event of a stream on one line. Ignores event types that this client does not know."""
    match event.WhichOneof("event"):
        case "forecast":
            line = _forecast(event.forecast)
        case "outcome":
            line = _outcome(event.outcome)
        case "heartbeat":
            line = f"{clock(event.heartbeat.sent_time)}  heartbeat  {event.resume_token}"
        case _:
            return
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def clock(time: Timestamp) -> str:
    """Formats a time of day in the local time zone."""
    return f"{time.ToDatetime(tzinfo=UTC).astimezone():%H:%M:%S}"


def _forecast(forecast: Forecast) -> str:
    nominal = percent(forecast.coverage_probability)
    return (
        f"{clock(forecast.generated_time)}  {title(forecast)}  minute {forecast.elapsed_minutes}  "
        f"{horizon_label(forecast.horizon)} {signed(forecast.point_forecast)}  {nominal} "
        f"[{signed(forecast.interval_lower)}, {signed(forecast.interval_upper)}]  "
        f"home {outcome_verb(forecast.horizon)} {chance(forecast.home_lead_probability)}  "
        f"#{forecast.sequence}{_revision(forecast)}"
    )


def _outcome(outcome: Outcome) -> str:
    return (
        f"{clock(outcome.recorded_time)}  {title(outcome)}  outcome  {horizon_label(outcome.horizon)} "
        f"{signed(outcome.differential, 0)}  #{outcome.sequence}{_revision(outcome)}"
    )


def _revision(what: Forecast | Outcome) -> str:
    return f" revision {what.revision}" if what.revision else ""
