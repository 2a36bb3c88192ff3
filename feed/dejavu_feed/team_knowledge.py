"""How well ratings know a team, in numbers and in words."""

from __future__ import annotations

from datetime import date
from typing import Final

# Uncertainty of strengths in usual seasons: 2016 to 2023, without the two that the pandemic moved (docs/evaluation.md).
DECEMBER_DEVIATION: Final = 2.55
"""Largest standard deviation of a team's strength in games of December, in points. Above it, there is no stake."""
OPENING_DEVIATION: Final = 3.05
"""Largest standard deviation of a team's strength in all games, reached on opening nights, in points. Above it, a
forecast has a warning."""


def knowledge_text(team: str, deviation: float, finals: int, earlier: date | None) -> str:
    """Describe how well a team is known: BOS: June 2023 and 2 finals, hardly known.

    Args:
        team: its NBA code.
        deviation: standard deviation of its strength, in points.
        finals: number of its known finals of this season.
        earlier: date up to which its games before these finals are known; None if none are.
    """
    known = f"{finals or 'no'} final{'' if finals == 1 else 's'}"
    since = known if earlier is None else f"{earlier:%B %Y} and {known}"
    how = "well" if deviation <= DECEMBER_DEVIATION else "partly" if deviation <= OPENING_DEVIATION else "hardly"
    return f"{team}: {since}, {how} known"
