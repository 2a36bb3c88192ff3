"""Staged models are ranked by their paired difference from the champion, each on the games that both forecast."""

from __future__ import annotations

import numpy as np
import pytest
from tests.models.comparison.pairs import pairs

from dejavu_models.comparison import shadow_rows
from dejavu_models.scorecard import LeaderboardMetric

_PAIRS = {
    "worse": pairs([0.3, 0.5, 0.1], 0.0),
    "better": pairs([-0.25, -0.5], 0.01),
    "none": pairs([0.0]).where(np.zeros(1, dtype=np.bool_)),
    "like it": pairs([-0.375] * 4, -0.02),
}


def test_the_best_of_the_champions_games_comes_first() -> None:
    rows = shadow_rows(_PAIRS, "champ", LeaderboardMetric.MAE, 2)
    assert [(row.rank, row.model_version, row.games) for row in rows] == [
        (1, "better", 2),
        (1, "like it", 4),
        (3, "worse", 3),
    ]
    last = rows[-1]
    assert (last.against_version, last.forecasts) == ("champ", 3)
    assert (last.crps.score, last.crps.against_score) == pytest.approx((4.3, 4.0))
    assert last.crps.difference.value == pytest.approx(0.3)
    assert last.crps.difference.lower == pytest.approx(0.3 - 4.302653 * 0.2 / np.sqrt(3.0))


def test_a_leaderboard_by_the_brier_score_ranks_them_by_it() -> None:
    rows = shadow_rows(_PAIRS, "champ", LeaderboardMetric.BRIER, 1)
    assert [row.model_version for row in rows] == ["like it", "worse", "better"]


def test_a_model_with_too_few_games_is_left_out() -> None:
    assert [row.model_version for row in shadow_rows(_PAIRS, "champ", LeaderboardMetric.CRPS, 4)] == ["like it"]
