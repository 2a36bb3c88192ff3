"""Comparison of two models on the same games, and the gate that decides from it."""

from dejavu_models.comparison.gate import PERSISTENCE, GateDecision, GateSettings, Judgement, judge
from dejavu_models.comparison.scores import Comparison, IntervalCoverage, PairedForecasts, ScoreComparison, compare
from dejavu_models.comparison.shadow_rows import ShadowRow, shadow_rows

__all__ = [
    "PERSISTENCE",
    "Comparison",
    "GateDecision",
    "GateSettings",
    "IntervalCoverage",
    "Judgement",
    "PairedForecasts",
    "ScoreComparison",
    "ShadowRow",
    "compare",
    "judge",
    "shadow_rows",
]
