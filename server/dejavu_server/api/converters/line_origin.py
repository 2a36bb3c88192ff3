"""Converts the source of the margin of a request or a game, and the time at which it was read there."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final

from dejavu.v1 import forecast_pb2
from dejavu.v1.game_service_pb2 import Game
from dejavu.v1.prediction_service_pb2 import PredictRequest
from dejavu_feed.game_ids import FIRST_DAY, LAST_DAY
from dejavu_ledger.records import IssuedForecast, LineOrigin, LineSource
from dejavu_models.errors import InvalidMargin
from dejavu_server.api.converters.fields import enum_value, requested_instant, set_timestamp

_LINE_SOURCES: Final = {
    forecast_pb2.MARGIN_SOURCE_CALLER: LineSource.CALLER,
    forecast_pb2.MARGIN_SOURCE_FEED: LineSource.FEED,
    forecast_pb2.MARGIN_SOURCE_FILE: LineSource.FILE,
}
_LINE_SOURCE_NAMES: Final = f"one of {', '.join(map(forecast_pb2.MarginSource.Name, _LINE_SOURCES))}"
ORIGIN_FIELDS: Final = frozenset(("margin_source", "margin_time"))
"""The fields that give the source of a margin, or its time."""

_SOURCE_VALUES: Final = {source: value for value, source in _LINE_SOURCES.items()}


def line_origin(message: PredictRequest | Game, today: date | None, at: str = "") -> LineOrigin:
    """Read the source of a margin, and its time, which may be a day after `today`, since time zones differ.

    Args:
        message: what has the margin.
        today: the date; None: the time may be later.
        at: path of the message, before its fields.

    Raises:
        InvalidMargin: if there is no margin, or the source or the time is invalid; names the field.
    """
    has_source, has_time = message.HasField("margin_source"), message.HasField("margin_time")
    if not message.HasField("pregame_margin"):
        field = "margin_source" if has_source else "margin_time"
        raise InvalidMargin("no pregame_margin", "pregame_margin beside it", field=at + field)
    source = message.margin_source if has_source else forecast_pb2.MARGIN_SOURCE_CALLER
    known = enum_value(source, _LINE_SOURCES, _LINE_SOURCE_NAMES, f"{at}margin_source", InvalidMargin)
    time = None
    if has_time:
        field, expected = f"{at}margin_time", f"a time from {FIRST_DAY} to {LAST_DAY}"
        time = requested_instant(message.margin_time, field, InvalidMargin, expected)
        if not FIRST_DAY <= time.date() <= LAST_DAY:
            raise InvalidMargin(f"{time:%Y-%m-%d}", expected, field=field)
        if today is not None and time.date() > today + timedelta(days=1):
            raise InvalidMargin(f"{time:%Y-%m-%d}", f"a time that has passed; today is {today}", field=field)
    return LineOrigin(known, time)


def put_issued_origin(message: forecast_pb2.Forecast, issued: IssuedForecast) -> None:
    """Write the source of the expected margin of a forecast."""
    if issued.pregame_margin is None:
        message.margin_source = forecast_pb2.MARGIN_SOURCE_RATINGS
    elif issued.line_origin is None:
        message.margin_source = forecast_pb2.MARGIN_SOURCE_CALLER
    else:
        put_origin(message, issued.line_origin)


def put_origin(message: forecast_pb2.Forecast | Game, origin: LineOrigin) -> None:
    """Write the source of a margin, and its time if it is known."""
    message.margin_source = _SOURCE_VALUES[origin.source]
    if origin.time is not None:
        set_timestamp(message.margin_time, origin.time)
