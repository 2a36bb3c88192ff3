from __future__ import annotations

import numpy as np
import pytest
from tests.support.builders.similar_games import database_of, rows_of, walked

from dejavu_models.components.past_games import BIN_CENTERS
from dejavu_models.types import CASES, MAX_SLOTS


@pytest.mark.parametrize("sign", [1, -1])
def test_similar_games_tell_what_their_residuals_have_in_common(sign: int) -> None:
    """Here games with a lead end a scale above what the linear models forecast, and trailing ones as much below."""
    past, new = walked(600), walked(100, seed=9)
    residuals = np.stack([sign * np.sign(past.games.levels[:, minute - 1]) for _, minute in CASES], axis=1)
    database = database_of(past, residuals, groups=60, nearest=3)
    for minute in (10, MAX_SLOTS):
        rows = rows_of(new, minute)
        means = database.histograms(1, minute, database.nearest(rows)) @ BIN_CENTERS
        far = np.abs(rows.patterns[:, -1]) > 8
        assert means[far] == pytest.approx(sign * np.sign(rows.patterns[far, -1]), abs=0.45)
