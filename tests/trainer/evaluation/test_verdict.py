from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.support.builders.folds import two_folds, walk_fold

from dejavu_models.manifest import MAX_TEXT
from dejavu_models.types import HORIZONS
from dejavu_models.uncertainty.lead_groups import lead_groups
from dejavu_trainer.evaluation.coverage import MIN_GAMES
from dejavu_trainer.evaluation.figures import Figures
from dejavu_trainer.evaluation.table import MARGINS, Table, pool
from dejavu_trainer.evaluation.verdict import Verdict, judge


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
