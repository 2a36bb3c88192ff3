"""What components of other packages predict for one game, beside the compiled ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from dejavu_models.components.compiled import CompiledGame
from dejavu_models.components.component import checked
from dejavu_models.components.ensemble import POOLED, Ensemble
from dejavu_models.components.features import Rows
from dejavu_models.native import native
from dejavu_models.types import HORIZONS, ComponentPrediction
from dejavu_models.uncertainty.lattice.calibration import Situation
from dejavu_models.uncertainty.lattice.distribution import EDGES
from dejavu_models.uncertainty.lattice.margin_model import Base


def predicted(
    models: Ensemble,
    situation: Situation,
    game: CompiledGame,
    margin: float | None,
    base_of: Callable[[], Base],
    *,
    every: bool,
) -> tuple[tuple[ComponentPrediction, ...], Any]:
    """Ask the components for one game. One at a time: no game's numbers can depend on another one's.

    Args:
        models: the ensemble.
        situation: horizon, minute, and source of the expected margin.
        game: the game in the compiled models.
        margin: expected final differential before tip-off, in points; None if unknown.
        base_of: returns what the linear models predict for it.
        every: whether to ask those without a weight too, for an explanation.

    Returns:
        The predictions with their weights, and their part of the pool, an `Others` of the extension; None if they have
        no weight.

    Raises:
        ValueError: if a component's answer is no prediction; the message names it.
    """
    horizon, minute, source = situation
    weights = models.weights.of(source, HORIZONS.index(horizon), minute)
    of_others = (weights / weights.sum())[len(POOLED) :].tolist()
    if not (every or any(of_others)):
        return (), None
    base, given = base_of(), np.array([math.nan if margin is None else margin])
    rows = Rows(np.array([game.pattern], dtype=np.float64), given, np.array([game.inputs]))
    predictions, point, below = list[ComponentPrediction](), 0.0, np.zeros(len(EDGES))
    for component, weight in zip(models.others, of_others, strict=True):
        if weight or every:
            made = checked(component, rows, base)
            predictions.append(ComponentPrediction(component.name, float(made.points[0]), weight))
            point += weight * predictions[-1].prediction
            below += weight * made.below[0]
    whole = sum(of_others)
    return tuple(predictions), native.Others(whole, point, below.tolist()) if whole else None
