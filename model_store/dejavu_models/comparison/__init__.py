"""Comparison of two models on the same games, and the gate that decides from it."""

from dejavu_models.comparison.gate import PERSISTENCE, GateDecision, GateSettings, Judgement, judge
from dejavu_models.comparison.scores import Comparison, PairedForecasts, ScoreComparison

__all__ = [
    "PERSISTENCE",
    "Comparison",
    "GateDecision",
    "GateSettings",
    "Judgement",
    "PairedForecasts",
    "ScoreComparison",
    "judge",
]
