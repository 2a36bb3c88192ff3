"""Checks a component that plugs in before it is part of a recipe: a fit to a few games, and all that is refused."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

import numpy as np

from dejavu_models.point.rows import checked_rows
from dejavu_models.ratings import RatingFilter
from dejavu_trainer.data.games import Games
from dejavu_trainer.execution import Progress
from dejavu_trainer.training.components import (
    STEPS,
    ComponentChoice,
    ComponentParts,
    TrainedComponent,
    fit_component,
    fit_graph,
)
from dejavu_trainer.training.linear import fit_linear
from dejavu_trainer.training.ratings import carry, fit_ratings
from dejavu_trainer.training.recipe import TrainingConfig

REPEATED_TOLERANCE: Final = 1e-3
"""Largest difference between two fits to the same games with the same seed that counts as none, in points."""


@dataclass(frozen=True, slots=True)
class ComponentCheck:
    """What is known of a component after a fit.

    Attributes:
        choice: the component.
        trained: the fitted component; its weight and gain are those on the later games.
        games: number of games that it was fitted to.
        later: number of them that its weight was learned on.
        fit_seconds: duration of the fit to all games.
        row_seconds: mean CPU time of a correction of one row.
        repeated: largest difference of a second fit to the same games with the same seed, in points.
    """

    choice: ComponentChoice
    trained: TrainedComponent
    games: int
    later: int
    fit_seconds: float
    row_seconds: float
    repeated: float

    @property
    def repeats(self) -> bool:
        """Whether the same games and seed give the same model."""
        return self.repeated <= REPEATED_TOLERANCE


def check_component(
    choice: ComponentChoice, games: Games, recipe: TrainingConfig, seed: int, progress: Progress
) -> ComponentCheck:
    """Fit a component as a recipe does, without the other models, and once more.

    Args:
        choice: the component.
        games: training games.
        recipe: says which of them teach the weight.
        seed: random seed.
        progress: receives progress updates.

    Raises:
        FitError: if the component fails or is refused; the message names what failed.
    """
    with progress.step("Fit the ratings", recipe.rating_steps) as advance:
        rated, _ = carry(RatingFilter.start(fit_ratings(games, recipe.rating_steps, advance)), games)
    with progress.step(f"Train {choice.name}", STEPS) as advance:
        parts = ComponentParts.of(fit_linear(*rated, cube=True), rated, recipe.held_out)
        trained = fit_component(choice, parts, recipe.dejavu.minutes, seed, advance)
    with progress.step(f"Train {choice.name} again", 1) as advance:
        began = time.monotonic()
        _, again, _ = fit_graph(choice, parts.every, seed)
        fit_seconds = time.monotonic() - began
        advance(1)
    rows = checked_rows()
    first = trained.served.graph
    repeated = float(np.abs(first.corrections(rows) - again.corrections(rows)).max())
    began = time.process_time()
    for row in range(len(rows)):
        first.corrections(rows[row : row + 1])
    row_seconds = (time.process_time() - began) / len(rows)
    return ComponentCheck(choice, trained, len(parts.every), len(parts.later), fit_seconds, row_seconds, repeated)
