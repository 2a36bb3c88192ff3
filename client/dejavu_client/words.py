"""What things are called when a program speaks to people."""

from __future__ import annotations

from dejavu.v1.forecast_pb2 import HORIZON_FINAL, Horizon


def moment(horizon: Horizon.ValueType) -> str:
    """A horizon: the half, or the end."""
    return "end" if horizon == HORIZON_FINAL else "half"


def leads_then(horizon: Horizon.ValueType) -> str:
    """What a team does that is ahead at a horizon: at the half it leads, at the end it wins."""
    return "wins" if horizon == HORIZON_FINAL else "leads"


def count(number: int, of: str) -> str:
    """How many of something: 1 game, 2 games."""
    return f"{number:,} {of}{'' if number == 1 else 's'}"
