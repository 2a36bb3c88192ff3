"""Explanations of hand-made forecasts, whose terms sum to the point."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from dejavu_models.types import (
    Attribution,
    ComponentPrediction,
    Contribution,
    Explanation,
    SimilarGame,
    SimilarSummary,
)


def explanation(point: float, last: float, minutes: Sequence[float], *, calibration_games: int = 1234) -> Explanation:
    """Return an explanation with all components, and two similar games, of which the second is mirrored.

    Args:
        point: the point forecast.
        last: the last known differential.
        minutes: effect of each minute; what they leave of the linear prediction is that before tip-off.
        calibration_games: number of calibration games.
    """
    linear, dejavu, lstm = point - 0.5, point + 2.0, point - 1.0
    before, lead = linear - sum(minutes), round(last)
    moved = (
        Contribution("ratings", before),
        Contribution("minutes", sum(minutes)),
        Contribution("dejavu", (dejavu - linear) / 4),
        Contribution("lstm", (lstm - linear) / 4),
    )
    return Explanation(
        components=(
            ComponentPrediction("linear", linear, 0.5),
            ComponentPrediction("dejavu", dejavu, 0.25),
            ComponentPrediction("lstm", lstm, 0.25),
        ),
        baseline_prediction=last,
        similar_games=(
            SimilarGame("BKN", "BOS", date(2021, 3, 14), False, 1.5, lead, lead + 2, (50, 50 - lead), (104, 101)),
            SimilarGame("NYK", "MIA", date(2019, 11, 3), True, 2.5, lead, lead - 3),
        ),
        calibration_games=calibration_games,
        attribution=Attribution(before, tuple(minutes), 0.5),
        similar_summary=SimilarSummary(18, 3214, 1204, 855, 349, 0.75),
        contributions=tuple(sorted(moved, key=lambda each: -abs(each.points))),
    )
