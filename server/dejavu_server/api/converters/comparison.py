"""Converts comparisons of models to messages."""

from __future__ import annotations

from typing import Final

import numpy as np

from dejavu.v1 import model_comparison_pb2 as pb
from dejavu_models.comparison import Comparison, GateSettings, Judgement, ScoreComparison
from dejavu_server.api.converters.fields import message_of
from dejavu_server.forecasting.lifecycle.evidence import ModelPair

MAX_POINTS: Final = 500
"""Maximum number of points in the series of e-values after each game."""


def comparison_message(
    pair: ModelPair, comparison: Comparison | None, judgement: Judgement, settings: GateSettings
) -> pb.ModelComparison:
    """Convert a comparison at one horizon, and the gate's judgement of the comparisons at all horizons.

    Args:
        pair: the models.
        comparison: the comparison; None without games.
        judgement: the judgement of the gate.
        settings: the requirements of the gate.
    """
    message = pb.ModelComparison(
        model_version=pair.model_version,
        against_version=pair.against_version,
        decision=pb.GateDecision.Value(f"GATE_DECISION_{judgement.decision.name}"),
        decision_reason=judgement.reason,
    )
    if comparison is not None:
        message.games, message.forecasts = comparison.games, comparison.forecasts
        message.crps.CopyFrom(_score_message(comparison.crps))
        message.brier.CopyFrom(_score_message(comparison.brier))
        message.coverage.extend(
            pb.IntervalCoverage(alpha=each.alpha, coverage=each.coverage, bound=settings.coverage_bound(each.alpha))
            for each in comparison.coverage
        )
    return message


def _score_message(score: ScoreComparison) -> pb.ScoreComparison:
    games = len(score.worse)
    shown = np.unique(np.linspace(1, games, min(games, MAX_POINTS)).round().astype(np.int64))
    return message_of(
        pb.ScoreComparison,
        score,
        difference=score.difference.value,
        lower=score.difference.lower,
        upper=score.difference.upper,
        path=[
            pb.EValuePoint(
                games=count, not_worse_e_value=score.not_worse[count - 1], worse_e_value=score.worse[count - 1]
            )
            for count in shown.tolist()
        ],
    )
