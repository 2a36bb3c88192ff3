from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from numpy.typing import NDArray
from tests.support.builders.folds import result_of_two_folds, two_folds, walk_fold

from dejavu_models.manifest import MAX_TEXT
from dejavu_models.metrics import Estimate
from dejavu_models.types import HORIZONS
from dejavu_models.uncertainty.lead_groups import lead_groups
from dejavu_trainer.evaluation.coverage import MIN_GAMES, EmpiricalCoverage
from dejavu_trainer.evaluation.figures import Figures
from dejavu_trainer.evaluation.table import MARGINS, Table, pool
from dejavu_trainer.evaluation.verdict import Verdict, coverage_check, judge


@pytest.fixture(scope="module")
def good() -> Table:
    return pool(two_folds())


def judged(table: Table) -> Verdict:
    return judge(Figures(table, resamples=100))


def replaced(table: Table, forecaster: str, **columns: Callable[[str], NDArray[Any]]) -> Table:
    """Return a table with other columns of a forecaster of margins, each made from its target."""
    changed = {
        f"{target}.{forecaster}.{name}": make(target) for target in MARGINS.values() for name, make in columns.items()
    }
    return Table(table.columns | changed)


def test_models_that_know_more_than_the_lead_and_say_how_much_are_fit(good: Table) -> None:
    verdict = judged(good)
    assert verdict.fit, verdict.reason
    assert all(check.passed for check in verdict.checks)
    assert verdict.reason.startswith("On 600 games of 2033, 2034: CRPS below persistence for both")


@pytest.mark.parametrize(
    ("scale", "broken"),
    [
        (0.8, {"coverage by minute, and by minute and |lead|", "coverage at 50 %, served, final"}),
        (1.3, {"coverage at 80 %, no teams, halftime"}),
    ],
)
def test_too_narrow_and_too_wide_intervals_are_unfit(scale: float, broken: set[str]) -> None:
    verdict = judged(walk_fold(2033, scale=scale))
    assert not verdict.fit
    assert "coverage at" in verdict.reason
    assert broken <= {check.name for check in verdict.checks if not check.passed}


@pytest.mark.nightly  # by day, those that do not differ from it are
def test_models_that_are_worse_than_persistence_are_unfit() -> None:
    """Their coverage is nominal, since they are calibrated, but that is not sufficient."""
    verdict = judged(walk_fold(2033, games=120, contrary=True))
    assert not verdict.fit
    assert "CRPS, served, final, minus persistence: +" in verdict.reason
    rates = [check for check in verdict.checks if check.name.startswith("coverage at")]
    assert all(check.passed for check in rates)


def test_what_is_worse_than_linear_is_unfit_though_better_than_persistence(good: Table) -> None:
    """So challengers that are each a little worse than the one before do not add up to less than a linear model."""

    def between(target: str) -> NDArray[Any]:
        linear, persistence = (good.of(target, f"{name}.crps") for name in ("linear", "persistence"))
        return 0.8 * linear + 0.2 * persistence

    failed = [check for check in judged(replaced(good, "served", crps=between)).checks if not check.passed]
    assert {check.name for check in failed} == {f"CRPS, served, {each.value}, minus linear" for each in HORIZONS}


def test_what_does_not_differ_from_persistence_is_unfit(good: Table) -> None:
    same = replaced(good, "served", crps=lambda target: good.of(target, "persistence.crps"))
    broken = {check.name for check in judged(same).checks if not check.passed}
    assert {f"CRPS, served, {horizon.value}, minus persistence" for horizon in HORIZONS} <= broken


def test_every_promise_names_the_level_of_its_interval(good: Table) -> None:
    verdict = judged(good)
    acceptance = result_of_two_folds().promises
    promises = [check.promise for check in (*verdict.checks, *acceptance) if "interval" in check.promise]
    assert [each for each in promises if not re.search(r"\d %\D* interval|\d % interval", each)] == []
    assert {"99.94 %"} == {
        check.promise.split(" interval")[0] for check in verdict.checks if check.name.startswith("coverage at")
    }


def test_seasons_that_err_oppositely_are_unfit_though_right_on_average(good: Table) -> None:
    opposite = [walk_fold(2033, scale=0.8), walk_fold(2034, seed=8, scale=1.25)]
    verdict = judged(pool(opposite))
    by_name = {check.name: check for check in verdict.checks}
    assert by_name["coverage at 80 %, served, final"].passed
    assert not by_name["coverage by season"].passed
    assert "times as far off as allowed" in by_name["coverage by season"].found
    assert not verdict.fit
    fair = judged(good).checks[-1]
    assert (fair.name, fair.passed) == ("coverage by season", True)
    assert "coverage by season" not in {check.name for check in judged(opposite[0]).checks}


def test_a_coverage_is_shown_within_what_a_share_can_be() -> None:
    check = coverage_check("coverage", EmpiricalCoverage(Estimate(0.99, 0.965, 1.015), due=0.951))
    assert (check.found, check.passed) == ("99.00 [96.50, 100.00] %", False)


def spoilt(fold: Table) -> Table:
    """Return a fold whose 50 % intervals of the end have no lower half for leads of 16 or more at minute 40."""
    far = (lead_groups(fold.of("final", "lead")) == 3) & (fold.of("final", "second") == 60 * 40)
    assert far.sum() > MIN_GAMES / 2
    low = far & (fold.of("final", "outcome") < fold.of("final", "served.point"))
    return Table(fold.columns | {"final.served.held_50": fold.of("final", "served.held_50") & ~low})


def test_a_manifest_has_room_for_the_reason() -> None:
    opposite = [walk_fold(2033, scale=0.85), walk_fold(2034, seed=8, scale=1.2)]
    verdict = judged(spoilt(pool(opposite)))
    failed = [check.name for check in verdict.checks if not check.passed]
    assert failed == ["coverage by minute, and by minute and |lead|", "coverage by season"]
    assert len(verdict.reason) <= MAX_TEXT
    assert verdict.reason.endswith("; and 1 more.")


def test_one_group_that_does_not_hold_is_enough_to_be_unfit(good: Table) -> None:
    """Only the 50 % intervals for leads of 16 or more at minute 40 are too narrow; no overall coverage shows it."""
    verdict = judged(spoilt(good))
    failed = [check.name for check in verdict.checks if not check.passed]
    assert failed == ["coverage by minute, and by minute and |lead|"]
    assert "minute 40, lead 16+" in verdict.reason
