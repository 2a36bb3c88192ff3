"""The verdict and the aims: each follows its figures, and what is missed is said plainly."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tests.support.builders.folds import two_folds, walk_fold
from tests.support.harness.present import present

from dejavu_models.manifest import MAX_TEXT
from dejavu_models.types import HORIZONS
from dejavu_trainer.evaluation.coverage import MIN_GAMES
from dejavu_trainer.evaluation.figures import MARGINS, Columns, Figures, Table, lead_groups, pool
from dejavu_trainer.evaluation.verdict import Aim, Check, Verdict, aims_of, judge, missed


@pytest.fixture(scope="module")
def good() -> Table:
    return pool(two_folds())


def judged(table: Table) -> Verdict:
    return judge(Figures(table, resamples=100))


def test_models_that_know_more_than_the_lead_and_say_how_much_are_fit(good: Table) -> None:
    verdict = judged(good)
    assert verdict.fit, verdict.reason
    assert all(check.passed for check in verdict.checks)
    assert verdict.reason.startswith("On 600 games of 2033, 2034: CRPS below persistence for both")


def spoilt(fold: Table) -> Table:
    """Return a fold whose 50 % intervals of the end have no lower half for leads of 16 or more at minute 40."""
    far = (lead_groups(fold.of("final", "lead")) == 3) & (fold.of("final", "second") == 60 * 40)
    assert far.sum() > MIN_GAMES / 2
    low = far & (fold.of("final", "outcome") < fold.of("final", "served.point"))
    return Table(fold.columns | {"final.served.held_50": fold.of("final", "served.held_50") & ~low})


def opposite() -> Table:
    """Return two seasons whose intervals are too narrow and too wide, and right on average."""
    return pool([walk_fold(2033, scale=0.85), walk_fold(2034, seed=8, scale=1.2)])


def scored(first: float) -> Table:
    """Return good folds whose CRPS lies between those of the linear reference and persistence, by the first's share."""
    good = pool(two_folds())
    changed = {
        f"{target}.served.crps": first * good.of(target, "linear.crps")
        + (1 - first) * good.of(target, "persistence.crps")
        for target in MARGINS.values()
    }
    return Table(good.columns | changed)


GROUPS, SEASONS = "coverage by minute, and by minute and |lead|", "coverage by season"
MINUS = "CRPS, served, {}, minus {}"


@pytest.mark.parametrize(
    ("made", "broken", "held", "said"),
    [
        (
            lambda: walk_fold(2033, scale=0.8),
            {GROUPS, "coverage at 50 %, served, final"},
            set(),
            "coverage at",
        ),
        (lambda: walk_fold(2033, scale=1.3), {"coverage at 80 %, no teams, halftime"}, set(), "coverage at"),
        # The rest of a bundle does not make up for a group or a season: no overall coverage shows these.
        (lambda: spoilt(pool(two_folds())), {GROUPS}, {SEASONS}, "minute 40, lead 16+"),
        (opposite, {SEASONS}, {"coverage at 80 %, served, final"}, "times as far off as allowed"),
        (lambda: spoilt(opposite()), {GROUPS, SEASONS}, set(), "; and 1 more."),
        # Challengers that are each a little worse than the one before do not add up to less than a linear model.
        (
            lambda: scored(0.8),
            {MINUS.format(each.value, "linear") for each in HORIZONS},
            {GROUPS, *(MINUS.format(each.value, "persistence") for each in HORIZONS)},
            "minus linear",
        ),
        (
            lambda: scored(0.0),
            {MINUS.format(each.value, "persistence") for each in HORIZONS},
            {GROUPS, SEASONS},
            "CRPS, served, final, minus persistence",
        ),
    ],
    ids=["narrow", "wide", "one group", "opposite seasons", "both", "worse than linear", "no better than persistence"],
)
def test_one_broken_promise_is_enough_to_be_unfit(
    made: Callable[[], Table], broken: set[str], held: set[str], said: str
) -> None:
    verdict = judged(made())
    assert not verdict.fit
    passed = {check.name: check.passed for check in verdict.checks}
    assert not any(passed[name] for name in broken)
    assert all(passed[name] for name in held)
    assert said in verdict.reason
    assert len(verdict.reason) <= MAX_TEXT


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
    check = present(
        aim.check(Figures(one_forecast_a_game({"served.crps": ours, "linear.crps": theirs}, games=400), resamples=200))
    )
    assert check.passed is passed


def one_forecast_a_game(columns: Columns, *, target: str = "final", games: int = GAMES) -> Table:
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
    table = one_forecast_a_game({f"served.held_{level}": held, "served.crps": np.ones(GAMES)}, target="final total")
    [check] = [each for each in aims_of(Figures(table, resamples=50)) if "each season" in each.name]
    assert check.name == f"total points, final from minute 24: coverage at {level} %, each season"
    assert check.passed is passed
    assert (
        check.found == f"2022: {100 * rate:.1f}{'' if passed else ' ✗'}, 2023: {100 * rate:.1f}{'' if passed else ' ✗'}"
    )


@pytest.mark.parametrize(("held", "passed"), [(0.95, True), (0.96, True), (0.9, False), (1.0, False)])
def test_overtime_has_nearly_its_coverage(held: float, passed: bool) -> None:
    second, covered = np.full(GAMES, 2900.0), np.arange(GAMES) % 100 < 100 * held
    table = one_forecast_a_game({"second": second, "served.held_95": covered}, target="final moments")
    [check] = [each for each in aims_of(Figures(table, resamples=50)) if "overtime: cov" in each.name]
    assert (check.found.split(" ")[0], check.passed) == (f"{100 * held:.1f}", passed)


def test_what_is_not_reached_is_said_plainly() -> None:
    checks = [Check("one aim", "at most 0", "1", False), Check("another", "at most 0", "-1", True)]
    assert missed(checks) == "1 of 2 are reached; not reached: one aim."
    assert missed(checks[1:]) == "1 of 1 are reached."
