"""Numbers as people read them."""

from __future__ import annotations

from dejavu.v1.forecast_pb2 import HORIZON_FINAL, Horizon


def signed(points: float, digits: int = 1) -> str:
    """Points with their sign, or without one if nothing is left of them: +6.3, −4.0, 0.0."""
    text = f"{abs(points):.{digits}f}"
    return text if not float(text) else ("−" if points < 0 else "+") + text


def percent(share: float) -> str:
    """A share in percent, to a tenth where it has one: 95 %, 62.5 %."""
    return f"{100 * share:.1f}".removesuffix(".0") + " %"


def chance(probability: float) -> str:
    """A probability in whole percent; none but 0 and 1 themselves read as certainties."""
    if 0 < probability < 0.01:
        return "<1 %"
    if 0.99 < probability < 1:
        return ">99 %"
    return f"{100 * probability:.0f} %"


def horizon_label(horizon: Horizon.ValueType) -> str:
    """A horizon: the half, or the end."""
    return "end" if horizon == HORIZON_FINAL else "half"


def outcome_verb(horizon: Horizon.ValueType) -> str:
    """What a team does that is ahead at a horizon: at the half it leads, at the end it wins."""
    return "wins" if horizon == HORIZON_FINAL else "leads"


def pluralize(number: int, of: str) -> str:
    """How many of something: 1 game, 2 games."""
    return f"{number:,} {of}{'' if number == 1 else 's'}"
