"""What the components beside the linear models say of games, relative to the distribution of the linear models.

A standardised residual is an outcome minus the linear models' forecast, over the scale of its distribution. Those of
similar games are a histogram; the LSTM has a mean and the logarithm of a scale.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dejavu_models.arrays import Floats

BINS: Final = 256
BINS_A_SCALE: Final = 16
"""Number of bins of a histogram per scale."""

LOWEST: Final = -8.0
"""Lower end of the first bin; residuals beyond the outermost bins count as in them."""

BIN_CENTERS: Final[Floats] = LOWEST + (np.arange(BINS) + 0.5) / BINS_A_SCALE


def codes_of(residuals: Floats) -> NDArray[np.uint8]:
    """Return the bins of standardised residuals, of the same form."""
    return np.clip(np.floor((residuals - LOWEST) * BINS_A_SCALE), 0, BINS - 1).astype(np.uint8)


class Opinions(NamedTuple):
    """Opinions on n games at a minute and horizon.

    Attributes:
        weights: (3,), of the linear models, the similar games and the LSTM; they sum to 1.
        histograms: (n, BINS), shares of the residuals of similar games by bin; None if their weight is 0.
        means: (n,), means of the LSTM, in scales; 0 without it.
        log_scales: (n,), logarithms of its scales; 0 without it.
    """

    weights: Floats
    histograms: Floats | None
    means: Floats
    log_scales: Floats

    def select(self, games: NDArray[np.intp]) -> Opinions:
        """Return the opinions on some of the games."""
        histograms = None if self.histograms is None else self.histograms[games]
        return Opinions(self.weights, histograms, self.means[games], self.log_scales[games])

    @property
    def shifts(self) -> Floats:
        """(n,), difference of the pooled point forecasts from those of the linear models, in scales."""
        shifts: Floats = self.weights[2] * self.means
        return shifts if self.histograms is None else shifts + self.weights[1] * (self.histograms @ BIN_CENTERS)


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
