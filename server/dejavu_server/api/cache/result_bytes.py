"""Serialized results of forecasts that differ in their numbers only: the bytes of one, with the numbers of each."""

from __future__ import annotations

import struct
from datetime import datetime
from typing import Final

import numpy as np

from dejavu.v1.forecast_pb2 import Forecast
from dejavu.v1.prediction_service_pb2 import PredictBatchResponse
from dejavu_models.arrays import Floats
from dejavu_models.forecaster.alike import AlikeNumbers, AlikeRows
from dejavu_server.api.converters.alike import fill
from dejavu_server.api.converters.fields import set_timestamp

_MARK: Final = 1e300
"""Times one, two, three …: numbers that no forecast has, which show where its numbers are written."""


class ResultBytes:
    """The bytes of the results of forecasts with the same options, which were made at the same time.

    A number is eight bytes in a message wherever it stands, so the others stay where they are. Zeros are written too,
    which protobuf leaves out itself; messages that are read from either are equal.

    Args:
        forecast: a forecast with these options.
        generated: when they were made, aware.
        expires: when they expire, aware.
        margins: whether games have an expected margin.
    """

    def __init__(self, forecast: Forecast, generated: datetime, expires: datetime, *, margins: bool) -> None:
        response = PredictBatchResponse()
        one = response.results.add().forecast
        one.CopyFrom(forecast)
        set_timestamp(one.generated_time, generated)
        set_timestamp(one.expires_time, expires)
        single = len(AlikeNumbers._fields) - 1
        marks = [_MARK * (1 + column) for column in range(single + len(one.quantiles) + 1)]
        fill(one, AlikeNumbers._make([*marks[:single], marks[single:-1]]), marks[-1] if margins else None)
        self._bytes = response.SerializeToString()
        found = {column: self._bytes.find(struct.pack("<d", mark)) for column, mark in enumerate(marks)}
        self._places = {column: place for column, place in found.items() if place >= 0}

    def of(self, numbers: Floats, rows: AlikeRows) -> list[bytes]:
        """Returns the results of games, each as a response has it.

        Args:
            numbers: their forecasts, see `AlikeGames.forecast_rows`.
            rows: the games.
        """
        size = len(self._bytes)
        table = np.tile(np.frombuffer(self._bytes, np.uint8), (len(rows), 1))
        values = np.column_stack([numbers, rows.margins]).astype("<f8")
        for column, place in self._places.items():
            table[:, place : place + 8] = np.ascontiguousarray(values[:, column]).view(np.uint8).reshape(-1, 8)
        data = table.tobytes()
        return [data[begin : begin + size] for begin in range(0, len(data), size)]
