"""Names for the arrays that travel between the models."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
"""Points, distances, probabilities."""

Singles = NDArray[np.float32]
"""What goes into the LSTM and the index."""

Integers = NDArray[np.int64]
