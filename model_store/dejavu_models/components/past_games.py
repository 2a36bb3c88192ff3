"""Past games of a bundle, whose outcomes Dejavu's forecasts are made of, and what happened in each.

For every horizon and minute, a game has a standardised residual: its outcome minus what the linear models, fitted on
other seasons, forecast after that minute with all inputs of the game, over the scale of that forecast. Residuals are
stored in bins (`codes_of`). A game counts twice, as it was and as its mirror image, with home and away
exchanged.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dejavu_feed.pattern import REGULATION_MINUTES
from dejavu_models.arrays import Floats, Singles, check_array
from dejavu_models.types import CASES, MAX_DIFFERENTIAL

BINS: Final = 256
BINS_A_SCALE: Final = 16
"""Number of bins of a histogram per scale."""

LOWEST: Final = -8.0
"""Lower end of the first bin; residuals beyond the outermost bins count as in them."""

BIN_CENTERS: Final[Floats] = LOWEST + (np.arange(BINS) + 0.5) / BINS_A_SCALE

_MOST_POINTS: Final = 1000
_MOST_LETTERS: Final = 10
_FIRST_DAY, _LAST_DAY = np.datetime64("1946-01-01"), np.datetime64("2200-12-31")
"""First and last possible date of a game, as in a manifest."""


@dataclass(frozen=True, slots=True, eq=False)
class PastGames:
    """n games, as columns.

    Attributes:
        home, away: (n,), NBA codes.
        date: (n,), local dates, datetime64[D].
        differentials: (n, 48), home − away at the ends of minutes 1 to 48, int16.
        final: (n,), the final differential, int16; never 0.
        totals: (n, 48), points of both teams, int16; −1 where unknown.
        final_total: (n,), int16; −1 where unknown.
        margins: (n,), expected final differentials before the game, in points, float32.
        codes: (n, cases), bins of the standardised residuals, uint8; any for a horizon that has passed.

    Raises:
        ValueError: if a column is inconsistent or out of bounds.
    """

    home: NDArray[np.str_]
    away: NDArray[np.str_]
    date: NDArray[np.datetime64]
    differentials: NDArray[np.int16]
    final: NDArray[np.int16]
    totals: NDArray[np.int16]
    final_total: NDArray[np.int16]
    margins: Singles
    codes: NDArray[np.uint8]

    def __post_init__(self) -> None:
        minutes, points, leads = (REGULATION_MINUTES,), (-1, _MOST_POINTS), (-MAX_DIFFERENTIAL, MAX_DIFFERENTIAL)
        forms: dict[str, tuple[Any, tuple[int, ...], tuple[float, ...]]] = {
            "home": (np.str_, (), ()),
            "away": (np.str_, (), ()),
            "date": (np.datetime64, (), ()),
            "differentials": (np.int16, minutes, leads),
            "final": (np.int16, (), leads),
            "totals": (np.int16, minutes, points),
            "final_total": (np.int16, (), points),
            "margins": (np.float32, (), leads),
            "codes": (np.uint8, (len(CASES),), ()),
        }
        for name, (kind, shape, bounds) in forms.items():
            check_array(f"past games: {name}", getattr(self, name), kind, (len(self), *shape), *bounds)
        if not len(self):
            raise ValueError("past games: there must be games")
        if not self.final.all():
            raise ValueError("past games: final must not be 0")
        # Not np.char, whose module would be opened: the process that reads a bundle may open no file.
        if not all(
            code.isalnum() and len(code) <= _MOST_LETTERS for code in {*self.home.tolist(), *self.away.tolist()}
        ):
            raise ValueError("past games: teams must be codes of letters and digits")
        in_range = (self.date >= _FIRST_DAY) & (self.date <= _LAST_DAY)  # NaT is not
        if self.date.dtype != np.dtype("datetime64[D]") or not in_range.all():  # other units make no dates
            raise ValueError(f"past games: each must have a date from {_FIRST_DAY} to {_LAST_DAY}")

    def __len__(self) -> int:
        return len(self.final)

    def columns(self) -> dict[str, NDArray[np.generic]]:
        """Return the columns by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def points(self, game: int, minute: int | None) -> tuple[int, int] | None:
        """Return the points of the home and the away team of a game after a minute, None: its end; None if unknown."""
        if minute is None:
            total, lead = int(self.final_total[game]), int(self.final[game])
        else:
            total, lead = int(self.totals[game, minute - 1]), int(self.differentials[game, minute - 1])
        return None if total < 0 else ((total + lead) // 2, (total - lead) // 2)


def codes_of(residuals: Floats) -> NDArray[np.uint8]:
    """Return the bins of standardised residuals, of the same form."""
    return np.clip(np.floor((residuals - LOWEST) * BINS_A_SCALE), 0, BINS - 1).astype(np.uint8)


def shares_below(histograms: Floats, values: Floats) -> Floats:
    """Return the shares of histograms below values: linear within a bin.

    Args:
        histograms: (n, BINS), each row sums to 1.
        values: (n, k), standardised.
    """
    below = np.zeros((len(histograms), BINS + 1))
    np.cumsum(histograms, axis=1, out=below[:, 1:])
    places = np.clip((values - LOWEST) * BINS_A_SCALE, 0, BINS)
    bins = np.minimum(places.astype(np.int64), BINS - 1)
    rows = np.arange(len(histograms))[:, None]
    result: Floats = below[rows, bins] + (places - bins) * (below[rows, bins + 1] - below[rows, bins])
    return result
