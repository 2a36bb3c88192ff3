"""Helpers of several tests of the trainer: its command line in this process, results of backtests, and intervals."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from dejavu_models.arrays import Floats
from dejavu_models.uncertainty.lattice.distribution import WholeNumberDistribution
from dejavu_trainer.__main__ import main
from dejavu_trainer.training.recipe import TrainingConfig

QUICK_RECIPE = """
rating_steps = 6
dejavu = { groups = 30, nearest = 10 }
lstm = { epochs = 3, hidden = 8 }
"""
"""File of `bundles.quick_recipe`."""


def backtest_of(
    folder: Path, recipe: TrainingConfig, *, fit: bool = False, tested: tuple[int, ...] = (2020, 2021), **method: object
) -> Path:
    """Write the result of a backtest: a fit that takes it skips its own test, which takes most of its time."""
    path = folder / "backtest.json"
    verdict = {"fit": fit, "reason": "made by hand"}
    path.write_text(json.dumps({"recipe": recipe.digest, "seasons": tested, "verdict": verdict, "method": method}))
    return path


def assert_intervals_hold(made: WholeNumberDistribution, outcomes: Floats, errors: float) -> None:
    """Require the coverage that the distributions state for their whole ends, a little more than 1 − alpha.

    Args:
        made: the distributions.
        outcomes: (n,), of games that they have not seen.
        errors: most standard errors of a coverage between the two.
    """
    rows = np.arange(len(outcomes))
    for alpha in (0.05, 0.2, 0.5):
        lower, upper = made.intervals(alpha)
        held = ((outcomes >= lower) & (outcomes <= upper)).mean()
        last, start = upper - made.first, lower - made.first
        said = made.below[rows, last] - made.below[rows, start] + made.mass[rows, start]
        assert said.min() >= 1 - alpha - 1e-9
        assert held == pytest.approx(said.mean(), abs=errors * np.sqrt(alpha * (1 - alpha) / len(outcomes)))


def run(*arguments: object) -> int:
    """Run `dejavu-trainer` with arguments in this process; return its exit code."""
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    code = left.value.code
    return code if isinstance(code, int) else int(code is not None)


class Told(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The JSON document that it printed."""
        document: dict[str, Any] = json.loads(self.out)
        return document


def told(*arguments: object) -> Told:
    """Run `dejavu-trainer` with arguments in this process, and take what it prints."""
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        code = run(*arguments)
    return Told(code, out.getvalue(), err.getvalue())
