"""Live inputs of a game at the end of each minute, from its plays or from a ledger."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from dejavu_feed.live_inputs import COLUMNS, NO_LIVE_INPUTS, numbers
from dejavu_feed.pattern import REGULATION_MINUTES, Score, inputs_from_scores

UNKNOWN: Final = -1
"""Total points that are not known."""


Scoring = tuple[tuple[tuple[float, ...], ...], int]
"""The fields `live` and `final_total` of `dejavu_trainer.data.games.Games`."""

_MINUTES: Final = range(1, REGULATION_MINUTES + 1)
_NOTHING: Final = (math.nan,) * len(COLUMNS)
_TOTAL: Final = list(COLUMNS).index("total_points")


def scoring_of(scores: Sequence[Score], neutral_site: float | None = None) -> Scoring:
    """Derive the live inputs from a game's plays.

    If every row is at the end of a minute, the scores are reconstructed: the lowest with the game's differentials.
    The inputs that depend on the score are then unknown.

    Args:
        scores: the plays.
        neutral_site: 1 if the game was at a neutral site, 0 if not; None if that is not known.
    """
    known = any(score.elapsed % 60 for score in scores)
    inputs = inputs_from_scores(scores, REGULATION_MINUTES) if known else (NO_LIVE_INPUTS,) * REGULATION_MINUTES
    if neutral_site is not None:
        inputs = tuple(replace(live, neutral_site=bool(neutral_site)) for live in inputs)
    rows = tuple(numbers(live, minute) for minute, live in zip(_MINUTES, inputs, strict=True))
    return rows, scores[-1].home + scores[-1].away if known else UNKNOWN


def recorded_scoring(elapsed: Sequence[float], recorded: Sequence[tuple[float, ...]]) -> Scoring:
    """Return the live inputs as they were recorded; unknown for minutes without a row at their end.

    Args:
        elapsed: time of each row, in game seconds.
        recorded: the live inputs of each row in the order of their columns, NaN where not recorded. The total points of
            the last row are those of the whole game.
    """
    rows = dict(zip(elapsed, recorded, strict=True))
    final = recorded[-1][_TOTAL]
    of_minutes = tuple(rows.get(60.0 * minute, _NOTHING) for minute in _MINUTES)
    return of_minutes, UNKNOWN if math.isnan(final) else int(final)
