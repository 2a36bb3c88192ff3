from __future__ import annotations

import numpy as np
import pytest

from dejavu_models.components.features import (
    LIVE_COLUMNS,
    References,
    Rows,
    live_features,
    minute_steps,
    similarity_features,
)

REFERENCES = References(np.full(48, 0.5), np.arange(48.0) * 4.5)
UNKNOWN = [np.nan] * len(LIVE_COLUMNS)


def test_games_are_compared_by_lead_its_changes_before_the_margin_and_the_total() -> None:
    pattern = np.array([2.0, 5.0, 4.0, 7.0, 1.0, 0.0])  # after the first six minutes
    known, unknown = similarity_features(
        Rows(np.array([pattern, pattern]), np.array([6.5, np.nan]), np.array([[30.0, *UNKNOWN[1:]], UNKNOWN])),
        REFERENCES,
    )
    assert known.tolist() == [0.0, -1.0, -6.0, 2.0, 5.0, 0.0, 0.0, 6.5, 3.0]
    assert unknown.tolist() == [*known[:7], 0.0, 0.0]
    [leading] = similarity_features(Rows(np.full((1, 3), 8.0), np.array([np.nan]), np.array([UNKNOWN])), REFERENCES)
    assert leading[-2] == 4.0, "an unknown margin is that of games with the same lead"


def test_steps_tell_the_score_its_change_the_clock_and_what_was_expected() -> None:
    known, unknown = minute_steps(np.array([[2.0, 5.0, 4.0], [2.0, 5.0, 4.0]]), np.array([6.5, np.nan]))
    assert known[:, :2].tolist() == unknown[:, :2].tolist() == [[2.0, 2.0], [5.0, 3.0], [4.0, -1.0]]
    assert known[:, 2] == pytest.approx([1 / 48, 2 / 48, 3 / 48])
    assert known[:, 3:].tolist() == [[6.5, 1.0]] * 3
    assert unknown[:, 3:].tolist() == [[0.0, 0.0]] * 3


@pytest.mark.parametrize(
    ("live", "expected"),
    [
        ([110.0, 1.0, 6.0, -1.0, 1.0], [1.0, 1.0, 0.25, -1.0, -1.0]),
        ([95.0, -1.0, 90.0, 1.0, 0.0], [-0.5, -1.0, -1.0, 1.0, 0.0]),  # longer than a possession
        (UNKNOWN, [0.0] * 5),
        ([np.nan, 1.0, np.nan, np.nan, np.nan], [0.0, 1.0, 0.0, 0.0, 0.0]),
    ],
)
def test_live_inputs_are_seen_from_their_means_and_unknown_ones_are_neutral(
    live: list[float], expected: list[float]
) -> None:
    assert live_features(np.array([live]), np.array([100.0])).tolist() == [expected]
