"""Converts horizons between the contract and the domain."""

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
"""Domain horizons by enum number of a request; unspecified means halftime."""

HORIZON_VALUES: Final = {
    Horizon.HALFTIME: forecast_pb2.HORIZON_HALFTIME,
    Horizon.FINAL: forecast_pb2.HORIZON_FINAL,
}
"""Enum numbers of responses by domain horizon."""

EXPECTED_HORIZON: Final = f"a value of dejavu.v1.Horizon: {', '.join(map(str, HORIZONS))}"


def horizon_of(number: forecast_pb2.Horizon.ValueType, field: str = "horizon") -> Horizon:
    """Returns the horizon of an enum number; unspecified means halftime.

    Raises:
        InvalidHorizon: if the contract has no such number.
    """
    horizon = HORIZONS.get(number)
    if horizon is None:
        raise InvalidHorizon(f"{number}", EXPECTED_HORIZON, field=field)
    return horizon
