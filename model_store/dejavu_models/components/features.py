"""Inputs of Dejavu and of the LSTM, shared by training and serving.

Dejavu compares games after the same minute by the lead, its changes over longer and longer times before, the expected
margin, and the total points. The LSTM reads the minutes in order, so one run gives its output after each of them; the
live inputs, which are known of the last minute only, enter its last layer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dejavu_feed.pattern import REGULATION_MINUTES
from dejavu_models.arrays import Floats, Singles
from dejavu_models.types import HORIZONS, MAX_SLOTS

LIVE_COLUMNS: Final = (
    "total_points",
    "last_score_side",
    "last_score_seconds",
    "possession_side",
    "possession_shot_in_air",
)
"""Live inputs of components, by their names in `dejavu_feed.live_inputs.COLUMNS`; NaN for unknown ones."""

PATH: Final = ((0, 1), (1, 2), (2, 4), (4, 8), (8, 16), (16, 32))
"""Minutes ago between which the changes of the lead are compared."""

FEATURES: Final = 1 + len(PATH) + 2
"""Number of features that Dejavu compares: lead, changes of the lead, expected margin, total points."""

STEP_CHANNELS: Final = 5
"""Number of LSTM input features per minute."""

LIVE_CHANNELS: Final = 5
"""Number of live features of the LSTM."""

OUTPUTS: Final = 2 * len(HORIZONS)
"""Number of outputs of the LSTM: the means by horizon, then the logarithms of the scales."""

_TOTAL_UNIT: Final = 10.0
_LONGEST_SINCE: Final = 24.0


Places = NDArray[np.intp] | slice
"""Places of some games among several."""

ALL: Final = slice(None)
"""The places of all."""


class References(NamedTuple):
    """What stands for an unknown input, by minutes 0 to 47.

    Attributes:
        margin_slopes: (48,), points of expected margin for a point of lead.
        mean_totals: (48,), mean total points.
    """

    margin_slopes: Floats
    mean_totals: Floats


class Rows(NamedTuple):
    """n games after the same minute: what a prediction may depend on.

    Attributes:
        patterns: (n, minute), differentials (home − away) after each minute so far, in points.
        margins: (n,), expected final differentials before the game, in points; NaN if unknown.
        live: (n, 5), LIVE_COLUMNS at the end of the minute; NaN where unknown.
        played: the games of which these are some; for results that a component computes for all minutes at once.
        places: places of these in `played`.
    """

    patterns: Floats
    margins: Floats
    live: Floats
    played: Played | None = None
    places: Places = ALL

    @property
    def minute(self) -> int:
        """Number of minutes played."""
        minute: int = self.patterns.shape[1]
        return minute


class Played:
    """n games minute by minute.

    Args:
        levels: (n, minutes), differentials after each minute, in points; padding after a game's last known minute does
            not affect that minute or earlier ones.
        margins: (n,), expected final differentials before the game, or (n, minutes), in points; NaN if unknown.
        live: (n, minutes, 5), LIVE_COLUMNS after each minute; NaN where unknown.
    """

    def __init__(self, levels: Floats, margins: Floats, live: Floats) -> None:
        self.levels, self.live = levels, live
        self.margins = np.broadcast_to(margins if margins.ndim == 2 else margins[:, None], levels.shape)
        self._kept: dict[int, tuple[object, Any]] = {}

    def rows(self, minute: int, places: Places = ALL) -> Rows:
        """Return the games at some places as they are after a minute."""
        levels, margins, live = self.levels[places], self.margins[places], self.live[places]
        return Rows(levels[:, :minute], margins[:, minute - 1], live[:, minute - 1], self, places)

    def once(self, component: object, of: object, compute: Callable[[], Any]) -> Any:
        """Return what a component computes for all games, `of` a minute for example; its newest result is kept."""
        kept = self._kept.get(id(component))
        if kept is None or kept[0] != of:
            kept = self._kept[id(component)] = of, compute()
        return kept[1]


def references_of(levels: Floats, margins: Floats, live: Floats) -> References:
    """Return what stands for unknown inputs: the margin by the lead, by least squares, and the mean total.

    Args:
        levels: (n, 47), differentials after each minute, in points.
        margins: (n,), expected final differentials before the game, in points.
        live: (n, 47, 5), LIVE_COLUMNS after each minute.
    """
    slopes, totals = np.zeros(MAX_SLOTS + 1), np.zeros(MAX_SLOTS + 1)
    slopes[1:] = (levels * margins[:, None]).sum(axis=0) / np.maximum(np.square(levels).sum(axis=0), 1.0)
    known = np.isfinite(live[:, :, 0])
    totals[1:] = np.nan_to_num(live[:, :, 0]).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return References(slopes, totals)


def similarity_features(rows: Rows, references: References) -> Floats:
    """Return the features that Dejavu compares, (n, FEATURES), in points."""
    minute = rows.minute
    lead = rows.patterns[:, -1]
    leads = np.concatenate([np.zeros((len(lead), 1)), rows.patterns], axis=1)  # after minutes 0 to `minute`
    changes = [leads[:, max(minute - later, 0)] - leads[:, max(minute - earlier, 0)] for later, earlier in PATH]
    margins = np.where(np.isfinite(rows.margins), rows.margins, references.margin_slopes[minute] * lead)
    totals = np.nan_to_num(rows.live[:, 0] - references.mean_totals[minute])
    return np.stack([lead, *changes, margins, totals], axis=1)


def minute_steps(patterns: Floats, margins: Floats) -> Singles:
    """Build the LSTM input, minute by minute.

    Args:
        patterns: (n, m), in points.
        margins: (n,), expected final differentials before the game, in points; NaN if unknown.

    Returns:
        (n, m, 5): differential after the minute and its change during it, in points; minute / 48; expected margin, in
        points, 0 if unknown; 1 if the margin is known, else 0.
    """
    steps = np.empty((*patterns.shape, STEP_CHANNELS), dtype=np.float32)
    known = np.isfinite(margins)
    steps[:, :, 0] = patterns
    steps[:, :1, 1] = patterns[:, :1]
    np.subtract(patterns[:, 1:], patterns[:, :-1], out=steps[:, 1:, 1], casting="same_kind")
    steps[:, :, 2] = _MINUTE_SHARES[: patterns.shape[1]]
    steps[:, :, 3] = np.where(known, margins, 0.0)[:, None]
    steps[:, :, 4] = known[:, None]
    return steps


def live_features(live: Floats, mean_totals: Floats) -> Singles:
    """Return the live features of the LSTM; 0 for unknown ones.

    Args:
        live: (…, 5), LIVE_COLUMNS.
        mean_totals: (…), mean total points after the minute.

    Returns:
        (…, 5): total points above the mean, in tens; the side of the last score, and the same times the time since it
        as a share of the longest possession; the side of the possession, and the same if its shot is in the air.
    """
    total, last, seconds, side, in_air = np.moveaxis(live, -1, 0)
    phase = np.minimum(seconds, _LONGEST_SINCE) / _LONGEST_SINCE
    columns = ((total - mean_totals) / _TOTAL_UNIT, last, last * phase, side, side * in_air)
    result: Singles = np.nan_to_num(np.stack(columns, axis=-1)).astype(np.float32)
    return result


_MINUTE_SHARES = np.arange(1, MAX_SLOTS + 1) / REGULATION_MINUTES
