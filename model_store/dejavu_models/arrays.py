"""Type aliases for the arrays passed between models."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
"""Points, distances, probabilities."""

Singles = NDArray[np.float32]
"""Inputs of the LSTM and of the vector index."""

Integers = NDArray[np.int64]
