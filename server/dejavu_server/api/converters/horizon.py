"""Converts horizons between the contract and the domain."""

from __future__ import annotations

from typing import Final

from dejavu.v1 import forecast_pb2
from dejavu_models.errors import InvalidHorizon
from dejavu_models.types import Horizon

HORIZON_VALUES: Final = {horizon: forecast_pb2.Horizon.Value(f"HORIZON_{horizon.name}") for horizon in Horizon}
"""Enum numbers of responses by domain horizon."""

HORIZONS: Final = {
    forecast_pb2.HORIZON_UNSPECIFIED: Horizon.HALFTIME,
    **{number: horizon for horizon, number in HORIZON_VALUES.items()},
}
"""Domain horizons by enum number of a request; unspecified means halftime."""

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
