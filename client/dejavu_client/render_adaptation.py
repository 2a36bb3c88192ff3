"""What outcomes have taught a forecast, for people."""

from __future__ import annotations

from rich.table import Table

from dejavu.v1.forecast_pb2 import ADAPTATION_MODE_ON, Adaptation, Forecast
from dejavu_client.numerals import percent, signed
from dejavu_client.words import count


def add_adaptation(rows: Table, forecast: Forecast) -> None:
    """Adds the interval that a forecast does not follow, and how both have fared, to rows of name and value."""
    if not forecast.HasField("adaptation"):
        return
    found = forecast.adaptation
    if found.mode == ADAPTATION_MODE_ON:
        rows.add_row("  as calibrated", f"{signed(found.static_lower)} to {signed(found.static_upper)}")
    else:
        rows.add_row("  if it adapted", f"{signed(found.adapted_lower)} to {signed(found.adapted_upper)}")
    if found.rolling_games:
        rows.add_row("  held lately", _held(found))


def _held(found: Adaptation) -> str:
    how = "adapted" if found.mode == ADAPTATION_MODE_ON else "if adapted"
    static, adapted = percent(found.static_rolling_coverage), percent(found.rolling_coverage)
    return f"{adapted} of {count(found.rolling_games, 'game')} {how}, {static} as calibrated"
