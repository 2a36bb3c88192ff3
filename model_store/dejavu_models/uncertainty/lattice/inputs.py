"""Inputs of a forecast on whole numbers, and its terms; shared by training and serving."""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from dejavu_feed.live_inputs import POSSESSION_FROM
from dejavu_models.arrays import Floats
from dejavu_models.types import Horizon

PACE_TERMS: Final = 3
SHIFT_TERMS: Final = 2
SCALE_TERMS: Final = 6
WIN_TERMS: Final = 19

LATE: Final = 40
"""Minute from which the scale of the final margin also depends on how one-sided or close the game is."""

_LONGEST_SINCE: Final = 24.0
"""Longest possession, in seconds: an earlier score contains no information on the possession of the ball."""


class LiveKind(enum.IntEnum):
    """Live inputs that tables use; the value is stored in bundles."""

    NONE = 0
    SCORES = 1
    """Total points and last score."""
    POSSESSION = 2
    """Total points and possession, from minute POSSESSION_FROM on."""


COLUMNS: Final = {
    LiveKind.SCORES: ("total_points", "last_score_side", "last_score_seconds"),
    LiveKind.POSSESSION: ("total_points", "possession_side", "possession_shot_in_air"),
}
"""Columns of `dejavu_feed.live_inputs.COLUMNS` that tables of a kind use."""

BEST_FIRST: Final = (LiveKind.POSSESSION, LiveKind.SCORES)
"""The kinds with live inputs; a forecast uses the first one whose inputs are all known."""


@dataclass(frozen=True, eq=False, slots=True)
class LiveColumns:
    """The live inputs of n games that tables of a kind use, with one or more axes.

    Attributes:
        total_points: (n,), points of both teams after the minute.
        side: (n,), 1 the home team, −1 the away team, 0 neither: the side of the last score, or the one with the ball.
        phase: (n,), in [0, 1]: for a last score, the time since it as a share of the longest possession, at most 1; for
            a possession, 1 while a shot is in the air.
        kind: the kind of the tables.
    """

    total_points: Floats
    side: Floats
    phase: Floats
    kind: LiveKind = LiveKind.SCORES

    @classmethod
    def of(cls, kind: LiveKind, columns: Sequence[Floats] | Floats) -> LiveColumns:
        """Return the live inputs of a kind from its COLUMNS."""
        total_points, side, third = columns
        phase = np.minimum(third, _LONGEST_SINCE) / _LONGEST_SINCE if kind is LiveKind.SCORES else third
        return cls(total_points, side, phase, kind)

    def __getitem__(self, index: Any) -> LiveColumns:
        return LiveColumns(self.total_points[index], self.side[index], self.phase[index], self.kind)


def is_used(kind: LiveKind, minute: int) -> bool:
    """Return whether tables of a kind are used after a minute."""
    return kind is not LiveKind.POSSESSION or minute >= POSSESSION_FROM


def shift_terms(live: LiveColumns) -> Floats:
    """Return the terms that shift a point forecast, (n, SHIFT_TERMS): after a score, the other team has the ball."""
    return np.stack([live.side, live.side * live.phase], axis=1)


def scale_terms(horizon: Horizon, minute: int, leads: Floats, margins: Floats, pace: Floats) -> Floats:
    """Return the terms of the logarithm of the scale, (n, SCALE_TERMS).

    Args:
        horizon: the horizon.
        minute: number of minutes played.
        leads: (n,), differentials after the minute, in points.
        margins: (n,), expected final differentials before tip-off, in points; 0 if unknown.
        pace: (n,), see `pace_of`; 0 if unknown.
    """
    size = np.abs(leads)
    result = np.zeros((len(leads), SCALE_TERMS))
    result[:, 0] = 1.0
    result[:, 1] = pace
    result[:, 2] = size / 10
    result[:, 3] = np.abs(margins) / 10
    if horizon is Horizon.FINAL and minute >= LATE:
        result[:, 4] = np.maximum(size - 10, 0) / 10
        result[:, 5] = np.maximum(4 - size, 0) / 4
    return result


def pace_of(coefficients: Floats, live: LiveColumns) -> Floats:
    """Return the logarithm of the expected points to come, relative to those of an average game, (n,).

    Args:
        coefficients: (3,): regression coefficients of the points to come, a constant and the slope on the points so
            far; then the logarithm of the mean points to come.
        live: the inputs of n games.
    """
    to_come = coefficients[0] + coefficients[1] * live.total_points
    result: Floats = np.log(np.maximum(to_come, 1.0)) - coefficients[2]
    return result


def win_terms(minute: int, leads: Floats, margins: Floats, pace: Floats, live: LiveColumns | None) -> Floats:
    """Return the terms of the joint win probability, (n, WIN_TERMS).

    Lead and expected margin are in units of a random walk over the remaining time; their coefficients change smoothly
    over the game, and quickly in its last minutes. Without live inputs, the last four terms are 0.

    Args:
        minute: number of minutes played.
        leads: (n,), see `scale_terms`.
        margins: (n,), see `scale_terms`.
        pace: (n,), see `scale_terms`.
        live: the live inputs, if they are used.
    """
    left = (Horizon.FINAL.minutes - minute) / Horizon.FINAL.minutes
    root, late = math.sqrt(left + 0.005), math.exp(-(Horizon.FINAL.minutes - minute) / 1.5)
    walk, before = leads / (12 * root), margins * root / 12
    result = np.zeros((len(leads), WIN_TERMS))
    result[:, 0], result[:, 1] = 0.3, 0.3 * left
    for column, basis in enumerate((1.0, left, left**2, late)):
        result[:, 2 + column] = walk * basis
        result[:, 6 + column] = before * basis
    result[:, 10] = before * np.abs(walk)
    others = [walk * np.abs(walk) / 3, 2 * walk * pace]
    if live is not None:
        others += [live.side / root / 4, live.side * live.phase / root / 4]
    for column, each in enumerate(others):
        result[:, 11 + 2 * column], result[:, 12 + 2 * column] = each, each * late
    return result
