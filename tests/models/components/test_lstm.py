from __future__ import annotations

import numpy as np
import pytest
from tests.support.builders.similar_games import steady_lstm

from dejavu_models.components.lstm import MAX_LOG_SCALE, MAX_MEAN


@pytest.mark.parametrize(
    ("mean", "log_scale", "expected"),
    [(0.5, -0.2, (0.5, -0.2)), (7.0, 2.0, (MAX_MEAN, MAX_LOG_SCALE)), (-7.0, -2.0, (-MAX_MEAN, -MAX_LOG_SCALE))],
)
def test_outputs_are_bounded(mean: float, log_scale: float, expected: tuple[float, float]) -> None:
    made = steady_lstm(mean, log_scale).outputs(np.zeros((2, 3)), np.zeros(2), np.zeros((2, 3, 5), np.float32))
    for output, value in zip(made, expected, strict=True):
        assert output == pytest.approx(np.full((2, 3, 2), value), abs=1e-6)
