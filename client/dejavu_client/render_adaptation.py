"""What outcomes have taught a forecast, for people."""

from __future__ import annotations

from rich.table import Table

from dejavu.v1.forecast_pb2 import ADAPTATION_MODE_ON, Adaptation, Forecast
from dejavu_client.numerals import percent
from dejavu_client.words import count


def add_adaptation(rows: Table, forecast: Forecast) -> None:
    """Adds the interval that a forecast does not follow, and how both have fared, to rows of name and value."""
    if not forecast.HasField("adaptation"):
        return
    found = forecast.adaptation
    if found.mode == ADAPTATION_MODE_ON:
        rows.add_row("  as calibrated", f"{found.static_lower:+.1f} to {found.static_upper:+.1f}")
    else:
        rows.add_row("  if it adapted", f"{found.adapted_lower:+.1f} to {found.adapted_upper:+.1f}")
    if found.rolling_games:
        rows.add_row("  held lately", _held(found))


def _held(found: Adaptation) -> str:
    static, adapted = percent(found.static_rolling_coverage), percent(found.rolling_coverage)
    return f"{adapted} of {count(found.rolling_games, 'game')} if adapted, {static} as calibrated"
