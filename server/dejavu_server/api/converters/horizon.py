"""Horizons of the contract and of the domain: the one table, for all that reads or writes messages."""

from __future__ import annotations

from typing import Final

from dejavu.v1 import forecast_pb2
from dejavu_models.errors import InvalidHorizon
from dejavu_models.types import Horizon

HORIZONS: Final = {
    forecast_pb2.HORIZON_UNSPECIFIED: Horizon.HALFTIME,
    forecast_pb2.HORIZON_HALFTIME: Horizon.HALFTIME,
    forecast_pb2.HORIZON_FINAL: Horizon.FINAL,
}
"""What a request's number means, where unspecified is the half."""

HORIZON_VALUES: Final = {
    Horizon.HALFTIME: forecast_pb2.HORIZON_HALFTIME,
    Horizon.FINAL: forecast_pb2.HORIZON_FINAL,
}
"""What an answer says."""

EXPECTED: Final = f"a value of dejavu.v1.Horizon: {', '.join(map(str, HORIZONS))}"


def horizon_of(number: forecast_pb2.Horizon.ValueType, field: str = "horizon") -> Horizon:
    """The horizon that a request names; unspecified is the half.

    Raises:
        InvalidHorizon: if the contract has none of that number.
    """
    horizon = HORIZONS.get(number)
    if horizon is None:
        raise InvalidHorizon(f"{number}", EXPECTED, field=field)
    return horizon
