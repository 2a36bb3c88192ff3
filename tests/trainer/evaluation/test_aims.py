"""Aims of the recipe: each follows its figure, and what is missed is said plainly."""

from __future__ import annotations

import numpy as np
import pytest

from dejavu_trainer.evaluation.aims import Aim, aims_of, missed
from dejavu_trainer.evaluation.figures import Figures
from dejavu_trainer.evaluation.table import Columns, Table
from dejavu_trainer.evaluation.verdict import Check

GAMES = 3000


@pytest.mark.parametrize(
    ("limits", "mean", "passed"),
    [
        ({"most": -0.1}, 0.85, True),
        ({"most": -0.1}, 0.95, False),
        ({"below": 0.0}, 0.85, True),
        ({"below": 0.0}, 0.995, False),
        ({"below": 0.1}, 1.01, True),
        ({"below": 0.1}, 1.2, False),
        ({"most": 0.0, "below": 0.0}, 1.2, False),
        ({"not_above": True}, 0.995, True),
        ({"not_above": True}, 1.2, False),
    ],
)
def test_limits_hold_for_the_value_and_the_ends_of_its_interval(
    limits: dict[str, float], mean: float, passed: bool
) -> None:
    rng = np.random.default_rng(2)
    ours, theirs = rng.normal(mean, 0.3, 400), rng.normal(1, 0.3, 400)
    aim = Aim("one", "final", "all", "all", "served", "crps", "linear", **limits)  # type: ignore[arg-type]
    check = aim.check(Figures(made({"served.crps": ours, "linear.crps": theirs}, games=400), resamples=200))
    assert check is not None
    assert check.passed is passed


def made(columns: Columns, *, target: str = "final", games: int = GAMES) -> Table:
    """Return a table of two seasons with a forecast a game, after minute 24."""
    season = np.repeat(np.array([2022, 2023]), games // 2)
    rows = {"game": np.arange(games), "second": np.full(games, 1440.0), "outcome": np.ones(games)}
    of_target = {f"{target}.{name}": each for name, each in {**rows, **columns}.items()}
    behind = np.full(2, 5000)
    fold = {"fold.season": np.array([2022, 2023]), "fold.total_games": behind, "fold.calibration_games": behind}
    return Table({**fold, "game.season": season, **of_target})


@pytest.mark.parametrize(
    ("level", "rate", "passed"), [(95, 0.95, True), (80, 0.8, True), (50, 0.5, True), (80, 0.7, False)]
)
def test_totals_have_their_coverage_in_each_season(level: int, rate: float, passed: bool) -> None:
    held = np.arange(GAMES) % 100 < 100 * rate
    table = made({f"served.held_{level}": held, "served.crps": np.ones(GAMES)}, target="final total")
    [check] = [each for each in aims_of(Figures(table, resamples=50)) if "each season" in each.name]
    assert check.name == f"total points, final from minute 24: coverage at {level} %, each season"
    assert check.passed is passed
    assert (
        check.found == f"2022: {100 * rate:.1f}{'' if passed else ' ✗'}, 2023: {100 * rate:.1f}{'' if passed else ' ✗'}"
    )


@pytest.mark.parametrize(("held", "passed"), [(0.95, True), (0.96, True), (0.9, False), (1.0, False)])
def test_overtime_has_nearly_its_coverage(held: float, passed: bool) -> None:
    second, covered = np.full(GAMES, 2900.0), np.arange(GAMES) % 100 < 100 * held
    table = made({"second": second, "served.held_95": covered}, target="final moments")
    [check] = [each for each in aims_of(Figures(table, resamples=50)) if "overtime: cov" in each.name]
    assert (check.found.split(" ")[0], check.passed) == (f"{100 * held:.1f}", passed)


def test_what_is_not_reached_is_said_plainly() -> None:
    checks = [Check("one aim", "at most 0", "1", False), Check("another", "at most 0", "-1", True)]
    assert missed(checks) == "1 of 2 are reached; not reached: one aim."
    assert missed(checks[1:]) == "1 of 1 are reached."
